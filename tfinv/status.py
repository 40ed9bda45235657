"""What the value of a unit means: valid, or why it does not enter the number of its layer."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Status(IntEnum):
    """Why a value may or may not enter a layer profile; only `VALID` units do."""

    VALID = 0
    DEAD = 1
    """Neither samples nor transformations change the unit: 0/0, reported as 1."""
    SAMPLE_CONSTANT = 2
    """Transformations change the unit, samples do not: x/0, reported as inf."""
    NON_FINITE = 3
    """The value is not a finite number for another reason."""
    TOO_FEW_POSITIONS = 4
    """A map keeps too few positions inside the frame to be measured."""
    SPARSE = 5
    """Transformations move the unit on too few samples: the relative standard error is above `SPARSE_ABOVE`."""


SPARSE_ABOVE = 0.45
"""Largest relative standard error of a unit's mean deviation over transformations that is still trusted.

Five samples that move the unit alike among many that do not give 0.45. In simulations units at this bound are off by
half of their value (root mean square, see `docs/estimators.md`).
"""


def quotient(
    numerator: NDArray[np.floating], denominator: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Element-wise quotient with the conventions of the measures: 0/0 -> 1 (dead), x/0 -> inf (sample-constant).

    Args:
        numerator: non-negative array.
        denominator: non-negative array of the same shape.

    Returns:
        The values (float64) and their `Status` (uint8), both of the same shape.
    """
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    zero = denominator <= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(zero, np.where(numerator <= 0, 1.0, np.inf), numerator / np.where(zero, 1.0, denominator))
    status = np.full(values.shape, Status.VALID, np.uint8)
    status[zero & (numerator <= 0)] = Status.DEAD
    status[zero & (numerator > 0)] = Status.SAMPLE_CONSTANT
    status[np.isnan(numerator) | np.isnan(denominator) | (np.isinf(values) & ~zero)] = Status.NON_FINITE
    values[np.isnan(numerator) | np.isnan(denominator)] = np.nan
    return values, status


def finite_status(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """`VALID` where a value is finite, `NON_FINITE` elsewhere."""
    return np.where(np.isfinite(values), Status.VALID, Status.NON_FINITE).astype(np.uint8)
