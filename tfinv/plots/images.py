"""Grids of pictures: transformed images, augmentation samples, feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.axes import plain_frame
from tfinv.plots.figure import new_figure, set_plot_height, text_width
from tfinv.plots.style import MUTED, WIDTH, styled
from tfinv.support.checks import numbers as array_of
from tfinv.support.types import Images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@styled()
def image_grid(
    images: Images,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    *,
    limits: tuple[float, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw one row per sample, one column per transformation (or an augmentation draw).

    Example:
        >>> import numpy as np, tfinv.plots
        >>> images = np.random.default_rng(0).random((2, 3, 8, 8, 1))
        >>> figure = tfinv.plots.image_grid(images, ["3", "7"], ["0°", "45°", "90°"])
        >>> [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
        ['0°', '45°', '90°']

    Args:
        images: `(S, T, H, W, C)`, C 1 or 3, float in `limits` or uint8.
        row_labels: S texts.
        column_labels: T texts.
        limits: values shown as black and as white; by default (0, 1), for integers (0, 255).
        title: text above the grid.

    Returns:
        The figure.

    Raises:
        ValueError: another shape, labels of another number, values far outside the limits or not finite.
    """
    array = np.asarray(images)
    if array.ndim != 5 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"images must have the shape (S, T, H, W, 1 or 3), none of it 0. Received: {array.shape}")
    low, high = limits or ((0, 255) if np.issubdtype(array.dtype, np.integer) else (0.0, 1.0))
    if not np.isfinite(array).all():
        raise ValueError("images must be finite. Received: NaN or infinity")
    smallest, largest, slack = float(array.min()), float(array.max()), 0.5 * (high - low)
    if not high > low or smallest < low - slack or largest > high + slack:
        raise ValueError(
            f"images must lie in limits=({low:g}, {high:g}). Received: values from {smallest:g} to {largest:g}"
        )
    tiles = np.clip((array.astype(np.float64) - low) / (high - low), 0, 1)
    rows = _texts(row_labels, tiles.shape[0], "row_labels")
    columns = _texts(column_labels, tiles.shape[1], "column_labels")
    figure, axes, canvas = _draw_tiles(tiles, rows, columns, "gray")
    axes.set_title(title or "")
    _fit(figure, axes, canvas)
    return figure


@styled()
def feature_maps(
    maps: Any,
    scores: Any,
    *,
    names: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    score_label: str = "score",
    title: str | None = None,
) -> Figure:
    """Draw units of one layer under each transformation of one image, with their mean and standard deviation.

    A row has its own colour scale, from the smallest to the largest activation in it, written at its right end; the
    standard deviation is drawn on the same scale starting at zero: dark everywhere means invariant.

    Example:
        >>> import numpy as np, tfinv.plots
        >>> maps = np.random.default_rng(0).random((2, 4, 5, 5))
        >>> figure = tfinv.plots.feature_maps(maps, [0.1, 0.9], names=["map 3", "map 0"])
        >>> len(figure.axes[0].get_xticklabels())
        6

    Args:
        maps: `(K, T, H', W')` feature maps, or `(K, T)` units of a dense layer (tiles of one pixel), K units chosen by
            the caller, usually the most and the least invariant.
        scores: `(K,)`, the measure's value of each unit.
        names: K texts; by default the row number.
        column_labels: T texts.
        score_label: what the scores are.
        title: text above the grid.

    Returns:
        The figure; the columns after the T transformations are mean and standard deviation.

    Raises:
        ValueError: another shape, numbers of labels or scores that do not fit, values that are not finite.
    """
    array, values = array_of("maps", maps), array_of("scores", scores)
    if array.ndim == 2:
        array = array[:, :, None, None]
    if array.ndim != 4 or 0 in array.shape or values.shape != array.shape[:1] or not np.isfinite(array).all():
        raise ValueError(
            "maps must be finite, of the shape (K, T, H', W') or (K, T), with K scores. "
            f"Received: shape {np.shape(maps)}, {values.size} scores"
        )
    count, transformations = array.shape[:2]
    low, high = array.min(axis=(1, 2, 3), keepdims=True), array.max(axis=(1, 2, 3), keepdims=True)
    span = np.where(high > low, high - low, 1.0)
    mean, deviation = array.mean(axis=1, keepdims=True), array.std(axis=1, keepdims=True)
    tiles = np.concatenate([(array - low) / span, (mean - low) / span, deviation / span], axis=1)
    texts = _texts(names, count, "names") or [f"unit {i}" for i in range(count)]
    rows = [f"{text}: {value:.2g}" for text, value in zip(texts, values, strict=True)]
    columns = _texts(column_labels, transformations, "column_labels") or [str(i) for i in range(transformations)]
    figure, axes, canvas = _draw_tiles(tiles[..., None], rows, [*columns, "mean", "std"], "viridis", right=1.0)
    for row, middle in enumerate(canvas.centres(0)):
        place = (canvas.picture.shape[1] + 0.15 * canvas.step[1], middle)
        axes.text(*place, _span(low[row].item(), high[row].item()), va="center", fontsize=7, color=MUTED)
    axes.set_ylabel(f"unit: {score_label}")
    axes.set_title(title or "")
    bar = figure.colorbar(axes.images[0], ax=axes, orientation="horizontal", shrink=0.5, aspect=30, pad=0.03)
    bar.set_ticks([0, 1], labels=["row's minimum", "row's maximum"])
    bar.set_label("activation; std: from 0 to the row's range")
    _fit(figure, axes, canvas)
    return figure


