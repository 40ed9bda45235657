"""Random affine maps within ranges, drawn and inverted in-graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfinv.support.lazy import keras, tf
from tfinv.transformations.affine import finite_number

Bounds = tuple[float, float]
AXES = ("horizontal", "vertical")


@dataclass(frozen=True)
class MapRanges:
    """A distribution over affine maps: reflection, scale, shear, rotation, translation, in that order.

        L = R(rotation) Sh(shear) scale F,    p -> L p + (W tx, H ty)

    Every bound is a pair `(low, high)`, drawn from uniformly; None leaves the step out.

    Args:
        rotation: degrees, positive counter-clockwise.
        scale: factor of both axes.
        translation: fraction of the width to the right, and another of the height down.
        shear: degrees by which vertical lines lean.
        reflection: axis of a mirror image that half of the maps contain.
    """

    rotation: Bounds | None = None
    scale: Bounds | None = None
    translation: Bounds | None = None
    shear: Bounds | None = None
    reflection: str | None = None

    @classmethod
    def of(cls, rotation: Any, scale: Any, translation: Any, shear: Any, reflection: Any) -> MapRanges:
        """The ranges as a user gives them: a number `m` for `(-m, m)`, or a pair.

        Raises:
            ValueError: a pair in the wrong order, a scale that is not positive, a shear of 90 degrees, an unknown axis.
            TypeError: not numbers.
        """
        if scale is not None and not isinstance(scale, (tuple, list)):
            raise TypeError(f"scale must be a pair of factors such as (0.8, 1.2). Received: {scale!r}")
        ranges = cls(
            _bounds("rotation", rotation),
            _bounds("scale", scale),
            _bounds("translation", translation),
            _bounds("shear", shear),
            reflection,
        )
        if ranges.scale and ranges.scale[0] <= 0:
            raise ValueError(f"scale must be a pair of positive factors. Received: {scale!r}")
        if ranges.shear and max(map(abs, ranges.shear)) >= 90:
            raise ValueError(f"shear must be degrees within (-90, 90). Received: {shear!r}")
        if reflection is not None and reflection not in AXES:
            raise ValueError(f"reflection must be one of {AXES} or None. Received: {reflection!r}")
        return ranges

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        pairs = ("rotation", "scale", "translation", "shear")
        values = {name: getattr(self, name) for name in pairs}
        return {name: None if value is None else list(value) for name, value in values.items()} | {
            "reflection": self.reflection
        }

    def draw(self, count: Any, seed: Any) -> Any:
        """Draw `count` maps.

        Args:
            count: int or integer tensor.
            seed: a `keras.random.SeedGenerator`, which moves on.

        Returns:
            float32 tensor `(count, 2, 4)` of `Affine.coefficients`.
        """

        def uniform(bounds: Bounds | None, neutral: float) -> Any:
            if bounds is None:
                return tf.fill([count], neutral)
            return keras.random.uniform((count,), *bounds, dtype="float32", seed=seed)

        angle = uniform(self.rotation, 0.0) * (math.pi / 180)
        factor = uniform(self.scale, 1.0)
        slope = tf.tan(uniform(self.shear, 0.0) * (math.pi / 180))
        half_widths, half_heights = 2 * uniform(self.translation, 0.0), 2 * uniform(self.translation, 0.0)
        flip_x, flip_y = self._flips(count, seed)
        cosine, sine, zero = factor * tf.cos(angle), factor * tf.sin(angle), tf.zeros_like(angle)
        rows = (
            (cosine * flip_x, (cosine * slope + sine) * flip_y, half_widths, zero),
            (-sine * flip_x, (cosine - sine * slope) * flip_y, zero, half_heights),
        )
        return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=1)

    def _flips(self, count: Any, seed: Any) -> tuple[Any, Any]:
        ones = tf.ones([count])
        if self.reflection is None:
            return ones, ones
        signs = 1.0 - 2.0 * tf.cast(keras.random.randint((count,), 0, 2, seed=seed), tf.float32)
        return (signs, ones) if self.reflection == "horizontal" else (ones, signs)


def backward_matrices(coefficients: Any, height: int, width: int) -> Any:
    """The sampling matrices of drawn maps, as `affine.sampling_matrices` gives them for known ones, in-graph.

    Args:
        coefficients: float32 `(N, 2, 4)`, invertible.
        height: rows of the image.
        width: columns of the image.

    Returns:
        float32 `(N, 3, 3)`, output pixel `(column, row, 1)` to input pixel.
    """
    a, b, c, d = (coefficients[:, row, column] for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)))
    determinant = a * d - b * c
    inverse = tf.stack([tf.stack([d, -b], -1), tf.stack([-c, a], -1)], axis=1) / determinant[:, None, None]
    shift = tf.linalg.matvec(coefficients[:, :, 2:], tf.constant([width / 2, height / 2], tf.float32))
    centre = tf.constant([(width - 1) / 2, (height - 1) / 2], tf.float32)
    offset = centre - tf.linalg.matvec(inverse, shift + centre)
    last = tf.broadcast_to(tf.constant([[[0.0, 0.0, 1.0]]]), [tf.shape(coefficients)[0], 1, 3])
    return tf.concat([tf.concat([inverse, offset[:, :, None]], axis=2), last], axis=1)


def _bounds(name: str, value: float | Sequence[float] | None) -> Bounds | None:
    if value is None:
        return None
    if not isinstance(value, (tuple, list)):
        largest = finite_number(name, value)
        if largest < 0:
            raise ValueError(f"{name} must be a largest amount of at least 0, or a pair. Received: {value!r}")
        return -largest, largest
    if len(value) != 2:
        raise ValueError(f"{name} must be a number or a pair (low, high). Received: {value!r}")
    low, high = (finite_number(name, bound) for bound in value)
    if low > high:
        raise ValueError(f"{name} must be a pair (low, high) with low up to high. Received: {value!r}")
    return low, high
