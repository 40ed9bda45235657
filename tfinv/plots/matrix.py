"""A table of numbers as a heat map with the numbers in its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def matrix(
    table: pd.DataFrame,
    label: str,
    *,
    x_label: str = "",
    y_label: str = "",
    limits: tuple[float, float] | None = None,
    digits: int = 2,
    title: str = "",
) -> Figure:
    """Draw a frame of numbers, its first row on top.

    Args:
        table: rows and columns with names; NaN stays white.
        label: what the numbers are, for the colour bar.
        x_label: what the columns are.
        y_label: what the rows are.
        limits: values at the ends of the colours; by default the smallest and the largest.
        digits: after the decimal point in each cell.
        title: text above the axes.
    """
    from tfinv.plots.axes import plain_frame
    from tfinv.plots.figure import new_figure, set_plot_height, text_width
    from tfinv.plots.style import INK, WIDTH, styled

    @styled()
    def draw() -> Figure:
        numbers = table.to_numpy(np.float64)
        rows, columns = numbers.shape
        figure = new_figure(max(WIDTH, min(9.0, 2.2 + 0.46 * columns)))
        axes = figure.add_subplot()
        low, high = limits or (float(np.nanmin(numbers)), float(np.nanmax(numbers)))
        image = axes.imshow(np.ma.masked_invalid(numbers), cmap="cividis", vmin=low, vmax=high, aspect="auto")
        for (row, column), number in np.ndenumerate(numbers):
            if np.isfinite(number):
                red, green, blue, _ = image.to_rgba(number)
                ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK
                text = f"{number:.{digits}f}"
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
        crowded = max(len(str(name)) for name in table.columns) * columns > 40
        turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        axes.set_xticks(range(columns), [str(name) for name in table.columns], **turned)
        axes.set_yticks(range(rows), [str(name) for name in table.index])
        axes.set(xlabel=x_label, ylabel=y_label, title=title)
        plain_frame(axes)
        figure.colorbar(image, ax=axes, label=label, pad=0.02)
        set_plot_height(figure, [axes], max(1.6, min(7.0, 0.34 * rows), 0.1 + text_width(label, 10)))
        return figure

    return draw()
