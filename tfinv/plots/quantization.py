"""What quantization changes: profiles before and after, and size against accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.axes import layer_axis, percent_axis
from tfinv.plots.figure import figure_width, legend, new_figure, note, set_plot_height
from tfinv.plots.frames import merged_layers, need_columns, numbers
from tfinv.plots.labels import place_labels
from tfinv.plots.profile import draw_line, profile_limits
from tfinv.plots.style import MUTED, PALETTE, series, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@styled()
def before_after(
    profile_before: pd.DataFrame,
    profile_after: pd.DataFrame,
    difference: pd.DataFrame | None = None,
    *,
    names: tuple[str, str] = ("before", "after"),
    y_label: str = "mean over units",
    title: str | None = None,
) -> Figure:
    """Draw two layer profiles above, and their difference with intervals and a zero line below.

    Example:
        >>> import pandas as pd, tfinv.plots
        >>> before = pd.DataFrame({"layer": ["conv", "logits"], "mean": [0.5, 0.25]})
        >>> after = pd.DataFrame({"layer": ["conv", "logits"], "mean": [0.5, 0.5]})
        >>> figure = tfinv.plots.before_after(before, after, names=("float32", "int8"))
        >>> figure.axes[1].lines[1].get_ydata().tolist()
        [0.0, 0.25]

    Args:
        profile_before: columns `layer, mean`, optionally `low, high`.
        profile_after: the same, of the changed network.
        difference: columns `layer, difference` and optionally `low, high`, the ends of its confidence interval; by
            default after minus before, without intervals.
        names: what the two are called.
        y_label: what the values are.
        title: text above the figure.

    Returns:
        The figure. Filled marks: the interval excludes zero; hollow marks: it does not; small dots: no interval known.

    Raises:
        TypeError, ValueError: a missing column, repeated layers, no common layer.
    """
    frames = [
        need_columns(profile_before, ("layer", "mean"), "profile_before"),
        need_columns(profile_after, ("layer", "mean"), "profile_after"),
    ]
    if difference is None:
        difference = _subtract(*frames)
    need_columns(difference, ("layer", "difference"), "difference")
    layers = merged_layers([list(frame["layer"]) for frame in [*frames, difference]])
    figure = new_figure(figure_width(len(layers)))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    places = {layer: position for position, layer in enumerate(layers)}
    handles, intervals = [], {}
    for index, (name, frame) in enumerate(zip(names, frames, strict=True)):
        x = np.array([places[layer] for layer in frame["layer"]])
        if {"low", "high"} <= set(frame):
            intervals[name] = frame
        handles.append(draw_line(above, x, frame, intervals.get(name), name, index))
    profile_limits(above, frames, intervals.values())
    labels = [*names]
    for handle, label in _draw_differences(below, difference, places):
        handles.append(handle)
        labels.append(label)
    layer_axis(below, layers)
    above.set(ylabel=y_label, title=title or "")
    above.tick_params(axis="x", which="both", length=0)
    below.set(ylabel=f"difference\n({names[1]} minus {names[0]})", xlabel="layer, from input to output")
    legend(figure, handles, labels)
    set_plot_height(figure, [above, below], 4.0)
    return figure


@styled()
def pareto(
    frame: pd.DataFrame,
    x: str = "kib",
    y: str = "accuracy",
    label: str = "recipe",
    *,
    group: str | None = None,
    x_label: str | None = None,
    y_label: str | None = None,
    percent: bool = True,
    title: str | None = None,
) -> Figure:
    """Draw size (smaller is better) against accuracy (larger is better), every point named, the best ones joined.

    A point is on the frontier when no other is at least as small and at least as good, and better in one of the two.

    Example:
        >>> import pandas as pd, tfinv.plots
        >>> rows = [("float32", 32.0, 0.95), ("int8", 16.0, 0.94), ("int4", 17.0, 0.80)]
        >>> figure = tfinv.plots.pareto(pd.DataFrame(rows, columns=["recipe", "kib", "accuracy"]))
        >>> figure.axes[0].lines[0].get_xdata().tolist()
        [16.0, 32.0]

    Args:
        frame: one row per point; optional columns `low, high` are the ends of an interval of y.
        x: the column on the x axis.
        y: the column on the y axis.
        label: the column with the names.
        group: a column told apart by colour and mark.
        x_label: text of the x axis; by default the column's name.
        y_label: text of the y axis.
        percent: y is a share, shown in per cent.
        title: text above the axes.

    Returns:
        The figure; points off the frontier are hollow.

    Raises:
        TypeError, ValueError: a missing column, no row with finite x and y.
    """
    need_columns(frame, (x, y, label, *([group] if group else [])), "frame")
    kept = frame.loc[np.isfinite(numbers(frame, x)) & np.isfinite(numbers(frame, y))]
    if kept.empty:
        raise ValueError(f"frame must have a row with finite {x} and {y}. Received: none")
    figure = new_figure()
    axes = figure.add_subplot()
    xs, ys = numbers(kept, x), numbers(kept, y)
    best = frontier(xs, ys)
    order = np.lexsort((ys[best], xs[best]))
    (line,) = axes.plot(
        xs[best][order], ys[best][order], color="#a9b0b7", linewidth=1.4, drawstyle="steps-post", zorder=1
    )
    handles, labels = _draw_points(axes, kept, xs, ys, best, group)
    axes.margins(0.14, 0.22)
    axes.set(xlabel=x_label or x, title=title or "")
    axes.set_ylabel(y_label or y.replace("_", " "))
    if percent:
        percent_axis(axes, y_label or y)
    legend(figure, [*handles, line], [*labels, "best trade-offs (filled)"])
    lost = [str(name) for name in frame[label][~frame.index.isin(kept.index)]]
    note(figure, f"Without numbers: {', '.join(lost)}." if lost else "")
    set_plot_height(figure, [axes], 3.2)
    place_labels(axes, xs, ys, [str(name) for name in kept[label]])
    return figure


def frontier(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points no other dominates: smaller x is better, larger y is better; equal points are both kept."""
    as_good = (xs[:, None] <= xs) & (ys[:, None] >= ys)
    better = (xs[:, None] < xs) | (ys[:, None] > ys)
    return np.logical_not(np.any(as_good & better, axis=0))


