"""The compiled loop of `table_warp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


# No contraction of a * b + c: TensorFlow rounds after each, and images that are stored in 8 bits may lie on an edge.
@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def interpolate(
    images: NDArray[np.float32],
    pixels: NDArray[np.int32],
    weights: NDArray[np.float32],
    warped: NDArray[np.float32],
) -> None:
    """Weigh four pixels for every position; runs without the interpreter lock.

    Args:
        images: `(S, P + 1, C)`, the last pixel standing for all outside the frame.
        pixels: `(T, P, 4)`: above left, above right, below left, below right.
        weights: `(T, P, 4)`: of left, right, above, below.
        warped: `(S, T, P, C)`, written to.
    """
    samples, held, channels = images.shape
    columns, positions = pixels.shape[:2]
    flat, out = images.reshape(-1), warped.reshape(-1)
    for s in range(samples):
        base = s * held
        for t in range(columns):
            first = (s * columns + t) * positions
            for p in range(positions):
                a, b = (base + pixels[t, p, 0]) * channels, (base + pixels[t, p, 1]) * channels
                c, d = (base + pixels[t, p, 2]) * channels, (base + pixels[t, p, 3]) * channels
                left, right, above, below = weights[t, p, 0], weights[t, p, 1], weights[t, p, 2], weights[t, p, 3]
                to = (first + p) * channels
                for k in range(channels):  # unsigned, or each index would be looked at for being negative
                    high = left * flat[np.uint64(a + k)] + right * flat[np.uint64(b + k)]
                    low = left * flat[np.uint64(c + k)] + right * flat[np.uint64(d + k)]
                    out[np.uint64(to + k)] = above * high + below * low
