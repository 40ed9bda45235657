"""Grouped bars with numbers and intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.axes import percent_axis, short_names
from tfinv.plots.figure import legend, new_figure, set_plot_height, text_width
from tfinv.plots.frames import need_columns, numbers
from tfinv.plots.style import HATCHES, INK, MUTED, PALETTE, WIDTH, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@styled()
def bars(
    frame: pd.DataFrame,
    category: str,
    value: str,
    *,
    group: str | None = None,
    chance: float | None = None,
    percent: bool = False,
    y_label: str | None = None,
    title: str | None = None,
) -> Figure:
    """Draw grouped bars with the number above each, and error bars where the frame has `low` and `high`.

    Example:
        >>> import pandas as pd, tfinv.plots
        >>> rows = [("plain", "upright", 0.98), ("plain", "rotated", 0.4)]
        >>> frame = pd.DataFrame(rows, columns=["model", "test", "accuracy"])
        >>> figure = tfinv.plots.bars(frame, "model", "accuracy", group="test", percent=True)
        >>> [float(bar.get_height()) for bar in figure.axes[0].patches]
        [0.98, 0.4]

    Args:
        frame: one row per bar; optional columns `low, high` are the ends of an interval.
        category: the column along the x axis, in order of first appearance.
        value: the column with the heights; NaN leaves a gap that says so.
        group: the column whose values stand side by side, told apart by colour and hatch.
        chance: height of a dashed line, what guessing reaches.
        percent: the values are shares, shown in per cent.
        y_label: text of the y axis; by default `value`.
        title: text above the axes.

    Returns:
        The figure.

    Raises:
        TypeError, ValueError: a missing column, two rows for one bar.
    """
    need_columns(frame, (category, value, *([group] if group else [])), "frame")
    keys = [category, *([group] if group else [])]
    if frame.duplicated(keys).any():
        raise ValueError(f"frame must have one row for each {' and '.join(keys)}. Received: repeated rows")
    categories = list(dict.fromkeys(frame[category]))
    groups = list(dict.fromkeys(frame[group])) if group else [None]
    figure = new_figure(max(WIDTH, min(9.0, 1.2 + 0.34 * len(categories) * len(groups))))
    axes = figure.add_subplot()
    width = 0.8 / len(groups)
    for index, name in enumerate(groups):
        rows = (frame if group is None else frame[frame[group] == name]).set_index(category).reindex(categories)
        places = np.arange(len(categories)) + (index - (len(groups) - 1) / 2) * width
        _draw_bars(axes, places, rows, value, width, index, percent, None if group is None else str(name))
    if chance is not None:
        axes.axhline(chance, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), label="chance")
    _category_axis(axes, [str(name) for name in categories], figure.get_figwidth())
    axes.margins(y=0.12)
    axes.set_xlim(-0.5, len(categories) - 0.5)  # a bar that is missing at an end has its room too
    axes.set(xlabel=category.replace("_", " "), ylabel=y_label or value.replace("_", " "), title=title or "")
    if percent:
        percent_axis(axes, y_label or value)
    entries = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if entries:
        labels = [*(label for label in entries if label != "chance"), *(["chance"] if chance is not None else [])]
        legend(figure, [entries[label] for label in labels], labels)
    set_plot_height(figure, [axes], 2.6)
    return figure


def _draw_bars(
    axes: Axes,
    places: NDArray[np.floating],
    rows: pd.DataFrame,
    value: str,
    width: float,
    index: int,
    percent: bool,
    label: str | None,
) -> None:
    heights = numbers(rows, value)
    colour, hatch = PALETTE[index % len(PALETTE)], HATCHES[index % len(HATCHES)]
    axes.bar(places, heights, width * 0.92, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=label)
    ends = heights
    if {"low", "high"} <= set(rows):
        low, high = numbers(rows, "low"), numbers(rows, "high")
        axes.errorbar(
            places, heights, [heights - low, high - heights], fmt="none", ecolor=INK, elinewidth=1, capsize=2.5
        )
        ends = np.where(heights < 0, np.fmin(heights, low), np.fmax(heights, high))
    for place, height, end in zip(places, heights, ends, strict=True):
        text = "n/a" if not np.isfinite(height) else f"{100 * height:z.1f}" if percent else f"{height:z.3g}"
        spot, down = (place, end if np.isfinite(end) else 0.0), height < 0
        look: dict[str, Any] = {"ha": "center", "va": "top" if down else "bottom", "fontsize": 8}
        axes.annotate(text, spot, (0, -2 if down else 2), textcoords="offset points", **look)


def _category_axis(axes: Axes, names: list[str], width: float) -> None:
    texts = short_names(names, 22)
    crowded = (max(text_width(text, 9) for text in texts) + 0.1) * len(texts) > width - 0.9
    look: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(range(len(names)), texts, **look)
    axes.tick_params(axis="x", length=0)
