"""What the command `measure` writes of several models on the same images: one figure, paired differences, a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfinv.commands.measure_report import answer_sentences, as_warnings, profile_with_floor, save_figures
from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv
from tfinv.uncertainty import difference

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tfinv.outputs import OutputChange
    from tfinv.results import MeasureResult, Results
    from tfinv.tflite import KernelComparison

VARIANCE = "NormalizedVariance"
"""The measure that is smaller for what is more invariant, whatever its options."""
SHOWN = ("measure", "first", "second", "layer", "before", "after", "difference", "low", "high", "real")
_FEW = 0.5
"""Models that share less than this share of their layer names are drawn by depth."""
_TERMS = ("layer profile", "normalized variance", "unit", "interval", "change beyond noise")


def differences(found: Mapping[str, Results]) -> pd.DataFrame:
    """Every model against the first, layer by layer, with paired intervals.

    Layers of one name are compared, and the last layers, which are the models' outputs, whatever they are called.

    Args:
        found: results with intervals by name of the model, of the same images and measures.

    Returns:
        The columns of `tfinv.difference` behind `first` and `second`, the names of the models.
    """
    import pandas as pd

    names, frames = list(found), []
    for name in names[1:]:
        for key in found[names[0]]:
            pairs = _pairs(found[names[0]][key], found[name][key])
            frame = difference(found[names[0]], found[name], key, layers=pairs)
            frame.insert(0, "first", names[0])
            frame.insert(1, "second", name)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def write_several(
    found: Mapping[str, Results],
    folder: Path,
    subtitle: str,
    warnings: Sequence[str],
    changes: Mapping[str, OutputChange] | None = None,
    by_kernels: KernelComparison | None = None,
) -> list[str]:
    """Write `profile.csv`, `differences.csv`, one figure per measure and `report.html`.

    Args:
        found: results by name of the model.
        folder: where to.
        subtitle: of the report.
        warnings: what was noticed before measuring.
        changes: what transformations do to the outputs, by model; none for classifiers.
        by_kernels: kernel sets against each other; None where there is one.

    Returns:
        Lines for the terminal.
    """
    import pandas as pd

    from tfinv.commands.kernels import add_to_report
    from tfinv.commands.outputs import add_section, sentences_of
    from tfinv.report import Report, explain
    from tfinv.report.ends import add_ends
    from tfinv.support import environment

    frames = [profile_with_floor(results).assign(model=name) for name, results in found.items()]
    write_text(folder / "profile.csv", to_csv(pd.concat(frames, ignore_index=True)))
    table = differences(found)
    write_text(folder / "differences.csv", to_csv(table))
    said = sentences(table)
    answers = [f"{name}: {text}" for name, results in found.items() for text in answer_sentences(results)]
    outputs = sentences_of(changes or {})
    report = Report("Invariance of several models", subtitle)
    report.verdict([*as_warnings(warnings), *answers, *outputs, *said])
    lines = add_section(report, changes or {}, folder)
    figures = draw_several(found)
    save_figures(figures, folder)
    for key, figure in zip(next(iter(found.values())), figures.values(), strict=True):
        caption = f"{key} by layer, from input to output, one line per model; bands are intervals of single values."
        report.section(key).figure(figure, caption, f"Layer profiles of {key}")
    columns = [name for name in (*SHOWN, "relative") if name in table]
    report.table(
        table[columns],
        "Paired differences, second minus first, with intervals that hold for all layers together.",
        dict.fromkeys(("before", "after", "difference", "low", "high", "relative"), ".4f"),
    )
    add_ends(report, {name: results.metadata for name, results in found.items()})
    add_to_report(report, by_kernels, folder)
    report.glossary(explain(*_TERMS))
    facts = {name: results.metadata for name, results in found.items()}
    report.environment({**facts, **environment.describe()}).write_html(folder / "report.html")
    shown = table[list(SHOWN)].to_string(index=False, float_format="{:.4f}".format)
    return [shown, *(f"* {text}" for text in said), *lines]


def draw(found: Mapping[str, Results], key: str) -> Figure:
    """The profiles of one measure, one line per model, by layer or by depth where few layers share their names."""
    from tfinv import plots

    layers = [set(results[key]) for results in found.values()]
    shared = set.intersection(*layers)
    by_depth = len(shared) < _FEW * max(len(names) for names in layers)
    return plots.profile(found, key, relative_axis=by_depth)


def draw_several(found: Mapping[str, Results]) -> dict[str, Figure]:
    """The figure of each measure, all models in one, by the name of its file."""
    return {f"profile_{number}.png": draw(found, key) for number, key in enumerate(next(iter(found.values())))}


def sentences(table: pd.DataFrame) -> list[str]:
    """One sentence per pair of models and measure: the output, and how many layers differ beyond noise."""
    said = []
    for (first, second, key), rows in table.groupby(["first", "second", "measure"], sort=False):
        output = rows.iloc[-1]
        if np.isfinite(output["low"]):
            lower = output["difference"] < 0
            word = ("lower" if lower else "higher") + (
                (", more invariant" if lower else ", less invariant") if str(key).partition("(")[0] == VARIANCE else ""
            )
            change = f"{output['difference']:+.3f}, {output['low']:+.3f} to {output['high']:+.3f}"
            verdict = word if output["real"] else "no difference beyond noise"
            said.append(
                f"{key} at the output is {output['after']:.3f} for {second} and {output['before']:.3f} for {first} "
                f"(difference {change}): {verdict}."
            )
        real = rows[rows["real"]]
        fewer = int((real["difference"] < 0).sum())
        said.append(
            f"{key} of {len(real)} of {len(rows)} compared layers differs beyond noise: {second} is lower in {fewer} "
            f"and higher in {len(real) - fewer} of them."
        )
    return said


def _pairs(first: MeasureResult, second: MeasureResult) -> dict[str, str]:
    *_, last_first = first
    *_, last_second = second
    pairs = {name: name for name in first if name in second and name not in (last_first, last_second)}
    return {**pairs, last_first: last_second}
