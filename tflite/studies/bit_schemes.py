"""Schemes of storing layers in few bits, and the file that a choice of one scheme for every layer gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tfinv.support.checks import close_match, kind_of
from tfinv.support.quiet import quiet
from tfinv.tflite.convert.litert_quantizer import Arithmetic, ScopeRule, calibrated_ranges, quantize_by_rules
from tfinv.tflite.convert.recipes import versions
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.flatbuffer import Graph, read_graph
from tfinv.tflite.files.interpreter import one_line
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.files.tensor_names import base_name

FLOAT = "float32"
"""The scheme that leaves a layer as it is."""
REST = "(other operators)"
"""The name under which operators without kernels, such as additions and pooling, are chosen together."""
KERNEL_OPERATORS = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
    "CONV_3D",
    "BATCH_MATMUL",
)
"""Operators whose constants of two or more dimensions count as kernels."""
_STORED = {"float16": "FLOAT16", "float32": "FLOAT32"}


@dataclass(frozen=True)
class BitScheme:
    """One way to store and compute a layer.

    Args:
        name: such as `"int8"`.
        words: what it means.
        compute: see `ScopeRule`.
        weight_bits: bits of a weight.
        activation_bits: bits of an activation.
    """

    name: str
    words: str
    compute: Arithmetic
    weight_bits: int = 32
    activation_bits: int = 32

    def rule(self, scope: str) -> ScopeRule:
        """The rule that follows this scheme in a scope."""
        return ScopeRule(scope, self.compute, self.weight_bits, self.activation_bits)


BIT_SCHEMES: dict[str, BitScheme] = {
    scheme.name: scheme
    for scheme in (
        BitScheme("int4", "4-bit weights, 8-bit activations", "static", 4, 8),
        BitScheme("int8", "8-bit weights and activations", "static", 8, 8),
        BitScheme("int16x8", "8-bit weights, 16-bit activations", "static", 8, 16),
        BitScheme("float16", "weights stored in 16-bit floating point", "float16", 16),
        BitScheme("float32", "floating point, as it was", "float32"),
        BitScheme("weight_int4", "weights stored in 4 bits, floating-point activations", "weights", 4),
        BitScheme("weight_int8", "weights stored in 8 bits, floating-point activations", "weights", 8),
        BitScheme("dynamic_int4", "4-bit weights, activations quantized on the fly", "dynamic", 4),
        BitScheme("dynamic_int8", "8-bit weights, activations quantized on the fly", "dynamic", 8),
    )
}
"""Schemes by name."""


@dataclass(frozen=True)
class LayerGroup:
    """Layers that are stored by one scheme: one layer, all calls of a layer, or all operators without kernels.

    Args:
        name: the layer's name, of several calls that of the first.
        operator: what computes it.
        outputs: names of the operators' outputs, by operator; empty for operators without kernels.
        kernels: names of the kernels in the float file.
        weights: number of weights in the kernels.
    """

    name: str
    operator: str
    outputs: tuple[tuple[str, ...], ...]
    kernels: tuple[str, ...]
    weights: int

    @property
    def scope(self) -> str:
        """A regular expression for the scopes of these operators and no others, see `ScopeRule`."""
        if not self.outputs:
            return ".*"
        texts = ("".join(f"{re.escape(name)};" for name in names) for names in self.outputs)
        return f"^(?:{'|'.join(texts)})$"


def choose_schemes(schemes: str | Sequence[str]) -> tuple[str, ...]:
    """Names of schemes, once each and float32 among them.

    Raises:
        ValueError: an unknown name, or none.
    """
    kind_of("schemes", schemes, (str, Sequence), "names of schemes")
    names = (schemes,) if isinstance(schemes, str) else tuple(schemes)
    for name in names:
        if name not in BIT_SCHEMES:
            hint = close_match(str(name), BIT_SCHEMES)
            raise ValueError(f"schemes must be names among {', '.join(BIT_SCHEMES)}.{hint} Received: {name!r}")
    if not set(names) - {FLOAT}:
        raise ValueError(f"schemes must hold one besides {FLOAT}, among {', '.join(BIT_SCHEMES)}. Received: {names}")
    return tuple(name for name in BIT_SCHEMES if name in {*names, FLOAT})


def groups_of(model: TFLiteModel) -> tuple[LayerGroup, ...]:
    """Groups of a float file in network order, operators without kernels last.

    Calls that read one kernel are tied: the tool cannot store one kernel in two ways.
    """
    graph = model.graph
    called = {tensor.index: name for name, tensor in model.layer_tensors.items()}
    kernels = {tensor.index: tensor for tensor in graph.weights().values() if len(tensor.shape) > 1}
    by_buffer: dict[tuple[int, ...], list[Any]] = {}
    for operator in graph.operators:
        read = [index for index in operator.inputs if index in kernels]
        if operator.name in KERNEL_OPERATORS and read:
            by_buffer.setdefault(tuple(kernels[index].buffer for index in read), []).append(operator)
    found = []
    for operators in by_buffer.values():
        first = operators[0]
        names = tuple(tuple(graph.tensors[index].name for index in operator.outputs) for operator in operators)
        read = dict.fromkeys(index for operator in operators for index in operator.inputs if index in kernels)
        name = next((called[i] for o in operators for i in o.outputs if i in called), names[0][0])
        weights = sum(_count(kernels[index].shape) for index in read) // len(operators) or 1
        if len({kernels[index].buffer for index in read}) == 1:
            weights = _count(kernels[next(iter(read))].shape)
        found.append(LayerGroup(name, first.name, names, tuple(kernels[index].name for index in read), weights))
    tied = {names for group in found for names in group.outputs}
    others = [o for o in graph.operators if tuple(graph.tensors[i].name for i in o.outputs) not in tied]
    if others:
        kinds = dict.fromkeys(operator.name for operator in others)
        found.append(LayerGroup(REST, ", ".join(kinds), (), (), 0))
    return tuple(found)


def _count(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= int(length)
    return size


class MixedFiles:
    """Files of one float model by the schemes of its groups.

    Args:
        reference: the float file.
        groups: of `groups_of`.
        batches: calibration images as the model takes them; all ranges come from one calibration.
    """

    def __init__(self, reference: Conversion, groups: Sequence[LayerGroup], batches: Any) -> None:
        self.reference, self.groups = reference, tuple(groups)
        self._versions = versions()
        with quiet():
            self._ranges = calibrated_ranges(reference.content, batches)
        self.make = lru_cache(maxsize=64)(self._make)
        self._sizes: dict[tuple[str, ...], int] = {}

    def size(self, schemes: tuple[str, ...]) -> int:
        """Bytes of the file; it is made, once."""
        if schemes not in self._sizes:
            self._sizes[schemes] = self.make(schemes).size
        return self._sizes[schemes]

    def rules(self, schemes: Sequence[str]) -> list[ScopeRule]:
        """Rules of the operators without kernels first, because the last rule counts."""
        pairs = sorted(zip(self.groups, schemes, strict=True), key=lambda pair: bool(pair[0].outputs))
        return [BIT_SCHEMES[name].rule(group.scope) for group, name in pairs]

    def _make(self, schemes: tuple[str, ...]) -> Conversion:
        """The file.

        Args:
            schemes: name of a scheme for every group.
        """
        options = {group.name: name for group, name in zip(self.groups, schemes, strict=True)}
        if set(schemes) == {FLOAT}:
            return self.reference
        with quiet() as log:
            content, _ = quantize_by_rules(self.reference.content, self.rules(schemes), self._ranges)
        layers = self.reference.layers
        mapped = layers.transfer(self.reference.graph, read_graph(content)) if layers else None
        return Conversion(content, "mixed", options, mapped, log.text, self._versions)

    def recipe(self, schemes: Sequence[str]) -> list[dict[str, Any]]:
        """The recipe of litert-quantizer for a choice, as JSON values."""
        with quiet():
            return quantize_by_rules(self.reference.content, self.rules(schemes), self._ranges)[1]

    def refusal(self, number: int, scheme: str) -> str:
        """Why a group cannot take a scheme, or "" where it can."""
        group, wanted = self.groups[number], BIT_SCHEMES[scheme]
        if scheme == FLOAT:
            return ""
        if not group.outputs and (wanted.compute != "static" or wanted.weight_bits != 8):
            return "these operators have no weights"
        schemes = [FLOAT] * len(self.groups)
        schemes[number] = scheme
        try:
            file = self.make(tuple(schemes))
        except Exception as error:  # the tool raises whatever its parts raise
            return f"litert-quantizer {self._versions['litert-quantizer']} fails: {one_line(error)}"
        if not group.outputs:
            return "" if file.integer_tensors else "litert-quantizer quantizes none of these operators"
        types = stored_types(file.graph, group.kernels)
        if types == {_STORED.get(scheme, f"INT{wanted.weight_bits}").lower()}:
            return ""
        return f"litert-quantizer {self._versions['litert-quantizer']} has no {group.operator} of this kind"


def stored_types(graph: Graph, kernels: Sequence[str]) -> set[str]:
    """Types in which a file stores kernels, such as `{"int8"}`; empty where they cannot be found.

    Args:
        graph: of the file.
        kernels: their names in the float file.
    """
    wanted = {base_name(name) for name in kernels}
    constants = (tensor for tensor in graph.weights().values() if len(tensor.shape) > 1)
    return {tensor.dtype for tensor in constants if base_name(tensor.name) in wanted}


def uniform(options: Mapping[int, Sequence[str]], scheme: str) -> tuple[str, ...]:
    """One scheme for all groups; a group that cannot take it gets the nearest that it can.

    Operators without kernels, and layers that the scheme does not fit, get 8 bits where the scheme computes with
    integers, and stay in floating point otherwise.

    Args:
        options: schemes that a group can take, by its number.
        scheme: the scheme.
    """
    computes = BIT_SCHEMES[scheme].compute == "static"
    second = next((name for name in ("int8", "int16x8") if computes), FLOAT)
    return tuple(
        scheme if scheme in taken else second if second in taken else FLOAT for _, taken in sorted(options.items())
    )
