"""The compiled loop that merges moments of a shard, as they were gathered, into those of all shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import float32, float64, njit, types, void

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OFFSET, GATHERED = (types.Array(float32, axes, "C", readonly=True) for axes in (1, 2))


# No contraction: the bits are those of `ColumnMoments.merge`, which runs where states come from workers.
@njit(
    void(float64, float64[:, ::1], float64[:, ::1], float64, OFFSET, GATHERED, GATHERED),
    nogil=True,
    cache=True,
    error_model="numpy",
    boundscheck=False,
)
def merge_moments(
    count: float,
    mean: NDArray[np.float64],
    m2: NDArray[np.float64],
    more: float,
    offset: NDArray[np.float32],
    shift: NDArray[np.float32],
    other: NDArray[np.float32],
) -> None:
    """Chan's rule, in place.

    Args:
        count: samples so far.
        mean: `(T, U)`, their means, written to.
        m2: `(T, U)`, their sums of squared deviations, written to.
        more: samples of the shard, see `ShiftedMoments`.
        offset: `(U,)`.
        shift: `(T, U)`.
        other: `(T, U)`, sums of squared deviations of the shard.
    """
    weight = more / (count + more + 1e-30)
    factor = count * weight
    for t in range(mean.shape[0]):
        for u in range(mean.shape[1]):
            delta = float64(shift[t, u]) + float64(offset[u]) - mean[t, u]
            mean[t, u] = mean[t, u] + delta * weight
            m2[t, u] = m2[t, u] + float64(other[t, u]) + delta * delta * factor
