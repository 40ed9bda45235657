"""The compiled loop that reads a block once for its row dispersions and its column moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1024
"""Units worked on at a time: their accumulators for a few samples stay in the nearest caches."""

TRANSFORMATIONS = 4
"""So many transformations of two samples are added at a time."""

# Contraction alone (a * b + c in one rounding): anything looser would let NaN through or move the zero of a constant.
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}

# With types given, compiling needs no arguments: see `fused.load_loops`.
STATES = "boolean, float64[::1], float64[::1], boolean, float32[::1], float32[:,::1], float32[:,::1]"
"""Types of what `gather` updates."""

# Work arrays hold several rows of CHUNK numbers one behind the other, at distances that the compiler knows: only then
# does it see that they do not overlap, and works on many units at a time. Were the distances multiples of a page, all
# rows would compete for the same few places in the nearest cache.
DISTANCE = CHUNK + 80
# Of a sample: mean and m2 of its row so far, relative to the row's first member, and that member.
MEAN, M2, FIRST, SAMPLE = 0, DISTANCE, 2 * DISTANCE, 3 * DISTANCE
# Of a column: sums of deviations and of their squares, and the two parts of the mean that they deviate from.
TOTAL, SQUARES, OFFSET, CENTRE, COLUMN = 0, DISTANCE, 2 * DISTANCE, 3 * DISTANCE, 4 * DISTANCE


@njit(**OPTIONS)
def add_pair(x: Any, y: Any, rows: Any, column: Any, inverse: Any) -> None:
    """One transformation more for the rows of two samples (Welford), and two samples more for its column."""
    for i in range(x.size):
        offset, centre = column[OFFSET + i], column[CENTRE + i]
        x_away, y_away = x[i] - offset - centre, y[i] - offset - centre
        column[TOTAL + i] += x_away + y_away
        column[SQUARES + i] += x_away * x_away + y_away * y_away
        x_value, y_value = x[i] - rows[FIRST + i], y[i] - rows[SAMPLE + FIRST + i]
        x_moves, y_moves = x_value - rows[MEAN + i], y_value - rows[SAMPLE + MEAN + i]
        x_mean, y_mean = rows[MEAN + i] + x_moves * inverse, rows[SAMPLE + MEAN + i] + y_moves * inverse
        rows[M2 + i] += x_moves * (x_value - x_mean)
        rows[SAMPLE + M2 + i] += y_moves * (y_value - y_mean)
        rows[MEAN + i], rows[SAMPLE + MEAN + i] = x_mean, y_mean


@njit(**OPTIONS)
def add_two(x: Any, y: Any, offset: Any, columns: Any, i: int) -> None:
    """Two samples more for a unit's column."""
    x_away, y_away = x - offset - columns[CENTRE + i], y - offset - columns[CENTRE + i]
    columns[TOTAL + i] += x_away + y_away
    columns[SQUARES + i] += x_away * x_away + y_away * y_away


@njit(**OPTIONS)
def add_four(a: Any, b: Any, c: Any, d: Any, rows: Any, i: int, inverse: Any) -> None:
    """Four transformations more for a unit's row: Chan's rule for deviations from the mean so far."""
    first, mean = rows[FIRST + i], rows[MEAN + i]
    a, b, c, d = a - first - mean, b - first - mean, c - first - mean, d - first - mean
    total = (a + b) + (c + d)
    # Never negative: the very first of all deviations is zero, and later there are more members than these four.
    rows[M2 + i] += (a * a + b * b) + (c * c + d * d) - total * total * inverse
    rows[MEAN + i] = mean + total * inverse


@njit(**OPTIONS)
def add_tile(
    x0: Any, x1: Any, x2: Any, x3: Any, y0: Any, y1: Any, y2: Any, y3: Any, rows: Any, columns: Any, inverse: Any
) -> None:
    """Four transformations more for the rows of two samples, and two samples more for four columns.

    Accumulators are read and written once for all eight activations of a unit, which is what takes the time.
    """
    for i in range(x0.size):
        a, b, c, d = x0[i], x1[i], x2[i], x3[i]
        e, f, g, h = y0[i], y1[i], y2[i], y3[i]
        offset = columns[OFFSET + i]
        add_two(a, e, offset, columns, i)
        add_two(b, f, offset, columns, COLUMN + i)
        add_two(c, g, offset, columns, 2 * COLUMN + i)
        add_two(d, h, offset, columns, 3 * COLUMN + i)
        add_four(a, b, c, d, rows, i, inverse)
        add_four(e, f, g, h, rows, SAMPLE + i, inverse)


@njit(**OPTIONS)
def add_to_row(x: Any, rows: Any, inverse: Any) -> None:
    """One transformation more for the row of one sample (Welford)."""
    for i in range(x.size):
        value = x[i] - rows[FIRST + i]
        moves = value - rows[MEAN + i]
        mean = rows[MEAN + i] + moves * inverse
        rows[M2 + i] += moves * (value - mean)
        rows[MEAN + i] = mean


