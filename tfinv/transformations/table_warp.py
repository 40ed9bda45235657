"""The warp of images in main memory through a table of pixels and weights, on the CPU."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.transformations.affine import Affine, sampling_matrices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.transformations.sets import TransformationSet


class TableWarp:
    """`warp` with bilinear interpolation and zeros outside the frame, to the last bit what TensorFlow computes.

    Where each pixel comes from is worked out once, so that an image costs a fraction of TensorFlow's own operation.

    Example:
        >>> import numpy as np
        >>> from tfinv.transformations import rotations, warp
        >>> from tfinv.transformations.table_warp import TableWarp
        >>> images = np.random.default_rng(0).random((2, 8, 8, 3), dtype="float32")
        >>> bool((TableWarp(rotations(5), (8, 8, 3))(images) == warp(images, rotations(5)).numpy()).all())
        True

    Args:
        transformations: a set of affine maps.
        shape: `(H, W, C)` of the images.
    """

    def __init__(self, transformations: TransformationSet, shape: tuple[int, ...]) -> None:
        height, width, _ = self._shape = tuple(shape)
        maps = [transformation for transformation in transformations if isinstance(transformation, Affine)]
        matrices = sampling_matrices(maps, height, width).astype(np.float32)[..., None]
        rows, columns = (axis.ravel().astype(np.float32) for axis in np.indices((height, width)))
        x, y = (matrices[:, i, 0] * columns + matrices[:, i, 1] * rows + matrices[:, i, 2] for i in (0, 1))
        left, top = np.floor(x), np.floor(y)
        outside = height * width

        def pixel(row: NDArray[np.float32], column: NDArray[np.float32]) -> NDArray[np.int32]:
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            return np.where(inside, row * width + column, outside).astype(np.int32)

        near, far = left + 1, top + 1
        pixels = [pixel(top, left), pixel(top, near), pixel(far, left), pixel(far, near)]
        self._pixels = np.stack(pixels, axis=-1)
        self._weights = np.stack([near - x, x - left, far - y, y - top], axis=-1).astype(np.float32, copy=False)

    @staticmethod
    def serves(transformations: TransformationSet, padding: str, interpolation: str) -> bool:
        """Whether this can stand in for `warp`."""
        usual = padding == "constant" and interpolation == "bilinear"
        return usual and transformations.is_affine and importlib.util.find_spec("numba") is not None

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Every image under every transformation.

        Args:
            images: float32 `(S, H, W, C)`.

        Returns:
            float32 `(S, T, H, W, C)`.
        """
        from tfinv.transformations import table_kernel

        samples, channels = len(images), self._shape[2]
        positions = self._pixels.shape[1]
        warped = np.empty((samples, len(self._pixels), positions, channels), np.float32)
        flat: Any = np.zeros((samples, positions + 1, channels), np.float32)  # the last pixel is all that lies outside
        flat[:, :-1] = images.reshape(samples, positions, channels)
        table_kernel.interpolate(flat, self._pixels, self._weights, warped)
        return warped.reshape(samples, -1, *self._shape)