def _subtract(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    both = before[["layer", "mean"]].merge(after[["layer", "mean"]], on="layer", suffixes=("_before", "_after"))
    if both.empty:
        raise ValueError("profile_before and profile_after must share layers. Received: none in common")
    both["difference"] = both["mean_after"] - both["mean_before"]
    return both


def _draw_differences(axes: Axes, difference: pd.DataFrame, places: dict[str, int]) -> list[tuple[Any, str]]:
    """Points, error bars and the zero line; returns what the legend has to explain."""
    x = np.array([places[layer] for layer in difference["layer"]])
    y = numbers(difference, "difference")
    axes.axhline(0, color=MUTED, linewidth=1, zorder=1)
    if not {"low", "high"} <= set(difference):
        (line,) = axes.plot(x, y, linestyle="none", marker="o", markersize=4, color=MUTED)
        return [(line, "difference")]
    low, high = (numbers(difference, side) for side in ("low", "high"))
    real = (low > 0) | (high < 0)
    entries = []
    for which, colour, face, text in (
        (real, PALETTE[1], PALETTE[1], "interval excludes 0"),
        (~real, MUTED, "white", "interval includes 0"),
    ):
        if which.any():
            reach = np.abs(np.stack([y - low, high - y])[:, which])
            look: dict[str, Any] = {"fmt": "o", "color": colour, "markerfacecolor": face, "markeredgecolor": colour}
            entries.append(
                (
                    axes.errorbar(x[which], y[which], reach, elinewidth=1.2, markersize=5, markeredgewidth=1.2, **look),
                    text,
                )
            )
    return entries


def _draw_points(
    axes: Axes,
    frame: pd.DataFrame,
    xs: NDArray[np.float64],
    ys: NDArray[np.float64],
    best: NDArray[np.bool_],
    group: str | None,
) -> tuple[list[Any], list[str]]:
    if {"low", "high"} <= set(frame):
        reach = np.abs(np.stack([ys - numbers(frame, "low"), numbers(frame, "high") - ys]))
        axes.errorbar(xs, ys, reach, fmt="none", ecolor=MUTED, elinewidth=1, zorder=2)
    groups = list(dict.fromkeys(frame[group])) if group else [None]
    handles, labels = [], []
    for index, name in enumerate(groups):
        inside = np.ones(len(frame), bool) if group is None else (frame[group] == name).to_numpy()
        look = {**series(index), "linestyle": "none", "markersize": 7, "markeredgewidth": 1.4}
        look["markeredgecolor"] = look["color"]
        for chosen, face in ((inside & best, look["color"]), (inside & ~best, "white")):
            axes.plot(xs[chosen], ys[chosen], markerfacecolor=face, zorder=3, **look)
        if group:
            handles.append(axes.plot([], [], **look)[0])
            labels.append(str(name))
    return handles, labels
