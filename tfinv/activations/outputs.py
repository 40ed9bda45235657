"""The outputs of a model: which layer makes each, and how a classifier's classes are read from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfinv.statistics.classification import threshold_of
from tfinv.support.lazy import keras
from tfinv.support.types import KerasModel, Model, Tensor

KerasLayer = Any
"""A `keras.Layer`, or another operation of a Keras graph."""
_UNCHANGED = ("Dropout", "Flatten", "GetItem", "Identity", "Reshape", "Squeeze")
"""Layers and operations that pick or arrange values."""


@dataclass(frozen=True)
class ModelOutput:
    """One output of a model.

    Args:
        name: what the model or its file calls it.
        layer: the layer that makes it; for class numbers (an argmax) the layer whose largest unit they name.
        shape: of one image, -1 where it is open.
        dtype: such as `"float32"` or `"int64"`.
        activation: `"softmax"`, `"sigmoid"`, or `""` for another or none.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    dtype: str
    activation: str = ""

    @property
    def threshold(self) -> float:
        """The value above which one unit says yes: 0.5 for a sigmoid's, 0 for a logit."""
        return threshold_of(self.activation)

    @property
    def tells_labels(self) -> bool:
        """Whether it has several units with a threshold each, as classifiers of several labels have."""
        return self.activation == "sigmoid" and len(self.shape) == 1 and self.shape[0] > 1

    def facts(self) -> dict[str, Any]:
        """As JSON values, for a record."""
        return {"name": self.name, "layer": self.layer, "shape": list(self.shape), "dtype": self.dtype}


def remarks(outputs: Sequence[ModelOutput]) -> list[str]:
    """What a reader of predictions must know of the outputs: which one answers, and whether it tells several labels.

    Example:
        >>> from tfinv.activations.outputs import ModelOutput, remarks
        >>> remarks([ModelOutput("output_0", "labels", (5,), "float32", "sigmoid")])[0][:55]
        'the output labels has 5 sigmoid units, which may tell s'

    Args:
        outputs: in the order of the model.

    Returns:
        Sentences; none where a single output gives one class.
    """
    found = []
    names = [output.layer or output.name for output in outputs]
    if len(outputs) > 1:
        found.append(f"the model has the outputs {', '.join(names)}: predictions are read from the first, {names[0]}")
    if outputs and outputs[0].tells_labels:
        found.append(
            f"the output {names[0]} has {outputs[0].shape[-1]} sigmoid units, which may tell several labels of one "
            "image: without a matrix of labels, predictions are its largest unit; the output kind labels counts every "
            "label; for one by itself, give keras.Model(model.inputs, model.outputs[0][:, k : k + 1])"
        )
    return found


def answering_activation(model: Model) -> str | None:
    """What makes the several units of the output that answers; it decides what a matrix of 0 and 1 as labels means.

    Args:
        model: a Keras model, a `TFLiteModel` or another source of activations.

    Returns:
        `"softmax"`, `"sigmoid"`, or `""` for another or none; None where that is not known, and for a single unit.
    """
    if isinstance(model, keras.Model):
        try:
            shape = model.outputs[0].shape if getattr(model, "outputs", None) else model.output_shape
            units = shape[-1]
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):  # not built yet, or no single output
            return None
        return output_activation(model) if isinstance(units, int) and len(shape) == 2 and units > 1 else None
    output = next(iter(getattr(model, "outputs", None) or ()), None)
    if not isinstance(output, ModelOutput) or len(output.shape) != 1 or output.shape[0] == 1:
        return None
    return output.activation


def output_activation(model: KerasModel, output: int = 0) -> str:
    """The function that makes an output of a Keras model: `"softmax"`, `"sigmoid"`, or `""` for another or none.

    Nested models are followed. A subclassed model is judged by the last of its layers.

    Example:
        >>> import keras
        >>> from tfinv.activations.outputs import output_activation
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
        >>> output_activation(keras.Sequential([keras.Input((4,)), inner]))
        'sigmoid'

    Args:
        model: any Keras model.
        output: the position of the output among `model.outputs`.
    """
    if getattr(model, "outputs", None):
        return _activation_of(model.outputs[output])
    return _name_of(model.layers[-1] if getattr(model, "layers", None) else model)


def _activation_of(tensor: Tensor) -> str:
    last, node, output = tensor._keras_history
    if isinstance(last, keras.Model):
        return output_activation(last, output)
    inputs = last._inbound_nodes[node].input_tensors
    unchanged = type(last).__name__ in _UNCHANGED or getattr(last, "activation", None) is keras.activations.linear
    if unchanged and len(inputs) == 1 and not getattr(last, "weights", ()):
        return _activation_of(inputs[0])
    return _name_of(last)


def _name_of(last: KerasLayer) -> str:
    if isinstance(last, keras.Model) and getattr(last, "outputs", None):
        return output_activation(last)
    function = getattr(last, "activation", None)
    for name in ("softmax", "sigmoid"):
        # Both a layer's activation, and an operation of keras.ops, whose class has the name.
        if function is getattr(keras.activations, name) or type(last).__name__.lower() == name:
            return name
    return ""


def scores_behind(tensor: Tensor) -> Tensor:
    """The scores whose largest a symbolic tensor of class numbers names; the tensor itself where it is none."""
    operation = tensor._keras_history.operation
    if type(operation).__name__ != "Argmax":
        return tensor
    (scores,) = operation._inbound_nodes[tensor._keras_history.node_index].input_tensors
    return scores if len(scores.shape) == 2 and operation.axis in (-1, 1) else tensor
