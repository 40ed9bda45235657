"""Numbers as float32 in an order that compresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fits(array: NDArray[np.float64]) -> bool:
    """Whether float32 holds all finite numbers of an array with a relative error of at most 6e-8.

    Example:
        >>> import numpy as np
        >>> from tfinv.support.planes import fits
        >>> fits(np.array([0.0, np.inf, 1e30])), fits(np.array([1e39])), fits(np.array([1e-40]))
        (True, False, False)
    """
    sizes = np.abs(array[np.isfinite(array) & (array != 0)])
    limits = np.finfo(np.float32)
    return not sizes.size or bool(sizes.min() >= limits.tiny and sizes.max() <= limits.max)


def to_planes(array: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Numbers as float32, uint8 `(4, N)`: bytes of equal rank stand together, which makes a quarter of them compress.

    Example:
        >>> import numpy as np
        >>> from tfinv.support.planes import from_planes, to_planes
        >>> from_planes(to_planes(np.array([[0.5, 1.0]])), (1, 2)).tolist()
        [[0.5, 1.0]]
    """
    flat = np.ascontiguousarray(array, "<f4").reshape(-1, 1)
    return np.ascontiguousarray(flat.view(np.uint8).T)


def from_planes(planes: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """What `to_planes` was given, to the precision of float32."""
    return np.ascontiguousarray(planes.T).view("<f4").reshape(shape).astype(np.float64)
