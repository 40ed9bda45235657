"""Models of several inputs as models of images alone: the other inputs are held at given values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.checks import close_match, kind_of, mapping, received
from tfinv.support.lazy import keras
from tfinv.support.types import KerasModel, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fix_inputs(model: KerasModel, values: Mapping[str, Any]) -> KerasModel:
    """A Keras model that takes images alone, its other inputs held at the same values for every image.

    Example:
        >>> import keras, tfinv
        >>> images, age = keras.Input((8, 8, 1), name="images"), keras.Input((1,), name="age")
        >>> x = keras.layers.Concatenate()([keras.layers.Flatten()(images), age])
        >>> model = keras.Model([images, age], keras.layers.Dense(2)(x))
        >>> tfinv.models.fix_inputs(model, {"age": [40.0]}).input_shape
        (None, 8, 8, 1)

    Args:
        model: a functional model of several inputs, one of them images `(N, H, W, C)`.
        values: by name of the input its value for one image, with or without a leading axis of 1.

    Returns:
        A model of the same weights; its layers are named `MODEL/LAYER`.

    Raises:
        ValueError: an unknown input, a value of another shape, or not exactly one input of images left.
        TypeError: not a functional Keras model.
    """
    kind_of("model", model, keras.Model, "a Keras model")
    if not getattr(model, "inputs", None):
        raise TypeError(f"model must be a functional Keras model. Received: {received(model)}")
    symbols = list(model.inputs)
    names = [symbol.name for symbol in symbols]
    shapes = {name: tuple(symbol.shape) for name, symbol in zip(names, symbols, strict=True)}
    fixed = fixed_values(values, shapes)
    (free,) = (name for name in names if name not in fixed)
    images = keras.Input(shapes[free][1:], name=free)

    class Held(keras.layers.Layer):
        """Gives the same value for every image."""

        def __init__(self, value: NDArray[Any], dtype: str, name: str) -> None:
            super().__init__(name=name)
            self.value = keras.ops.cast(value, dtype)

        def call(self, images: Tensor) -> Tensor:
            return keras.ops.broadcast_to(self.value, (keras.ops.shape(images)[0], *self.value.shape[1:]))

    given = [
        images
        if name == free
        else Held(fixed[name], keras.backend.standardize_dtype(symbol.dtype), f"{name}_held")(images)
        for name, symbol in zip(names, symbols, strict=True)
    ]
    outputs = model(keras.tree.pack_sequence_as(model._inputs_struct, given))
    return keras.Model(images, outputs, name=f"{model.name}_of_images")


def fixed_values(values: Mapping[str, Any], shapes: Mapping[str, Sequence[int | None]]) -> dict[str, NDArray[Any]]:
    """Values of inputs, checked, with a leading axis of 1.

    Args:
        values: by name of the input its value for one image.
        shapes: of all inputs, with their first axis.

    Raises:
        ValueError: an unknown input, a value of another shape, or not exactly one input of images left.
    """
    mapping("values", values, "a mapping from names of inputs to their values")
    found = {}
    for name, value in values.items():
        if name not in shapes:
            hint = close_match(name, shapes)
            raise ValueError(f"fixed inputs must be among {', '.join(shapes)}.{hint} Received: {name!r}")
        array, wanted = np.asarray(value), tuple(shapes[name][1:])
        array = array[None] if array.ndim == len(wanted) else array
        fits = array.ndim == len(wanted) + 1 and array.shape[0] == 1
        if not fits or any(want not in (None, -1, have) for want, have in zip(wanted, array.shape[1:], strict=True)):
            raise ValueError(f"fixed input {name!r} must have the shape {wanted}. Received: shape {np.shape(value)}")
        found[name] = array
    free = [name for name in shapes if name not in found]
    if len(free) != 1 or len(shapes[free[0]]) != 4:
        left = ", ".join(f"{name} {tuple(shapes[name])}" for name in free) or "none"
        raise ValueError(f"fixed inputs must leave one input of images (N, H, W, C). Received: {left} left")
    return found
