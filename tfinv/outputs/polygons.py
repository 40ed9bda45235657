"""Areas and overlaps of convex polygons in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def area(polygon: NDArray[np.float64]) -> float:
    """Area of a simple polygon.

    Args:
        polygon: `(N, 2)` corners in order.
    """
    if len(polygon) < 3:
        return 0.0
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def clipped(polygon: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a convex polygon that lies in another one: `(N, 2)` corners, none where they do not meet.

    Args:
        polygon: `(N, 2)` corners in order, clockwise or not.
        window: `(M, 2)` corners in order.

    Source: Sutherland and Hodgman 1974, "Reentrant polygon clipping".
    """
    x, y = window.T
    if x @ np.roll(y, -1) - y @ np.roll(x, -1) < 0:
        window = window[::-1]
    kept = polygon
    for start, end in zip(window, np.roll(window, -1, axis=0), strict=True):
        if not len(kept):
            break
        along = end - start
        offset = kept - start
        side = along[0] * offset[:, 1] - along[1] * offset[:, 0]
        corners = []
        for here, there, s, t in zip(kept, np.roll(kept, -1, axis=0), side, np.roll(side, -1), strict=True):
            if s >= 0:
                corners.append(here)
            if (s >= 0) != (t >= 0):
                corners.append(here + (there - here) * (s / (s - t)))
        kept = np.array(corners).reshape(-1, 2)
    return kept


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Intersection over union of two convex polygons; 0 where both are without area.

    Example:
        >>> import numpy as np
        >>> from tfinv.outputs.polygons import overlap
        >>> square = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])
        >>> round(overlap(square, square + [1, 0]), 6)
        0.333333
    """
    common = area(clipped(first, second))
    union = area(first) + area(second) - common
    return common / union if union > 0 else 0.0


def corners(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes `(..., 4)` as left, top, right, bottom to corners `(..., 4, 2)`, in order around each."""
    left, top, right, bottom = np.moveaxis(boxes, -1, 0)
    return np.stack(
        [np.stack(pair, axis=-1) for pair in ((left, top), (right, top), (right, bottom), (left, bottom))], axis=-2
    )
