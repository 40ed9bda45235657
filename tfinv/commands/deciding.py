"""`--decide` and `--margin` of the commands that compare files."""

from __future__ import annotations

import argparse


def add_deciding(parser: argparse.ArgumentParser) -> None:
    """Add `--decide` and `--margin`."""
    parser.add_argument(
        "--decide",
        choices=("point", "equivalence"),
        default="point",
        help="judge by measured numbers (point, default), or by intervals against --margin: unchanged, changed, or "
        "inconclusive and about how many images that takes",
    )
    parser.add_argument(
        "--margin",
        nargs="+",
        default=[],
        metavar="SIZE",
        help="of --decide equivalence, what counts as no change: '1 point' of accuracy, '5%%' of a layer's mean",
    )


def idle_margin(options: argparse.Namespace) -> str | bool:
    """Why `--margin` has no effect; False where it has one."""
    return options.decide != "equivalence" and "it is the margin of --decide equivalence"


def check_margin(options: argparse.Namespace) -> None:
    """Read the margins before anything that takes long.

    Raises:
        ValueError: a margin without a unit, or none.
    """
    from tfinv.tflite.comparison.decisions import parse_margins

    if options.decide == "equivalence":
        parse_margins(options.margin)
