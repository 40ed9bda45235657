"""What the command `measure` writes: tables, figures and a report, of one model or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tfinv.outputs import OutputChange
    from tfinv.results import Results
    from tfinv.tflite import KernelComparison

SHOWN = ("measure", "layer", "mean", "low", "high", "floor", "valid", "left_out")
"""Columns that the terminal shows, where they exist."""
_TERMS = ("layer profile", "normalized variance", "unit", "dead unit", "sample-constant unit")


def profile_with_floor(results: Results) -> pd.DataFrame:
    """The profiles, with the interpolation floor of same-equivariance measures as a column where there is one."""
    frame = results.profile()
    floors = results.metadata.get("interpolation_floor") or {}
    if floors:
        pairs = zip(frame["measure"], frame["layer"], strict=True)
        frame["floor"] = [floors.get(measure, {}).get(layer, np.nan) for measure, layer in pairs]
    return frame


def draw_single(results: Results) -> dict[str, Figure]:
    """The profile and the heat map of each measure, by the name of their files."""
    from tfinv import plots

    figures = {}
    for number, measure in enumerate(results.values()):
        figures[f"profile_{number}.png"] = plots.profile({"model": measure})
        figures[f"heatmap_{number}.png"] = plots.heatmap(measure)
    return figures


def save_figures(figures: Mapping[str, Figure], folder: Path) -> list[str]:
    """Write figures by the name of their files; returns the names."""
    from tfinv import plots

    for name, figure in figures.items():
        plots.save(figure, folder / name)
    return list(figures)


def write_single(
    results: Results,
    folder: Path,
    subtitle: str,
    warnings: Sequence[str],
    changes: Mapping[str, OutputChange] | None = None,
    by_kernels: KernelComparison | None = None,
) -> list[str]:
    """Write `profile.csv`, the figures and `report.html` of one model.

    Args:
        results: of the model.
        folder: where to.
        subtitle: of the report.
        warnings: what was noticed before measuring.
        changes: what transformations do to the outputs, by model; None for a classifier.
        by_kernels: kernel sets against each other; None where there is one.

    Returns:
        Lines for the terminal.
    """
    from tfinv.commands.kernels import add_to_report
    from tfinv.commands.outputs import add_section, sentences_of
    from tfinv.report import Report, explain
    from tfinv.report.ends import add_ends
    from tfinv.support import environment

    frame = profile_with_floor(results)
    write_text(folder / "profile.csv", to_csv(frame))
    report = Report("Invariance by layer", subtitle).verdict(
        [
            *as_warnings(warnings),
            *precision_sentences(results),
            *answer_sentences(results),
            *sentences_of(changes or {}),
            *_sentences(results),
        ]
    )
    lines = add_section(report, changes or {}, folder)
    figures = draw_single(results)
    save_figures(figures, folder)
    for number, key in enumerate(results):
        report.section(key)
        profile, heatmap = figures[f"profile_{number}.png"], figures[f"heatmap_{number}.png"]
        report.figure(profile, f"{key} by layer, from input to output.", f"Layer profile of {key}")
        report.figure(heatmap, "Every unit: one column per layer, units sorted by their value.", f"Heat map of {key}")
    floor = " `floor`: the value of the identity network, interpolation alone." if "floor" in frame else ""
    report.table(frame, f"All layers.{floor}", {"mean": ".4f", "std": ".4f"})
    add_ends(report, {"model": results.metadata})
    add_to_report(report, by_kernels, folder)
    report.glossary(explain(*_TERMS))
    report.environment({**results.metadata, **environment.describe()}).write_html(folder / "report.html")
    columns = [name for name in SHOWN if name in frame]
    table = frame[columns].to_string(index=False, float_format="{:.4f}".format)
    return [table, *lines, *precision_sentences(results)]


def as_warnings(warnings: Sequence[str]) -> list[str]:
    """Warnings as sentences of a report."""
    return [f"Warning: {text}." for text in warnings]


def precision_sentences(results: Results) -> list[str]:
    """How many images were needed, where that was the question."""
    from tfinv.evaluation.precision import precision_sentence

    return [precision_sentence(results.metadata["precision"])] if "precision" in results.metadata else []


def answer_sentences(results: Results) -> list[str]:
    """The accuracy of a model, where it was asked."""
    facts = results.metadata
    if "accuracy" not in facts:
        return []
    return [
        f"Accuracy {facts['accuracy']:.1%} ({facts['accuracy_low']:.1%} to {facts['accuracy_high']:.1%}) on "
        f"{facts['answered']} untransformed images."
    ]


def _sentences(results: Results) -> list[str]:
    sentences = []
    for key, measure in results.items():
        means = {name: layer.mean for name, layer in measure.items() if np.isfinite(layer.mean)}
        if not means:
            sentences.append(f"{key} exists on none of the layers.")
            continue
        if len(means) == 1:
            layer, mean = next(iter(means.items()))
            sentences.append(f"{key} at {layer}: {measure[layer].note or f'{mean:.3f}'}.")
            continue
        lowest, highest = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        sentences.append(
            f"{key} is lowest at {lowest} ({means[lowest]:.3f}), highest at {highest} ({means[highest]:.3f}), and "
            f"{list(means.values())[-1]:.3f} at {list(means)[-1]}."
        )
    return sentences
