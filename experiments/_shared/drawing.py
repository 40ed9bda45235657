"""Figures described by data: what was drawn and how lies beside each figure, and draws it again (plots -> experiments).

A figure `<name>.png` comes from `<name>.figure.json`, its kind and options, and from `<name>.csv` or, for units and
feature maps, `<name>.npz`. The figure is drawn from these files in the first place, so drawing it again, without
TensorFlow and without a network, gives the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.plots.matrix import matrix
from tfinv.results import Results
from tfinv.support import archive
from tfinv.support.files import atomic_write, write_json
from tfinv.support.reading import read_text, reading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfinv.experiment import Run

SUFFIX = ".figure.json"


def save_drawing(run: Run, name: str, kind: str, data: Any, **options: Any) -> None:
    """Write what is to be drawn and how, and draw it.

    Args:
        run: of the experiment; the files go into its folder.
        name: of the figure.
        kind: one of `KINDS`.
        data: a frame, `Results`, or a mapping of names to arrays.
        **options: of the kind's function, JSON-able.
    """
    if isinstance(data, Results):
        data.save(run.out / f"{name}.npz")
    elif isinstance(data, Mapping):
        with atomic_write(run.out / f"{name}.npz") as file:
            np.savez_compressed(file, **data)
    else:
        run.save_table(data, name)
    write_json(run.out / f"{name}{SUFFIX}", {"kind": kind, "options": options})
    run.save_figure(drawing(run.out, name), name)


def drawing(folder: Path, name: str) -> Figure:
    """The figure that the folder describes under this name.

    Raises:
        ValueError: a description that is damaged or of an unknown kind.
        FileNotFoundError: no such files.
    """
    path = folder / f"{name}{SUFFIX}"
    text = read_text(path, "the description of a figure", argument="folder")
    try:
        saved = json.loads(text)
        draw, options = KINDS[saved["kind"]], dict(saved["options"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must describe a figure of kind {', '.join(KINDS)}. Received: {error}") from error
    return draw(folder / name, **options)


def redraw(folder: Path) -> list[str]:
    """Draw every described figure of a run's folder again, as it is drawn now.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from tfinv.experiments import redraw
        >>> folder = Path(tempfile.mkdtemp())
        >>> table = "line,layer,mean\\nplain,conv,0.9\\nplain,logits,0.8\\n"
        >>> _ = (folder / "profile.csv").write_text(table)
        >>> _ = (folder / "profile.figure.json").write_text('{"kind": "profile", "options": {}}')
        >>> redraw(folder)
        ['profile.png']

    Args:
        folder: where a run wrote its figures.

    Returns:
        The names of the files written.

    Raises:
        ValueError: a folder without described figures, or a damaged description.
    """
    from tfinv import plots

    names = sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))
    if not names:
        raise ValueError(f"folder must hold figures that a run described, *{SUFFIX}. Received: {str(folder)!r}")
    for name in names:
        plots.save(drawing(folder, name), folder / f"{name}.png")
    return [f"{name}.png" for name in names]


def _table(path: Path) -> Any:
    import pandas as pd

    return pd.read_csv(f"{path}.csv", keep_default_na=False, na_values=[""])


def _profile(path: Path, measure: str = "", x_label: str = "", y_label: str = "", **options: Any) -> Figure:
    from tfinv import plots

    frame = _table(path).astype({"layer": str})
    if measure:
        frame["measure"] = measure
    lines = {str(name): rows.drop(columns="line") for name, rows in frame.groupby("line", sort=False)}
    figure = plots.profile(lines, **options)
    figure.axes[0].set(**{k: v for k, v in {"xlabel": x_label, "ylabel": y_label}.items() if v})
    return figure


def _plot(function: str) -> Callable[..., Figure]:
    def draw(path: Path, **options: Any) -> Figure:
        from tfinv import plots

        return getattr(plots, function)(_table(path), **options)

    return draw


def _matrix(path: Path, label: str, **options: Any) -> Figure:
    frame = _table(path)
    return matrix(frame.set_index(frame.columns[0]), label, **options)


def _heatmap(path: Path, **options: Any) -> Figure:
    from tfinv import plots

    return plots.heatmap(Results.load(Path(f"{path}.npz")), **options)


def _feature_maps(path: Path, **options: Any) -> Figure:
    from tfinv import plots

    with reading(f"{path}.npz", "a folder of described figures", argument="folder"):
        arrays = archive.load_arrays(f"{path}.npz")
        return plots.feature_maps(arrays["maps"], arrays["scores"], **options)


KINDS: Mapping[str, Callable[..., Figure]] = {
    "profile": _profile,
    "bars": _plot("bars"),
    "accuracy_curve": _plot("accuracy_curve"),
    "relative_error_map": _plot("relative_error_map"),
    "matrix": _matrix,
    "heatmap": _heatmap,
    "feature_maps": _feature_maps,
}
"""What a figure may be, by the function that draws it from the files of that name."""
