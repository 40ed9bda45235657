"""The compiled loop that reads a block of 8-bit integers once for its rows and its columns, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from tfinv.statistics.compiled.loop import OPTIONS, add_variances, aligned

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SAMPLES = (2**31 - 1) // 128**2
"""Sums of squares over more samples than these leave 32 bits."""
MOST_TRANSFORMATIONS = 362
"""`T sum q^2 - (sum q)^2` over more transformations leaves 32 bits."""

CHUNK = 2048
"""Units worked on at a time."""

# Sums, and sums of squares behind them, of rows or columns one behind the other, at distances that the compiler knows:
# only then does it see that they do not overlap, and works on many units at a time. Were the distances multiples of a
# page, all sums would compete for the same few places in the nearest cache.
DISTANCE = CHUNK + 80
SQUARES, NEXT = DISTANCE, 2 * DISTANCE


@njit(**OPTIONS)
def _plus(a: Any, b: Any) -> Any:
    return np.int32(a + b)  # without the cast Numba goes on in 64 bits, at half the speed


@njit(**OPTIONS)
def _squared(a: Any) -> Any:
    return np.int32(a * a)


@njit(**OPTIONS)
def _add_four(flat: Any, at: int, sample: int, column: int, size: int, rows: Any, columns: Any) -> None:
    """Four samples under two transformations more for four rows and two columns.

    Args:
        flat: the block.
        at: where the first unit of the first sample under the first transformation is.
        sample: from one sample to the next.
        column: from one transformation to the next.
        size: units.
        rows: sums of the rows.
        columns: sums of the columns.
    """
    first, second = at + sample, at + 2 * sample
    third = second + sample
    for i in range(size):  # unsigned, or each index would be looked at for being negative
        a, b = np.int32(flat[np.uint64(at + i)]), np.int32(flat[np.uint64(first + i)])
        c, d = np.int32(flat[np.uint64(second + i)]), np.int32(flat[np.uint64(third + i)])
        e, f = np.int32(flat[np.uint64(at + column + i)]), np.int32(flat[np.uint64(first + column + i)])
        g, h = np.int32(flat[np.uint64(second + column + i)]), np.int32(flat[np.uint64(third + column + i)])
        aa, bb, cc, dd = _squared(a), _squared(b), _squared(c), _squared(d)
        ee, ff, gg, hh = _squared(e), _squared(f), _squared(g), _squared(h)
        columns[i] += _plus(_plus(a, b), _plus(c, d))
        columns[SQUARES + i] += _plus(_plus(aa, bb), _plus(cc, dd))
        columns[NEXT + i] += _plus(_plus(e, f), _plus(g, h))
        columns[NEXT + SQUARES + i] += _plus(_plus(ee, ff), _plus(gg, hh))
        rows[i] += _plus(a, e)
        rows[SQUARES + i] += _plus(aa, ee)
        rows[NEXT + i] += _plus(b, f)
        rows[NEXT + SQUARES + i] += _plus(bb, ff)
        rows[2 * NEXT + i] += _plus(c, g)
        rows[2 * NEXT + SQUARES + i] += _plus(cc, gg)
        rows[3 * NEXT + i] += _plus(d, h)
        rows[3 * NEXT + SQUARES + i] += _plus(dd, hh)


@njit(**OPTIONS)
def _add_one(flat: Any, at: int, size: int, sums: Any) -> None:
    for i in range(size):
        a = np.int32(flat[np.uint64(at + i)])
        sums[i] += a
        sums[SQUARES + i] += _squared(a)


@njit(**OPTIONS)
def _add_column(work: Any, sums: Any, squares: Any) -> None:
    for i in range(sums.size):
        sums[i] += work[i]
        squares[i] += work[SQUARES + i]


@njit(**OPTIONS)
def _variance(rows: Any, i: int, count: Any, factor: Any) -> Any:
    """`(T sum q^2 - (sum q)^2) / (T (T - 1))` in squared steps."""
    return np.float32(np.int32(np.int32(count * rows[SQUARES + i]) - _squared(rows[i]))) * factor


@njit(**OPTIONS)
def _add_spread(rows: Any, count: Any, factor: Any, stds: Any, variances: Any) -> None:
    for i in range(stds.size):
        variance = _variance(rows, i, count, factor)
        stds[i] += np.sqrt(variance)
        variances[i] += variance


@njit(**OPTIONS)
def _add_four_spreads(rows: Any, count: Any, factor: Any, stds: Any, variances: Any) -> None:
    for i in range(stds.size):
        a, b = _variance(rows, i, count, factor), _variance(rows, NEXT + i, count, factor)
        c, d = _variance(rows, 2 * NEXT + i, count, factor), _variance(rows, 3 * NEXT + i, count, factor)
        add_variances(a, b, c, d, stds, variances, i)


@njit(
    "void(int8[:,:,::1], int64, boolean, float64, float64[::1], float64[::1], boolean, int32[:,::1], int32[:,::1])",
    **OPTIONS,
)
def gather_integers(
    block: NDArray[np.int8],
    columns: int,
    rows: bool,
    step: float,
    stds: NDArray[np.float64],
    variances: NDArray[np.float64],
    moments: bool,
    sums: NDArray[np.int32],
    squares: NDArray[np.int32],
) -> None:
    """Add a block of samples to sums over rows and to sums over columns, in place; runs without the interpreter lock.

    Sums of small integers are exact, so sums of squares are as good as deviations from a mean here.

    Args:
        block: int8 `(S_b, T or more, U)`, contiguous; columns after the first `T` are not read.
        columns: `T`, at most `MOST_TRANSFORMATIONS`.
        rows: whether to gather row dispersions.
        step: the real number that one integer step stands for.
        stds: `(U,)`, sum over samples of the standard deviation over transformations, in real numbers.
        variances: `(U,)`, the same for the variance.
        moments: whether to gather sums over samples.
        sums: `(T, U)`, of the integers over at most `MOST_SAMPLES` samples.
        squares: `(T, U)`, of their squares.
    """
    samples, held, units = block.shape
    flat, work, both = block.reshape(-1), aligned(samples * NEXT, np.int32), aligned(2 * NEXT, np.int32)
    factor = np.float32(step * step / (columns * max(columns - 1, 1)))
    for start in range(0, units, CHUNK):
        stop = min(start + CHUNK, units)
        size = stop - start
        work[:] = 0
        for t in range(0, columns, 2):
            pair, s = min(2, columns - t), 0
            both[:] = 0
            while pair == 2 and s + 4 <= samples:
                at = (s * held + t) * units + start
                _add_four(flat, at, held * units, units, size, work[s * NEXT : (s + 4) * NEXT], both)
                s += 4
            for k in range(pair):
                for rest in range(s, samples):
                    at = (rest * held + t + k) * units + start
                    _add_one(flat, at, size, work[rest * NEXT :])
                    _add_one(flat, at, size, both[k * NEXT :])
                if moments:
                    _add_column(both[k * NEXT :], sums[t + k, start:stop], squares[t + k, start:stop])
        own_stds, own_variances, s = stds[start:stop], variances[start:stop], 0
        while rows and s + 4 <= samples:
            _add_four_spreads(work[s * NEXT :], np.int32(columns), factor, own_stds, own_variances)
            s += 4
        for rest in range(s, samples if rows else 0):
            _add_spread(work[rest * NEXT :], np.int32(columns), factor, own_stds, own_variances)


@njit(
    "void(int32[:,::1], int32[:,::1], int64, float64, float64, int64, float32[::1], float32[:,::1], float32[:,::1])",
    **OPTIONS,
)
def add_moments(
    sums: NDArray[np.int32],
    squares: NDArray[np.int32],
    count: int,
    step: float,
    zero_point: float,
    before: int,
    offset: NDArray[np.float32],
    mean: NDArray[np.float32],
    m2: NDArray[np.float32],
) -> None:
    """Add sums over samples to moments of other samples, in place (Chan's rule).

    Args:
        sums: see `gather_integers`.
        squares: see `gather_integers`.
        count: samples in the sums.
        step: see `gather_integers`.
        zero_point: the integer that stands for zero.
        before: samples in the moments.
        offset: see `kernel.gather`.
        mean: see `kernel.gather`.
        m2: see `kernel.gather`.
    """
    share, both = count / (before + count), before * (count / (before + count))
    for t in range(len(sums)):
        for i in range(sums.shape[1]):
            total = np.int64(sums[t, i])
            own_m2 = np.float64(count * np.int64(squares[t, i]) - total * total) * (step * step / count)
            own_mean = (total / count - zero_point) * step
            if before == 0:
                if t == 0:
                    offset[i] = np.float32(own_mean)
                mean[t, i], m2[t, i] = own_mean - offset[i], own_m2
            else:
                moved = own_mean - offset[i] - mean[t, i]
                mean[t, i] += np.float32(moved * share)
                m2[t, i] += np.float32(own_m2 + moved * moved * both)
