"""``python -m tfinv.run redraw``: draw the figures of finished runs again, without TensorFlow."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EPILOG = """\
An experiment's figures are described by a .figure.json and a .csv or .npz beside them; of a folder that the command
measure wrote, layer profiles and heat maps are drawn from results.npz, and errors and pictures of outputs that are no
classes from outputs.npz. Only the .png files are written.

example:
  python -m tfinv.run redraw runs/accuracy runs/stratified
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tfinv.run redraw",
        description="Draw the figures of finished runs again from their saved numbers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="output folder of a run")
    for folder in parser.parse_args(arguments).folders:
        print(f"{folder}: {', '.join(redraw(folder))}")
    return 0


def redraw(folder: Path) -> list[str]:
    """Draw the figures of an experiment, or those of the command `measure`.

    Returns:
        The names of the files written.

    Raises:
        ValueError: a folder without anything to draw, or damaged files.
    """
    from tfinv import experiments
    from tfinv.commands.measure_report import draw_single, save_figures
    from tfinv.commands.measure_several import draw_several
    from tfinv.results import Results

    if not folder.is_dir():
        raise ValueError(f"FOLDER must be the output folder of a run. Received: {str(folder)!r}")
    if (folder / "results.npz").is_file() and not list(folder.glob("*.figure.json")):
        return save_figures(draw_single(Results.load(folder / "results.npz")) | _of_outputs(folder), folder)
    if files := _in_order(folder, "results", "profile.csv"):
        results = {name: Results.load(path) for name, path in files.items()}
        return save_figures(draw_several(results) | _of_outputs(folder), folder)
    if outputs := _of_outputs(folder):
        return save_figures(outputs, folder)
    return experiments.redraw(folder)


def _of_outputs(folder: Path) -> dict[str, Figure]:
    """The figures of outputs that are no classes, of one model or of several; none where no file holds any."""
    from tfinv.outputs import OutputChange
    from tfinv.outputs.report import figures

    files = _in_order(folder, "outputs", "outputs.csv")
    if (folder / "outputs.npz").is_file():
        files = {next(iter(_models(folder / "outputs.csv")), "model"): folder / "outputs.npz"}
    return figures({name: OutputChange.load(path) for name, path in files.items()}) if files else {}


def _in_order(folder: Path, kind: str, table: str) -> dict[str, Path]:
    """The files of several models by name, in the order of a table of all of them, which gives them their colours."""
    files = {path.stem.removeprefix(f"{kind}-"): path for path in sorted(folder.glob(f"{kind}-*.npz"))}
    order = [name for name in _models(folder / table) if name in files]
    return {name: files[name] for name in (*order, *files)}


def _models(table: Path) -> list[str]:
    """The models of a table in its order; none where there is no such table."""
    import pandas as pd

    frame = pd.read_csv(table, dtype={"model": str}) if table.is_file() else pd.DataFrame()
    return list(dict.fromkeys(frame["model"])) if "model" in frame else []
