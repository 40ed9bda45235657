"""The report of a study: verdict, recipes, trade-off, profiles, changes, accuracy against angle."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv import plots
from tfinv.report import Report, explain
from tfinv.report.ends import add_ends
from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv
from tfinv.tflite.comparison import kernel_report
from tfinv.tflite.comparison import report_parts as parts
from tfinv.tflite.comparison.kernel_words import kernel_note
from tfinv.tflite.files.kernels import XNNPACK
from tfinv.tflite.studies import answers_report
from tfinv.tflite.studies.outputs import add_to_report as add_outputs
from tfinv.tflite.studies.recipes import REFERENCE
from tfinv.tflite.studies.sensitivities import add_to_report as add_sensitivity

if TYPE_CHECKING:
    from tfinv.tflite.studies.result import StudyResult

_SOMETIMES = ("sensitivity", "outputs", "output_curves")
"""Tables that may be empty; then they are not written."""
_MOST_LINES = 6
"""Profiles that one figure can hold."""
_TERMS = (
    "layer profile",
    "normalized variance",
    "same-equivariance",
    "interval",
    "change beyond noise",
    "flip rate",
    "worst case",
    "harmful flip",
    "calibration error",
    "consistency",
    "collapse",
    "calibration",
    "quantization-aware training",
    "SQNR",
)


def write(result: StudyResult, folder: Path) -> Path:
    """Write `report.html`, `report.md` with its figures, and the tables as CSV.

    Args:
        result: the study.
        folder: where; it is made if need be.

    Returns:
        The path of `report.html`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("recipes", "layers", "curves", "operators", "sensitivity", "outputs", "output_curves"):
        if name not in _SOMETIMES or len(getattr(result, name)):
            write_text(folder / f"{name}.csv", to_csv(getattr(result, name)))
    answers_report.write_tables(result, folder)
    if result.kernels is not None:
        kernel_report.write_tables(result.kernels, folder)
    report = build(result)
    report.write_markdown(folder / "report.md")
    return report.write_html(folder / "report.html")


def build(result: StudyResult) -> Report:
    """The report of a study, not yet written."""
    about = result.metadata
    subtitle = f"{about['transformations']}, {about['samples']} images, seed {about['seed']}, {kernel_note(XNNPACK)}"
    report = Report("What quantization does to invariance", subtitle).verdict(result.verdict)
    if result.warnings:
        report.section("Before you trust it", "\n".join(f"- {text}" for text in result.warnings))
    _recipes(report, result)
    _accuracy(report, result)
    answers_report.add(report, result, _shown(result))
    add_outputs(report, result.outputs, result.output_curves, result.output_example)
    _invariance(report, result)
    add_sensitivity(report, result.sensitivity, about["measures"][0])
    _layers(report, result)
    if result.kernels is not None:
        kernel_report.add_section(report, result.kernels)
    add_ends(report, {name: results.metadata for name, results in result.results.items()})
    report.glossary(explain(*_TERMS))
    return report.environment(dict(about))


def _recipes(report: Report, result: StudyResult) -> None:
    import pandas as pd

    about = result.metadata["recipes"]
    text = "\n".join(f"- `{name}`: {about[name]['words']}" for name in result.recipes["recipe"])
    report.section("Recipes", text)
    frame: Any = result.recipes.rename(columns={"recipe": "model"})
    hidden = ["kappa", "classes_used", "threads", "delegate", "float_kernels"]
    shown = [column for column in frame if column not in hidden and not re.search("_change(_low|_high)?$", column)]
    shown.insert(shown.index("profile") + 1, "largest_change")
    caption = "All recipes on the same images; shares with 95 % intervals. Latency: one image, one thread"
    caption += f" ({kernel_note(XNNPACK)})."
    parts.add_models(report, frame[shown], caption)
    report.table(result.operators, "Operators in each file", collapsed=True)
    if result.failed:
        rows = [{"recipe": name, "reason": reason} for name, reason in result.failed.items()]
        report.table(pd.DataFrame(rows), "Recipes that could not be followed")
    column = "transformed_accuracy"
    if column in result.recipes and np.isfinite(result.recipes[column].to_numpy(float)).any():
        made = ["trained on" if about[name]["trains"] else "not trained on" for name in result.recipes["recipe"]]
        points = result.recipes.assign(made=made)
        labels: dict[str, Any] = {"x_label": "size of the file, KiB", "y_label": "accuracy"}
        figure = plots.pareto(points, "kib", column, "recipe", group="made", **labels)
        caption = "Size against accuracy under transformation; smaller and higher is better. Intervals: see the table."
        report.figure(figure, caption, caption, name="pareto")


def _accuracy(report: Report, result: StudyResult) -> None:
    if result.curves.empty:
        return
    report.section("Accuracy under transformation", "Consistency is never to be read without accuracy.")
    classes = result.metadata.get("num_classes")
    parts.add_curves(report, result.curves, 1 / classes if classes else None, only=_shown(result))


def _invariance(report: Report, result: StudyResult) -> None:
    shown = _shown(result)
    report.section("Invariance by layer", f"Profiles of {', '.join(shown)}: the recipes that change most.")
    for measure in result.metadata["measures"]:
        parts.add_profiles(report, {name: result.results[name] for name in shown}, measure)
    changed = _most_changed(result)
    if changed is None:
        return
    rows: Any = result.layers[result.layers["recipe"] == changed]
    names = (REFERENCE, changed)
    for measure in result.metadata["measures"]:
        if np.isfinite(rows[rows["measure"] == measure]["difference"].to_numpy(float)).any():
            parts.add_change(report, result.results[REFERENCE], result.results[changed], measure, rows, names)


def _layers(report: Report, result: StudyResult) -> None:
    columns = ["recipe", "measure", "layer", "before", "after", "difference", "low", "high", "relative", "real"]
    columns += ["valid_before", "valid_after", "lost", "gained", "paired_relative"]
    columns += ["sqnr_db", "cosine", "saturated", "clipped", "effective_bits"]
    shown: Any = result.layers[[column for column in columns if column in result.layers]]
    if len(shown):
        report.section("All layers", "Intervals hold for all layers of a recipe together.")
        parts.add_layers(report, shown, "Every recipe, measure and layer against float32")


def _most_changed(result: StudyResult) -> str | None:
    """The recipe without training whose layers change most; else any."""
    others: Any = result.recipes[result.recipes["recipe"] != REFERENCE]
    trains = {name for name, recipe in result.metadata["recipes"].items() if recipe["trains"]}
    still: Any = others[~others["recipe"].isin(trains)]
    chosen = still if len(still) else others
    if chosen.empty:
        return None
    return str(chosen["recipe"].iloc[int(chosen["largest_change"].abs().to_numpy(float).argmax())])


def _shown(result: StudyResult) -> list[str]:
    """Float32 and the recipes that change most, in the order of the table."""
    others: Any = result.recipes[result.recipes["recipe"] != REFERENCE]
    order = others["largest_change"].abs().sort_values(ascending=False, kind="stable").index[: _MOST_LINES - 1]
    chosen = set(others["recipe"].loc[order])
    return [REFERENCE, *(name for name in others["recipe"] if name in chosen)]
