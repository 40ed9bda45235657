"""The sections of a comparison's report that tell of single answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv import plots
from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv
from tfinv.tflite.comparison.answers import Answers
from tfinv.tflite.comparison.flips import KINDS
from tfinv.tflite.comparison.report_parts import curve_axis

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.report import Report
    from tfinv.tflite.comparison.comparison import Comparison

_MOST_CLASSES = 20
"""So many classes are drawn, those that lose most."""
_SHARE = "{:.1%}"


def write_tables(comparison: Comparison, folder: Path) -> None:
    """Write `flipped.csv` and the tables of `Answers` that are not empty."""
    frames = {"flipped": comparison.flipped()}
    answers = comparison.answers
    frames |= {"right_at_least": answers.at_least, "flips": answers.flips}
    frames |= {"decisions": answers.decisions}
    frames |= {"flips_by_class": answers.classes, "calibration": answers.calibration}
    for name, frame in frames.items():
        if len(frame.columns):
            write_text(folder / f"{name}.csv", to_csv(frame))


def add(report: Report, comparison: Comparison) -> None:
    """Worst cases, flips by kind and class, pictures of what changed, calibration; what is not known is left out."""
    answers, names = comparison.answers, comparison.names
    curves = comparison.curves[comparison.curves["model"] == names[0]] if len(comparison.curves) else comparison.curves
    if len(answers.decisions):
        add_decisions(report, answers.decisions)
    if len(answers.at_least):
        add_worst_cases(report, answers.at_least)
    if len(answers.flips):
        add_flips(report, answers.flips, answers.classes, curves, names[1])
    if len(answers.pictures):
        add_pictures(report, answers, comparison.flipped(), names)
    if len(answers.calibration):
        add_calibration(report, answers.calibration, curves, names)


def add_decisions(report: Report, frame: pd.DataFrame) -> None:
    """What is decided and the table of decisions."""
    report.section(
        "What is decided",
        "`unchanged`: the 90 % interval lies inside the margin, two one-sided tests at 5 %. `changed`: not so, and the "
        "95 % interval (of layers: that of all layers together) excludes zero. `inconclusive`: neither. `needed`: "
        "images that a decision takes with a chance of 80 % if the change is what was measured; `planned`: if there is "
        "none.",
    )
    shown = frame.drop(columns="unit").assign(
        **{name: [_in_unit(value, unit, name) for value, unit in zip(frame[name], frame["unit"], strict=True)]
           for name in ("change", "low", "high", "margin")}
    )  # fmt: skip
    report.table(shown, "Decisions, by intervals", dict.fromkeys(("needed", "planned"), ",.0f"))


def _in_unit(value: float, unit: str, name: str) -> str:
    sign = "" if name == "margin" else "+"
    return f"{100 * value:{sign}.2f} {'points' if unit == 'points' else '%'}"


def add_worst_cases(report: Report, frame: pd.DataFrame) -> None:
    """The share of images that are right under at least k transformations.

    Args:
        report: what to add to.
        frame: see `Answers.at_least`.
    """
    report.section(
        "Right under how many transformations",
        "The share of images that are classified right under at least k of the transformations. At the left: right "
        "under at least one; at the right: right under all, the worst case. The mean of a curve is the mean accuracy.",
    )
    shown = frame.rename(columns={"share_low": "low", "share_high": "high"})
    label = "right under at least so many transformations"
    figure = plots.accuracy_curve(shown, "at_least", y="share", x_label=label, y_label="share of images")
    last = frame[frame["at_least"] == frame["at_least"].max()]
    spoken = "; ".join(f"{row.model} {100 * row.share:.1f} % under all" for row in last.itertuples())
    text = "Share of images against the number of transformations under which they are right."
    report.figure(figure, f"{text} Bands are 95 % intervals.", f"{text} {spoken}.", name="right_at_least")


def add_flips(report: Report, flips: pd.DataFrame, classes: pd.DataFrame, curves: pd.DataFrame, after: str) -> None:
    """Answers that changed, by kind and class.

    Args:
        report: what to add to.
        flips: see `Answers.flips`.
        classes: see `Answers.classes`.
        curves: of one model, for the axis.
        after: name of the second model.
    """
    report.section(
        "Which answers changed",
        f"`harmful`: right before and wrong with {after}; `beneficial`: wrong before and right; `neutral`: from one "
        "wrong class to another. Shares of all images. All of them are listed in `flipped.csv`.",
    )
    text = "Answers that changed, by kind, under each transformation."
    kinds = [
        flips[["number"]].assign(model=kind, share=flips[kind], low=flips[f"{kind}_low"], high=flips[f"{kind}_high"])
        for kind in KINDS
    ]
    frame, axis = placed(_concatenated(kinds), curves)
    figure = plots.accuracy_curve(frame, y="share", y_label="share of images", **axis)
    figure.axes[0].set_ylim(0, max(1.15 * float(frame["high"].max()), 0.01))
    spoken = "; ".join(f"{kind} {100 * flips[kind].mean():.1f} % on average" for kind in KINDS)
    report.figure(figure, f"{text} Bands are 95 % intervals.", f"{text} {spoken}.", name="flips_by_kind")
    formats = dict.fromkeys(("flips", *KINDS), _SHARE)
    report.table(flips[["number", "transformation", "flips", *KINDS]], text, formats, collapsed=True)
    _add_classes(report, classes)


def _add_classes(report: Report, classes: pd.DataFrame) -> None:
    order: Any = classes.sort_values("change", kind="stable")
    drawn = order.head(_MOST_CLASSES).assign(**{"class": order.head(_MOST_CLASSES)["class_number"].astype(str)})
    caption = (
        "Change of accuracy under transformation by class, in per cent of answers, with 95 % intervals for one class"
    )
    caption += f" alone (the {_MOST_CLASSES} that lose most)." if len(classes) > _MOST_CLASSES else " alone."
    figure = plots.bars(drawn, "class", "change", percent=True, y_label="change of accuracy")
    worst = order.iloc[0]
    spoken = f"Class {int(worst['class_number'])} changes most to the worse, by {100 * worst['change']:+.1f} points."
    report.figure(figure, caption, f"{caption} {spoken}", name="flips_by_class")
    shares = ("accuracy_before", "accuracy_after", *KINDS)
    formats: dict[str, Any] = dict.fromkeys(shares, _SHARE) | dict.fromkeys(("change", "low", "high"), "{:+.1%}")
    formats |= dict.fromkeys(("p_value", "p_holm"), "{:.3g}")
    report.table(
        order,
        "All classes. `worse`, `better`: images with more harmful, with more beneficial flips; `p_value`: McNemar's "
        "exact test over images; `p_holm`: corrected for all classes; `pays`: it loses, and `p_holm` is below 0.05",
        formats,
        collapsed=True,
    )


def add_pictures(report: Report, answers: Answers, flipped: pd.DataFrame, names: tuple[str, str]) -> None:
    """Images that changed, upright and transformed, with both answers.

    Args:
        report: what to add to.
        answers: with `shown` and `pictures`.
        flipped: of the same two models, see `flips.flipped_rows`.
        names: of the two.
    """
    rows = flipped.set_index(["image", "number"])
    captions = []
    for image, number in answers.shown:
        row = rows.loc[(image, number)]
        truth = f", is {row['label']}" if "label" in rows else ""
        captions.append(
            f"{row['kind']}{truth}\nimage {image}, {row['transformation']}\n"
            f"{row['before']} ({row['confidence_before']:.0%}) → {row['after']} ({row['confidence_after']:.0%})"
        )
    first, second = names
    text = (
        f"Images that {first} and {second} answer differently, those first of which both are most certain: upright and "
    )
    text += "as the models saw them, with both answers and their confidence."
    if not len(answers.flips):
        report.section("Which answers changed", "All of them are listed in `flipped.csv`.")
    spoken = "; ".join(caption.replace("\n", ", ") for caption in captions)
    report.figure(plots.captioned_images(answers.pictures, captions), text, f"{text} {spoken}.", name="changed_images")


def add_calibration(
    report: Report, frame: pd.DataFrame, curves: pd.DataFrame, names: Sequence[str], *, fitted: bool = True
) -> None:
    """Calibration error under every transformation, and tables.

    Args:
        report: what to add to.
        frame: see `Answers.calibration`.
        curves: of one model, for the axis.
        names: of the models that are drawn.
        fitted: draw curves with a temperature fitted upright too.
    """
    report.section(
        "How far confidence can be trusted",
        "`ece` is the expected calibration error over 15 bins, `nll` the negative log likelihood. `upright fit`: with "
        "one temperature fitted on upright images, `transformed fit`: with one fitted on transformed images; each is "
        "fitted on one half of the images and judged on the other. "
        f"On {int(frame['images'].iloc[0])} images.",
    )
    moved = frame[frame["number"] >= 0]
    several = [
        moved[["number"]].assign(model=f"{name}{words}", ece=moved[column])[moved["model"] == name]
        for name in names
        for column, words in (("ece", ""), ("ece_upright_fit", ", upright fit"))[: 1 + fitted]
    ]
    shown, axis = placed(_concatenated(several), curves)
    figure = plots.accuracy_curve(shown, y="ece", y_label="calibration error", **axis)
    figure.axes[0].set_ylim(0, max(1.15 * float(shown["ece"].max()), 0.01))
    text = "Expected calibration error under each transformation, as the models are"
    text += " and with a temperature fitted upright." if fitted else "."
    spoken = "; ".join(f"{name} {moved[moved['model'] == name]['ece'].mean():.3f} on average" for name in names)
    report.figure(figure, text, f"{text} {spoken}.", name="calibration")
    numbers = [name for name in frame if name.startswith(("ece", "nll"))]
    formats = dict.fromkeys(numbers, ".3f") | {"accuracy": _SHARE}
    formats |= dict.fromkeys(("temperature_upright", "temperature_transformed"), ".2f")
    means = frame[frame["is_moved"] | (frame["number"] < 0)]
    means = means.assign(images_are=np.where(means["number"] < 0, "upright", "transformed"))
    kept = ["accuracy", *numbers, "temperature_upright", "temperature_transformed"]
    summary = means.groupby(["model", "images_are"], sort=False)[kept].mean().reset_index()
    summary = summary.rename(columns={"images_are": "images"})
    report.table(summary, "Calibration upright, and the mean over the transformations but the identity", formats)
    report.table(frame, "Calibration under each transformation", formats, collapsed=True)


def placed(frame: pd.DataFrame, curves: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The frame with what it is drawn against, and the arguments that name that axis.

    Args:
        frame: with the column `number`.
        curves: of one model, one row a transformation.
    """
    x, x_label, _ = curve_axis(curves)
    places = dict(zip(curves["number"], curves[x], strict=True))
    return frame.assign(**{x: frame["number"].map(places)}), {"x": x, "x_label": x_label}


def _concatenated(frames: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(frames, ignore_index=True)
