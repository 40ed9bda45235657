"""What every way of quantizing does to outputs that are no classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.evaluation.options import Warping
from tfinv.outputs.comparing import OutputComparison, are_classes, changes_of
from tfinv.outputs.report import draw_curve, figures, picture_file
from tfinv.report import Report
from tfinv.tflite.files.input_scale import InputScale
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.studies.pieces import Piece
from tfinv.tflite.studies.recipes import REFERENCE
from tfinv.transformations import TransformationSet

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.datasets import Split


def measure_recipes(
    pieces: Mapping[str, Piece],
    images: Split,
    transformations: TransformationSet,
    stated: Any,
    scale: InputScale,
    warping: Warping,
    progress: bool,
) -> tuple[dict[str, Piece], pd.DataFrame, pd.DataFrame, OutputComparison | None]:
    """The outputs of the files of all recipes, which see the same transformed images.

    Args:
        pieces: files by recipe, the reference first.
        images: to measure on.
        transformations: the set.
        stated: what the outputs mean, see `tfinv.output_change`.
        scale: of the images.
        warping: padding and interpolation.
        progress: show a progress bar.

    Returns:
        The pieces, without predictions where the first output is no list of classes; one row per recipe and output,
        see `OutputComparison.summary`; one row per recipe (`model`), output, quantity and transformation, see
        `OutputChange.to_frame`; and the reference with the recipe whose outputs are furthest from it, with pictures.
        Both tables are empty for a classifier, and there is no comparison.
    """
    import pandas as pd

    models = {name: TFLiteModel(piece.conversion, input_scale=scale, probe=False) for name, piece in pieces.items()}
    first = next(iter(models))
    several = images.y is not None and images.y.ndim == 2
    if stated is None and several:
        stated = "labels"
    if are_classes(models[first], images.x, stated, images.y):
        return dict(pieces), pd.DataFrame(), pd.DataFrame(), None
    changes, between = changes_of(
        models,
        images,
        transformations,
        stated,
        warping=warping,
        floor=True,
        pictures=1,
        batch_size=None,
        progress=progress,
        metadata=None,
    )
    rows = [
        OutputComparison(changes[first], changes[name], distances).summary().assign(recipe=name)
        for name, distances in between.items()
    ]
    curves = [change.to_frame().assign(model=name) for name, change in changes.items()]
    summary = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
    outputs = changes[first].outputs
    kept = dict(pieces)
    if outputs and outputs[0].kind != "class":
        kept = dict(pieces)
        if not several:  # with labels, every unit answers
            kept = {name: replace(piece, predictions=None) for name, piece in pieces.items()}
    furthest = _furthest(summary)
    drawn = None
    if furthest is not None:
        after = replace(changes[furthest], metadata={**changes[furthest].metadata, "recipe": furthest})
        drawn = OutputComparison(changes[first], after, between[furthest])
    return kept, summary, pd.concat(curves, ignore_index=True), drawn


def _furthest(summary: pd.DataFrame) -> str | None:
    """The recipe whose outputs are furthest from the reference's, by the mean over outputs; None where none is known.

    Outputs count alike: the distances of each are taken as shares of the largest.
    """
    if summary.empty:
        return None
    largest = summary.groupby("output")["between"].transform("max")
    shares = (summary["between"] / largest.where(largest > 0)).groupby(summary["recipe"], sort=False).mean()
    return str(shares.idxmax()) if shares.notna().any() else str(summary["recipe"].iloc[0])


def sentences(summary: pd.DataFrame) -> Iterator[str]:
    """One sentence per output: which recipe moves it most away from the float file."""
    if summary.empty:
        return
    for name, rows in summary.groupby("output", sort=False):
        known = rows[np.isfinite(rows["between"].to_numpy(float))]
        if known.empty:
            continue
        row = known.iloc[int(known["between"].to_numpy(float).argmax())]
        interval = f" ({row['low']:+.2%} to {row['high']:+.2%})" if np.isfinite(row["low"]) else ""
        yield (
            f"Output {name} as {row['kind']}: under transformation {row['recipe']} is furthest from float32 "
            f"({row['error']} {row['between']:.2%}); its error to the moved output is {row['after']:.2%} after "
            f"{row['before']:.2%}, {row['difference']:+.2%}{interval}."
        )


def add_to_report(report: Report, summary: pd.DataFrame, curves: pd.DataFrame, drawn: OutputComparison | None) -> None:
    """A section with the errors of all outputs of all recipes, a figure per output, and pictures of what was found.

    Args:
        report: what to add to.
        summary: of `measure_recipes`.
        curves: likewise.
        drawn: the reference and the recipe that is furthest from it; None for no pictures.
    """
    if summary.empty:
        return
    report.section(
        "Outputs",
        "What transformations do to every output, by recipe: `before` in float32, `after` in the recipe's file, both "
        "means over transformed images. `between` is how far the file is from float32 on the same image.",
    )
    numbers = ("before", "after", "difference", "low", "high", "upright_between", "between")
    columns = ["recipe", *(column for column in summary if column != "recipe")]
    report.table(summary[columns], "Error of every output", dict.fromkeys(numbers, ".4f"))
    for name, of_output in summary.groupby("output", sort=False):
        error = of_output["error"].iloc[0]
        rows = curves[(curves["output"] == name) & (curves["quantity"] == error)]
        text = f"Error of {name} ({error}) against the transformation, all recipes on the same images."
        report.figure(draw_curve(rows, error), text, text, name=f"output_{name}")
    if drawn is None:
        return
    furthest = drawn.after.metadata.get("recipe", "")
    for which, change in ((REFERENCE, drawn.before), (furthest, drawn.after)):
        made = figures({which: change})
        for name in (output.name for output in change.outputs if picture_file(output.name) in made):
            text = f"One image under its transformations with what {which} found in {name} and what was to be expected."
            report.figure(made[picture_file(name)], text, text, name=f"pictures_{name}_{which}")
