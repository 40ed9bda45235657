"""The tf_keras model that a spec describes; only in the process of route `tfmot`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.support.types import KerasModel

SUFFIX = "_layer"
"""Ends the names of layers that would end in a number."""
TOLERANCE = 1e-5
"""Largest difference between the outputs of the Keras 3 model and its copy, relative to the largest output."""


def rebuild(spec: dict[str, Any], weights: dict[str, NDArray[np.float32]]) -> Any:
    """The tf_keras model that a spec describes, with the weights of the Keras 3 model."""
    import tf_keras

    inputs = tf_keras.Input(spec["input_shape"], name=spec["input_name"])
    tensors: dict[int, Any] = {0: inputs}
    made: dict[str, Any] = {}
    for call in spec["calls"]:
        given = [tensors[number] for number in call["inputs"]]
        if call["name"] not in made:
            kind = own_layers().get(call["kind"]) or getattr(tf_keras.layers, call["kind"])
            made[call["name"]] = kind(**call["config"], name=call["name"], trainable=call["trainable"])
        layer = made[call["name"]]
        tensors[call["output"]] = layer(given[0] if len(given) == 1 else given)
        if call["weights"]:
            layer.set_weights([weights[key] for key in call["weights"]])
    return tf_keras.Model(inputs, tensors[spec["output"]], name="model")


@functools.cache
def own_layers() -> dict[str, Any]:
    """`Scale` and `Offset`: multiply by, or add, a vector; the halves of a normalization."""
    import tf_keras

    class Scale(tf_keras.layers.Layer):
        def __init__(self, size: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.size = size

        def build(self, input_shape: Any) -> None:
            self.vector = self.add_weight("vector", shape=(self.size,))
            super().build(input_shape)

        def call(self, inputs: Any) -> Any:
            return inputs * self.vector

        def get_config(self) -> dict[str, Any]:
            return super().get_config() | {"size": self.size}

    class Offset(Scale):
        def call(self, inputs: Any) -> Any:
            return inputs + self.vector

    return {"Scale": Scale, "Offset": Offset}


def check_equal(model: KerasModel, images: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Raise unless the copy computes what the Keras 3 model computed."""
    outputs = predict(model, images)
    difference = float(np.abs(outputs - expected).max()) / max(1.0, float(np.abs(expected).max()))
    if not difference <= TOLERANCE:
        raise ValueError(
            f"the copy in tf_keras must give the outputs of the Keras 3 model to {TOLERANCE:g}. "
            f"Received: a difference of {difference:.2g}"
        )


def predict(model: KerasModel, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs in inference mode."""
    return np.concatenate([np.asarray(model(images[i : i + 64], training=False)) for i in range(0, len(images), 64)])


def readers_of(spec: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """The calls that read a tensor, by tensor number."""
    readers: dict[int, list[dict[str, Any]]] = {}
    for call in spec["calls"]:
        for number in call["inputs"]:
            readers.setdefault(number, []).append(call)
    return readers
