"""The compiled loop that reads a block once for its row dispersions and its column moments (statistics)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1024
"""Units worked on at a time: their row accumulators for a few samples stay in the nearest caches."""

# Contraction alone (a * b + c in one rounding): anything looser would let NaN through or move the zero of a constant.
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}


@njit(**_OPTIONS)
def _row(x: Any, first: Any, mean: Any, m2: Any, inverse: Any) -> None:
    """One transformation more for one row: Welford's update of deviations from the row's first member."""
    for i in range(x.size):
        value = x[i] - first[i]
        deviation = value - mean[i]
        moved = mean[i] + deviation * inverse
        m2[i] += deviation * (value - moved)
        mean[i] = moved


@njit(**_OPTIONS)
def _column(x: Any, offset: Any, mean: Any, total: Any, squares: Any) -> None:
    """One sample more for one column: sums of deviations from the mean so far."""
    for i in range(x.size):
        deviation = x[i] - offset[i] - mean[i]
        total[i] += deviation
        squares[i] += deviation * deviation


@njit(**_OPTIONS)
def _both(
    x: Any, first: Any, mean: Any, m2: Any, inverse: Any, offset: Any, column_mean: Any, total: Any, squares: Any
) -> None:
    """`_row` and `_column` of one read."""
    for i in range(x.size):
        away = x[i] - offset[i] - column_mean[i]
        total[i] += away
        squares[i] += away * away
        value = x[i] - first[i]
        deviation = value - mean[i]
        moved = mean[i] + deviation * inverse
        m2[i] += deviation * (value - moved)
        mean[i] = moved


@njit(**_OPTIONS)
def _merge(mean: Any, m2: Any, total: Any, squares: Any, inverse: Any) -> None:
    """Chan's rule for sums of deviations from the mean of what came before."""
    for i in range(mean.size):
        mean[i] += total[i] * inverse
        m2[i] += max(squares[i] - total[i] * total[i] * inverse, np.float32(0))


@njit(**_OPTIONS)
def _spread(m2: Any, factor: Any, stds: Any, variances: Any) -> None:
    """Add one row's standard deviation and variance to the sums over rows."""
    for i in range(stds.size):
        variance = m2[i] * factor
        stds[i] += np.sqrt(variance)
        variances[i] += variance


@njit(**_OPTIONS)
def gather(
    block: NDArray[np.float32],
    count: float,
    columns: int,
    rows: bool,
    stds: NDArray[np.float64],
    variances: NDArray[np.float64],
    moments: bool,
    offset: NDArray[np.float32],
    mean: NDArray[np.float32],
    m2: NDArray[np.float32],
) -> None:
    """Add a block of samples to sums over rows and to column moments, in place; runs without the interpreter lock.

    Args:
        block: activations `(S_b, T or more, U)`; columns after the first `T` are not read.
        count: samples added before.
        columns: `T`.
        rows: whether to gather row dispersions.
        stds: `(U,)`, sum over samples of the standard deviation over transformations.
        variances: `(U,)`, the same for the variance.
        moments: whether to gather column moments.
        offset: `(U,)`, what means are relative to; set where `count` is 0, to the first activations.
        mean: `(T, U)`, mean over samples, relative to the offset: small numbers keep float32 exact enough where
            `|mean|` is a thousand standard deviations. Not read where `count` is 0.
        m2: `(T, U)`, sum of squared deviations from it.
    """
    samples, _, units = block.shape
    scratch = np.empty((2 * samples + 2, CHUNK), np.float32)
    inverse_total = np.float32(1.0 / (count + samples))
    inverse_freedom = np.float32(1.0 / max(columns - 1, 1))
    for start in range(0, units, CHUNK):
        stop = min(start + CHUNK, units)
        size = stop - start
        scratch[:] = 0
        total, squares = scratch[2 * samples, :size], scratch[2 * samples + 1, :size]
        if moments and count == 0:
            offset[start:stop] = block[0, 0, start:stop]
        for t in range(columns):
            inverse = np.float32(1.0 / (t + 1))
            if not moments:
                for s in range(samples):
                    x, first = block[s, t, start:stop], block[s, 0, start:stop]
                    _row(x, first, scratch[2 * s, :size], scratch[2 * s + 1, :size], inverse)
                continue
            base, centre = offset[start:stop], mean[t, start:stop]
            if count == 0:
                # Deviations from the first sample keep constant columns at exactly zero.
                centre[:] = block[0, t, start:stop] - base
            total[:] = 0
            squares[:] = 0
            for s in range(samples):
                x = block[s, t, start:stop]
                if rows:
                    first = block[s, 0, start:stop]
                    mean_of_row, m2_of_row = scratch[2 * s, :size], scratch[2 * s + 1, :size]
                    _both(x, first, mean_of_row, m2_of_row, inverse, base, centre, total, squares)
                else:
                    _column(x, base, centre, total, squares)
            _merge(centre, m2[t, start:stop], total, squares, inverse_total)
        if rows:
            for s in range(samples):
                _spread(scratch[2 * s + 1, :size], inverse_freedom, stds[start:stop], variances[start:stop])