@dataclass(frozen=True)
class _Canvas:
    """All tiles in one picture: the picture, the size of a tile and the distance from tile to tile in its pixels."""

    picture: NDArray[np.float64]
    tile: tuple[int, int]
    step: tuple[int, int]

    def centres(self, axis: int) -> NDArray[np.float64]:
        """Middle of each row (0) or column (1) of tiles."""
        starts = np.arange(0, self.picture.shape[axis], self.step[axis])
        return starts + (self.tile[axis] - 1) / 2


def _canvas(tiles: NDArray[np.float64]) -> _Canvas:
    """Lay tiles `(S, T, H, W, C)` in [0, 1] side by side, with white gaps of about 6 % of a tile."""
    # Small tiles are enlarged by whole pixels, so that a gap can be thin.
    factor = max(1, -(-24 // max(tiles.shape[2:4])))
    tiles = tiles.repeat(factor, axis=2).repeat(factor, axis=3)
    rows, columns, height, width, channels = tiles.shape
    gap = max(1, round(max(height, width) * 0.06))
    step = (height + gap, width + gap)
    blank = np.nan if channels == 1 else 1.0
    picture = np.full((rows * step[0] - gap, columns * step[1] - gap, channels), blank)
    for row, column in np.ndindex(rows, columns):
        top, left = row * step[0], column * step[1]
        picture[top : top + height, left : left + width] = tiles[row, column]
    return _Canvas(picture[..., 0] if channels == 1 else picture, (height, width), step)


def _draw_tiles(
    tiles: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], colours: str, right: float = 0.0
) -> tuple[Figure, Axes, _Canvas]:
    """The figure with all tiles and their labels; `right` inches are left free beside the grid."""
    canvas = _canvas(tiles)
    beside = 0.3 + max((text_width(text, 9) for text in rows), default=0) + right
    inches = min(9.0, max(3.0, beside + 0.3 * tiles.shape[1], min(WIDTH, beside + 1.1 * tiles.shape[1])))
    turned = max((text_width(text, 9) for text in columns), default=0) + 0.06 > (inches - beside) / tiles.shape[1]
    figure = new_figure(inches)
    axes = figure.add_subplot()
    axes.imshow(canvas.picture, cmap=colours, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.xaxis.tick_top()
    axes.set_xticks(canvas.centres(1)[: len(columns)], columns, rotation=90 if turned else 0)
    axes.set_yticks(canvas.centres(0)[: len(rows)], rows)
    plain_frame(axes)
    axes.tick_params(length=0)
    return figure, axes, canvas


def _fit(figure: Figure, axes: Axes, canvas: _Canvas) -> None:
    """Make pixels square: the height of the grid follows from the width that its labels leave."""
    set_plot_height(figure, [axes], 1.0)
    figure.draw_without_rendering()
    width = axes.get_position().width * figure.get_figwidth()
    set_plot_height(figure, [axes], width * canvas.picture.shape[0] / canvas.picture.shape[1])


def _span(low: float, high: float) -> str:
    """Two ends of a range with the decimals that tell them apart."""
    size = max(abs(low), abs(high))
    if high <= low or not 1e-3 <= size < 1e5:
        return f"{low:.2g} … {high:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(high - low)))
    return f"{low:.{decimals}f} … {high:.{decimals}f}"


def _texts(labels: Sequence[str] | None, count: int, argument: str) -> list[str]:
    if labels is None:
        return []
    if len(labels) != count:
        raise ValueError(f"{argument} must have {count} entries. Received: {len(labels)}")
    return [str(label) for label in labels]
