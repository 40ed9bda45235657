"""One look for every figure: palette, second cues, readable layer names, saving and embedding (plots)."""

from __future__ import annotations

import base64
import functools
import io
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np

from tfinv.support.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D00")
"""Okabe and Ito's colour-blind safe colours, the ones with most contrast on white first (yellow darkened)."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "|||", "ooo", "---")
INK, MUTED, FAINT = "#222222", "#5f6368", "#d5d8dc"
WIDTH = 5.2
"""Inches of a usual figure: text of 10 points stays readable when the figure is squeezed into a phone's width."""
DPI = 150
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    # Layer and model names are anybody's text: a dollar sign in one must not start a formula.
    "text.parse_math": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#80868b",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": "#e4e7ea",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "lines.markeredgecolor": "white",
    "lines.markeredgewidth": 0.5,
    "hatch.linewidth": 0.7,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "tfinv",
}


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a plot function with `STYLE`, and leave matplotlib's global settings as they were."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return function(*args, **kwargs)

    return wrapper


def new_figure(width: float = WIDTH) -> Figure:
    """An empty figure, `width` inches wide, whose layout makes room for long labels; see `set_plot_height`."""
    from tfinv.plots._figure import NotebookFigure

    return NotebookFigure(figsize=(width, 4), layout="constrained")


def series(index: int) -> dict[str, Any]:
    """Colour, marker and line of the `index`-th series: the three change together, so colour is never the only cue."""
    turn = index // len(PALETTE)
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[(index + turn) % len(MARKERS)],
        "linestyle": LINES[(index + turn) % len(LINES)],
    }


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
    figure.draw_without_rendering()
    inner = sum(each.get_position().height for each in axes) * figure.get_figheight()
    figure.set_figheight(figure.get_figheight() + inches - inner)


def figure_width(layers: int) -> float:
    """Inches for a number of layers: the usual width up to 20, then more, up to 8.6."""
    return min(8.6, WIDTH + max(0, layers - 20) * 0.05)


def short_names(names: Sequence[str], longest: int = 18) -> list[str]:
    """Names short enough for an axis: without the folders that all share, cut in the middle, still distinct.

    Args:
        names: layer names.
        longest: characters a name may have.

    Returns:
        As many distinct texts.
    """
    folders = [name.split("/")[:-1] for name in names]
    shared = next((i for i, level in enumerate(zip(*folders, strict=False)) if len(set(level)) > 1), None)
    if shared is None:
        shared = min(map(len, folders), default=0)
    texts = ["/".join(name.split("/")[shared:]) for name in names]
    head = (longest - 1) // 2
    texts = [text if len(text) <= longest else f"{text[:head]}…{text[head + 1 - longest :]}" for text in texts]
    seen: dict[str, int] = {}
    for position, text in enumerate(texts):
        seen[text] = seen.get(text, 0) + 1
        if seen[text] > 1:
            texts[position] = f"{text} ({seen[text]})"
    return texts


def shown_ticks(count: int, most: int = 40) -> list[int]:
    """Evenly thinned positions out of `count`, at most `most`, the first and the last always among them."""
    step = max(1, math.ceil(count / most))
    ticks = list(range(0, count, step))
    if count and ticks[-1] != count - 1:
        if count - 1 - ticks[-1] < step / 2 or len(ticks) == most:
            ticks.pop()
        ticks.append(count - 1)
    return ticks


def layer_axis(axes: Axes, names: Sequence[str]) -> None:
    """Put layer names on the x axis: shortened, turned as far as needed, thinned out above 40."""
    texts, ticks = short_names(names), shown_ticks(len(names))
    width = axes.get_figure(root=True).get_figwidth() - 1.1  # type: ignore[union-attr]
    flat = max((text_width(text, 9) for text in texts), default=0) + 0.08 < width / max(1, len(names))
    if flat:
        look: dict[str, Any] = {}
    elif len(ticks) <= 20:
        look = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    else:
        look = {"rotation": 90, "fontsize": 8}
    axes.set_xticks(ticks, [texts[tick] for tick in ticks], **look)
    if len(ticks) < len(names):
        axes.set_xticks(range(len(names)), minor=True)
        axes.tick_params(axis="x", which="minor", length=2)
    axes.set_xlim(-0.6, len(names) - 0.4)


def plain_frame(axes: Axes) -> None:
    """Neither grid nor frame, for axes that hold an image."""
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=2)


def percent_axis(axes: Axes, label: str) -> None:
    """A value axis for shares, written in per cent."""
    from matplotlib.ticker import FuncFormatter

    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6):g}"))
    axes.set_ylabel(f"{label.replace('_', ' ')} (%)")


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure atomically; it belongs to no window, so nothing is left to close.

    Example:
        >>> import pandas as pd, tempfile, tfinv.plots
        >>> frame = pd.DataFrame({"layer": ["conv", "logits"], "mean": [0.7, 0.2]})
        >>> figure = tfinv.plots.profile({"model": frame})
        >>> tfinv.plots.save(figure, tempfile.mkdtemp() + "/profile.png").name
        'profile.png'

    Args:
        figure: what a plot function returned, or any matplotlib figure.
        path: ends in `.png` (150 dots an inch), `.svg` or `.pdf`; missing folders are made.

    Returns:
        The path.

    Raises:
        ValueError: another ending.
    """
    target = Path(path)
    kind = target.suffix.lower().lstrip(".")
    if kind not in ("png", "svg", "pdf"):
        raise ValueError(f"path must end in .png, .svg or .pdf. Received: {path}")
    data = _render(figure, kind)
    with atomic_write(target) as file:
        file.write(data)
    return target


def to_data_uri(figure: Figure, kind: Literal["auto", "svg", "png"] = "auto") -> str:
    """A figure as a `data:` address, for a page that loads nothing.

    Args:
        figure: the figure.
        kind: `"svg"` stays sharp at any zoom; `"auto"` takes PNG where the SVG has more than 300 kB and PNG less.

    Returns:
        `data:image/svg+xml;base64,...` or `data:image/png;base64,...`; the same figure gives the same text.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in ("auto", "svg", "png"):
        raise ValueError(f"kind must be 'auto', 'svg' or 'png'. Received: {kind!r}")
    form, data = ("svg", _render(figure, "svg")) if kind != "png" else ("png", _render(figure, "png"))
    if kind == "auto" and len(data) > 300_000:
        dots = _render(figure, "png")
        form, data = min(("svg", data), ("png", dots), key=lambda each: len(each[1]))
    mime = {"svg": "image/svg+xml", "png": "image/png"}[form]
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _render(figure: Figure, kind: str) -> bytes:
    from matplotlib import rc_context

    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    buffer = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=undated)
    return buffer.getvalue()
