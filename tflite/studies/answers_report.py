"""The sections of a study's report that tell of single answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv import plots
from tfinv.report import Report
from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv
from tfinv.tflite.comparison import answers_report
from tfinv.tflite.comparison.flips import KINDS
from tfinv.tflite.studies.recipes import REFERENCE

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.tflite.studies.result import StudyResult

_SHARE = "{:.1%}"


def write_tables(result: StudyResult, folder: Path) -> None:
    """Write the tables of answers that are not empty, and `flipped.csv`."""
    frames = {"flipped": result.flipped(), "right_at_least": result.answers.at_least, "flips": result.answers.flips}
    frames |= {"flips_by_class": result.answers.classes, "calibration": result.answers.calibration}
    for name, frame in {**frames, "decisions": result.answers.decisions}.items():
        if len(frame.columns):
            write_text(folder / f"{name}.csv", to_csv(frame))


def add(report: Report, result: StudyResult, shown: Sequence[str]) -> None:
    """Decisions, worst cases, flips by kind and class, changed images and calibration; what is not known is left out.

    Args:
        report: what to add to.
        result: the study.
        shown: the recipes that curves are drawn of, the reference first.
    """
    answers, pictured = result.answers, result.metadata.get("pictured")
    curves: Any = result.curves[result.curves["model"] == REFERENCE] if len(result.curves) else result.curves
    if len(answers.decisions):
        answers_report.add_decisions(report, answers.decisions)
    if len(answers.at_least):
        answers_report.add_worst_cases(report, answers.at_least[answers.at_least["model"].isin(list(shown))])
    if len(answers.flips):
        _add_harm(report, answers.flips, curves, shown)
    if len(answers.flips) and pictured is not None:
        flips, classes = (frame[frame["recipe"] == pictured] for frame in (answers.flips, answers.classes))
        answers_report.add_flips(report, flips, classes, curves, pictured)
    if len(answers.pictures) and pictured is not None:
        answers_report.add_pictures(report, answers, result.flipped(pictured), (REFERENCE, pictured))
    if len(answers.calibration):
        answers_report.add_calibration(report, answers.calibration, curves, shown, fitted=False)


def _add_harm(report: Report, flips: pd.DataFrame, curves: pd.DataFrame, shown: Sequence[str]) -> None:
    """What recipes do to right answers: harmful flips against the transformation, and all kinds in a table."""
    report.section(
        "Answers that recipes change, by kind",
        "`harmful`: right in float32 and wrong with the recipe; `beneficial`: wrong before and right; `neutral`: from "
        "one wrong class to another. Shares of all images. All changed answers are listed in `flipped.csv`.",
    )
    import pandas as pd

    drawn = flips[flips["recipe"].isin(list(shown))]
    columns = {"recipe": "model", "harmful_low": "low", "harmful_high": "high"}
    none = curves[["number"]].assign(recipe=REFERENCE, harmful=0.0, harmful_low=0.0, harmful_high=0.0)
    both = pd.concat([none, drawn])  # the reference keeps its colour as the line at zero
    frame, axis = answers_report.placed(both.rename(columns=columns), curves)
    figure = plots.accuracy_curve(frame, y="harmful", y_label="share of images", **axis)
    figure.axes[0].set_ylim(0, max(1.15 * float(frame["high"].max()), 0.01))
    text = "Answers that went from right to wrong under each transformation."
    means = flips.groupby("recipe", sort=False)[["flips", *KINDS]].mean().reset_index()
    spoken = "; ".join(f"{row.recipe} {100 * row.harmful:.1f} % on average" for row in means.itertuples())
    report.figure(figure, f"{text} Bands are 95 % intervals.", f"{text} {spoken}.", name="harmful_flips")
    formats = dict.fromkeys(("flips", *KINDS), _SHARE)
    report.table(means, "Answers that changed, by kind, mean over all transformations", formats)
