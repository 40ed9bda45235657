"""The relative error of a measure against how many samples and transformations it was measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfinv.plots.axes import plain_frame
from tfinv.plots.figure import new_figure, set_plot_height
from tfinv.plots.frames import need_columns
from tfinv.plots.style import INK, WIDTH, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@styled()
def relative_error_map(
    frame: pd.DataFrame, *, value: str = "error", label: str = "relative error", title: str | None = None
) -> Figure:
    """Draw the relative error of a measure against the number of transformations (x) and of samples (y).

    Example:
        >>> import pandas as pd, tfinv.plots
        >>> rows = [(100, 4, 0.3), (100, 16, 0.2), (400, 4, 0.1), (400, 16, 0.0)]
        >>> figure = tfinv.plots.relative_error_map(pd.DataFrame(rows, columns=["samples", "transformations", "error"]))
        >>> figure.axes[0].images[0].get_array().tolist()
        [[0.3, 0.2], [0.1, 0.0]]

    Args:
        frame: columns `samples, transformations` and `value`, one row per pair.
        value: the column with the numbers.
        label: what they are, for the colour bar.
        title: text above the axes.

    Returns:
        The figure; the number stands in each cell, pairs that were not run stay empty.

    Raises:
        TypeError, ValueError: a missing column, a pair that occurs twice.
    """
    need_columns(frame, ("samples", "transformations", value), "frame")
    if frame.duplicated(["samples", "transformations"]).any():
        raise ValueError("frame must have one row for a pair of samples and transformations. Received: repeated pairs")
    table = frame.pivot(index="samples", columns="transformations", values=value).sort_index().sort_index(axis=1)
    numbers = table.to_numpy(np.float64)
    rows, columns = numbers.shape
    figure = new_figure(max(WIDTH * 0.8, min(8.0, 2.0 + 0.62 * columns)))
    axes = figure.add_subplot()
    top = float(np.nanmax(numbers, initial=0)) or 1.0
    image = axes.imshow(np.ma.masked_invalid(numbers), cmap="cividis", vmin=0, vmax=top, aspect="auto", origin="lower")
    for (row, column), number in np.ndenumerate(numbers):
        if np.isfinite(number):
            red, green, blue, _ = image.to_rgba(number)
            ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK
            axes.text(column, row, f"{number:.2g}", ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(columns), [f"{count:,}" for count in table.columns])
    axes.set_yticks(range(rows), [f"{count:,}" for count in table.index])
    axes.set(xlabel="number of transformations", ylabel="number of samples", title=title or "")
    plain_frame(axes)
    figure.colorbar(image, ax=axes, label=label, pad=0.02)
    set_plot_height(figure, [axes], max(1.6, min(7.0, 0.42 * rows)))
    return figure
