"""The layer profile: one line per model, one point per layer, the picture that users look at first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tfinv.plots.axes import layer_axis
from tfinv.plots.figure import figure_width, legend, new_figure, note, set_plot_height
from tfinv.plots.frames import as_profiles, merged_layers, need_columns, numbers, several
from tfinv.plots.style import MUTED, series, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

COUNTS = ("units", "left_out", "dead", "sample_constant", "sparse")


@styled()
def profile(
    results_by_name: Mapping[str, Any],
    measure: Any = None,
    *,
    bands: Mapping[str, pd.DataFrame] | Literal[False] | None = None,
    relative_axis: bool = False,
    reference: tuple[float, str] | None = None,
    title: str | None = None,
) -> Figure:
    r"""Draw profiles, :math:`\frac{1}{|V|}\sum_{u \in V} m(u)` over the valid units of a layer, one line per model.

    A layer without valid units is a gap in the line, marked by a cross on the axis and named below the figure, together
    with the number of units left out of the means. A layer that a model does not have (fused, another architecture) has
    no point, and its line goes on to the next one.

    Example:
        >>> import pandas as pd, tfinv.plots
        >>> plain = pd.DataFrame({"layer": ["conv", "relu", "logits"], "mean": [0.7, 0.6, 0.8]})
        >>> augmented = pd.DataFrame({"layer": ["conv", "relu", "logits"], "mean": [0.7, 0.5, 0.2]})
        >>> figure = tfinv.plots.profile({"plain": plain, "augmented": augmented}, title="Rotation")
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['plain', 'augmented']

    Args:
        results_by_name: name of each line, and `Results`, a `MeasureResult` or a frame with the columns `layer, mean`
            and optionally `low, high` (ends of an interval), `units, left_out, dead, sample_constant, sparse`.
            `Results` alone give one line per measure.
        measure: the measure or its key, needed where there are several.
        bands: frames with the columns `layer, low, high` by name; `None` takes a profile's own columns `low, high`
            where it has them, `False` draws none.
        relative_axis: x is the depth in per cent of a network's layers, to compare architectures.
        reference: value and text of a horizontal line, such as `(1.0, "as much as between images")`.
        title: text above the axes.

    Returns:
        The figure.

    Raises:
        TypeError, ValueError: an item is of another kind, a column is missing, the measure is not clear.
    """
    frames, y_label = as_profiles(results_by_name, measure)
    intervals = _intervals(frames, bands)
    layers = merged_layers([list(frame["layer"]) for frame in frames.values()])
    figure = new_figure(figure_width(0 if relative_axis else len(layers)))
    axes = figure.add_subplot()
    handles = []
    for index, (name, frame) in enumerate(frames.items()):
        x = _relative(len(frame)) if relative_axis else np.array([layers.index(name) for name in frame["layer"]])
        handles.append(draw_line(axes, x, frame, intervals.get(name), name, index))
    profile_limits(axes, frames.values(), intervals.values())
    if reference is not None:
        handles.append(axes.axhline(reference[0], color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1))
        axes.set_ylim(top=max(axes.get_ylim()[1], reference[0] * 1.05))
    if relative_axis:
        axes.set(xlabel="depth (% of the network's layers)", xlim=(-2, 102))
    else:
        layer_axis(axes, layers)
        axes.set_xlabel("layer, from input to output")
    axes.set(ylabel=y_label, title=title or "")
    legend(figure, handles, [*frames, *([reference[1]] if reference else [])])
    note(figure, _small_print(frames))
    set_plot_height(figure, [axes], 2.7)
    return figure


def _intervals(frames: Mapping[str, pd.DataFrame], bands: Any) -> dict[str, pd.DataFrame]:
    """Rows of `low, high` in the order of each frame's layers."""
    if bands is None:
        return {name: frame for name, frame in frames.items() if {"low", "high"} <= set(frame)}
    if bands is False:
        return {}
    if not isinstance(bands, Mapping):
        raise TypeError(f"bands must map names to frames, or be None or False. Received: {type(bands).__name__}")
    unknown = [str(name) for name in bands if name not in frames]
    if unknown:
        raise ValueError(f"bands must use the names {', '.join(frames)}. Received: {', '.join(unknown)}")
    bounds = {}
    for name, band in bands.items():
        indexed = need_columns(band, ("layer", "low", "high"), f"bands[{name!r}]").set_index("layer")
        bounds[name] = indexed[["low", "high"]].reindex(frames[name]["layer"])
    return bounds


