"""The compiled loop of `table_warp` (transformations)."""

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
    found: NDArray[np.float32],
) -> None:
    """Weigh four pixels for every position; runs without the interpreter lock.

    Args:
        images: `(S, P + 1, C)`, the last pixel standing for all outside the frame.
        pixels: `(T, P, 4)`: above left, above right, below left, below right.
        weights: `(T, P, 4)`: of left, right, above, below.
        found: `(S, T, P, C)`, written to.
    """
    samples, _, channels = images.shape
    for s in range(samples):
        for t in range(pixels.shape[0]):
            for p in range(pixels.shape[1]):
                a, b, c, d = pixels[t, p, 0], pixels[t, p, 1], pixels[t, p, 2], pixels[t, p, 3]
                left, right, above, below = weights[t, p, 0], weights[t, p, 1], weights[t, p, 2], weights[t, p, 3]
                for k in range(channels):
                    high = left * images[s, a, k] + right * images[s, b, k]
                    low = left * images[s, c, k] + right * images[s, d, k]
                    found[s, t, p, k] = above * high + below * low
