"""Transformed images with what a model found in them: landmarks, boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.axes import plain_frame, shown_ticks
from tfinv.plots.figure import legend, new_figure
from tfinv.plots.style import PALETTE, styled
from tfinv.support.types import Images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MOST = 8
"""Transformations that are shown, spread evenly over all."""
_COLUMNS = 4
_EXPECTED, _FOUND = PALETTE[5], PALETTE[1]
_INCH = 1.9


@styled()
def output_pictures(
    images: Images, marks: Mapping[str, NDArray[Any]], labels: Sequence[str], *, title: str | None = None
) -> Figure:
    """Draw one image under its transformations, with what was found in it and what should have been found.

    Example:
        >>> import numpy as np, tfinv.plots
        >>> images = np.zeros((2, 8, 8, 3), "uint8")
        >>> points = np.full((2, 1, 2), 4.0)
        >>> marks = {"points_found": points, "points_expected": points + 1}
        >>> len(tfinv.plots.output_pictures(images, marks, ["0°", "90°"]).axes)
        2

    Args:
        images: `(T, H, W, C)`, C 1 or 3, uint8 or float in [0, 1].
        marks: some of `points_found, points_expected` `(T, P, 2)` and `boxes_found, boxes_expected` `(T, M, 4, 2)`,
            positions (x, y) in pixels from the upper left corner of the frame, NaN for none; and
            `mask_found, mask_expected` `(T, H', W')`, bool.
        labels: T texts.
        title: text above the pictures.

    Returns:
        The figure: at most 8 of the transformations, spread evenly over all. A line joins every point that was found
        to the place where it should be.

    Raises:
        ValueError: images of another shape, or marks or labels of another number.
    """
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"images must have the shape (T, H, W, 1 or 3), none of it 0. Received: {array.shape}")
    for name, values in (*marks.items(), ("labels", labels)):
        if len(values) != len(array):
            raise ValueError(f"{name} must have one entry per image, {len(array)}. Received: {len(values)}")
    shown = shown_ticks(len(array), MOST)
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(columns * _INCH)
    figure.set_figheight(rows * (_INCH * array.shape[1] / array.shape[2] + 0.25) + 0.35)
    handles: dict[str, Any] = {}
    for number, place in enumerate(shown):
        axes = figure.add_subplot(rows, columns, number + 1)
        picture = array[place] if array.shape[-1] == 3 else array[place, ..., 0]
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255 if array.dtype == np.uint8 else 1)
        axes.set_title(labels[place], fontsize=9)
        plain_frame(axes)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlim(-0.5, array.shape[2] - 0.5)
        axes.set_ylim(array.shape[1] - 0.5, -0.5)
        if {"points_found", "points_expected"} <= marks.keys():
            _connect(axes, marks["points_found"][place], marks["points_expected"][place])
        for kind, colour, width in (("expected", _EXPECTED, 2.2), ("found", _FOUND, 1.2)):
            drawn = [
                _draw(axes, name, values[place], array.shape[1:3], colour, width)
                for name, values in marks.items()
                if name.endswith(kind)
            ]
            handles |= {kind: drawn[0]} if drawn and kind not in handles else {}
    if title:
        figure.suptitle(title, fontsize=10)
    legend(figure, list(handles.values()), list(handles))
    return figure


def _connect(axes: Axes, found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Lines from points to where they should be: without them, points that have changed places look right."""
    ends = np.stack([np.asarray(found, np.float64), np.asarray(expected, np.float64)], axis=1) - 0.5
    gaps = np.full((len(ends), 1, 2), np.nan)
    axes.plot(*np.concatenate([ends, gaps], axis=1).reshape(-1, 2).T, color=_FOUND, linewidth=0.7, alpha=0.8)


def _draw(axes: Axes, name: str, values: NDArray[Any], frame: Sequence[int], colour: str, width: float) -> Any:
    """One kind of mark on one picture; returns what a legend shows."""
    if name.startswith("mask"):
        height, width_of_mask = values.shape
        x = (np.arange(width_of_mask) + 0.5) * frame[1] / width_of_mask - 0.5
        y = (np.arange(height) + 0.5) * frame[0] / height - 0.5
        if values.any() and not values.all():
            axes.contour(x, y, values.astype(float), [0.5], colors=[colour], linewidths=width)
        return axes.plot([], [], color=colour, linewidth=width)[0]
    positions = np.asarray(values, np.float64) - 0.5
    if name.startswith("points"):
        size = 2.0 if len(positions) > 100 else 4.0
        size = size * 1.5 if width > 2 else size
        return axes.plot(
            *positions.T, linestyle="", marker="o", markersize=size, markeredgewidth=0, color=colour, alpha=0.85
        )[0]
    line = axes.plot([], [], color=colour, linewidth=width)[0]
    for corners in positions:
        closed = np.concatenate([corners, corners[:1]])
        axes.plot(*closed.T, color=colour, linewidth=width)
    return line