def _relative(count: int) -> NDArray[np.float64]:
    return np.linspace(0, 100, count) if count > 1 else np.array([100.0])


def draw_line(
    axes: Axes, x: NDArray[Any], frame: pd.DataFrame, interval: pd.DataFrame | None, name: str, index: int
) -> Any:
    """Draw one model's points, line, band and gaps at `x`; returns the line."""
    look = series(index)
    mean = numbers(frame, "mean")
    finite = np.isfinite(mean)
    order = np.argsort(x, kind="stable")
    x, mean, finite = x[order], np.where(finite, mean, np.nan)[order], finite[order]
    (line,) = axes.plot(x, mean, label=name, markevery=_marked(finite), zorder=3, **look)
    if interval is not None:
        low, high = (numbers(interval, side)[order] for side in ("low", "high"))
        inside = finite & np.isfinite(low) & np.isfinite(high)
        axes.fill_between(x, low, high, where=inside, color=look["color"], alpha=0.2, linewidth=0, zorder=2)
    axes.scatter(
        x[~finite],
        np.full((~finite).sum(), 0.02 + 0.03 * (index % 4)),
        marker="x",
        s=26,
        color=look["color"],
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        zorder=4,
    )
    return line


def _marked(finite: NDArray[np.bool_], most: int = 40) -> list[int]:
    """Points that get a marker: all of a short profile; of a long one some, and every point that stands alone."""
    step = -(-len(finite) // most)
    padded = np.concatenate(([False], finite, [False]))
    alone = ~padded[:-2] & ~padded[2:]
    return [i for i in range(len(finite)) if finite[i] and (i % step == 0 or alone[i])]


def profile_limits(axes: Axes, frames: Iterable[pd.DataFrame], intervals: Iterable[pd.DataFrame]) -> None:
    """From zero where nothing is negative: a short axis would make small differences look large."""
    values = [numbers(frame, "mean") for frame in frames]
    values += [numbers(interval, side) for interval in intervals for side in ("low", "high")]
    finite = np.concatenate(values)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        axes.set_ylim(0, 1)
        axes.text(0.5, 0.5, "no layer has a valid unit", transform=axes.transAxes, ha="center", color=MUTED)
        return
    low, high = float(finite.min()), float(finite.max())
    margin = 0.06 * ((high - min(low, 0)) or 1)
    axes.set_ylim(0 if low >= 0 else low - margin, high + margin)


def _small_print(frames: Mapping[str, pd.DataFrame]) -> str:
    left_out, gaps, known = [], [], []
    for name, frame in frames.items():
        counts = {column: int(numbers(frame, column).sum()) for column in COUNTS if column in frame}
        if {"left_out", "units"} <= set(counts):
            known.append(counts)
        if counts.get("left_out") and "units" in counts:
            reasons = [f"{counts[key]:,} {key.replace('_', '-')}" for key in COUNTS[2:] if counts.get(key)]
            why = f" ({', '.join(reasons)})" if reasons else ""
            left_out.append(f"{name} {counts['left_out']:,} of {counts['units']:,}{why}")
        empty = [str(layer) for layer in frame["layer"][~np.isfinite(numbers(frame, "mean"))]]
        if empty:
            gaps.append(f"{name} {several(empty)}")
    texts = []
    if left_out:
        counted = "; ".join(left_out) if len(left_out) <= 3 else _range(known)
        texts.append(f"Units left out of the means: {counted}.")
    if gaps:
        texts.append(f"Gaps, layers without a valid unit: {several(gaps)}.")
    return " ".join(texts)


def _range(counts: Sequence[dict[str, int]]) -> str:
    left_out = [count["left_out"] for count in counts]
    return f"{min(left_out):,} to {max(left_out):,} of up to {max(count['units'] for count in counts):,} a line"
