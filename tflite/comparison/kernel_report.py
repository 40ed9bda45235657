"""The section of a report on kernel sets: answers, flips, where layers part and how the difference grows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv import plots
from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv
from tfinv.tflite.comparison import report_parts
from tfinv.tflite.files.kernels import KERNELS

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.report import Report
    from tfinv.tflite.comparison.kernels import KernelComparison

PAIR_TITLES = {
    "part_at": "part first at",
    "part_operator": "operator",
    "part_lsb": "steps there",
    "max_lsb": "most steps",
    "max_lsb_at": "at",
    "output_lsb": "steps at output",
    "max_relative_error": "largest relative error",
}

_LEFT_OUT = "Pairs that never differ are left out, equal lines are drawn once."


def write_tables(found: KernelComparison, folder: Path) -> None:
    """Write the tables as `kernel_answers.csv` and so on."""
    for name in ("answers", "pairs", "curves", "layers", "profiles"):
        frame: pd.DataFrame = getattr(found, name)
        if len(frame):
            write_text(folder / f"kernel_{name}.csv", to_csv(frame))


def add_section(report: Report, found: KernelComparison) -> None:
    """Add the section.

    Args:
        report: what to add to.
        found: the comparison of kernel sets.
    """
    meaning = "\n".join(f"- `{name}`: {KERNELS[name]}" for name in found.kernels)
    report.section(
        "By kernel set",
        f"The same files on the same {found.samples} images, computed by different code. Reference kernels are slow, "
        "so kernel sets are compared on a sample of their own. A step is one unit of a layer's integers. Times are of "
        f"this machine, with all tensors kept; no time here is that of a microcontroller.\n\n{meaning}\n\n"
        + "\n".join(f"- {sentence}" for sentence in found.verdict),
    )
    _add_answers(report, found.answers)
    _add_curves(report, found.curves)
    _add_pairs(report, found.pairs)
    _add_growth(report, found.layers)
    _add_profiles(report, found.profiles)


def _add_answers(report: Report, answers: pd.DataFrame) -> None:
    shown = answers.assign(model=answers["model"] + ", " + answers["kernels"])
    columns = ["model", "device", *(name for name in report_parts.SHARES if name in answers), "ms_per_image"]
    kept = [name for name in columns if name == "device" or not _is_empty(shown[name])]
    bounds = [name for name in shown if str(name).endswith(("_low", "_high"))]
    frame = shown[[*kept, *bounds]].rename(columns={"ms_per_image": "ms per image"})
    caption = "Answers by file and kernel set; shares with 95 % intervals. `flips` are against the first file under "
    report_parts.add_models(report, frame.round({"ms per image": 2}), f"{caption}the same kernels")


def _is_empty(column: Any) -> bool:
    return column.dtype.kind == "f" and not np.isfinite(column.to_numpy(float)).any()


def _add_curves(report: Report, curves: pd.DataFrame) -> None:
    """Flips between kernel sets under each transformation: a figure and a table."""
    if curves.empty:
        return
    renamed = curves.assign(model=_pair_names(curves))
    drawn = _distinct(renamed, "model", "flips")
    by_angle = bool(np.isfinite(renamed["degrees"].to_numpy(float)).all())
    x = "degrees" if by_angle else "number"
    if len(drawn):
        frame = drawn.rename(columns={"flips_low": "low", "flips_high": "high"})
        figure = plots.accuracy_curve(
            frame,
            x,
            y="flips",
            y_label="answers that differ",
            x_label=None if by_angle else "transformation, by number",
        )
        figure.axes[0].set_ylim(0, max(1.15 * float(frame[["flips", "high"]].max(axis=None)), 0.01))
        text = "Share of images that two kernel sets answer differently, the same file. Bands are 95 % intervals."
        ranges = frame.groupby("model", sort=False)["flips"].agg(["min", "max"]).itertuples()
        spoken = "; ".join(f"{row.Index} {100 * row.min:.1f} to {100 * row.max:.1f} %" for row in ranges)
        report.figure(figure, f"{text} {_LEFT_OUT}", f"{text} {spoken}.", name="kernel_flips")
    apart = renamed[renamed.groupby("model")["flips"].transform("max") > 0]
    if apart.empty:
        return
    texts = [report_parts.interval_text(*row) for row in apart[["flips", "flips_low", "flips_high"]].to_numpy(float)]
    table = apart.assign(share=texts).pivot(index=["number", "transformation"], columns="model", values="share")
    shown = table[list(dict.fromkeys(apart["model"]))].reset_index().drop(columns="number")
    shown.columns.name = None
    caption = "Images answered differently, kernel set against kernel set; pairs that never differ are left out"
    report.table(shown, caption, collapsed=True)


def _add_pairs(report: Report, pairs: pd.DataFrame) -> None:
    import pandas as pd

    if pairs.empty:
        return
    shown: dict[str, Any] = {"file": pairs["model"], "kernels": pairs["first"] + " and " + pairs["second"]}
    for column in ("flips", "transformed_flips"):
        if column in pairs:
            rows = pairs[[column, f"{column}_low", f"{column}_high"]].to_numpy(float)
            shown[report_parts.SHARES[column]] = [report_parts.interval_text(*row) for row in rows]
    shown |= {title: pairs[column] for column, title in PAIR_TITLES.items()}
    formats = dict.fromkeys(("steps there", "most steps", "steps at output"), ".0f")
    report.table(
        pd.DataFrame(shown),
        "Kernel set against kernel set, one file: where they part, and by how many steps",
        {**formats, "largest relative error": ".2g"},
    )


def _add_growth(report: Report, layers: pd.DataFrame) -> None:
    """The largest difference of every layer in steps: where kernel sets part and how it grows."""
    if layers.empty:
        return
    apart = layers[np.isfinite(layers["max_lsb"].to_numpy(float))]
    named = apart.assign(pair=_pair_names(apart))
    lines = {
        pair: rows.rename(columns={"max_lsb": "mean"})[["layer", "mean"]]
        for pair, rows in named.groupby("pair", sort=False)
    }
    if lines:
        figure = plots.profile(lines)
        figure.axes[0].set_ylabel("largest difference (steps)")
        text = "Largest difference of a layer between two kernel sets, in steps of its integers, from input to output."
        worst = named.iloc[int(named["max_lsb"].to_numpy().argmax())]
        spoken = f"{text} At most {worst['max_lsb']:.0f}, at {worst['layer']}, {worst['pair']}."
        report.figure(figure, f"{text} {_LEFT_OUT}", spoken, name="kernel_growth")
    shown = layers.assign(kernels=layers["first"] + " and " + layers["second"]).rename(columns={"model": "file"})
    columns = ["file", "kernels", "layer", "operator", "max_lsb", "differing", "differing_images", "relative_error"]
    formats = {"max_lsb": ".0f", "differing": "{:.2%}", "differing_images": "{:.1%}", "relative_error": ".2g"}
    caption = "Difference by layer: `max_lsb` in steps, `differing` share of values, `differing_images` share of images"
    report.table(shown[columns], caption, formats, collapsed=True)


def _add_profiles(report: Report, profiles: pd.DataFrame) -> None:
    for (name, measure), rows in profiles.groupby(["model", "measure"], sort=False) if len(profiles) else ():
        lines = {str(kernel_set): part[["layer", "mean"]] for kernel_set, part in rows.groupby("kernels", sort=False)}
        words = report_parts.measure_name(str(measure))
        figure = plots.profile(lines)
        figure.axes[0].set_ylabel(words)
        text = f"{words.capitalize()} of {name} by layer, one line per kernel set."
        report.figure(figure, text, text, name=f"kernel_profile_{name}_{measure}")
        others = rows[rows["kernels"] != rows["kernels"].iloc[0]]
        caption = f"{words.capitalize()} of {name}: difference from {rows['kernels'].iloc[0]}; `real`: beyond noise"
        columns = ["kernels", "layer", "mean", "difference", "low", "high", "relative", "real"]
        formats = {**dict.fromkeys(columns[2:6], ".4f"), "relative": "{:+.2%}"}
        report.table(others[columns], caption, formats, collapsed=True)


def _distinct(frame: pd.DataFrame, name: str, value: str) -> pd.DataFrame:
    """The lines of a figure: those that are zero everywhere left out, equal ones joined under both names."""
    lines: dict[bytes, list[Any]] = {}
    for label, rows in frame.groupby(name, sort=False):
        numbers = rows[value].to_numpy(float)
        if numbers.any():
            lines.setdefault(numbers.tobytes(), []).append(label)
    joined = {}
    for first, *others in lines.values():
        joined[first] = " and ".join([first, *(_without_file(text, first) for text in others)])
    kept = frame[frame[name].isin(list(joined))]
    return kept.assign(**{name: kept[name].map(joined)})


def _without_file(text: str, first: str) -> str:
    """A pair's name without the file, where the first pair is of the same file."""
    file = first.partition(": ")[0]
    return text.removeprefix(f"{file}: ")


def _pair_names(frame: pd.DataFrame) -> Any:
    return frame["model"] + ": " + frame["first"] + " / " + frame["second"]