@njit(**OPTIONS)
def add_to_column(x: Any, column: Any) -> None:
    """One sample more for one column: sums of deviations from the mean so far."""
    for i in range(x.size):
        away = x[i] - column[OFFSET + i] - column[CENTRE + i]
        column[TOTAL + i] += away
        column[SQUARES + i] += away * away


@njit(**OPTIONS)
def merge_column(mean: Any, m2: Any, column: Any, inverse: Any) -> None:
    """Chan's rule for sums of deviations from the mean of what came before."""
    for i in range(mean.size):
        total = column[TOTAL + i]
        mean[i] += total * inverse
        m2[i] += max(column[SQUARES + i] - total * total * inverse, np.float32(0))


@njit(**OPTIONS)
def add_spread(m2: Any, factor: Any, stds: Any, variances: Any) -> None:
    """Add one row's standard deviation and variance to the sums over rows."""
    for i in range(stds.size):
        variance = m2[i] * factor
        stds[i] += np.sqrt(variance)
        variances[i] += variance


@njit(**OPTIONS)
def add_variances(a: Any, b: Any, c: Any, d: Any, stds: Any, variances: Any, i: int) -> None:
    """Add the variances of four rows of a unit, and their roots, to the sums over rows."""
    stds[i] += (np.sqrt(a) + np.sqrt(b)) + (np.sqrt(c) + np.sqrt(d))
    variances[i] += (a + b) + (c + d)


@njit(**OPTIONS)
def add_four_spreads(rows: Any, factor: Any, stds: Any, variances: Any) -> None:
    """`add_spread` for four rows at a time."""
    for i in range(stds.size):
        a, b = rows[M2 + i] * factor, rows[SAMPLE + M2 + i] * factor
        c, d = rows[2 * SAMPLE + M2 + i] * factor, rows[3 * SAMPLE + M2 + i] * factor
        add_variances(a, b, c, d, stds, variances, i)


@njit(**OPTIONS)
def aligned(size: int, dtype: Any = np.float32) -> Any:
    """`np.empty` of a type of 32 bits whose numbers begin where a cache line does."""
    array = np.empty(size + 16, dtype)
    return array[(-array.ctypes.data // 4) % 16 :][:size]


@njit(f"void(float32[:,:,::1], float64, int64, {STATES})", **OPTIONS)
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
    work, tile = aligned(samples * SAMPLE), aligned(TRANSFORMATIONS * COLUMN)
    inverse_total = np.float32(1.0 / (count + samples))
    inverse_freedom = np.float32(1.0 / max(columns - 1, 1))
    for start in range(0, units, CHUNK):
        stop = min(start + CHUNK, units)
        size = stop - start
        for s in range(samples):
            scratch = work[s * SAMPLE : (s + 1) * SAMPLE]
            scratch[:FIRST] = 0
            scratch[FIRST : FIRST + size] = block[s, 0, start:stop]
        if moments:
            if count == 0:
                offset[start:stop] = block[0, 0, start:stop]
            for k in range(TRANSFORMATIONS):
                tile[k * COLUMN + OFFSET : k * COLUMN + OFFSET + size] = offset[start:stop]
        for t in range(0, columns, TRANSFORMATIONS):
            end = min(t + TRANSFORMATIONS, columns)
            for k in range(t, end if moments else t):
                column = tile[(k - t) * COLUMN : (k - t + 1) * COLUMN]
                if count == 0:
                    # Deviations from the first sample keep constant columns at exactly zero.
                    mean[k, start:stop] = block[0, k, start:stop] - offset[start:stop]
                column[CENTRE : CENTRE + size] = mean[k, start:stop]
                column[:OFFSET] = 0
            s = 0
            while rows and moments and s + 2 <= samples and t + TRANSFORMATIONS <= columns:
                x, y = block[s], block[s + 1]
                add_tile(
                    x[t, start:stop],
                    x[t + 1, start:stop],
                    x[t + 2, start:stop],
                    x[t + 3, start:stop],
                    y[t, start:stop],
                    y[t + 1, start:stop],
                    y[t + 2, start:stop],
                    y[t + 3, start:stop],
                    work[s * SAMPLE : (s + 2) * SAMPLE],
                    tile,
                    np.float32(1.0 / (t + TRANSFORMATIONS)),
                )
                s += 2
            for k in range(t, end):
                inverse, column = np.float32(1.0 / (k + 1)), tile[(k - t) * COLUMN : (k - t + 1) * COLUMN]
                for rest in range(s, samples):
                    if rows:
                        add_to_row(block[rest, k, start:stop], work[rest * SAMPLE : (rest + 1) * SAMPLE], inverse)
                    if moments:
                        add_to_column(block[rest, k, start:stop], column)
                if moments:
                    merge_column(mean[k, start:stop], m2[k, start:stop], column, inverse_total)
        own_stds, own_variances, s = stds[start:stop], variances[start:stop], 0
        while rows and s + 4 <= samples:
            add_four_spreads(work[s * SAMPLE :], inverse_freedom, own_stds, own_variances)
            s += 4
        for rest in range(s, samples if rows else 0):
            add_spread(work[rest * SAMPLE + M2 :], inverse_freedom, own_stds, own_variances)
