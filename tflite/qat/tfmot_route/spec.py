"""A Keras 3 model as plain data from which the tfmot process rebuilds it in tf_keras."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfinv.activations.layer_graph import Call, LayerGraph, kind_of
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.tflite.convert.batch_norm_folding import find_folds
from tfinv.tflite.qat.keras_route.rules import is_identity
from tfinv.tflite.qat.tfmot_route.layers import (
    ACTIVATIONS,
    FIELDS,
    FUSED,
    RENAMED,
    activation_name,
    plain,
    refuse_unknown,
)
from tfinv.tflite.qat.tfmot_route.rebuild import SUFFIX
from tfinv.tflite.qat.tfmot_route.weights import Carried, as_they_are, carry, folded_dense, is_free, product_and_sum

select_tensorflow_backend()

import keras  # noqa: E402


@dataclass(frozen=True)
class SpecCall:
    """One call in the tf_keras model.

    Args:
        name: layer name; calls of the same name share the layer.
        label: label of the user's call.
        kind: class in `tf_keras.layers`.
        config: options of the class, as JSON values.
        inputs: tensor numbers.
        output: tensor number.
        is_identity: whether it gives back its input at inference.
        trainable: whether its weights are trained.
        weights: keys of the arrays that it takes.
    """

    name: str
    label: str
    kind: str
    config: dict[str, Any]
    inputs: tuple[int, ...]
    output: int
    is_identity: bool = False
    trainable: bool = True
    weights: tuple[str, ...] = ()


@dataclass
class Spec:
    """The whole model; `logits` is the tensor that the loss reads, `output` the model's."""

    input_name: str
    input_shape: tuple[int, ...]
    calls: list[SpecCall] = field(default_factory=list)
    output: int = 0
    logits: int = 0


def make_spec(graph: LayerGraph) -> tuple[Spec, list[Carried]]:
    """Describe a model for the tfmot process.

    What tfmot would leave in float is spelled in layers that it rounds: activations are split off the layers that hold
    them, separable convolutions into their halves, normalizations that follow no convolution into a product and a sum;
    those that follow a dense layer are folded into it.

    Args:
        graph: the flat model.

    Returns:
        The description, and the weights that go with it.

    Raises:
        ValueError: layers that the route cannot take, with their names.
    """
    refuse_unknown(graph)
    writer = _Writer(graph)
    for call in graph.calls:
        writer.write(call)
    spec = writer.spec
    last = next((call for call in spec.calls if call.output == spec.output), None)
    spec.logits = last.inputs[0] if last is not None and _is_probability(last) else spec.output
    return spec, list(writer.carried.values())


def _is_probability(call: Any) -> bool:
    return call.kind == "Softmax" or (call.kind == "Activation" and call.config["activation"] == "sigmoid")


