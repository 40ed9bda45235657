"""Figures as files, and as text inside a page."""

from __future__ import annotations

import base64
import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfinv.plots.style import DPI, STYLE
from tfinv.support.checks import path_like, received
from tfinv.support.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        TypeError: no figure, or no path.
        ValueError: another ending.
    """
    _check_figure(figure)
    path_like("path", path)
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
        TypeError: no figure.
        ValueError: unknown kind.
    """
    _check_figure(figure)
    if kind not in ("auto", "svg", "png"):
        raise ValueError(f"kind must be 'auto', 'svg' or 'png'. Received: {kind!r}")
    form, data = ("svg", _render(figure, "svg")) if kind != "png" else ("png", _render(figure, "png"))
    if kind == "auto" and len(data) > 300_000:
        dots = _render(figure, "png")
        form, data = min(("svg", data), ("png", dots), key=lambda coded: len(coded[1]))
    mime = {"svg": "image/svg+xml", "png": "image/png"}[form]
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _check_figure(figure: Any) -> None:
    if not hasattr(figure, "savefig"):
        raise TypeError(f"figure must be a matplotlib figure. Received: {received(figure)}")


def _render(figure: Figure, kind: str) -> bytes:
    from matplotlib import rc_context

    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    buffer = io.BytesIO()
    with rc_context(STYLE), _laid_out(figure):
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=undated)
    return buffer.getvalue()


@contextlib.contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Its layout is computed and stays as it is: `savefig` would draw everything once more to compute it."""
    engine = figure.get_layout_engine()
    if engine is None:
        yield
        return
    dpi = figure.dpi
    figure.dpi = DPI
    try:
        engine.execute(figure)
        figure.set_layout_engine(None)
        yield
    finally:
        figure.set_layout_engine(engine)
        figure.dpi = dpi
