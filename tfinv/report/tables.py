"""Frames as formatted cells: sensible numbers, signs for what is missing, the best of a column marked."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tfinv.report.blocks import Cell, Column, Table, spans

if TYPE_CHECKING:
    pass

Format = str | Callable[[Any], str]
MISSING = "\N{EN DASH}"


def make_table(
    frame: Any,
    caption: str,
    formats: Mapping[str, Format] | None,
    highlight: Mapping[str, Literal["min", "max"]] | None,
    collapsed: bool | None,
) -> Table:
    """Format a frame; see `Report.table` for the arguments."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame) or not len(frame.columns):
        raise TypeError(f"frame must be a pandas frame with columns. Received: {type(frame).__name__}")
    formats, highlight = dict(formats or {}), dict(highlight or {})
    for argument, given in (("formats", formats), ("highlight", highlight)):
        unknown = [str(name) for name in given if name not in frame.columns]
        if unknown:
            known = ", ".join(map(str, frame.columns))
            raise ValueError(f"{argument} must name columns among {known}. Received: {', '.join(unknown)}")
    columns, cells = [], []
    for position, name in enumerate(frame.columns):
        values = list(frame.iloc[:, position])
        best = _best(values, highlight[name]) if name in highlight else [False] * len(values)
        numeric = all(_is_number(value) or _is_missing(value) for value in values)
        columns.append(Column(str(name).replace("_", " "), numeric and not all(map(_is_missing, values))))
        texts = [format_value(value, formats.get(name)) for value in values]
        cells.append([Cell(text, mark) for text, mark in zip(texts, best, strict=True)])
    rows = tuple(zip(*cells, strict=True))
    return Table(spans(caption), tuple(columns), rows, len(rows) > 30 if collapsed is None else collapsed)


def format_value(value: Any, form: Format | None = None) -> str:
    """One value as text.

    Example:
        >>> [format_value(value) for value in (1234567, 0.123456, float("inf"), None, True, "conv")]
        ['1,234,567', '0.1235', '∞', '–', 'yes', 'conv']
        >>> format_value(0.5, "{:.1%}"), format_value(0.5, ".2f"), format_value(2, lambda value: f"{value} ms")
        ('50.0%', '0.50', '2 ms')

    Args:
        value: a number, a text, a truth value, or nothing (None, NaN).
        form: a format such as `".2f"` or `"{:.1%}"`, or a function; by default four significant digits.
    """
    if _is_missing(value):
        return MISSING
    if callable(form):
        return str(form(value))
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not _is_number(value):
        return str(value)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if form is not None:
        return form.format(value) if "{" in form else format(value, form)
    return f"{value:,}" if isinstance(value, numbers.Integral) else f"{float(value):.4g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or (_is_number(value) and math.isnan(value))


def _best(values: list[Any], which: str) -> list[bool]:
    """Which values are the smallest or largest of the finite ones."""
    if which not in ("min", "max"):
        raise ValueError(f"highlight must say 'min' or 'max'. Received: {which!r}")
    finite = [float(value) for value in values if _is_number(value) and math.isfinite(value)]
    target = (min if which == "min" else max)(finite, default=math.nan)
    return [_is_number(value) and float(value) == target for value in values]