class _Writer:
    def __init__(self, graph: LayerGraph) -> None:
        size = tuple(int(size or 0) for size in graph.input_shape[1:])
        self.spec = Spec(graph.input_name, size, output=graph.output)
        self.carried: dict[str, Carried] = {}
        self._readers = graph.readers()
        self._output = graph.output
        self._folds = {
            call.output: fold
            for call in graph.calls
            if kind_of(call.layer) is keras.layers.Dense
            and (fold := find_folds(graph).get(call.output)) is not None
            and fold.normalizations[-1].layer.center
        }
        self._folded = {call.output for fold in self._folds.values() for call in fold.normalizations}
        self._next = 1 + max((call.output for call in graph.calls), default=0)

    def write(self, call: Call) -> None:
        kind = kind_of(call.layer).__name__
        special = {"SeparableConv2D": self._separable, "Rescaling": self._rescaling}
        if call.output in self._folded:
            return
        if kind in special:
            return special[kind](call)
        if kind == "BatchNormalization" and not self._is_part_of_a_convolution(call):
            return self._normalization(call)
        if call.output in self._folds:
            return self._folded_dense(call)
        kind = "Identity" if kind == "ActivityRegularization" else kind
        activation = activation_name(getattr(call.layer, "activation", None))
        if kind == "Activation":
            return self._activation(call, activation, call.inputs)
        config = {RENAMED.get((kind, name), name): plain(getattr(call.layer, name)) for name in FIELDS[kind]}
        has_activation = hasattr(call.layer, "activation")
        self._layer(call, kind, config, activation if has_activation else None, call.inputs)

    def _layer(
        self,
        call: Call,
        kind: str,
        config: dict[str, Any],
        activation: str | None,
        inputs: tuple[int, ...],
        positions: tuple[int, ...] | None = None,
    ) -> None:
        """A layer, and its activation as a layer of its own where tfmot would not round it."""
        split = activation is not None and activation not in FUSED
        name = f"{call.name}_linear" if split else call.name
        if activation is not None:
            config = config | {"activation": "linear" if split else activation}
        positions = tuple(range(len(call.layer.weights))) if positions is None else positions
        weights = as_they_are(name, call.layer, positions) if positions else None
        output = self._new() if split else call.output
        self._append(call, name, kind, config, inputs, output, weights)
        if split and activation is not None:
            self._activation(call, activation, (output,))

    def _activation(self, call: Call, name: str, inputs: tuple[int, ...]) -> None:
        kind, config = "Activation", {"activation": ACTIVATIONS.get(name, name)}
        if name in ("relu", "relu6"):
            kind, config = "ReLU", {"max_value": 6.0 if name == "relu6" else None}
        elif name == "elu":
            kind, config = "ELU", {"alpha": 1.0}
        elif name == "softmax":
            kind, config = "Softmax", {"axis": -1}
        self._append(call, call.name, kind, config, inputs, call.output)

    def _separable(self, call: Call) -> None:
        layer, middle, name = call.layer, self._new(), f"{call.name}_depthwise"
        fields = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
        config = {field: plain(getattr(layer, field)) for field in fields} | {
            "use_bias": False,
            "activation": "linear",
        }
        self._append(call, name, "DepthwiseConv2D", config, call.inputs, middle, as_they_are(name, layer, (0,)))
        config = {"filters": layer.filters, "kernel_size": 1, "use_bias": layer.use_bias}
        positions = (1, 2) if layer.use_bias else (1,)
        self._layer(call, "Conv2D", config, activation_name(layer.activation), (middle,), positions)

    def _folded_dense(self, call: Call) -> None:
        fold = self._folds[call.output]
        config = {"units": call.layer.units, "use_bias": True, "activation": "linear"}
        last = fold.normalizations[-1]
        self._append(
            last, call.name, "Dense", config, call.inputs, last.output, folded_dense(call.name, call.layer, fold)
        )

    def _normalization(self, call: Call) -> None:
        scale, offset = product_and_sum(call.name, call.layer)
        self._product_and_sum(call, scale, offset, trainable=bool(call.layer.trainable) and is_free(call.layer))

    def _rescaling(self, call: Call) -> None:
        scale, offset = (np.atleast_1d(part) for part in (call.layer.scale, call.layer.offset))
        carried = [carry(f"{call.name}_{i}", [part], lambda _: []) for i, part in enumerate((scale, offset))]
        self._product_and_sum(call, *carried, trainable=False)

    def _product_and_sum(self, call: Call, scale: Carried, offset: Carried, *, trainable: bool) -> None:
        middle = self._new()
        sizes = [{"size": len(part.arrays[0])} for part in (scale, offset)]
        self._append(call, f"{call.name}_scale", "Scale", sizes[0], call.inputs, middle, scale, trainable=trainable)
        self._append(call, call.name, "Offset", sizes[1], (middle,), call.output, offset, trainable=trainable)

    def _is_part_of_a_convolution(self, call: Call) -> bool:
        """Whether tfmot recognises a normalization as part of the convolution before it."""
        before = next((other for other in self.spec.calls if other.output == call.inputs[0]), None)
        return (
            before is not None
            and before.kind in ("Conv2D", "DepthwiseConv2D")
            and before.config["activation"] == "linear"
            and len(self._readers[call.inputs[0]]) == 1
            and call.inputs[0] != self._output
        )

    def _append(
        self,
        call: Call,
        name: str,
        kind: str,
        config: dict[str, Any],
        inputs: tuple[int, ...],
        output: int,
        carried: Carried | None = None,
        *,
        trainable: bool | None = None,
    ) -> None:
        if trainable is None:  # a normalization is frozen: it keeps its statistics
            trainable = bool(getattr(call.layer, "trainable", False)) and kind != "BatchNormalization"
        if carried is not None:
            self.carried[name] = carried
        keys = carried.keys if carried is not None else ()
        if re.search(r"_\d+$", name):  # converters append numbers: a tensor shall not seem to belong to another layer
            name += SUFFIX
        identity = is_identity(call.layer)
        self.spec.calls.append(
            SpecCall(name, call.label, kind, config, tuple(inputs), output, identity, trainable, keys)
        )

    def _new(self) -> int:
        self._next += 1
        return self._next - 1
