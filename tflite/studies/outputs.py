"""What every way of quantizing does to outputs that are no classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.evaluation.options import Warping
from tfinv.outputs.comparing import OutputComparison, are_classes, changes_of
from tfinv.outputs.report import draw_curve
from tfinv.report import Report
from tfinv.tflite.files.input_scale import InputScale
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.studies.pieces import Piece
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
) -> tuple[dict[str, Piece], pd.DataFrame, pd.DataFrame]:
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
        see `OutputComparison.summary`; and one row per recipe (`model`), output, quantity and transformation, see
        `OutputChange.to_frame`. Both tables are empty for a classifier.
    """
    import pandas as pd

    models = {name: TFLiteModel(piece.conversion, input_scale=scale, probe=False) for name, piece in pieces.items()}
    first = next(iter(models))
    if are_classes(models[first], images.x, stated, images.y):
        return dict(pieces), pd.DataFrame(), pd.DataFrame()
    changes, between = changes_of(
        models,
        images,
        transformations,
        stated,
        warping=warping,
        floor=True,
        pictures=0,
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
        kept = {name: replace(piece, predictions=None) for name, piece in pieces.items()}
    return kept, summary, pd.concat(curves, ignore_index=True)


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


def add_to_report(report: Report, summary: pd.DataFrame, curves: pd.DataFrame) -> None:
    """A section with the errors of all outputs of all recipes, and a figure per output.

    Args:
        report: what to add to.
        summary: of `measure_recipes`.
        curves: likewise.
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
    for name, rows in summary.groupby("output", sort=False):
        error = rows["error"].iloc[0]
        drawn = curves[(curves["output"] == name) & (curves["quantity"] == error)]
        text = f"Error of {name} ({error}) against the transformation, all recipes on the same images."
        report.figure(draw_curve(drawn, error), text, text, name=f"output_{name}")
