"""TI-pooling: the element-wise maximum of a network's answers to all transformations of an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfinv.support.checks import one_of
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Tensor
from tfinv.transformations.affine import Affine, sampling_matrices
from tfinv.transformations.sets import as_set, is_built_in, parse

select_tensorflow_backend()
import keras  # noqa: E402


@keras.saving.register_keras_serializable(package="tfinv")
class TIPooling(keras.layers.Layer):
    r"""Runs a network on every transformation of each image, all in one batch, and takes the maximum of its outputs.

        g_k(x) = \max_{t \in \Phi} f_k(t(x))

    The result is exactly invariant where the set is a group and its warps move whole pixels: the right-angle turns of a
    square image. Elsewhere it is invariant up to interpolation and to what the set leaves out; `group_note` says so.
    Costs as many runs of the network as the set has members.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.layers import TIPooling
        >>> trunk = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
        >>> layer = TIPooling(trunk, "rotations(4)")
        >>> images = np.random.default_rng(0).random((2, 8, 8, 1), dtype="float32")
        >>> layer(images).shape, layer.group_note
        (TensorShape([2, 144]), '')
        >>> bool(np.allclose(layer(images), layer(np.rot90(images, axes=(1, 2)))))
        True

    Args:
        trunk: a Keras model or layer, images `(N, H, W, C)` to features `(N, ...)`.
        transformations: a set of affine maps, or its id such as `"rotations(24)"`.
        padding: what lies outside the frame: `"constant"` for zero, or `"nearest"` for the edge repeated.
        **options: of `keras.layers.Layer`, such as `name`.

    Input: `(N, H, W, C)`. Output: what the trunk gives, `(N, ...)`.

    Raises:
        TypeError: a trunk that is no layer of Keras.
        ValueError: transformations that are not affine maps.

    Source: Laptev et al. 2016, "TI-pooling: transformation-invariant pooling for feature learning", equation 1.
    """

    output_group = "none"

    def __init__(
        self, trunk: Any, transformations: Any = "rotations(4)", *, padding: str = "constant", **options: Any
    ) -> None:
        super().__init__(**options)
        if not isinstance(trunk, keras.layers.Layer):
            raise TypeError(f"trunk must be a Keras model or layer. Received: {type(trunk).__name__}")
        one_of("padding", padding, ("constant", "nearest"))
        self.transformations = as_set(transformations)
        if not self.transformations.is_affine:
            raise ValueError(f"transformations must be affine maps. Received: {self.transformations.id}")
        self.trunk, self.padding = trunk, padding

    @property
    def group_note(self) -> str:
        """Why the set is no group, so that the result is not invariant to it; "" where it is one."""
        maps = list(self._maps())
        for first in maps:
            for second in maps:
                both = first.compose(second)
                if not any(_same(both, known) for known in maps):
                    return f"the set is no group: {first} followed by {second} is not among its {len(maps)} members"
        return ""

    def _maps(self) -> list[Affine]:
        return [transformation for transformation in self.transformations if isinstance(transformation, Affine)]

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise ValueError(
                f"the input of {self.name!r} must be images of a known size (N, H, W, C). "
                f"Received: shape {tuple(input_shape)}"
            )
        if not self.trunk.built:
            self.trunk.build(input_shape)
        height, width = (int(size or 0) for size in input_shape[1:3])
        self._sources = _corners(self._maps(), height, width, self.padding)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        height, width, channels = inputs.shape[1:]
        count = len(self.transformations)
        rows = keras.ops.reshape(inputs, (-1, height * width, channels))
        moved: Any = 0.0
        for places, weights in self._sources:
            taken = keras.ops.take(rows, places, axis=1)
            moved += taken if weights is None else taken * keras.ops.cast(weights[:, None], inputs.dtype)
        features = self.trunk(keras.ops.reshape(moved, (-1, height, width, channels)), training=training)
        shape = tuple(features.shape[1:])
        return keras.ops.max(keras.ops.reshape(features, (-1, count, *shape)), axis=1)

    def get_config(self) -> dict[str, Any]:
        known = is_built_in(self.transformations.id)
        maps = self.transformations.id if known else [list(map(list, affine.coefficients)) for affine in self._maps()]
        trunk = keras.saving.serialize_keras_object(self.trunk)
        return {**super().get_config(), "trunk": trunk, "transformations": maps, "padding": self.padding}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TIPooling:
        given = config["transformations"]
        maps = parse(given) if isinstance(given, str) else [Affine(rows) for rows in given]
        trunk = keras.saving.deserialize_keras_object(config["trunk"])
        return cls(**{**config, "trunk": trunk, "transformations": maps})


def _same(first: Affine, second: Affine) -> bool:
    return bool(np.allclose(first.coefficients, second.coefficients, atol=1e-9))


def _corners(maps: list[Affine], height: int, width: int, padding: str) -> list[tuple[Any, Any]]:
    """Where each pixel of each warp comes from: up to four pairs of positions and weights `(T * H * W,)`.

    A single pair with no weights where all warps move whole pixels within the frame.
    """
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    grid = np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
    x, y, _ = np.moveaxis(sampling_matrices(maps, height, width) @ grid, 1, 0).reshape(3, -1)
    x, y = (np.where(np.abs(place - np.round(place)) < 1e-6, np.round(place), place) for place in (x, y))
    left, top = np.floor(x), np.floor(y)
    corners = []
    for down in (0, 1):
        for right in (0, 1):
            column, row = left + right, top + down
            weights = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
            if padding == "constant":
                weights = weights * ((column >= 0) & (column < width) & (row >= 0) & (row < height))
            places = np.clip(row, 0, height - 1) * width + np.clip(column, 0, width - 1)
            if weights.any():
                corners.append((places.astype(np.int32), weights.astype(np.float32)))
    if len(corners) == 1 and (corners[0][1] == 1).all():
        return [(corners[0][0], None)]
    return corners
