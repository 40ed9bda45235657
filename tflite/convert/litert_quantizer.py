"""Post-training quantization of float `.tflite` files: the only file that imports litert-quantizer."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.convert.fitting_biases import fit_biases
from tfinv.tflite.files.flatbuffer import editable, pack, read_graph

Io = Literal["float32", "int8"]
Arithmetic = Literal["float32", "float16", "weights", "dynamic", "static"]
_NO_QUANTIZE = "no_quantize"


@dataclass(frozen=True)
class ScopeRule:
    """How the operators of one scope are quantized.

    Args:
        scope: regular expression for the names of an operator's outputs, each with `;` behind it.
        compute: `"float32"`: not at all; `"float16"`: weights stored so; `"weights"`: weights stored as integers;
            `"dynamic"`: these, and activations quantized on the fly; `"static"`: these, and activations by calibration.
        weight_bits: 8 or 4.
        activation_bits: 8 or 16, of `"static"`.
    """

    scope: str
    compute: Arithmetic
    weight_bits: int = 8
    activation_bits: int = 8


def quantizer_version() -> str:
    """Version of litert-quantizer."""
    return version("litert-quantizer")


def quantize_weights(
    content: bytes,
    *,
    bits: int,
    compute: Literal["float", "integer"],
    only: str = ".*",
    skip: str | None = None,
    algorithm: str = "min_max",
) -> bytes:
    """Store kernels as integers, one scale per channel; activations stay float.

    Args:
        content: a float file.
        bits: 8 or 4.
        compute: `"float"` gives back real kernels before they are used; `"integer"` quantizes activations on the fly.
        only: regular expression that the output tensor's name of an operator must match.
        skip: the same for operators that stay float; None for none.
        algorithm: sets the ranges of kernels: `"min_max"`, `"mse"` or `"octav"`, where the tool has it for an operator.
    """
    from litert_quantizer import qtyping, recipe_manager

    manager = recipe_manager.RecipeManager()
    add = manager.add_dynamic_config if compute == "integer" else manager.add_weight_only_config
    for key in _algorithms(algorithm):
        add(regex=only, operation_name=qtyping.TFLOperationName.ALL_SUPPORTED, num_bits=bits, algorithm_key=key)
    _keep_float(manager, skip)
    return _quantize(content, manager, None)


def quantize_all(
    content: bytes,
    batches: Iterable[NDArray[np.float32]],
    *,
    activation_bits: int,
    per_channel: bool,
    io: Io,
    only: str = ".*",
    skip: str | None = None,
    clipped: Mapping[str, tuple[float, float]] | None = None,
    algorithm: str = "min_max",
) -> bytes:
    """Store kernels (8 bits) and activations as integers, activation ranges from calibration images.

    Ranges are the true minimum and maximum over all images. The tool's own default, a moving average over batches,
    costs up to 18 dB.

    Args:
        content: a float file with one input.
        batches: calibration images as the model takes them.
        activation_bits: 8 or 16.
        per_channel: one scale per kernel channel rather than one per kernel.
        io: type of inputs and outputs; `"int8"` means the activations' own integer type.
        only: see `quantize_weights`.
        skip: see `quantize_weights`.
        clipped: ranges of activations by tensor name, in place of their minimum and maximum.
        algorithm: see `quantize_weights`.
    """
    from litert_quantizer import qtyping, recipe_manager

    granularity = qtyping.QuantGranularity
    names = qtyping.TFLOperationName
    manager = recipe_manager.RecipeManager()
    for key in _algorithms(algorithm):
        manager.add_static_config(
            regex=only,
            operation_name=names.ALL_SUPPORTED,
            activation_num_bits=activation_bits,
            weight_num_bits=8,
            weight_granularity=granularity.CHANNELWISE if per_channel else granularity.TENSORWISE,
            algorithm_key=key,
        )
    _keep_float(manager, skip)
    if io == "float32":
        _keep_boundary(manager, ".*")
    return _unread_quantized(_quantize(content, manager, _clip(_ranges(content, batches, manager), clipped or {})))


def calibrated_ranges(content: bytes, batches: Iterable[NDArray[np.float32]]) -> Any:
    """Ranges of all activations of a float file, the true minimum and maximum, for `quantize_by_rules`.

    Args:
        content: a float file with one input.
        batches: calibration images as the model takes them.
    """
    from litert_quantizer import qtyping, recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.add_static_config(".*", qtyping.TFLOperationName.ALL_SUPPORTED, 8, 8)
    return _ranges(content, batches, manager)


def quantize_by_rules(content: bytes, rules: Sequence[ScopeRule], ranges: Any) -> tuple[bytes, list[dict[str, Any]]]:
    """Quantize every operator by the last rule whose scope it lies in; inputs and outputs stay float32.

    A rule that the tool cannot follow for an operator is passed over: an earlier rule then holds for that operator.

    Args:
        content: a float file.
        rules: in order.
        ranges: of `calibrated_ranges`; the tool changes what it is given, so it is given a copy.

    Returns:
        The file, and the recipe as litert-quantizer reads it from JSON.
    """
    from litert_quantizer import qtyping, recipe_manager

    manager, everything = recipe_manager.RecipeManager(), qtyping.TFLOperationName.ALL_SUPPORTED
    for rule in rules:
        if rule.compute == "float32":
            manager.add_quantization_config(rule.scope, everything, None, _NO_QUANTIZE)
        elif rule.compute == "float16":
            casting = recipe_manager.AlgorithmName.FLOAT_CASTING
            manager.add_weight_only_config(rule.scope, everything, 16, algorithm_key=casting)
        elif rule.compute == "weights":
            manager.add_weight_only_config(rule.scope, everything, rule.weight_bits)
        elif rule.compute == "dynamic":
            manager.add_dynamic_config(rule.scope, everything, rule.weight_bits)
        else:
            manager.add_static_config(rule.scope, everything, rule.activation_bits, rule.weight_bits)
    _keep_boundary(manager, "^")  # a key that no rule has: under the key of a rule it would take the place of that rule
    recipe = manager.get_quantization_recipe()
    return _unread_quantized(_quantize(content, manager, copy.deepcopy(ranges))), recipe


def _keep_boundary(manager: Any, scope: str) -> None:
    """Keep inputs and outputs as they are."""
    from litert_quantizer import qtyping

    for boundary in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        manager.add_quantization_config(scope, boundary, None, _NO_QUANTIZE)


def _ranges(content: bytes, batches: Iterable[NDArray[np.float32]], manager: Any) -> Any:
    """The smallest and largest value of every activation that a recipe needs."""
    from litert_quantizer import calibrator
    from litert_quantizer.utils import qsv_utils

    ranges = calibrator.Calibrator(_all_outputs_read(content), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    signatures: Any = ranges.get_signature_list()
    ((signature, arguments),) = signatures.items()
    (name,) = arguments["inputs"]
    for batch in batches:
        ranges.calibrate({signature: [{name: batch}]}, manager)
    return ranges.get_model_qsvs()


def _clip(ranges: Any, clipped: Mapping[str, tuple[float, float]]) -> Any:
    """The ranges with those of some tensors replaced."""
    for name, (low, high) in clipped.items():
        if name in ranges:
            before = ranges[name]
            ranges[name] = {"min": np.full_like(before["min"], low), "max": np.full_like(before["max"], high)}
    return ranges


def _algorithms(name: str) -> list[str]:
    """The keys of the rules to add, the general one first: an operator takes the last one that the tool has for it."""
    from litert_quantizer.algorithm_manager import AlgorithmName

    keys = {"mse": AlgorithmName.MSE, "octav": AlgorithmName.OCTAV}
    return [AlgorithmName.MIN_MAX_UNIFORM_QUANT, *([keys[name]] if name in keys else [])]


def _all_outputs_read(content: bytes) -> bytes:
    """The file with every output of an operator that nobody reads, such as half of a split, as an output of the graph.

    The interpreter drops what nobody reads, and the tool fails when it looks for its range.
    """
    unread = _unread(content)
    if not unread:
        return content
    model = editable(content)
    main = model.subgraphs[0]
    main.outputs = [*map(int, main.outputs), *unread]
    return pack(model)


def _unread_quantized(content: bytes) -> bytes:
    """The file with outputs that nobody reads quantized as another output of their operator is.

    The tool leaves them in floating point, and then no integer kernel takes the operator.
    """
    unread = _unread(content)
    if not unread:
        return content
    model = editable(content)
    tensors = model.subgraphs[0].tensors
    for index, others in unread.items():
        sibling = next((tensors[other] for other in others if other not in unread), None)
        if sibling is not None:
            tensors[index].type, tensors[index].quantization = sibling.type, sibling.quantization
    return pack(model)


def _unread(content: bytes) -> dict[int, tuple[int, ...]]:
    """Outputs of operators that neither an operator nor the user reads, with all outputs of their operator."""
    graph = read_graph(content)
    read = {index for operator in graph.operators for index in operator.inputs} | set(graph.outputs)
    return {index: operator.outputs for operator in graph.operators for index in operator.outputs if index not in read}


def _keep_float(manager: Any, skip: str | None) -> None:
    from litert_quantizer import qtyping

    if skip is not None:
        manager.add_quantization_config(skip, qtyping.TFLOperationName.ALL_SUPPORTED, None, _NO_QUANTIZE)


def _quantize(content: bytes, manager: Any, ranges: Any) -> bytes:
    from litert_quantizer import quantizer

    tool = quantizer.Quantizer(content, manager.get_quantization_recipe())
    made = tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model or b""
    return fit_biases(content, bytes(made))
