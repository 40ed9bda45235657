"""The report on a comparison: verdict, models, accuracy against angle, profiles, layers, environment (reports)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfinv.outputs.report import add_outputs
from tfinv.report import Report, explain
from tfinv.report.ends import add_ends
from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv
from tfinv.tflite.comparison import answers_report, kernel_report, report_parts
from tfinv.tflite.comparison.kernel_words import kernel_note
from tfinv.tflite.files.kernels import XNNPACK

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.outputs import OutputComparison
    from tfinv.tflite.comparison.comparison import Comparison

MODEL_COLUMNS = (
    "model",
    "accuracy",
    "transformed_accuracy",
    "worst_case_accuracy",
    "flips",
    "transformed_flips",
    "consistency",
    "consistency_all",
    "effective_invariance",
    "collapsed",
    "kib",
    "latency_ms",
    "working_kib",
    "delegate",
)
FIDELITY_COLUMNS = (
    "layer",
    "operator",
    "sqnr_db",
    "effective_bits",
    "cosine",
    "mse",
    "max_error",
    "saturated",
    "clipped",
    "firing_before",
    "firing_after",
    "levels",
)
RANGE_COLUMNS = (
    "layer",
    "range_before_min",
    "range_before_max",
    "range_after_min",
    "range_after_max",
    "weights_before_min",
    "weights_before_max",
    "weights_after_min",
    "weights_after_max",
)
NEEDS_ACCURACY = {
    *("accuracy", "transformed_accuracy", "worst_case_accuracy", "consistency", "consistency_all"),
    *("effective_invariance", "chance", "worst case", "harmful flip", "calibration error"),
}
"""Columns and terms that say nothing, or mislead, where accuracy is not known."""
TERMS = (
    "layer profile",
    "normalized variance",
    "same-equivariance",
    "flip rate",
    "worst case",
    "harmful flip",
    "calibration error",
    "consistency",
    "change beyond noise",
    "interval",
    "SQNR",
    "collapse",
    "chance",
    "dead unit",
)

UNIT_COLUMNS = ("valid_before", "valid_after", "both", "lost", "silenced", "gained", "paired_relative", "lost_names")


def write(comparison: Comparison, folder: Path) -> Path:
    """Write the report and its tables; see `Comparison.report`."""
    report = build(comparison)
    report.write_markdown(folder / "report.md")
    for name in ("layers", "fidelity", "models", "curves", "operators"):
        frame: pd.DataFrame = getattr(comparison, name)
        write_text(folder / f"{name}.csv", to_csv(frame))
    if comparison.kernels is not None:
        kernel_report.write_tables(comparison.kernels, folder)
    answers_report.write_tables(comparison, folder)
    if comparison.outputs is not None:
        write_text(folder / "outputs.csv", to_csv(comparison.outputs.summary()))
    return report.write_html(folder / "report.html")


def build(comparison: Comparison) -> Report:
    """The report, not yet written."""
    first, second = comparison.names
    facts = comparison.metadata
    data = f"{facts['dataset']}: " if "dataset" in facts else ""
    subtitle = f"{data}{facts['samples']} images under {facts['transformations']}, {_kernels(comparison)}"
    report = Report(f"{second} against {first}: is it still as invariant?", subtitle)
    report.verdict([*(f"**Warning**: {text}" for text in comparison.warnings), *comparison.verdict])
    _add_models(report, comparison)
    if len(comparison.curves):
        report.section("Under each transformation")
        report_parts.add_curves(
            report, comparison.curves, 1 / facts["num_classes"] if _has_labels(comparison) else None
        )
    answers_report.add(report, comparison)
    if comparison.outputs is not None:
        _add_outputs(report, comparison, comparison.outputs)
    _add_invariance(report, comparison)
    _add_layers(report, comparison)
    add_ends(report, facts.get("files", {}))
    if comparison.kernels is not None:
        kernel_report.add_section(report, comparison.kernels)
    report.glossary(explain(*(term for term in TERMS if _has_labels(comparison) or term not in NEEDS_ACCURACY)))
    return report.environment({**facts, "match": comparison.match.describe().replace("\n", "; ")})


def _add_models(report: Report, comparison: Comparison) -> None:
    columns = [name for name in MODEL_COLUMNS if name in comparison.models]
    hidden = set() if _has_labels(comparison) else NEEDS_ACCURACY
    report.section(
        "The two files",
        "`upright` is on the untransformed images, `transformed` on all transformations but the identity. `flips` are "
        "predictions that differ from the first file's. Intervals in brackets hold at 95 % for other images. Latency: "
        "median of one image on one thread of this machine; working memory: activations that are alive at once.",
    )
    kept = comparison.models[[name for name in columns if name not in hidden]]
    bounds = [name for name in comparison.models if name.endswith(("_low", "_high", "_change"))]
    caption = f"Behaviour, size and speed ({_kernels(comparison)})"
    report_parts.add_two_models(report, kept.join(comparison.models[bounds]), caption)
    report.table(comparison.operators, "Operators in each file", collapsed=True)


def _add_outputs(report: Report, comparison: Comparison, outputs: OutputComparison) -> None:
    first, second = comparison.names
    report.section(
        "Outputs",
        f"What transformations do to the outputs of both files, on {outputs.before.metadata['samples']} images. "
        "`between` is how far the second file is from the first on the same image.",
    )
    numbers = ("before", "after", "difference", "low", "high", "upright_between", "between")
    caption = f"Error of every output under transformation: {first} before, {second} after"
    report.table(outputs.summary(), caption, dict.fromkeys(numbers, ".4f"))
    add_outputs(report, {first: outputs.before, second: outputs.after})


def _add_invariance(report: Report, comparison: Comparison) -> None:
    frame, facts = comparison.layers, comparison.metadata
    report.section(
        "Invariance by layer",
        f"Measured on {facts['measured_samples']} of the images. The intervals of differences come from leaving out "
        "parts of the images, the same for both files, and hold for all layers of a measure together.",
    )
    for measure in dict.fromkeys(frame["measure"]):
        rows = frame[(frame["measure"] == measure) & np.isfinite(frame["difference"].to_numpy(float))]
        if rows.empty:
            continue
        report_parts.add_change(report, comparison.before, comparison.after, measure, rows, comparison.names)
        shown = rows[["layer", "before", "after", "difference", "low", "high", "relative", "real"]]
        caption = f"{report_parts.measure_name(measure).capitalize()} by layer; `real`: beyond noise"
        caption += f" ({_kernels(comparison)})"
        report_parts.add_layers(report, shown, caption, collapsed=True)
        if "lost" in rows:  # comparisons saved by earlier versions do not know it
            caption = "Units valid in both files, in the first alone (lost; `silenced`: dead or sparse in the second), "
            caption += "in the second alone (gained), and the relative change over units valid in both"
            caption += f" ({_kernels(comparison)})"
            report_parts.add_layers(report, rows[["layer", *UNIT_COLUMNS]], caption, collapsed=True)


def _add_layers(report: Report, comparison: Comparison) -> None:
    facts, frame = comparison.metadata, comparison.fidelity
    report.section(
        "How faithful each layer is",
        f"Numbers of the second file against those of the first on {facts['fidelity_samples']} images under all "
        "transformations. `saturated`: values at an integer limit other than zero; `clipped`: values of the first "
        "file that the second cannot represent; `firing`: share of activations above zero; `levels`: how many of its "
        "integers a feature map of the second file uses (median).\n\n"
        + comparison.match.describe().replace("\n", "\n\n"),
    )
    # Comparisons saved by earlier versions lack some columns.
    shown = frame[[name for name in FIDELITY_COLUMNS if name in frame]]
    report_parts.add_layers(report, shown, f"Fidelity by layer ({_kernels(comparison)})")
    report_parts.add_layers(
        report,
        frame[list(RANGE_COLUMNS)],
        f"Ranges of activations and weights ({_kernels(comparison)})",
        collapsed=True,
    )


def _kernels(comparison: Comparison) -> str:
    """The kernel set that all but the section on kernel sets is of; comparisons of earlier versions do not name it."""
    return kernel_note(comparison.metadata.get("kernels", [XNNPACK])[0])


def _has_labels(comparison: Comparison) -> bool:
    return "accuracy" in comparison.models and bool(np.isfinite(comparison.models["accuracy"].to_numpy(float)).all())
