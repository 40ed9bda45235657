"""Columns of units, one per layer: what both heat maps draw."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfinv.plots.axes import layer_axis, plain_frame
from tfinv.plots.figure import figure_width, new_figure
from tfinv.plots.style import MUTED
from tfinv.results import LayerResult
from tfinv.status import Status

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Look = tuple[str, str, str]
"""Text of the legend, face colour, hatch."""
VALUE = 0
STATUS_LOOKS: dict[int, Look] = {
    Status.DEAD: ("dead (0/0)", "#e3e3e3", "////"),
    Status.SAMPLE_CONSTANT: ("sample-constant (x/0)", "#bdbdbd", "...."),
    Status.NON_FINITE: ("not finite", "#303030", ""),
    Status.TOO_FEW_POSITIONS: ("too few positions", "#f4f4f4", "xxx"),
    Status.SPARSE: ("sparse (too few samples)", "#d0d0d0", "++"),
}
LOST, GAINED, NEITHER = 101, 102, 103
CHANGE_LOOKS: dict[int, Look] = {
    LOST: ("valid only before", "#bdbdbd", "...."),
    GAINED: ("valid only after", "#f4f4f4", "xxx"),
    NEITHER: ("valid in neither", "#e3e3e3", "////"),
}


@dataclass(frozen=True)
class UnitColumn:
    """The units of one layer: values `(n,)`, and for each `VALUE` or the key of a `Look` (`(n,)`)."""

    values: NDArray[np.float64]
    kinds: NDArray[np.int64]

    def arranged(self, sort: bool, most: int) -> UnitColumn:
        """Valid units by value, the others above them; evenly thinned out to `most` units."""
        order = np.arange(self.values.size)
        if sort:
            rank = np.where(self.kinds == VALUE, self.values, 0.0)
            order = np.lexsort((rank, self.kinds))
        if order.size > most:
            order = order[np.linspace(0, order.size - 1, most).round().astype(int)]
        return UnitColumn(self.values[order], self.kinds[order])


def unit_column(layer: LayerResult) -> UnitColumn:
    """One entry per unit, or a feature map: the mean over its valid positions, else its most frequent status."""
    channels = layer.values.shape[-1] if layer.values.ndim else 1
    status = layer.status.reshape(-1, channels) if layer.values.ndim > 1 else layer.status.reshape(1, -1)
    values = layer.values.reshape(status.shape)
    valid = status == Status.VALID
    counts = valid.sum(axis=0)
    sums = np.where(valid, values, 0.0).sum(axis=0)
    means = np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    usual = np.array([np.bincount(codes, minlength=5)[1:].argmax() + 1 for codes in status.T], np.int64)
    return UnitColumn(means, np.where(counts > 0, VALUE, usual) if usual.size else np.empty(0, np.int64))


def change_column(name: str, before: LayerResult, after: LayerResult) -> UnitColumn:
    """After minus before for each unit or feature map; where one side is not valid, which one.

    Raises:
        ValueError: the layer has another number of units after than before.
    """
    old, new = unit_column(before), unit_column(after)
    if old.values.shape != new.values.shape:
        raise ValueError(
            "before and after must have the same units in every common layer. "
            f"Received: {name} with {old.values.size} and {new.values.size}"
        )
    was, stays = old.kinds == VALUE, new.kinds == VALUE
    kinds = np.select([was & stays, was, stays], [VALUE, LOST, GAINED], NEITHER)
    return UnitColumn(np.where(was & stays, new.values - old.values, np.nan), kinds)


def colour_range(values: NDArray[np.float64]) -> tuple[float, float, bool]:
    """Lowest and highest colour, and whether values above the 99th percentile are cut off."""
    if values.size == 0:
        return 0.0, 1.0, False
    low, high, usual = min(0.0, float(values.min())), float(values.max()), float(np.percentile(values, 99))
    cut = usual > 0 and high > 1.5 * usual
    high = usual if cut else high
    return low, high if high > low else low + 1.0, cut


def draw_columns(
    columns: Mapping[str, UnitColumn],
    sort: bool,
    max_units: int,
    looks: Mapping[int, Look],
    colours: tuple[float, float, str],
) -> tuple[Figure, Axes]:
    """Figure with all columns, legend of the hatches, names and numbers of units; the caller adds colour bar and note.

    Args:
        columns: units by layer.
        sort: valid units by value, the others above them.
        max_units: cells that a column has at most.
        looks: legend text, colour and hatch of the units without a value.
        colours: smallest and largest value of the colours, and the colour map.
    """
    figure = new_figure(figure_width(len(columns)) + 0.6)
    axes = figure.add_subplot()
    for position, column in enumerate(columns.values()):
        _draw_column(axes, position, column.arranged(sort, max_units), looks, colours)
    layer_axis(axes, list(columns))
    axes.set(ylim=(0, 100), xlabel="layer, from input to output", xlim=(-0.5, len(columns) - 0.5))
    axes.set_ylabel("units of the layer" + (", sorted (%)" if sort else " (%)"))
    plain_frame(axes)
    _unit_counts(axes, [column.values.size for column in columns.values()])
    _status_legend(figure, columns, looks)
    return figure, axes


def _draw_column(
    axes: Axes, position: int, column: UnitColumn, looks: Mapping[int, Look], colours: tuple[float, float, str]
) -> None:
    from matplotlib.patches import Rectangle

    count = column.values.size
    if not count:
        return
    low, high, name = colours
    shown = np.ma.masked_where(column.kinds != VALUE, column.values)[:, None]
    extent = (position - 0.5, position + 0.5, 0.0, 100.0)
    axes.imshow(
        shown, vmin=low, vmax=high, cmap=name, extent=extent, aspect="auto", origin="lower", interpolation="nearest"
    )
    edges = np.flatnonzero(np.diff(column.kinds, prepend=-1, append=-1))
    for start, end in itertools.pairwise(edges):
        if column.kinds[start] != VALUE:
            _, face, hatch = looks[int(column.kinds[start])]
            corner, height = (position - 0.5, 100 * start / count), 100 * (end - start) / count
            axes.add_patch(
                Rectangle(corner, 1, height, facecolor=face, hatch=hatch, edgecolor="#7a7a7a", linewidth=0, zorder=2)
            )
    axes.axvline(position - 0.5, color="white", linewidth=1 if position else 0, zorder=3)


def _unit_counts(axes: Axes, counts: Sequence[int]) -> None:
    """The number of units above each column, as far as there is room."""
    if len(counts) <= 40:
        tight = len(counts) > 12
        for position, count in enumerate(counts):
            axes.annotate(
                f"{count:,}" if count else "none",
                (position, 100),
                (0, 3),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=7,
                color=MUTED,
                rotation=90 if tight and max(counts) > 999 else 0,
            )


def _status_legend(figure: Figure, columns: Mapping[str, UnitColumn], looks: Mapping[int, Look]) -> None:
    from matplotlib.patches import Patch

    kinds = np.concatenate([column.kinds for column in columns.values()] or [np.empty(0, np.int64)])
    handles = []
    for key, (text, face, hatch) in looks.items():
        count = int((kinds == key).sum())
        if count:
            label = f"{text}: {count:,} of {kinds.size:,}"
            handles.append(Patch(facecolor=face, hatch=hatch, edgecolor="#7a7a7a", linewidth=0, label=label))
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=2, handlelength=1.8, handleheight=1.2)


def columns_note(result: Mapping[str, LayerResult], max_units: int) -> str:
    """What a reader must know about the cells."""
    maps = any(layer.values.ndim > 1 for layer in result.values())
    counts = [layer.values.shape[-1] if layer.values.ndim else 1 for layer in result.values()]
    text = "The number above a column counts its units" if len(counts) <= 40 else "One column per layer"
    text += "; a feature map is one unit, averaged over space." if maps else "."
    if max(counts, default=0) > max_units:
        text += f" Layers with more than {max_units} units show {max_units}, evenly spread over all."
    return text


def colour_bar(figure: Figure, axes: Axes, label: str, extend: str) -> None:
    """The colour bar; `extend` marks the ends where values are cut off."""
    image = axes.images[0] if axes.images else axes.imshow(np.zeros((1, 1)), visible=False)
    figure.colorbar(image, ax=axes, label=label, extend=extend, pad=0.02, aspect=28)  # type: ignore[arg-type]
