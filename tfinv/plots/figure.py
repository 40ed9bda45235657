"""Figures and what surrounds their axes: size, legend, small print."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.style import DPI, MUTED, STYLE, WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float = WIDTH) -> Figure:
    """An empty figure, `width` inches wide, whose layout makes room for long labels; see `set_plot_height`."""
    return _notebook_figure()(figsize=(width, 4), layout="constrained")


@functools.cache
def _notebook_figure() -> type[Figure]:
    """A class of figures that a notebook shows although no pyplot window holds them; made at the first figure."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            with rc_context(STYLE):
                self.savefig(buffer, format="png", dpi=DPI)
            return buffer.getvalue()

    return NotebookFigure


def text_width(text: str, size: float) -> float:
    """Inches that a text of `size` points takes, with room for the rounding of letters to whole pixels."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=STYLE["font.sans-serif"], size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return 1.03 * float(width) / 72


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend above the axes, in as many columns as its texts leave room for."""
    texts = [f"\u200a{label}" if label.startswith("_") else label for label in labels]  # a leading "_" hides an entry
    widths = [text_width(text, STYLE["legend.fontsize"]) + 0.58 for text in texts]
    columns = 1
    for columns in range(len(texts), 0, -1):
        total = sum(part.max() for part in np.array_split(widths, columns))  # as matplotlib fills the columns
        if total < figure.get_figwidth() - 0.1:
            break
    figure.legend(handles, texts, loc="outside upper left", ncols=columns, columnspacing=1.4, handlelength=2.4)


def note(figure: Figure, text: str) -> None:
    """Small print under a figure, wrapped to its width; nothing for an empty text."""
    if text:
        wrapped = "\n".join(_lines(text, figure.get_figwidth() - 0.2, 8.5))
        figure.supxlabel(wrapped, x=0.012, ha="left", fontsize=8.5, color=MUTED, linespacing=1.35)


def _lines(text: str, inches: float, size: float) -> list[str]:
    """Break a text at spaces into lines that fit."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= inches:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def set_plot_height(figure: Figure, axes: Sequence[Axes], inches: float) -> None:
    """Give axes that stand above each other `inches` together, whatever their legend, names and notes need besides.

    Call it when everything that takes room is drawn.
    """
    figure.set_figheight(inches + 4)
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    inner = sum(part.get_position().height for part in axes) * figure.get_figheight()
    figure.set_figheight(figure.get_figheight() + inches - inner)


def figure_width(layers: int) -> float:
    """Inches for a number of layers: the usual width up to 20, then more, up to 8.6."""
    return min(8.6, WIDTH + max(0, layers - 20) * 0.05)
