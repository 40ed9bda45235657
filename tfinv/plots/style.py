"""One look for every figure: palette, second cues, style."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tfinv.support.guarded import guarded

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


def styled(**least: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check the arguments of a plot function, run it with `STYLE`, and leave matplotlib's settings as they were.

    Args:
        least: by argument the smallest whole number that it may be, see `tfinv.support.guarded`.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        checked = guarded(**least)(function)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            from matplotlib import rc_context

            with rc_context(STYLE):
                return checked(*args, **kwargs)

        return wrapper

    return decorate


def series(index: int) -> dict[str, Any]:
    """Colour, marker and line of the `index`-th series: the three change together, so colour is never the only cue."""
    turn = index // len(PALETTE)
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[(index + turn) % len(MARKERS)],
        "linestyle": LINES[(index + turn) % len(LINES)],
    }
