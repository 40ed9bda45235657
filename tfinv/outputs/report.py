"""Outputs that are no classes in a report: sentences, error against angle, tables, and pictures with what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv import plots
from tfinv.outputs.means import means_with_intervals
from tfinv.report import Report
from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from tfinv.outputs.change import OutputChange, OutputMeasured


def write(change: OutputChange, folder: Path) -> Path:
    """Write the report and its table; see `OutputChange.report`."""
    facts = change.metadata
    report = Report("Outputs under transformations", f"{facts['samples']} images under {facts['transformations']}")
    report.verdict(sentences(change))
    add_outputs(report, {"model": change})
    write_text(folder / "outputs.csv", to_csv(change.to_frame()))
    for name, figure in figures({"model": change}).items():
        plots.save(figure, folder / name)
    return report.environment(facts).write_html(folder / "report.html")


def sentences(change: OutputChange) -> list[str]:
    """What was found, output by output: the worst transformation, and how sure the model is of it there."""
    found = []
    frame = change.to_frame()
    sure = [name for name in ("score", "confidence") if (frame["quantity"] == name).any()] if len(frame) else []
    for output in change.outputs:
        guess = " (guessed from its shape; state it with `--output`)" if output.guessed else ""
        rows = frame[(frame["output"] == output.name) & (frame["quantity"] == output.error)]
        errors = rows["mean"].to_numpy(float)
        if not np.isfinite(errors).any():
            found.append(f"`{output.name}` as {output.kind}{guess} could be compared on no image.")
            continue
        worst = int(np.nanargmax(errors))
        label = change.transformations[worst]
        text = (
            f"`{output.name}` as {output.kind}{guess}: {output.words[output.error]} is {errors[worst]:.1%} at worst, "
            f"under {label}, and {np.nanmean(errors):.1%} on average"
        )
        floor = rows["floor"].to_numpy(float)
        if np.isfinite(floor).any():
            text += f" (interpolation alone: {np.nanmean(floor):.1%})"
        others = frame[(frame["number"] == worst) & (frame["output"] != output.name)]
        if sure and output.kind != "class":
            scores = others[others["quantity"] == sure[0]]
            text += "".join(f"; there the {sure[0]} of `{row.output}` is {row.mean:.0%}" for row in scores.itertuples())
            text += _sure_and_wrong(change, scores["output"].unique().tolist(), errors, sure[0], worst)
        found.append(text + ".")
    found += [f"`{name}` is not measured: {why}." for name, why in change.skipped.items()]
    return found or ["No output was measured."]


def _sure_and_wrong(change: OutputChange, names: Sequence[str], errors: NDArray[Any], quantity: str, worst: int) -> str:
    """Where a score says yes and is furthest from the truth: the largest product of score and error."""
    text = ""
    for name in names:
        score = means_with_intervals(change[name].values[quantity], resamples=0)[:, 0]
        certain = np.where(score > 0.5, score * errors, np.nan)
        if np.isfinite(certain).any():
            place = int(np.nanargmax(certain))
            if place == worst:
                continue
            text += (
                f"; under {change.transformations[place]} the {quantity} of `{name}` is {score[place]:.0%} "
                f"and the error {errors[place]:.1%}"
            )
    return text


def add_outputs(report: Report, changes: Mapping[str, OutputChange]) -> None:
    """A section per output: error against angle of all models, all quantities, pictures of the last model.

    Args:
        report: what to add to.
        changes: by model, of the same images and transformations.
    """
    drawn = figures(changes)
    for name, output in common_outputs(changes).items():
        words = "\n".join(f"- `{quantity}`: {text}" for quantity, text in output.words.items())
        report.section(f"Output {name}", f"Measured as `{output.kind}`.\n\n{words}")
        caption = f"{output.words[output.error].capitalize()}; lower is better. Bands are 95 % intervals over images."
        report.figure(drawn[curve_file(name)], caption, _spoken(changes, name), name=f"output_{name}")
        if picture_file(name) in drawn:
            text = (
                f"One image under its transformations with what {list(changes)[-1]} found and what was to be expected."
            )
            report.figure(drawn[picture_file(name)], text, text, name=f"pictures_{name}")
        for model, change in changes.items():
            caption = (
                f"{name} of {model} under each transformation" if len(changes) > 1 else f"{name} by transformation"
            )
            report.table(wide(change, name), caption, collapsed=len(changes) > 1)


def wide(change: OutputChange, name: str) -> pd.DataFrame:
    """One row per transformation, one column per quantity of an output, and the scores of others beside them.

    Args:
        change: of a model.
        name: of the output.
    """
    frame = change.to_frame()
    own = frame[frame["output"] == name]
    table = own[own["quantity"] == own["quantity"].iloc[0]][["transformation"]].reset_index(drop=True)
    for quantity in dict.fromkeys(own["quantity"]):
        table[quantity] = own.loc[own["quantity"] == quantity, "mean"].to_numpy()
    error = own[own["quantity"] == change[name].error]
    if np.isfinite(error["floor"].to_numpy(float)).any():
        table["floor"] = error["floor"].to_numpy()
    for other in change.outputs:
        if other.name != name and "score" in other.values:
            rows = frame[(frame["output"] == other.name) & (frame["quantity"] == "score")]
            table[f"score of {other.name}"] = rows["mean"].to_numpy()
    return table


def common_outputs(changes: Mapping[str, OutputChange]) -> dict[str, OutputMeasured]:
    """Outputs that all models have, by name, as the first model has them."""
    first, *others = changes.values()
    return {
        output.name: output
        for output in first.outputs
        if all(any(one.name == output.name for one in other.outputs) for other in others)
    }


def curve_file(name: str) -> str:
    """The file of the curve of an output."""
    return f"output-{_safe(name)}.png"


def picture_file(name: str) -> str:
    """The file of the pictures of an output."""
    return f"pictures-{_safe(name)}.png"


def figures(changes: Mapping[str, OutputChange]) -> dict[str, Figure]:
    """The figures of all outputs by the names of their files.

    Args:
        changes: by model, of the same images and transformations.
    """
    drawn = {}
    last = list(changes.values())[-1]
    for name in common_outputs(changes):
        drawn[curve_file(name)] = _curve(changes, name)
        marks = last[name].marks
        if marks and len(last.pictures) and last.pictures.shape[-1] in (1, 3):
            first = {key: values[0] for key, values in marks.items()}
            drawn[picture_file(name)] = plots.output_pictures(last.pictures[0], first, list(last.transformations))
    return drawn


def _curve(changes: Mapping[str, OutputChange], name: str) -> Figure:
    """Error against angle, or against the number of the transformation, with the floor as a line of its own."""
    import pandas as pd

    parts = []
    for model, change in changes.items():
        frame = change.to_frame()
        rows = frame[(frame["output"] == name) & (frame["quantity"] == change[name].error)]
        parts.append(rows.assign(model=model))
        if model == next(iter(changes)) and np.isfinite(rows["floor"].to_numpy(float)).any():
            floor = rows["floor"].to_numpy(float)
            parts.append(rows.assign(model="interpolation alone", mean=floor, low=floor, high=floor))
    return draw_curve(pd.concat(parts, ignore_index=True), next(iter(changes.values()))[name].error)


def draw_curve(frame: pd.DataFrame, error: str) -> Figure:
    """Error against angle, or against the number of the transformation where one is no rotation.

    Args:
        frame: `model, number, degrees, mean, low, high`.
        error: what is drawn.
    """
    by_angle = bool(np.isfinite(frame["degrees"].to_numpy(float)).all())
    rows = frame.drop_duplicates(["model", "degrees"]) if by_angle else frame
    figure = plots.accuracy_curve(
        rows,
        "degrees" if by_angle else "number",
        y="mean",
        x_label=None if by_angle else "transformation, numbered as in the table below",
        y_label=error,
    )
    values = rows[["mean", "high"]].to_numpy(float)
    known = values[np.isfinite(values)]
    if known.size:
        figure.axes[0].set_ylim(0, max(1.15 * float(known.max()), 0.01))
    return figure


def _spoken(changes: Mapping[str, OutputChange], name: str) -> str:
    parts = []
    for model, change in changes.items():
        means = np.array(
            [np.nanmean(column) if np.isfinite(column).any() else np.nan for column in change[name].error_values.T]
        )
        parts.append(f"{model} {np.nanmin(means):.1%} to {np.nanmax(means):.1%}" if np.isfinite(means).any() else model)
    return f"{name}, {next(iter(changes.values()))[name].error} against the transformation: {'; '.join(parts)}."


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)


def shown_lines(change: OutputChange) -> list[str]:
    """The tables of all outputs for a terminal."""
    lines: list[Any] = []
    for output in change.outputs:
        table = wide(change, output.name).to_string(index=False, float_format="{:.4f}".format)
        lines += [f"{output.name} as {output.kind}{' (guessed)' if output.guessed else ''}", table]
    return lines
