"""Short texts for affine maps, read from their coefficients, for axes and titles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tfinv.transformations.affine import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-9
"""Parts of a map that differ from doing nothing by less than this are not named."""


def affine_label(affine: Affine) -> str:
    """A short text for an affine map, such as `-90°`, `x1.25`, `flip left-right`, `shift (0.1, 0)`.

    The parts are in the order in which they happen: `shear 10° x(1, 0.5) 45° shift (0.1, 0)` shears, then scales,
    then rotates, then shifts. Shifts are fractions of the sides of a square image.

    Example:
        >>> from tfinv.transformations import Affine
        >>> affine_label(Affine.rotation(30).compose(Affine.scale(0.5)))
        '30° x0.5'

    Args:
        affine: any map.

    Returns:
        The text; `"identity"` for the map that moves nothing.
    """
    coefficients = np.asarray(affine.coefficients)
    shift = coefficients[:, 2:].sum(axis=1) / 2
    parts = _linear_parts(coefficients[:, :2]) if affine.is_invertible else ["singular"]
    if np.abs(shift).max() > TOLERANCE:
        parts.append(f"shift ({_number(shift[0])}, {_number(shift[1])})")
    return " ".join(parts) or "identity"


def angles(transformations: Iterable[object]) -> NDArray[np.float64]:
    """The angle of each rotation in degrees; NaN for what is no pure rotation."""
    turns = []
    for transformation in transformations:
        degrees = transformation.degrees if isinstance(transformation, Affine) else math.nan
        is_rotation = isinstance(transformation, Affine) and np.allclose(
            transformation.matrix, Affine.rotation(degrees).matrix, atol=1e-9
        )
        turns.append(degrees if is_rotation else math.nan)
    return np.array(turns)


def _linear_parts(linear: np.ndarray) -> list[str]:
    parts = []
    if np.linalg.det(linear) < 0:
        vertical = linear[1, 1] < 0 and abs(linear[0, 1]) + abs(linear[1, 0]) <= TOLERANCE
        parts.append("flip up-down" if vertical else "flip left-right")
        linear = linear * ([1.0, -1.0] if vertical else [-1.0, 1.0])
    (a, b), (c, d) = linear
    if abs(a * c + b * d) <= TOLERANCE * abs(a * d - b * c):  # orthogonal rows: rotated, then scaled
        return parts + _angle(b, a) + _factors(math.hypot(a, b), math.hypot(c, d))
    if abs(a * b + c * d) <= TOLERANCE * abs(a * d - b * c):  # orthogonal columns: scaled, then rotated
        return parts + _factors(math.hypot(a, c), math.hypot(b, d)) + _angle(-c, a)
    if abs(b) <= TOLERANCE:
        return [*parts, f"shear y {_degrees(c, d)}", *_factors(a, d)]
    # Otherwise a rotation of an upper triangular matrix (QR), that is: sheared, then scaled, then rotated.
    sx, area = math.hypot(a, c), a * d - b * c
    slope = (a * b + c * d) / sx**2
    return [*parts, f"shear {_degrees(slope, 1.0)}", *_factors(sx, area / sx), *_angle(-c, a)]


def _angle(sine: float, cosine: float) -> list[str]:
    return [_degrees(sine, cosine)] if abs(math.atan2(sine, cosine)) > TOLERANCE else []


def _degrees(sine: float, cosine: float) -> str:
    degrees = math.degrees(math.atan2(sine, cosine))
    return f"{_number(180.0 if degrees <= -180.0 + TOLERANCE else degrees)}°"


def _factors(sx: float, sy: float) -> list[str]:
    if max(abs(sx - 1), abs(sy - 1)) <= TOLERANCE:
        return []
    return [f"x{_number(sx)}" if abs(sx - sy) <= TOLERANCE else f"x({_number(sx)}, {_number(sy)})"]


def _number(value: float) -> str:
    return f"{round(float(value), 9) + 0.0:.4g}"
