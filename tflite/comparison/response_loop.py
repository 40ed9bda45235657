"""The compiled loop of `responses`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import boolean, float32, njit, types, void

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALUES = types.Array(float32, 2, "C", readonly=True)


@njit(void(VALUES, float32, float32, boolean[:, ::1]), nogil=True, cache=True, error_model="numpy")
def mark_levels(values: NDArray[np.float32], low: float, per_step: float, used: NDArray[np.bool_]) -> None:
    """Mark the levels that occur in every map.

    Args:
        values: `(N, C)`, all of them levels: `low + k / per_step` with `k` from 0 to 255.
        low: the lowest level.
        per_step: 1 / distance of two levels.
        used: `(C, 256)`, written to.
    """
    for n in range(values.shape[0]):
        for c in range(values.shape[1]):
            used[c, np.uint8((values[n, c] - low) * per_step + np.float32(0.5))] = True
