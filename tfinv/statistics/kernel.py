"""The compiled loop that reads a block once for its row dispersions and its column moments (statistics)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1024
"""Units worked on at a time: their accumulators for a few samples stay in the nearest caches."""

# Contraction alone (a * b + c in one rounding): anything looser would let NaN through or move the zero of a constant.
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}

# Work arrays hold several rows of CHUNK numbers one behind the other, at distances that the compiler knows: only then
# does it see that they do not overlap, and works on many units at a time.
# Of a sample: mean and m2 of its row so far, relative to the row's first member, and that member.
MEAN, M2, FIRST, SAMPLE = 0, CHUNK, 2 * CHUNK, 3 * CHUNK
# Of a column: sums of deviations and of their squares, and the two parts of the mean that they deviate from.
TOTAL, SQUARES, OFFSET, CENTRE, COLUMN = 0, CHUNK, 2 * CHUNK, 3 * CHUNK, 4 * CHUNK


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
def add_square(
    x: Any, y: Any, next_x: Any, next_y: Any, rows: Any, columns: Any, inverse: Any, next_inverse: Any
) -> None:
    """Two transformations more for the rows of two samples, and two samples more for both columns.

    Accumulators of rows are then read and written once for two activations, like those of columns.
    """
    for i in range(x.size):
        offset = columns[OFFSET + i]
        centre, next_centre = columns[CENTRE + i], columns[COLUMN + CENTRE + i]
        x_away, y_away = x[i] - offset - centre, y[i] - offset - centre
        columns[TOTAL + i] += x_away + y_away
        columns[SQUARES + i] += x_away * x_away + y_away * y_away
        x_away, y_away = next_x[i] - offset - next_centre, next_y[i] - offset - next_centre
        columns[COLUMN + TOTAL + i] += x_away + y_away
        columns[COLUMN + SQUARES + i] += x_away * x_away + y_away * y_away
        x_first, y_first = rows[FIRST + i], rows[SAMPLE + FIRST + i]
        x_mean, y_mean = rows[MEAN + i], rows[SAMPLE + MEAN + i]
        x_value, y_value = x[i] - x_first, y[i] - y_first
        x_moves, y_moves = x_value - x_mean, y_value - y_mean
        x_mean, y_mean = x_mean + x_moves * inverse, y_mean + y_moves * inverse
        x_squares, y_squares = x_moves * (x_value - x_mean), y_moves * (y_value - y_mean)
        x_value, y_value = next_x[i] - x_first, next_y[i] - y_first
        x_moves, y_moves = x_value - x_mean, y_value - y_mean
        x_mean, y_mean = x_mean + x_moves * next_inverse, y_mean + y_moves * next_inverse
        rows[M2 + i] += x_squares + x_moves * (x_value - x_mean)
        rows[SAMPLE + M2 + i] += y_squares + y_moves * (y_value - y_mean)
        rows[MEAN + i], rows[SAMPLE + MEAN + i] = x_mean, y_mean


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
    work = np.empty(samples * SAMPLE, np.float32)
    both = np.empty(2 * COLUMN, np.float32)
    inverse_total = np.float32(1.0 / (count + samples))
    inverse_freedom = np.float32(1.0 / max(columns - 1, 1))
    for start in range(0, units, CHUNK):
        stop = min(start + CHUNK, units)
        size = stop - start
        for s in range(samples):
            own = work[s * SAMPLE : (s + 1) * SAMPLE]
            own[:FIRST] = 0
            own[FIRST : FIRST + size] = block[s, 0, start:stop]
        if moments:
            if count == 0:
                offset[start:stop] = block[0, 0, start:stop]
            both[OFFSET : OFFSET + size] = both[COLUMN + OFFSET : COLUMN + OFFSET + size] = offset[start:stop]
        for t in range(0, columns, 2):
            end = min(t + 2, columns)
            for k in range(t, end if moments else t):
                column = both[(k - t) * COLUMN : (k - t + 1) * COLUMN]
                if count == 0:
                    # Deviations from the first sample keep constant columns at exactly zero.
                    mean[k, start:stop] = block[0, k, start:stop] - offset[start:stop]
                column[CENTRE : CENTRE + size] = mean[k, start:stop]
                column[:OFFSET] = 0
            s = 0
            while rows and moments and s + 2 <= samples and t + 2 <= columns:
                x, y = block[s], block[s + 1]
                add_square(
                    x[t, start:stop],
                    y[t, start:stop],
                    x[t + 1, start:stop],
                    y[t + 1, start:stop],
                    work[s * SAMPLE : (s + 2) * SAMPLE],
                    both,
                    np.float32(1.0 / (t + 1)),
                    np.float32(1.0 / (t + 2)),
                )
                s += 2
            for k in range(t, end):
                inverse, column = np.float32(1.0 / (k + 1)), both[(k - t) * COLUMN : (k - t + 1) * COLUMN]
                for rest in range(s, samples):
                    if rows:
                        add_to_row(block[rest, k, start:stop], work[rest * SAMPLE : (rest + 1) * SAMPLE], inverse)
                    if moments:
                        add_to_column(block[rest, k, start:stop], column)
                if moments:
                    merge_column(mean[k, start:stop], m2[k, start:stop], column, inverse_total)
        if rows:
            for s in range(samples):
                own = work[s * SAMPLE + M2 : s * SAMPLE + M2 + size]
                add_spread(own, inverse_freedom, stds[start:stop], variances[start:stop])
