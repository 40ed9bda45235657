"""``python -m tfinv.run redraw``: draw the figures of finished runs again, without TensorFlow."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

_EPILOG = """\
An experiment's figures are described by a .figure.json and a .csv or .npz beside them; of a folder that the command
measure wrote, layer profiles and heat maps are drawn from results.npz. Only the .png files are written.

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
        return save_figures(draw_single(Results.load(folder / "results.npz")), folder)
    if files := sorted(folder.glob("results-*.npz")):
        results = {path.stem.removeprefix("results-"): Results.load(path) for path in files}
        return save_figures(draw_several(results), folder)
    return experiments.redraw(folder)
