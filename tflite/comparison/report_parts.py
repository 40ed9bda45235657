"""Parts that the reports on quantized models share: models, accuracy against angle, profiles, changes (reports)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv import plots

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.report import Report
    from tfinv.results import Results

SHARES = {
    "accuracy": "accuracy upright",
    "transformed_accuracy": "accuracy transformed",
    "worst_case_accuracy": "accuracy worst case",
    "flips": "flips upright",
    "transformed_flips": "flips transformed",
    "consistency": "consistency",
    "consistency_all": "consistency under all",
    "effective_invariance": "effective invariance",
}
"""Columns of a models frame that are shares of images, and what a reader sees."""
NUMBERS = {
    "kib": "KiB",
    "latency_ms": "latency ms",
    "working_kib": "working memory KiB",
    "largest_change": "largest change",
}
MEASURE_NAMES = {"NormalizedVariance": "normalized variance", "NormalizedVarianceSE": "same-equivariance error"}
LAYER_FORMATS: Mapping[str, str] = {
    **dict.fromkeys(("before", "after", "difference", "low", "high"), ".4f"),
    **dict.fromkeys(("relative", "paired_relative"), "{:+.2%}"),
    "sqnr_db": ".1f",
    "cosine": ".5f",
    "effective_bits": ".1f",
    "saturated": "{:.2%}",
    "clipped": "{:.2%}",
    **dict.fromkeys(("firing_before", "firing_after"), "{:.2%}"),
    "levels": ".0f",
}


def interval_text(value: float, low: float, high: float, digits: int = 1) -> str:
    """A share with its interval in per cent: `"75.4 % (74.6 to 76.3)"`; `"-"` where there is none.

    Example:
        >>> from tfinv.tflite.comparison.report_parts import interval_text
        >>> interval_text(0.5, 0.45, 0.551), interval_text(0.5, float("nan"), float("nan"))
        ('50.0 % (45.0 to 55.1)', '50.0 %')
    """
    if not np.isfinite(value):
        return "-"
    text = f"{100 * value:.{digits}f} %"
    return f"{text} ({100 * low:.{digits}f} to {100 * high:.{digits}f})" if np.isfinite(low + high) else text


def measure_name(key: str) -> str:
    """A measure's key in words, where there are some."""
    name, _, options = key.partition("(")
    return MEASURE_NAMES.get(name, name) + (f" ({options}" if options else "")


def add_models(report: Report, models: pd.DataFrame, caption: str) -> None:
    """A table of models: shares with their intervals, sizes, latencies, whether a model collapsed.

    Args:
        report: what to add to.
        models: one row a model: `model`, any of the columns of `SHARES` (with `<column>_low, <column>_high`) and
            `NUMBERS`, `collapsed`, and others that are shown as they are.
        caption: of the table.
    """
    import pandas as pd

    shown: dict[str, Any] = {}
    for column in models.columns:
        if column in SHARES:
            bounds = [models.get(f"{column}_{side}", pd.Series(np.nan, models.index)) for side in ("low", "high")]
            texts = [interval_text(*row) for row in zip(models[column], *bounds, strict=True)]
            shown[SHARES[column]] = texts
        elif not column.endswith(("_low", "_high")):
            shown[NUMBERS.get(column) or column] = models[column]
    forms = {"kib": ",.1f", "latency_ms": ".3g", "working_kib": ",.0f", "largest_change": "{:+.2%}"}
    formats = {NUMBERS[name]: form for name, form in forms.items()}
    frame = pd.DataFrame(shown)
    report.table(frame, caption, {name: form for name, form in formats.items() if name in frame})


def add_two_models(report: Report, models: pd.DataFrame, caption: str) -> None:
    """Two models side by side, one row a quantity, which fits a narrow page.

    Args:
        report: what to add to.
        models: two rows, see `add_models`; `<column>_change` with `_low, _high` becomes a column of its own.
        caption: of the table.
    """
    import pandas as pd

    def cell(row: Any, column: str) -> str:
        value = row[column]
        if column in SHARES:
            return interval_text(value, row.get(f"{column}_low", np.nan), row.get(f"{column}_high", np.nan))
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "no"
        return f"{value:,.3g}" if column == "latency_ms" else f"{value:,.1f}" if column in NUMBERS else str(value)

    first, second = models.iloc[0], models.iloc[1]
    rows = []
    for column in models.columns:
        if column == "model" or column.endswith(("_low", "_high", "_change")):
            continue
        title = SHARES.get(column, NUMBERS.get(column, column.replace("_", " ")))
        change = second.get(f"{column}_change", np.nan)
        text = "" if np.isnan(change) else _points(*(second[f"{column}_change{end}"] for end in ("", "_low", "_high")))
        rows.append([title, cell(first, column), cell(second, column), text])
    columns = ["quantity", str(first["model"]), str(second["model"]), "change in points"]
    report.table(pd.DataFrame(rows, columns=columns), caption)


