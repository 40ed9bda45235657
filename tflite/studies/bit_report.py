"""The report of a choice of bits: HTML, Markdown, tables, the path of the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv import plots
from tfinv.report import Report
from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv
from tfinv.tflite.comparison.conditions import METRICS
from tfinv.tflite.studies.bit_conditions import OF_FILES, in_words, parse_keep
from tfinv.tflite.studies.bit_schemes import BIT_SCHEMES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tfinv.tflite.comparison.conditions import Condition
    from tfinv.tflite.studies.bit_choice import BitChoice

_PERCENT = "{:+.2%}"
_ANSWERS = {"output_sqnr_db": ".1f", "flip_rate": "{:.2%}", "accuracy": "{:.2%}", "transformed_accuracy": "{:.2%}"}
"""Columns about the output, with their formats."""


def write(choice: BitChoice, folder: Path) -> Path:
    """Write `report.html`, `report.md`, the tables as CSV and `path.png`.

    Args:
        choice: what was found.
        folder: where; it is made if need be.

    Returns:
        The path of `report.html`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("layers", "path", "singles", "neighbours", "files", "confirmation"):
        write_text(folder / f"{name}.csv", to_csv(getattr(choice, name)))
    if (figure := path_figure(choice)) is not None:
        plots.save(figure, folder / "path.png")
    report = build(choice)
    report.write_markdown(folder / "report.md")
    return report.write_html(folder / "report.html")


def build(choice: BitChoice) -> Report:
    """The report, not yet written."""
    about = choice.metadata
    conditions = parse_keep(about["keep"])
    subtitle = f"{about['transformations']}, {about['samples']:,} images, seed {about['seed']}"
    report = Report("The smallest file that keeps the invariance", subtitle).verdict(choice.verdict)
    report.section("Before you trust it", "\n".join(f"- {text}" for text in choice.warnings))
    _conditions(report, conditions)
    _confirmation(report, choice, conditions)
    _files(report, choice, conditions)
    _path(report, choice, conditions)
    _layers(report, choice)
    _neighbours(report, choice, conditions)
    _singles(report, choice, conditions)
    return report.environment(dict(about))


def path_figure(choice: BitChoice) -> Figure | None:
    """Size against every condition but those on size and latency; None where there is none."""
    return _size_figure(choice, plots.search_path, choice.path, ())


def neighbour_figure(choice: BitChoice) -> Figure | None:
    """The same of the neighbours of the chosen file; None where there are no conditions or no neighbours."""
    if choice.neighbours.empty:
        return None
    chosen = int(choice.files["bytes"].iloc[0])
    neighbours = choice.neighbours.assign(bytes=chosen + choice.neighbours["bytes_more"])
    return _size_figure(choice, plots.neighbour_files, neighbours, ("chosen",))


def _size_figure(
    choice: BitChoice, draw: Callable[..., Figure], frame: pd.DataFrame, names: Sequence[str]
) -> Figure | None:
    conditions = _drawn(parse_keep(choice.metadata["keep"]))
    if not conditions:
        return None
    limits = {str(condition): condition.limit for condition in conditions}
    shown = choice.files[choice.files["file"].isin([*names, "uniform int8", "uniform int4", "same bytes by SQNR"])]
    units = {str(condition): METRICS[condition.metric].unit for condition in conditions}
    factors = {text: unit.factor for text, unit in units.items()}
    labels = {str(c): f"{c.metric.replace('_', ' ')}, {units[str(c)].words}" for c in conditions}
    return draw(frame, limits, others=shown, labels=labels, factors=factors)


def _drawn(conditions: Any) -> list[Condition]:
    return [condition for condition in conditions if condition.metric not in OF_FILES]


def _conditions(report: Report, conditions: Any) -> None:
    lines = [f"- `{in_words(condition)}`: {METRICS[condition.metric].text}" for condition in conditions]
    report.section(
        "What was asked",
        "\n".join(lines)
        + "\n\nAll against the float32 file on the same images. A condition holds where its whole 90 % interval meets "
        "it, a one-sided test at 5 %; it is inconclusive where only the measured number does.",
    )


def _confirmation(report: Report, choice: BitChoice, conditions: Any) -> None:
    if choice.confirmation.empty:
        return
    report.section("On other images", "The chosen file against the float32 file on images that the search did not see.")
    known = [name for name in _ANSWERS if not choice.confirmation[name].isna().all()]
    frame = _shown(choice.confirmation, ["images", "holds", *map(str, _drawn(conditions)), *known], _drawn(conditions))
    report.table(frame, "The chosen file on other images", {"images": ",.0f", **_ANSWERS})


