"""Names beside points, placed so that none covers another name or a point (plots)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.style import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox
    from numpy.typing import NDArray

ANGLES = tuple(
    math.radians(angle) for angle in (0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202, 67, 293, 113, 247)
)
DEGREES = (0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202, 67, 293, 113, 247)
"""Directions from a point to its name, the ones that read best first."""
DISTANCES = (8, 14, 22, 32, 44, 58, 74, 92, 112)
"""Points (1/72 inch) from a point to the nearest side of its name."""


@dataclass(frozen=True)
class _Spot:
    """One possible place of a name: its box, and the line from the box to the point, in pixels."""

    box: Bbox
    near: NDArray[np.float64]
    point: NDArray[np.float64]
    distance: float

    def misleads(self, others: NDArray[np.float64]) -> bool:
        """Whether the name stands nearer to another point than to its own."""
        return bool((_gaps(self.box, others) < _gaps(self.box, self.point[None]) - 1e-6).any())

    def cost(
        self, names: Sequence[_Spot], others: NDArray[np.float64], mark: float, frame: Bbox
    ) -> tuple[float, bool, float]:
        """Area covered or outside the frame, lines that cross names; then a false neighbour; then the distance."""
        near = np.maximum(self.box.min, others - mark), np.minimum(self.box.max, others + mark)
        area = float(np.prod(np.maximum(0, near[1] - near[0]), axis=1).sum())
        area += sum(_shared(self.box, name.box) for name in names)
        area += self.box.width * self.box.height - _shared(self.box, frame)
        for name in names:
            area += 200.0 * (_crosses(self, name.box) + _crosses(name, self.box))
        return round(area, 1), self.misleads(others), self.distance


def place_labels(axes: Axes, xs: NDArray[np.float64], ys: NDArray[np.float64], texts: list[str]) -> None:
    """Name each point, as near to it as the other names and points allow; far names get a line to their point.

    Call it last: the places hold for the layout that the figure has now.

    Args:
        axes: where the points are; it must belong to a figure.
        xs: `(n,)` data coordinates.
        ys: `(n,)` data coordinates.
        texts: n names.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patheffects import withStroke

    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer: Any = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    pixel = figure.dpi / 72
    points = axes.transData.transform(np.column_stack([xs, ys]))
    frame = axes.get_window_extent(renderer)
    spots: list[_Spot] = []
    for index in _lonely_first(points):
        name = axes.annotate(
            texts[index], (xs[index], ys[index]), (0, 0), textcoords="offset points", fontsize=8.5, color=INK, zorder=5
        )
        name.set_in_layout(False)
        name.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        extent = name.get_window_extent(renderer)
        others = np.delete(points, index, axis=0)
        spot = min(
            _spots(points[index], extent.width + 4 * pixel, extent.height + 2 * pixel, pixel),
            key=lambda each: each.cost(spots, others, 5 * pixel, frame),
        )
        spots.append(spot)
        corner = (np.array([spot.box.x0 + 2 * pixel, spot.box.y0 + pixel]) - points[index]) / pixel
        name.set_position((float(corner[0]), float(corner[1])))
        if spot.distance > 10 or spot.misleads(others):
            _draw_leader(axes, (float(xs[index]), float(ys[index])), (spot.near - points[index]) / pixel)


def _lonely_first(points: NDArray[np.float64]) -> NDArray[np.intp]:
    """Points in the open keep their nearest place; crowded ones find room around them."""
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(-apart.min(axis=1, initial=np.inf), kind="stable")


def _spots(point: NDArray[np.float64], width: float, height: float, pixel: float) -> list[_Spot]:
    from matplotlib.transforms import Bbox

    spots = []
    for distance in DISTANCES:
        for degrees in DEGREES:
            right, up = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            near = point + distance * pixel * np.array([right, up])
            left, bottom = near[0] - width * (1 - right) / 2, near[1] - height * (1 - up) / 2
            spots.append(_Spot(Bbox.from_bounds(left, bottom, width, height), near, point, distance))
    return spots


def _draw_leader(axes: Axes, point: tuple[float, float], near: NDArray[np.float64]) -> None:
    look = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
    place = (float(near[0]), float(near[1]))
    axes.annotate("", point, place, textcoords="offset points", arrowprops=look, zorder=4).set_in_layout(False)


def _gaps(box: Bbox, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from a box to each point, in pixels."""
    return np.linalg.norm(points - np.clip(points, box.min, box.max), axis=1)


def _shared(one: Bbox, other: Bbox) -> float:
    """Area that two boxes share, in square pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)


def _crosses(spot: _Spot, box: Bbox) -> bool:
    """Whether the line of a spot runs through a box (tried at points along it)."""
    if spot.distance <= 10:
        return False
    line = spot.point + np.linspace(0.1, 1, 24)[:, None] * (spot.near - spot.point)
    inside = (line[:, 0] > box.x0) & (line[:, 0] < box.x1) & (line[:, 1] > box.y0) & (line[:, 1] < box.y1)
    return bool(inside.any())