def _points(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def add_curves(
    report: Report, curves: pd.DataFrame, chance: float | None, *, only: Sequence[str] | None = None
) -> None:
    """Accuracy, and flips against the reference, under each transformation; by angle where all are rotations.

    Args:
        report: what to add to.
        curves: `model, number, transformation, degrees, accuracy, flips`, each of the last two with `_low, _high`;
            `degrees` is NaN where a transformation is no rotation. A column without numbers is left out.
        chance: the accuracy of guessing; None if unknown.
        only: the models to draw; None for all.
    """
    chosen = curves if only is None else curves[curves["model"].isin(list(only))]
    x, x_label, words = curve_axis(chosen)
    for column, text in (
        ("accuracy", f"Accuracy against {words}, all models on the same images."),
        ("flips", f"Share of predictions that differ from the reference model's on the same image, against {words}."),
    ):
        if not np.isfinite(chosen[column].to_numpy(float)).any():
            continue
        frame = chosen.rename(columns={f"{column}_low": "low", f"{column}_high": "high"})
        if column == "flips":  # the reference, which has none against itself, keeps its colour as the line at zero
            frame = frame.fillna({"flips": 0.0, "low": 0.0, "high": 0.0})
        level = chance if column == "accuracy" else None
        figure = plots.accuracy_curve(frame, x, y=column, chance=level, x_label=x_label, y_label=column)
        top = float(frame[[column, "high"]].max(axis=None))
        if column == "flips" and top < 0.8:
            figure.axes[0].set_ylim(0, max(1.15 * top, 0.01))
        ranges = frame.groupby("model", sort=False)[column].agg(["min", "max"]).itertuples()
        spoken = "; ".join(f"{row.Index} {100 * row.min:.1f} to {100 * row.max:.1f} %" for row in ranges)
        report.figure(figure, f"{text} Bands are 95 % intervals.", f"{text} {spoken}.", name=f"{column}_curve")
    if x == "number":
        first = chosen[chosen["model"] == chosen["model"].iloc[0]]
        report.table(first[["number", "transformation"]], "The transformations by number")


def curve_axis(curves: pd.DataFrame) -> tuple[str, str, str]:
    """Against what curves are drawn: angles, the amounts of the set in their unit, or the numbers of transformations.

    Args:
        curves: with the columns `degrees`, and perhaps `amount` and `axis`, see `Behaviour.to_frame`.

    Returns:
        The column, the label of the axis, and words for captions.
    """
    if np.isfinite(curves["degrees"].to_numpy(float)).all():
        return "degrees", "rotation of the image (degrees)", "the angle of rotation"
    if "amount" in curves and np.isfinite(curves["amount"].to_numpy(float)).all() and not curves["axis"].isna().any():
        axis = str(curves["axis"].iloc[0])
        return "amount", axis, f"the {axis}"
    return "number", "transformation, numbered as in the table below", "the transformation, by its number"


def add_profiles(report: Report, results: Mapping[str, Results], measure: str, caption: str = "") -> None:
    """Layer profiles of several models in one figure, with bands where results hold intervals.

    Args:
        report: what to add to.
        results: results by model name.
        measure: key of the measure.
        caption: words to add below the figure.
    """
    figure = plots.profile({name: result[measure].profile() for name, result in results.items()}, measure)
    title = measure_name(measure).capitalize()
    text = f"{title} by layer, from input to output; lower is more invariant. {caption}".strip()
    report.figure(figure, text, f"{text} Models: {', '.join(results)}.", name=f"profile_{measure}")


def add_change(
    report: Report,
    before: Results,
    after: Results,
    measure: str,
    differences: pd.DataFrame,
    names: tuple[str, str] = ("before", "after"),
) -> None:
    """Two profiles with their differences and intervals, and a heat map of the change of every unit.

    Args:
        report: what to add to.
        before: results of the reference, layers named as in `differences`.
        after: results of the other model, with the same layer names where layers match.
        measure: key of the measure.
        differences: `measure, layer, difference, low, high`, as `compare` gives.
        names: what the two models are called.
    """
    rows = differences[differences["measure"] == measure]
    words = measure_name(measure)
    usable = rows if np.isfinite(rows[["low", "high"]].to_numpy(float)).any() else rows.drop(columns=["low", "high"])
    profiles = before[measure].profile(), after[measure].profile()
    figure = plots.before_after(*profiles, usable, names=names, y_label=words)
    text = f"{words.capitalize()} by layer, and below it {names[1]} minus {names[0]}."
    interval = " Bars are intervals over images: a filled mark lies beyond noise." if usable is rows else ""
    report.figure(figure, text + interval, _spoken(text, rows), name=f"change_{measure}_{names[1]}")
    units = plots.change_heatmap(before[measure], after[measure])
    text = f"Change of {words} of every unit, {names[1]} minus {names[0]}: one column a layer, units sorted."
    report.figure(units, text, text, name=f"units_{measure}_{names[1]}")


def add_layers(report: Report, layers: pd.DataFrame, caption: str, *, collapsed: bool | None = None) -> None:
    """A table of layers; known columns get sensible formats.

    Args:
        report: what to add to.
        layers: one row a layer; any columns.
        caption: of the table.
        collapsed: see `Report.table`.
    """
    formats = {name: form for name, form in LAYER_FORMATS.items() if name in layers}
    report.table(layers, caption, formats, collapsed=collapsed)


def _spoken(text: str, differences: pd.DataFrame) -> str:
    """The figure in words for those who cannot see it: the largest change."""
    values = differences["difference"].to_numpy(float)
    if not np.isfinite(values).any():
        return text
    row = differences.iloc[int(np.nanargmax(np.abs(values)))]
    return f"{text} Largest difference {row['difference']:+.4f} at {row['layer']}."
