"""The compiled loop that reads a block of 8-bit integers once for its rows and its columns, exactly (statistics)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from tfinv.statistics.kernel import OPTIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SAMPLES = (2**31 - 1) // 128**2
"""Sums of squares over more samples than these leave 32 bits."""
MOST_TRANSFORMATIONS = 362
"""`T sum q^2 - (sum q)^2` over more transformations leaves 32 bits."""

CHUNK = 960
"""Units worked on at a time. Not a power of two, or the sums below would lie at distances that a cache confuses."""

# Sums, and sums of squares behind them, of two columns and then of four samples, all in one array at distances that the
# compiler knows: only then does it see that they do not overlap, and works on many units at a time.
SQUARES, NEXT, ROWS, GROUP = CHUNK, 2 * CHUNK, 4 * CHUNK, 12 * CHUNK


@njit(**OPTIONS)
def _plus(a: Any, b: Any) -> Any:
    return np.int32(a + b)  # without the cast Numba goes on in 64 bits, at half the speed


@njit(**OPTIONS)
def _squared(a: Any) -> Any:
    return np.int32(a * a)


@njit(**OPTIONS)
def _add_four(flat: Any, at: int, sample: int, column: int, size: int, work: Any) -> None:
    """Four samples under two transformations: sums of the two columns, and more for the four rows.

    Args:
        flat: the block.
        at: where the first unit of the first sample under the first transformation is.
        sample: from one sample to the next.
        column: from one transformation to the next.
        size: units.
        work: see above.
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
        work[i] = _plus(_plus(a, b), _plus(c, d))
        work[SQUARES + i] = _plus(_plus(aa, bb), _plus(cc, dd))
        work[NEXT + i] = _plus(_plus(e, f), _plus(g, h))
        work[NEXT + SQUARES + i] = _plus(_plus(ee, ff), _plus(gg, hh))
        work[ROWS + i] += _plus(a, e)
        work[ROWS + SQUARES + i] += _plus(aa, ee)
        work[ROWS + NEXT + i] += _plus(b, f)
        work[ROWS + NEXT + SQUARES + i] += _plus(bb, ff)
        work[ROWS + 2 * NEXT + i] += _plus(c, g)
        work[ROWS + 2 * NEXT + SQUARES + i] += _plus(cc, gg)
        work[ROWS + 3 * NEXT + i] += _plus(d, h)
        work[ROWS + 3 * NEXT + SQUARES + i] += _plus(dd, hh)


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
def _add_spread(row: Any, count: Any, factor: Any, stds: Any, variances: Any) -> None:
    """`(T sum q^2 - (sum q)^2) / (T (T - 1))` in squared steps."""
    for i in range(stds.size):
        spread = np.int32(np.int32(count * row[SQUARES + i]) - _squared(row[i]))
        variance = np.float32(spread) * factor
        stds[i] += np.sqrt(variance)
        variances[i] += variance


@njit(**OPTIONS)
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
    flat, work = block.reshape(-1), np.empty(GROUP, np.int32)
    factor = np.float32(step * step / (columns * max(columns - 1, 1)))
    for start in range(0, units, CHUNK):
        stop = min(start + CHUNK, units)
        size = stop - start
        for s in range(0, samples, 4):
            members, done = min(4, samples - s), 0
            work[:] = 0
            if members == 4 and moments:
                for t in range(0, columns - 1, 2):
                    _add_four(flat, (s * held + t) * units + start, held * units, units, size, work)
                    _add_column(work, sums[t, start:stop], squares[t, start:stop])
                    _add_column(work[NEXT:], sums[t + 1, start:stop], squares[t + 1, start:stop])
                    done = t + 2
            for t in range(done, columns):
                work[:ROWS] = 0
                for member in range(members):
                    at = ((s + member) * held + t) * units + start
                    _add_one(flat, at, size, work[ROWS + member * NEXT :])
                    if moments:
                        _add_one(flat, at, size, work)
                if moments:
                    _add_column(work, sums[t, start:stop], squares[t, start:stop])
            for member in range(members if rows else 0):
                own = work[ROWS + member * NEXT :]
                _add_spread(own, np.int32(columns), factor, stds[start:stop], variances[start:stop])


@njit(**OPTIONS)
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
