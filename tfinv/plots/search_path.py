"""The path of a search: the size of every file that was tried against what a condition asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.figure import legend, new_figure, note, set_plot_height
from tfinv.plots.frames import need_columns, numbers
from tfinv.plots.style import INK, MUTED, PALETTE, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_LOOKS: dict[str, dict[str, Any]] = {
    "start": {"marker": "s", "color": PALETTE[0], "label": "start"},
    "kept": {"marker": "o", "color": PALETTE[0], "label": "kept"},
    "undone": {"marker": "X", "color": PALETTE[1], "label": "undone"},
}
_NAMED = 8
"""Up to so many neighbours are named; names of more would hide each other."""
_ROOM = (0.03, 0.08)
"""Numbers of steps are at least so far apart, in widths or in heights of the panel."""
_LONGEST = 20
"""Names are cut to so many characters."""
_HOLLOW = ("D", "o", "^", "v", "s", "P")
"""Marks of files for comparison, named in the legend: beside the points their names would hide others."""


@styled()
def search_path(
    frame: pd.DataFrame,
    conditions: Mapping[str, float],
    *,
    others: pd.DataFrame | None = None,
    labels: Mapping[str, str] | None = None,
    factors: Mapping[str, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw size against one or more quantities with their limits: kept steps joined, undone ones as crosses.

    Example:
        >>> import pandas as pd, tfinv.plots
        >>> rows = [("start", 8192, 0.001), ("kept", 6144, 0.012), ("undone", 5120, 0.03)]
        >>> frame = pd.DataFrame(rows, columns=["outcome", "bytes", "flips"])
        >>> figure = tfinv.plots.search_path(frame, {"flips": 0.02})
        >>> figure.axes[0].lines[0].get_xdata().tolist()
        [8.0, 6.0]

    Args:
        frame: one row per file in the order of the search, with `outcome` (`"start"`, `"kept"` or `"undone"`), `bytes`,
            a column for every condition, and optionally the ends of its interval, `"NAME low"` and `"NAME high"`.
        conditions: by column the limit, drawn as a dashed line; one panel each.
        others: further files with `file`, `bytes` and the same columns, drawn hollow and named in the legend.
        labels: text of the y axis by column; by default the column.
        factors: by column what values are multiplied with, such as 100 for per cent.
        title: text above the axes.

    Returns:
        The figure.

    Raises:
        TypeError, ValueError: a missing column, no row, no condition.
    """
    need_columns(frame, ("outcome", "bytes", *conditions), "frame")
    remark = "Numbers count the steps, where there is room."
    return _figure(frame, conditions, others, labels, factors, title, _draw, _number, remark)


