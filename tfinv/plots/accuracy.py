"""Accuracy against angle, one line per model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.axes import percent_axis
from tfinv.plots.figure import legend, new_figure, set_plot_height
from tfinv.plots.frames import need_columns, numbers
from tfinv.plots.style import MUTED, series, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@styled()
def accuracy_curve(
    curves: pd.DataFrame | Mapping[str, Any],
    x: str = "degrees",
    *,
    y: str = "accuracy",
    chance: float | None = None,
    polar: bool = False,
    x_label: str | None = None,
    y_label: str | None = None,
    title: str | None = None,
) -> Figure:
    """Draw accuracy (or another share) against a transformation's parameter, one line per model.

    Example:
        >>> import pandas as pd, tfinv.plots
        >>> frame = pd.DataFrame({"model": "plain", "degrees": [90, 0], "accuracy": [0.3, 0.98]})
        >>> figure = tfinv.plots.accuracy_curve(frame, chance=0.1)
        >>> figure.axes[0].lines[0].get_xydata().tolist()
        [[0.0, 0.98], [90.0, 0.3]]

    Args:
        curves: frame with the columns `model, x, y` and optionally `low, high` (an interval); or frames without
            `model`, or mappings of x to y, by model name.
        x: the column on the x axis; degrees get degree marks.
        y: the column on the y axis, shares in [0, 1], shown in per cent.
        chance: the share that guessing reaches.
        polar: angles on a circle, 0 at the top, counter-clockwise as the image turns.
        x_label: text of the x axis; by default made from `x`.
        y_label: text of the y axis; by default `y`.
        title: text above the axes.

    Returns:
        The figure.

    Raises:
        TypeError, ValueError: a missing column, no curves, `polar` without degrees.
    """
    frames = _curves(curves, x, y)
    if polar and x != "degrees":
        raise ValueError(f"polar needs x='degrees'. Received: x={x!r}")
    figure = new_figure()
    axes = figure.add_subplot(projection="polar" if polar else None)
    handles = [_draw_curve(axes, frame, x, y, name, index, polar) for index, (name, frame) in enumerate(frames.items())]
    if chance is not None:
        places = np.linspace(0, 2 * np.pi, 181) if polar else (0.0, 1.0)
        kind: dict[str, Any] = {} if polar else {"transform": axes.get_yaxis_transform()}
        (line,) = axes.plot(
            places, np.full(len(places), chance), color=MUTED, linewidth=1, linestyle=(0, (2, 2)), **kind
        )
        handles.append(line)
    axes.set_ylim(0, 1)
    percent_axis(axes, y_label or y)
    if x == "degrees":
        _degree_axis(axes, polar, np.concatenate([numbers(frame, x) for frame in frames.values()]))
    if polar:
        axes.set_ylabel("")
        axes.set_title(f"{title}\n" if title else "")
    else:
        axes.set_xlabel(x_label or ("rotation of the image (degrees)" if x == "degrees" else x.replace("_", " ")))
        axes.set_title(title or "")
    legend(figure, handles, [*frames, *(["chance"] if chance is not None else [])])
    set_plot_height(figure, [axes], 3.3 if polar else 2.6)
    return figure


def _curves(curves: Any, x: str, y: str) -> dict[str, pd.DataFrame]:
    """Frames by model name, each sorted by x."""
    import pandas as pd

    if isinstance(curves, pd.DataFrame):
        need_columns(curves, ("model", x, y), "curves")
        parts: Mapping[Any, Any] = dict(list(curves.groupby("model", sort=False)))
    elif isinstance(curves, Mapping) and curves:
        parts = curves
    else:
        raise TypeError(
            f"curves must be a frame with the columns model, {x}, {y}, or map names to frames. "
            f"Received: {type(curves).__name__}{' without entries' if isinstance(curves, Mapping) else ''}"
        )
    frames = {}
    for name, part in parts.items():
        if not isinstance(part, pd.DataFrame) and isinstance(part, Mapping | pd.Series):
            part = pd.DataFrame(list(part.items()), columns=[x, y])
        frame = need_columns(part, (x, y), f"curves[{name!r}]")
        if frame[x].duplicated().any():
            raise ValueError(f"curves[{name!r}] must have one row for each {x}. Received: repeated values")
        frames[str(name)] = frame.sort_values(x)
    return frames


def _draw_curve(axes: Axes, frame: pd.DataFrame, x: str, y: str, name: str, index: int, polar: bool) -> Any:
    look = series(index)
    places, shares = numbers(frame, x), numbers(frame, y)
    bounds = [numbers(frame, side) for side in ("low", "high") if side in frame]
    if polar:
        places = np.deg2rad(places)
        if _whole_turn(numbers(frame, x)):
            places, shares = np.append(places, places[0] + 2 * np.pi), np.append(shares, shares[0])
            bounds = [np.append(bound, bound[0]) for bound in bounds]
    every = max(1, len(places) // 40)
    (line,) = axes.plot(places, shares, label=name, markevery=every, zorder=3, clip_on=False, **look)
    if len(bounds) == 2:
        axes.fill_between(places, bounds[0], bounds[1], color=look["color"], alpha=0.2, linewidth=0, zorder=2)
    return line


def _whole_turn(degrees: NDArray[np.float64]) -> bool:
    """Whether the angles go once around, so that the line may be closed."""
    return degrees.size > 2 and abs(degrees[-1] - degrees[0] + np.diff(degrees).mean() - 360) < 1e-6


def _degree_axis(axes: Any, polar: bool, degrees: NDArray[np.float64]) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    if polar:
        axes.set_theta_zero_location("N")
        axes.set_rlabel_position(22.5)
        axes.grid(True, axis="both")
        return
    span = float(np.ptp(degrees))
    axes.xaxis.set_major_locator(MultipleLocator(45 if span > 150 else 15 if span > 40 else 5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}°"))
