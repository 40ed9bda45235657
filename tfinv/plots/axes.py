"""Axes of figures: readable layer names, thinned ticks, shares in per cent, frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfinv.plots.figure import text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
