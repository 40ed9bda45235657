"""The compiled loop that warps a block back while it reads it for row dispersions and column moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from tfinv.statistics.compiled.loop import (
    CENTRE,
    CHUNK,
    COLUMN,
    FIRST,
    M2,
    OFFSET,
    OPTIONS,
    SAMPLE,
    STATES,
    add_pair,
    add_spread,
    add_to_column,
    add_to_row,
    aligned,
    merge_column,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@njit(**OPTIONS)
def locate(matrix: Any, height: int, width: int, start: int, stop: int, index: Any, way: Any) -> None:
    """The four positions that each position is interpolated from, and how far along each axis between them it is.

    Computed in float32, as TensorFlow's own warp does; the frame's edge is repeated.
    """
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    for k in range(stop - start):
        row, column = divmod(start + k, width)
        x = matrix[0] * np.float32(column) + matrix[1] * np.float32(row) + matrix[2]
        y = matrix[3] * np.float32(column) + matrix[4] * np.float32(row) + matrix[5]
        x, y = min(max(x, np.float32(0)), right), min(max(y, np.float32(0)), bottom)
        near_x, near_y = int(x), int(y)
        far_x, far_y = min(near_x + 1, width - 1), min(near_y + 1, height - 1)
        index[k, 0], index[k, 1] = near_y * width + near_x, near_y * width + far_x
        index[k, 2], index[k, 3] = far_y * width + near_x, far_y * width + far_x
        way[k, 0], way[k, 1] = x - np.float32(near_x), y - np.float32(near_y)


@njit(**OPTIONS)
def interpolate(flat: Any, base: int, stride: int, positions: int, size: int, index: Any, way: Any, out: Any) -> None:
    """Interpolate `size` channels at some positions of one map.

    One flat array and whole numbers in place of views of it: making a view costs more than a handful of channels.

    Args:
        flat: activations, contiguous.
        base: where the first of the channels at the first position is.
        stride: channels at each position.
        positions: how many positions are interpolated.
        size: how many channels.
        index: see `locate`.
        way: see `locate`.
        out: `(positions * size,)` or more.
    """
    for k in range(positions):
        a, b = base + index[k, 0] * stride, base + index[k, 1] * stride
        c, d = base + index[k, 2] * stride, base + index[k, 3] * stride
        x, y = way[k, 0], way[k, 1]
        first = k * size
        for i in range(size):  # unsigned, or each index would be looked at for being negative
            # Steps from one value to the next, not a weighted sum: constant maps stay constant to the last bit.
            above, below = flat[np.uint64(a + i)], flat[np.uint64(c + i)]
            above += (flat[np.uint64(b + i)] - above) * x
            below += (flat[np.uint64(d + i)] - below) * x
            out[np.uint64(first + i)] = above + (below - above) * y


@njit(**OPTIONS)
def _add_run(warped: Any, start: int, stop: int, seen: int, pair: bool, work: Any, moments: bool, column: Any) -> None:
    """One transformation more for one or two samples where `seen` transformations kept the source in the frame."""
    x, y = warped[start:stop], warped[CHUNK + start : CHUNK + stop]
    if seen == 0:  # out of the frame, which rows leave out
        if moments:
            add_to_column(x, column[start:])
            if pair:
                add_to_column(y, column[start:])
        return
    inverse = np.float32(1.0 / seen)
    if seen == 1:
        work[FIRST + start : FIRST + stop] = x
        if pair:
            work[SAMPLE + FIRST + start : SAMPLE + FIRST + stop] = y
    if pair and moments:
        add_pair(x, y, work[start:], column[start:], inverse)
        return
    add_to_row(x, work[start:], inverse)
    if moments:
        add_to_column(x, column[start:])
    if pair:
        add_to_row(y, work[SAMPLE + start :], inverse)
        if moments:
            add_to_column(y, column[start:])


@njit(f"void(float32[:,:,:,:,::1], float32[:,::1], int32[:,::1], float64, {STATES})", **OPTIONS)
def gather_aligned(
    block: NDArray[np.float32],
    matrices: NDArray[np.float32],
    seen: NDArray[np.int32],
    count: float,
    rows: bool,
    stds: NDArray[np.float64],
    variances: NDArray[np.float64],
    moments: bool,
    offset: NDArray[np.float32],
    mean: NDArray[np.float32],
    m2: NDArray[np.float32],
) -> None:
    """`kernel.gather` of feature maps that are warped back, bilinearly and with the edge repeated, as they are read.

    Args:
        block: activations `(S_b, T or more, H', W', C')`, contiguous; columns after the first `T` are not read.
        matrices: `(T, 6)`, the first two rows of the sampling matrices of the inverse warp.
        seen: `(T, H' W')`, for each position how many of the transformations up to this one count for its row, and 0
            where this one does not.
        count: samples added before.
        rows: see `kernel.gather`.
        stds: see `kernel.gather`; units are `(H', W', C')` in this order.
        variances: see `kernel.gather`.
        moments: see `kernel.gather`.
        offset: see `kernel.gather`.
        mean: see `kernel.gather`.
        m2: see `kernel.gather`.
    """
    samples, held, height, width, channels = block.shape
    columns, places = len(matrices), height * width
    flat = block.reshape(-1)
    most = max(1, CHUNK // channels)
    index, way = np.empty((most, 4), np.int64), np.empty((most, 2), np.float32)
    warped, column = aligned(2 * CHUNK), aligned(COLUMN)
    work = aligned(samples * SAMPLE if rows else 0)
    inverse_total = np.float32(1.0 / (count + samples))
    kept = np.zeros(places, np.int32)
    for t in range(columns):
        kept = np.maximum(kept, seen[t])
    for place in range(0, places, most):
        end = min(place + most, places)
        for channel in range(0, channels, CHUNK):
            width_here = min(CHUNK, channels - channel)
            start = place * channels + channel
            stop = (end - 1) * channels + channel + width_here
            size = stop - start
            for s in range(samples if rows else 0):
                work[s * SAMPLE : s * SAMPLE + FIRST] = 0
            for t in range(columns):
                locate(matrices[t], height, width, place, end, index, way)
                base = t * places * channels + channel
                interpolate(flat, base, channels, end - place, width_here, index, way, warped)
                if moments:
                    if count == 0:
                        if t == 0:
                            offset[start:stop] = warped[:size]
                        # Deviations from the first sample keep constant columns at exactly zero.
                        mean[t, start:stop] = warped[:size] - offset[start:stop]
                    column[OFFSET : OFFSET + size] = offset[start:stop]
                    column[CENTRE : CENTRE + size] = mean[t, start:stop]
                    column[:OFFSET] = 0
                for s in range(0, samples, 2):
                    pair = s + 1 < samples
                    here = base + s * held * places * channels
                    if s:
                        interpolate(flat, here, channels, end - place, width_here, index, way, warped)
                    if pair:
                        here += held * places * channels
                        interpolate(flat, here, channels, end - place, width_here, index, way, warped[CHUNK:])
                    if not rows:
                        add_to_column(warped[:size], column)
                        if pair:
                            add_to_column(warped[CHUNK : CHUNK + size], column)
                        continue
                    scratch = work[s * SAMPLE : min(s + 2, samples) * SAMPLE]
                    first = place
                    while first < end:  # positions that as many transformations kept, together
                        last = first + 1
                        while last < end and seen[t, last] == seen[t, first]:
                            last += 1
                        begin, finish = (first - place) * width_here, (last - place) * width_here
                        _add_run(warped, begin, finish, seen[t, first], pair, scratch, moments, column)
                        first = last
                if moments:
                    merge_column(mean[t, start:stop], m2[t, start:stop], column, inverse_total)
            for s in range(samples if rows else 0):
                first = place
                while first < end:  # positions that as many transformations kept, together
                    last = first + 1
                    while last < end and kept[last] == kept[first]:
                        last += 1
                    begin = s * SAMPLE + M2 + (first - place) * width_here
                    unit, finish = start + (first - place) * width_here, start + (last - place) * width_here
                    inverse_freedom = np.float32(1.0 / max(kept[first] - 1, 1))
                    squares = work[begin : begin + finish - unit]
                    add_spread(squares, inverse_freedom, stds[unit:finish], variances[unit:finish])
                    first = last
