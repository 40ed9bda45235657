"""Which positions of a warped map come from inside the frame."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from tfinv.transformations.affine import sampling_matrices
from tfinv.transformations.sets import TransformationSet

if TYPE_CHECKING:
    from numpy.typing import NDArray


@lru_cache(maxsize=256)
def inside_frame(
    transformations: TransformationSet, height: int, width: int, *, inverse: bool = False
) -> NDArray[np.bool_]:
    """Where a warp interpolates between positions of the map alone, without anything from outside.

    Args:
        transformations: affine maps, or functions that say where they move positions.
        height: rows of the map.
        width: columns of the map.
        inverse: for the warp by the inverse maps.

    Returns:
        Read-only bool array `(T, height, width)`.
    """
    maps = transformations.positions
    assert maps is not None
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    grid = np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
    x, y, _ = np.moveaxis(sampling_matrices(maps, height, width, inverse=inverse) @ grid, 1, 0)
    tolerance = 1e-4  # of a pixel: the warp computes positions in float32
    inside = (x >= -tolerance) & (x <= width - 1 + tolerance) & (y >= -tolerance) & (y <= height - 1 + tolerance)
    result = inside.reshape(len(maps), height, width)
    result.flags.writeable = False
    return result
