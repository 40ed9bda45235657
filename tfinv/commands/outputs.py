"""`--output` of the command line: what the outputs of a model mean, and their part of a report."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv
from tfinv.support.types import Model

if TYPE_CHECKING:
    from tfinv.datasets import Split
    from tfinv.evaluation import Warping
    from tfinv.outputs import OutputChange
    from tfinv.report import Report
    from tfinv.transformations import TransformationSet

OUTPUT_HELP = (
    "what outputs mean: class, vector, landmarks, boxes, mask, map, embedding or labels, of the first output, or NAME="
    "KIND of any, perhaps with options as in \"landmarks(dimensions=3, unit='fractions')\"; default: guessed from the "
    "shapes"
)
_NAMED = re.compile(r"([^()=]+)=(.+)", re.DOTALL)


def add_output(made: argparse.ArgumentParser) -> None:
    """`--output`; read it with `stated`."""
    made.add_argument("--output", nargs="+", metavar="KIND", help=OUTPUT_HELP)


def add_fixed_inputs(made: argparse.ArgumentParser) -> None:
    """`--fixed-inputs`; `sources.open_model` reads it."""
    made.add_argument(
        "--fixed-inputs",
        type=Path,
        metavar="FILE",
        help="an .npz file with one array per input that is no image, by its name: models of several inputs see the "
        "same values with every image",
    )


def stated(texts: Sequence[str] | None) -> Any:
    """What `--output` says, for `tfinv.output_change`.

    Args:
        texts: None where it is not given; one kind; or kinds with names.

    Raises:
        ValueError: an unknown kind or option, or several kinds without names.
    """
    from tfinv.outputs import kind

    if texts is None:
        return None
    pairs = {}
    for text in texts:
        named = _NAMED.fullmatch(text.strip())
        name = named[1].strip() if named else ""
        if name in pairs:
            raise ValueError(f"--output must name each output once, as NAME=KIND. Received: {' '.join(texts)}")
        pairs[name] = kind(named[2] if named else text)
    if "" in pairs and len(pairs) > 1:
        raise ValueError(f"--output must give NAME=KIND where it gives several. Received: {' '.join(texts)}")
    return pairs.get("", pairs)


def measure_outputs(
    model: Model,
    images: Split,
    transformations: TransformationSet,
    kinds: Any,
    warping: Warping,
    progress: bool,
    metadata: Mapping[str, Any],
) -> OutputChange | None:
    """What transformations do to the outputs of a model; None for a classifier of which nothing is stated.

    Args:
        model: the model.
        images: to measure on.
        transformations: the set.
        kinds: of `stated`.
        warping: padding and interpolation.
        progress: show a progress bar.
        metadata: for the record.
    """
    from tfinv.outputs.comparing import are_classes
    from tfinv.outputs.measuring import output_change

    labels = getattr(images, "y", None)
    if kinds is None and labels is not None and labels.ndim == 2:
        kinds = "labels"
    if kinds is None and are_classes(model, images.x, labels=labels):
        return None
    return output_change(model, images, transformations, kinds, warping=warping, progress=progress, metadata=metadata)


def sentences_of(changes: Mapping[str, OutputChange]) -> list[str]:
    """What was found in the outputs; with the names of the models where there are several."""
    from tfinv.outputs.report import sentences

    several = len(changes) > 1
    return [f"{name}: {text}" if several else text for name, change in changes.items() for text in sentences(change)]


def add_section(report: Report, changes: Mapping[str, OutputChange], folder: Path) -> list[str]:
    """Add the outputs of models to a report, and write `outputs.csv`, `outputs.npz` and the figures.

    Args:
        report: what to add to.
        changes: by model; none for classifiers.
        folder: where to.

    Returns:
        Lines for the terminal.
    """
    import pandas as pd

    from tfinv import plots
    from tfinv.outputs.report import add_outputs, figures, shown_lines

    if not changes:
        return []
    several = len(changes) > 1
    frames = [change.to_frame().assign(model=name) for name, change in changes.items()]
    write_text(folder / "outputs.csv", to_csv(pd.concat(frames, ignore_index=True)))
    for name, change in changes.items():
        change.save(folder / (f"outputs-{name}.npz" if several else "outputs.npz"))
    for name, figure in figures(changes).items():
        plots.save(figure, folder / name)
    add_outputs(report, changes)
    said = [f"* {text.replace('`', '')}" for text in sentences_of(changes)]
    return [*(line for change in changes.values() for line in shown_lines(change)), *said]
