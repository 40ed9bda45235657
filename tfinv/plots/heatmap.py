"""Heat maps: every unit of every layer, and what changed in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.figure import note, set_plot_height
from tfinv.plots.frames import one_measure, several
from tfinv.plots.style import styled
from tfinv.plots.units import (
    CHANGE_LOOKS,
    STATUS_LOOKS,
    VALUE,
    change_column,
    colour_bar,
    colour_range,
    columns_note,
    draw_columns,
    unit_column,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled(max_units=1)
def heatmap(
    measure_result: Any,
    measure: Any = None,
    *,
    sort: bool = True,
    max_units: int = 64,
    title: str | None = None,
) -> Figure:
    """Draw one column per layer and one cell per unit; a feature map is one unit, averaged over its valid positions.

    Every column has the same height whatever its number of units, which stands above it. Units without a valid value
    are hatched and explained in a legend. The input is never changed.

    Example:
        >>> import numpy as np, tfinv.plots
        >>> from tfinv.results import LayerResult, MeasureResult
        >>> layer = LayerResult(np.array([0.2, 0.9, 1.0]), np.array([0, 0, 1]))
        >>> figure = tfinv.plots.heatmap(MeasureResult("NormalizedVariance", {"logits": layer}))
        >>> figure.axes[0].images[0].get_array().compressed().tolist()
        [0.2, 0.9]

    Args:
        measure_result: a `MeasureResult`, or `Results`.
        measure: the measure or its key, where `Results` hold several.
        sort: smallest value at the bottom; `False` keeps the order of the units.
        max_units: a layer with more units shows this many, evenly spread over its (sorted) units.
        title: text above the axes.

    Returns:
        The figure; colours above the 99th percentile are cut where a few units would flatten all others.

    Raises:
        TypeError, ValueError: no measure result, an unclear measure, `max_units` below 1.
    """
    result = one_measure(measure_result, measure, "measure_result")
    columns = {name: unit_column(layer) for name, layer in result.items()}
    values = np.concatenate([column.values[column.kinds == VALUE] for column in columns.values()] or [np.empty(0)])
    low, high, cut = colour_range(values)
    figure, axes = draw_columns(columns, sort, max_units, STATUS_LOOKS, (low, high, "viridis"))
    colour_bar(figure, axes, result.key, "max" if cut else "neither")
    axes.set_title(title or "", pad=16)
    missing = [
        f"{name} ({layer.note})" if layer.note else name for name, layer in result.items() if not layer.values.size
    ]
    note(figure, columns_note(result, max_units) + (f" Without values: {several(missing)}." if missing else ""))
    set_plot_height(figure, [axes], 3.0)
    return figure


@styled(max_units=1)
def change_heatmap(
    before: Any,
    after: Any,
    measure: Any = None,
    *,
    sort: bool = True,
    max_units: int = 64,
    title: str | None = None,
) -> Figure:
    """Draw after minus before, unit by unit, for the layers that both results have; zero is white.

    Example:
        >>> import numpy as np, tfinv.plots
        >>> from tfinv.results import LayerResult, MeasureResult
        >>> def result(*values):
        ...     return MeasureResult("NormalizedVariance", {"logits": LayerResult(np.array(values), np.zeros(2))})
        >>> figure = tfinv.plots.change_heatmap(result(0.5, 0.5), result(0.75, 0.25))
        >>> figure.axes[0].images[0].get_array().ravel().tolist()
        [-0.25, 0.25]

    Args:
        before: a `MeasureResult`, or `Results`.
        after: the same, of the changed network.
        measure: the measure or its key, where `Results` hold several.
        sort: largest decrease at the bottom; `False` keeps the order of the units.
        max_units: a layer with more units shows this many, evenly spread over its (sorted) units.
        title: text above the axes.

    Returns:
        The figure; units that are not valid on both sides are hatched and explained in a legend.

    Raises:
        TypeError, ValueError: no measure results, no common layer, a layer with another number of units.
    """
    old, new = one_measure(before, measure, "before"), one_measure(after, measure, "after")
    common = [name for name in old if name in new]
    if not common:
        raise ValueError(f"before and after must share layers. Received: {several([*old])} and {several([*new])}")
    columns = {name: change_column(name, old[name], new[name]) for name in common}
    values = np.concatenate([column.values[column.kinds == VALUE] for column in columns.values()])
    _, high, cut = colour_range(np.abs(values))
    figure, axes = draw_columns(columns, sort, max_units, CHANGE_LOOKS, (-high, high, "PuOr_r"))
    colour_bar(figure, axes, f"change of {old.key}\n(after minus before)", "both" if cut else "neither")
    axes.set_title(title or "", pad=16)
    apart = [name for name in [*old, *new] if name not in common]
    note(figure, columns_note(old, max_units) + (f" Only in one of the two: {several(apart)}." if apart else ""))
    set_plot_height(figure, [axes], 3.0)
    return figure
