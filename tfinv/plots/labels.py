"""Names beside points, placed so that none covers another name or a point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.style import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from numpy.typing import NDArray

DEGREES = (0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202, 67, 293, 113, 247)
"""Directions from a point to its name, the ones that read best first."""
DISTANCES = (8, 14, 22, 32, 44, 58, 74, 92, 112)
"""Points (1/72 inch) from a point to the nearest side of its name."""
MARK = 5
"""Half the size of a point's mark, in points."""
ROUNDS = 3


@dataclass(frozen=True)
class _Spots:
    """Places of names, in pixels: boxes `(n, 4)` as left, bottom, right, top, and lines `(n, 16, 2)` to the points."""

    boxes: NDArray[np.float64]
    lines: NDArray[np.float64]
    distances: NDArray[np.float64]
    near: NDArray[np.float64]

    def __getitem__(self, index: Any) -> _Spots:
        return _Spots(self.boxes[index], self.lines[index], self.distances[index], self.near[index])


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

    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer: Any = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    pixel = figure.dpi / 72
    points = axes.transData.transform(np.column_stack([xs, ys]))
    frame = np.array(axes.get_window_extent(renderer).extents)
    names = [_name(axes, x, y, text) for x, y, text in zip(xs, ys, texts, strict=True)]
    extents = [name.get_window_extent(renderer) for name in names]
    spots = [
        _candidates(point, extent.width + 4 * pixel, extent.height + 2 * pixel, pixel)
        for point, extent in zip(points, extents, strict=True)
    ]
    for index, place in enumerate(_choose(spots, points, frame, pixel)):
        chosen = spots[index][place]
        corner = (chosen.boxes[:2] + np.array([2, 1]) * pixel - points[index]) / pixel
        names[index].set_position((float(corner[0]), float(corner[1])))
        others = np.delete(points, index, axis=0)
        if chosen.distances > 10 or _misled(chosen.boxes[None], points[index], others)[0]:
            _draw_leader(axes, (float(xs[index]), float(ys[index])), (chosen.near - points[index]) / pixel)


def _choose(
    spots: list[_Spots], points: NDArray[np.float64], frame: NDArray[np.float64], pixel: float
) -> NDArray[np.intp]:
    """The number of the best place for each name; later rounds mend what earlier choices spoiled."""
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(apart, np.inf)
    # Points in the open keep their nearest place; crowded ones find room around them.
    order = np.argsort(-apart.min(axis=1, initial=np.inf), kind="stable")
    chosen = np.zeros(len(points), np.intp)
    placed: list[int] = []
    for _ in range(ROUNDS):
        for index in map(int, order):
            names = [spots[other][[chosen[other]]] for other in placed if other != index]
            others = np.delete(points, index, axis=0)
            chosen[index] = _best(spots[index], points[index], names, others, frame, pixel)
            placed += [] if index in placed else [index]
    return chosen


def _best(
    spots: _Spots,
    point: NDArray[np.float64],
    names: list[_Spots],
    others: NDArray[np.float64],
    frame: NDArray[np.float64],
    pixel: float,
) -> int:
    """The place with the least cost: what it hides above all, lines through names, a false neighbour, distance."""
    reach = MARK * pixel
    cost = np.prod(spots.boxes[:, 2:] - spots.boxes[:, :2], axis=1) - _shared(spots.boxes, frame[None])[:, 0]
    cost += _shared(spots.boxes, np.hstack([others - reach, others + reach])).sum(axis=1)
    crossings = np.zeros(len(cost))
    for name in names:
        cost += _shared(spots.boxes, name.boxes)[:, 0]
        crossings += _crossed(spots.lines, name.boxes)[:, 0] & (spots.distances > 10)
        crossings += _crossed(name.lines, spots.boxes)[0] & (name.distances[0] > 10)
    cost = 10 * cost + 90 * crossings + 60 * _misled(spots.boxes, point, others) + 2 * spots.distances
    return int(cost.argmin())


def _candidates(point: NDArray[np.float64], width: float, height: float, pixel: float) -> _Spots:
    distances, degrees = (grid.ravel() for grid in np.meshgrid(DISTANCES, DEGREES, indexing="ij"))
    towards = np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], axis=1)
    near = point + pixel * distances[:, None] * towards
    size = np.array([width, height])
    corners = near - size * (1 - towards) / 2
    lines = point + np.linspace(0.1, 1, 16)[:, None] * (near - point)[:, None]
    return _Spots(np.hstack([corners, corners + size]), lines, distances.astype(np.float64), near)


def _shared(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas that boxes `(n, 4)` share with others `(m, 4)`: `(n, m)` square pixels."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(0, high - low), axis=-1)


def _crossed(lines: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which lines `(n, 16, 2)` run through which boxes `(m, 4)`: `(n, m)`."""
    inside = (lines[:, None] > boxes[None, :, None, :2]) & (lines[:, None] < boxes[None, :, None, 2:])
    return np.any(np.all(inside, axis=-1), axis=-1)


def _misled(boxes: NDArray[np.float64], point: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which boxes stand nearer to another point than to their own."""
    every = np.vstack([point, others])
    gaps = np.linalg.norm(every - np.clip(every, boxes[:, None, :2], boxes[:, None, 2:]), axis=-1)
    return np.any(gaps[:, 1:] < gaps[:, :1] - 1e-6, axis=1)


def _name(axes: Axes, x: float, y: float, text: str) -> Annotation:
    from matplotlib.patheffects import withStroke

    name = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", fontsize=8.5, color=INK, zorder=5)
    name.set_in_layout(False)
    name.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    return name


def _draw_leader(axes: Axes, point: tuple[float, float], near: NDArray[np.float64]) -> None:
    look = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
    place = (float(near[0]), float(near[1]))
    axes.annotate("", point, place, textcoords="offset points", arrowprops=look, zorder=4).set_in_layout(False)