def _files(report: Report, choice: BitChoice, conditions: Any) -> None:
    report.section(
        "Against other files",
        "`uniform` files store all layers by one scheme, as far as they can take it. `same bytes by SQNR` is the file "
        "that a choice by signal-to-noise ratio at the output makes of the same layers and schemes within the size of "
        "the chosen file.",
    )
    columns = ["file", "bytes", "size_ratio", "holds", *map(str, conditions)]
    extra = ["output_change", *_ANSWERS]
    extra = [name for name in extra if np.isfinite(choice.files[name].to_numpy(float)).any()]
    formats: dict[str, Any] = {"bytes": ",.0f", "size_ratio": "{:.0%}", "output_change": _PERCENT, **_ANSWERS}
    report.table(
        _shown(choice.files, [*columns, *extra], conditions), "The choice beside uniform files and SQNR's", formats
    )


def _path(report: Report, choice: BitChoice, conditions: Any) -> None:
    report.section(
        "The search, step by step",
        "Files planned from single layers, and uniform ones, come first, the smallest first, until one holds. From it "
        "on every step changes one layer, and the whole file is measured.",
    )
    figure = path_figure(choice)
    kept = choice.path[choice.path["outcome"] != "undone"]
    if figure is not None:
        caption = "Size of every file that was tried against the conditions; the dashed line is the limit."
        spoken = f"From {int(kept['bytes'].iloc[0]):,} to {int(kept['bytes'].iloc[-1]):,} bytes."
        report.figure(figure, caption, f"{caption} {spoken}", name="path")
    columns = ["step", "layer", "before", "after", "outcome", "bytes", *map(str, conditions)]
    report.table(_shown(choice.path, columns, conditions), "All steps", {"bytes": ",.0f"})


def _layers(report: Report, choice: BitChoice) -> None:
    names = [name for name in BIT_SCHEMES if name in choice.metadata["schemes"]]
    report.section("Layers and their bits", "\n".join(f"- `{name}`: {BIT_SCHEMES[name].words}" for name in names))
    columns = ["layer", "operator", "weights", "scheme", "change_alone", "why", "cannot"]
    frame = choice.layers[columns if choice.layers["cannot"].str.len().any() else columns[:-1]]
    caption = "Bits by layer. `change alone`: of invariance at the output where this layer alone has this scheme"
    report.table(frame, caption, {"weights": ",.0f", "change_alone": _PERCENT})


def _neighbours(report: Report, choice: BitChoice, conditions: Any) -> None:
    report.section(
        "What neighbour files would have cost",
        "Files that differ from the chosen one in one layer, by the next scheme that makes the file smaller (down) or "
        "larger (up).",
    )
    if choice.neighbours.empty:
        return
    if (figure := neighbour_figure(choice)) is not None:
        caption = "Every neighbour: its size against the conditions. The dashed line is the limit."
        spoken = f"{int(choice.neighbours['holds'].sum())} of {len(choice.neighbours)} keep all conditions."
        report.figure(figure, caption, f"{caption} {spoken}", name="neighbours")
    columns = ["layer", "direction", "from", "to", "bytes_more", "holds", *map(str, conditions)]
    report.table(_shown(choice.neighbours, columns, conditions), "Neighbours", {"bytes_more": "+,.0f"}, collapsed=False)


def _singles(report: Report, choice: BitChoice, conditions: Any) -> None:
    report.section("Layers alone", "What one layer in one scheme does while all others stay float32.")
    columns = ["layer", "scheme", "bytes_saved", "output_change", "output_sqnr_db", *map(str, conditions)]
    frame = _shown(choice.singles, columns, conditions)
    report.table(
        frame,
        "Single layers",
        {"bytes_saved": ",.0f", "output_change": _PERCENT, "output_sqnr_db": ".1f"},
        collapsed=True,
    )


def _shown(frame: pd.DataFrame, columns: list[str], conditions: Any) -> pd.DataFrame:
    """The columns, conditions as texts with their intervals, under the names of their metrics."""
    result = frame[columns].copy()
    for condition in conditions:
        text, measured = str(condition), METRICS[condition.metric].unit
        factor, unit = measured.factor, f" {measured.words}".rstrip()
        cells = zip(frame[text], frame[f"{text} low"], frame[f"{text} high"], frame[f"{text} outcome"], strict=True)
        result[text] = [
            _cell(factor * v, factor * low, factor * high, unit, outcome) for v, low, high, outcome in cells
        ]
        result = result.rename(columns={text: condition.metric})
    return result.loc[:, ~result.columns.duplicated()]


def _cell(value: float, low: float, high: float, unit: str, outcome: str) -> str:
    text = f"{value:.2f}{unit}"
    if low != high and np.isfinite(low + high):
        text += f" ({low:.2f} to {high:.2f})"
    return text if outcome == "holds" else f"{text}, {outcome}"
