"""A Keras model rewritten into the steps that TFLite will compute, with fake-quantized weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.layer_graph import Call, LayerGraph, TensorRef
from tfinv.tflite.convert import batch_norm_folding as folding


class Role(Enum):
    """What a step means for the scales of its tensors."""

    COMPUTE = "its output has a scale of its own"
    SAME = "its output has the scale of its inputs"
    PASS = "it does nothing at inference"
    RELU = "an activation that TFLite fuses into the operator before it"
    INNER = "its output never exists in the file: the next step is fused into it"
    UNKNOWN = "nothing is known about it; its output is left to the converter"


@dataclass
class Step:
    """One operator of the file to be, as a Keras layer of the fake-quantized model.

    Args:
        name: name of the new layer.
        layer: the new layer; the same object in every call of a shared one.
        args: arguments with `TensorRef` for tensors.
        inputs: tensor numbers among the arguments.
        output: number of the output tensor.
        role: see `Role`.
        source: label of the user's call.
        weights: what to load into the layer once it is built.
        fuses_relu: whether TFLite fuses a following ReLU.
        rounds: for `SAME`: whether it computes new values, such as a mean, that must be rounded.
        fixed: output range that the kernel prescribes.
    """

    name: str
    layer: Any
    args: Any
    inputs: tuple[int, ...]
    output: int
    role: Role
    source: str
    weights: list[NDArray[Any]] = field(default_factory=list)
    fuses_relu: bool = False
    rounds: bool = False
    fixed: tuple[float, float] | None = None


class Rewriter:
    """Turns calls into steps; `steps` holds them in order."""

    def __init__(self, graph: LayerGraph, weight_bits: int, seed: int) -> None:
        self.graph, self.weight_bits, self.seed = graph, weight_bits, seed
        self.steps: list[Step] = []
        self.folds = folding.find_folds(graph)
        self._made: dict[tuple[int, str], tuple[str, Any]] = {}
        self._names = {call.name for call in graph.calls}
        self._next = 1 + max((call.output for call in graph.calls), default=0)

    def rewrite(self, rule: Callable[[Rewriter, Call], None]) -> list[Step]:
        """The steps of the whole graph; `rule` appends those of one call."""
        folded = {call.output for fold in self.folds.values() for call in fold.normalizations}
        for call in self.graph.calls:
            if call.output not in folded:
                rule(self, call)
        return self.steps

    def new_tensor(self) -> int:
        """A number for a tensor between two steps of one layer."""
        self._next += 1
        return self._next - 1

    def emit(
        self,
        call: Call,
        make: Callable[[str], Any],
        inputs: Sequence[int] | None,
        role: Role,
        *,
        part: str = "",
        output: int | None = None,
        weights: Sequence[Any] = (),
        **flags: Any,
    ) -> int:
        """Append a step.

        Args:
            call: the user's call that it belongs to.
            make: makes the new layer, given its name.
            inputs: tensor numbers, one list for a layer of several inputs; None repeats the arguments of the call.
            role: see `Role`.
            part: name of the step within the layer, empty for the step that carries the layer's name.
            output: output tensor; default: the output of the call for the main step, a new tensor for a part.
            weights: what to load once the layer is built.
            **flags: `fuses_relu`, `rounds`, `fixed` of `Step`.

        Returns:
            Number of the output tensor.
        """
        key = (id(call.layer), part)
        if key not in self._made:
            name = self._unique(f"{call.name}_{part}") if part else call.name
            self._made[key] = (name, make(name))
        name, layer = self._made[key]
        if output is None:
            output = self.new_tensor() if part else call.output
        if inputs is None:
            args: Any = (call.args, call.kwargs)
            inputs = call.inputs
        else:
            references = [TensorRef(number) for number in inputs]
            args = ((references[0] if len(references) == 1 else references,), {})
        arrays = [np.asarray(weight, np.float32) for weight in weights]
        self.steps.append(Step(name, layer, args, tuple(inputs), output, role, call.label, arrays, **flags))
        return output

    def clone(self, call: Call, **changes: Any) -> Callable[[str], Any]:
        """Makes a copy of the user's layer in float32, with a seed that follows from the run's."""

        def make(name: str) -> Any:
            config = call.layer.get_config() | {"name": name} | changes
            if "dtype" in config:
                config["dtype"] = "float32"
            if "seed" in config and config["seed"] is None:
                config["seed"] = self.seed + len(self._made)
            return type(call.layer).from_config(config)

        return make

    def _unique(self, name: str) -> str:
        while name in self._names:
            name += "_more"
        self._names.add(name)
        return name