@styled()
def neighbour_files(
    frame: pd.DataFrame,
    conditions: Mapping[str, float],
    *,
    others: pd.DataFrame | None = None,
    labels: Mapping[str, str] | None = None,
    factors: Mapping[str, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw what files that differ from a chosen one in one layer would cost: size against quantities with limits.

    Example:
        >>> import pandas as pd, tfinv.plots
        >>> rows = [("conv", "int4", 6144, True, 0.012), ("logits", "int8", 9216, False, 0.03)]
        >>> frame = pd.DataFrame(rows, columns=["layer", "to", "bytes", "holds", "flips"])
        >>> figure = tfinv.plots.neighbour_files(frame, {"flips": 0.02})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['conv: int4', 'logits: int8']

    Args:
        frame: one row per file with `layer`, the scheme `to` that it has there, `bytes`, `holds` (all conditions), a
            column for every condition, and optionally the ends of its interval, `"NAME low"` and `"NAME high"`.
        conditions: see `search_path`.
        others: see `search_path`; the chosen file among them.
        labels: see `search_path`.
        factors: see `search_path`.
        title: see `search_path`.

    Returns:
        The figure. Layers are named where there are at most eight files.

    Raises:
        TypeError, ValueError: a missing column, no row, no condition.
    """
    need_columns(frame, ("layer", "to", "bytes", "holds", *conditions), "frame")
    return _figure(frame, conditions, others, labels, factors, title, _draw_neighbours, _name, "")


def _figure(
    frame: pd.DataFrame,
    conditions: Mapping[str, float],
    others: pd.DataFrame | None,
    labels: Mapping[str, str] | None,
    factors: Mapping[str, float] | None,
    title: str | None,
    draw: Callable[[Axes, pd.DataFrame, str, float], None],
    label: Callable[[Axes, pd.DataFrame, str, float], None],
    remark: str,
) -> Figure:
    """One panel per condition, with its limit and further files."""
    if frame.empty or not conditions:
        raise ValueError("frame and conditions must hold a row and a column. Received: none")
    figure = new_figure()
    panels: Sequence[Axes] = np.atleast_1d(figure.subplots(len(conditions), 1, sharex=True)).tolist()
    for axes, (column, limit) in zip(panels, conditions.items(), strict=True):
        factor = (factors or {}).get(column, 1.0)
        draw(axes, frame, column, factor)
        if others is not None:
            _draw_others(axes, others, column, factor)
        axes.axhline(factor * limit, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="limit")
        axes.set_ylabel((labels or {}).get(column, column))
        axes.margins(0.1, 0.12)
        label(axes, frame, column, factor)
    panels[-1].set_xlabel("size of the file, KiB")
    panels[0].set_title(title or "")
    entries: dict[str, Any] = {}
    for axes in panels:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    legend(figure, list(entries.values()), list(entries))
    note(figure, f"Bars are 90 % intervals. {remark}".rstrip())
    set_plot_height(figure, panels, 2.4 * len(panels))
    return figure


def _draw(axes: Axes, frame: pd.DataFrame, column: str, factor: float) -> None:
    sizes, values = numbers(frame, "bytes") / 1024, factor * numbers(frame, column)
    good = (frame["outcome"] != "undone").to_numpy(bool)
    axes.plot(sizes[good], values[good], color=PALETTE[0], linewidth=1.2, zorder=2)
    _draw_intervals(axes, frame, column, factor)
    for outcome, look in _LOOKS.items():
        rows = (frame["outcome"] == outcome).to_numpy(bool)
        if rows.any():
            axes.scatter(sizes[rows], values[rows], s=34, zorder=3, linewidth=0, **look)


def _number(axes: Axes, frame: pd.DataFrame, column: str, factor: float) -> None:
    """Number the steps that were kept: the last one, and then those whose numbers hide no other."""
    points = np.stack([numbers(frame, "bytes") / 1024, factor * numbers(frame, column)], axis=1)
    limits = np.array([axes.get_xlim(), axes.get_ylim()])
    places = (points - limits[:, 0]) / np.ptp(limits, axis=1)
    kept = np.flatnonzero((frame["outcome"] != "undone").to_numpy(bool) & np.isfinite(points[:, 1]))
    numbered: list[int] = []
    for step in [*kept[-1:], *kept[:-1]]:
        if all((np.abs(places[step] - places[other]) > _ROOM).any() for other in numbered):
            numbered.append(step)
            axes.annotate(str(step), tuple(points[step]), (4, 4), textcoords="offset points", fontsize=7, color=MUTED)


def _draw_neighbours(axes: Axes, frame: pd.DataFrame, column: str, factor: float) -> None:
    sizes, values = numbers(frame, "bytes") / 1024, factor * numbers(frame, column)
    holds = frame["holds"].to_numpy(bool)
    _draw_intervals(axes, frame, column, factor)
    looks: list[tuple[NDArray[np.bool_], dict[str, Any]]] = [
        (holds, {"marker": "o", "color": PALETTE[0], "label": "holds"}),
        (~holds, {"marker": "X", "color": PALETTE[1], "label": "does not hold, or is inconclusive"}),
    ]
    for rows, look in looks:
        if rows.any():
            axes.scatter(sizes[rows], values[rows], s=34, zorder=3, linewidth=0, **look)


def _name(axes: Axes, frame: pd.DataFrame, column: str, factor: float) -> None:
    """Name neighbours where there are few."""
    if len(frame) > _NAMED:
        return
    sizes, values = numbers(frame, "bytes") / 1024, factor * numbers(frame, column)
    middle = (sizes.min() + sizes.max()) / 2
    for name, scheme, size, value in zip(frame["layer"], frame["to"], sizes, values, strict=True):
        if np.isfinite(value):
            short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
            left = size <= middle
            axes.annotate(
                f"{short}: {scheme}",
                (size, value),
                (4 if left else -4, 4),
                textcoords="offset points",
                fontsize=7,
                color=MUTED,
                ha="left" if left else "right",
            )


def _draw_intervals(axes: Axes, frame: pd.DataFrame, column: str, factor: float) -> None:
    if {f"{column} low", f"{column} high"} <= set(frame):
        sizes, values = numbers(frame, "bytes") / 1024, factor * numbers(frame, column)
        low, high = (factor * numbers(frame, f"{column} {end}") for end in ("low", "high"))
        reach = np.nan_to_num(np.clip(np.stack([values - low, high - values]), 0, None))
        axes.errorbar(sizes, values, reach, fmt="none", ecolor=MUTED, elinewidth=0.8, capsize=2, zorder=1)


def _draw_others(axes: Axes, others: pd.DataFrame, column: str, factor: float) -> None:
    need_columns(others, ("file", "bytes", column), "others")
    sizes, values = numbers(others, "bytes") / 1024, factor * numbers(others, column)
    for number, (name, size, value) in enumerate(zip(others["file"], sizes, values, strict=True)):
        marker = _HOLLOW[number % len(_HOLLOW)]
        look: dict[str, Any] = {"marker": marker, "s": 60, "facecolors": "none", "edgecolors": INK, "linewidth": 1}
        axes.scatter([size], [value], zorder=4, label=str(name), **look)
