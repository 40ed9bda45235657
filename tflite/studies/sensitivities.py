"""The sensitivity of layers as a part of a study: measured once, kept, drawn and put into words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.cache import Cache
from tfinv.support.environment import versions
from tfinv.support.files import write_json
from tfinv.tflite.comparison.report_parts import measure_name
from tfinv.tflite.comparison.storage import frame_from_json, frame_to_json
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.studies.pieces import Settings
from tfinv.tflite.studies.recipe import Materials
from tfinv.tflite.studies.sensitivity import MODES, SCHEMES, sensitivity

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.datasets import Split
    from tfinv.report import Report

_MODE_NAMES = {"one": "this layer alone", "all_but_one": "all but this layer"}
_DRAWN = 10
"""Layers that one figure can hold."""


def choose_schemes(schemes: str | Sequence[str]) -> tuple[str, ...]:
    """Names of schemes.

    Raises:
        ValueError: an unknown name.
    """
    names = (schemes,) if isinstance(schemes, str) else tuple(schemes)
    unknown = [name for name in names if name not in SCHEMES]
    if unknown:
        raise ValueError(f"sensitivity must be names among {', '.join(SCHEMES)}. Received: {', '.join(unknown)}")
    return tuple(dict.fromkeys(names))


def sensitivities(
    cache: Cache,
    schemes: Sequence[str],
    reference: Conversion,
    materials: Materials,
    images: Split,
    settings: Settings,
    identity: Mapping[str, str],
    say: Callable[[str], None],
) -> tuple[pd.DataFrame, list[str]]:
    """Every scheme, one layer at a time and all but one.

    Args:
        cache: where finished tables are kept.
        schemes: names of `sensitivity.SCHEMES`.
        reference: the float file.
        materials: with the images that calibrate.
        images: those whose activations are measured.
        settings: of the study; its first measure counts.
        identity: hashes of the images, by `train` and `measured`.
        say: called with a line of text at every step.

    Returns:
        The tables of `sensitivity`, one below the other, with `scheme` and `mode` in front; and which layers a scheme
        cannot quantize, in words.
    """
    import pandas as pd

    frames, notes = [], []
    for scheme in schemes:
        left_out: list[str] = []
        for mode in MODES:
            say(f"sensitivity to {scheme}: {_MODE_NAMES[mode]}")
            config = {
                "file": reference.sha256,
                "scheme": scheme,
                "mode": mode,
                "scale": materials.input_scale.text,
                "images": identity["measured"],
                "transformations": settings.transformations.id,
                "measure": settings.measures[0],
                "sampling": asdict(settings.sampling),
                "warping": asdict(settings.warping),
                "intervals": "simultaneous",
                "version": versions("tfinv", "litert-quantizer"),
            }
            if scheme == "static_int8":
                config |= {"train": identity["train"], "samples": materials.calibration_samples, "seed": settings.seed}

            def make(folder: Path, scheme: Any = scheme, mode: Any = mode) -> None:
                frame = sensitivity(
                    reference,
                    images,
                    settings.transformations,
                    scheme=scheme,
                    mode=mode,
                    calibration=materials.calibration if scheme == "static_int8" else None,
                    input_scale=materials.input_scale,
                    measure=settings.measures[0],
                    max_samples=None,
                    sampling=settings.sampling,
                    warping=settings.warping,
                    memory_budget=settings.memory_budget,
                    progress=materials.progress,
                )
                document = {"frame": frame_to_json(frame), "not_quantized": frame.attrs["not_quantized"]}
                write_json(folder / "sensitivity.json", document)

            document = cache.get(
                "sensitivity", config, make, lambda folder: json.loads((folder / "sensitivity.json").read_text())
            )
            frame = frame_from_json(document["frame"])
            frame.insert(0, "scheme", scheme)
            frame.insert(1, "mode", mode)
            frames.append(frame)
            left_out = document["not_quantized"]
        if left_out:
            notes.append(f"sensitivity, {scheme}: it cannot quantize {', '.join(left_out)}")
    return (pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()), notes


def sentences(frame: pd.DataFrame, measure: str) -> list[str]:
    """Which layer costs most, for each scheme."""
    texts = []
    for scheme in dict.fromkeys(frame["scheme"]) if len(frame) else ():
        rows = frame[frame["scheme"] == scheme]
        first = {mode: rows[(rows["mode"] == mode) & (rows["rank"] == 1)].iloc[0] for mode in MODES}
        alone, spared = (first[mode] for mode in MODES)
        beyond = "" if alone["real"] else ", within noise"
        texts.append(
            f"Of single layers quantized by {scheme}, `{alone['layer']}` moves {measure_name(measure)} at the output "
            f"most ({_change(alone)}{beyond}); sparing `{spared['layer']}` and quantizing all others leaves the least "
            f"change ({_change(spared)})."
        )
    return texts


def add_to_report(report: Report, frame: pd.DataFrame, measure: str) -> None:
    """A section with one figure and one table a scheme; nothing for an empty frame."""
    from tfinv import plots
    from tfinv.tflite.comparison import report_parts

    if frame.empty:
        return
    words = measure_name(measure)
    report.section(
        "Sensitivity of layers",
        f"What it does to {words} at the network's output to quantize one layer alone, and to quantize all layers but "
        "that one. A layer matters where the first is large or the second small. Intervals hold for all layers of a "
        "scheme and mode together.",
    )
    for scheme in dict.fromkeys(frame["scheme"]):
        rows: Any = frame[frame["scheme"] == scheme]
        alone = rows[rows["mode"] == MODES[0]]
        drawn = rows[rows["layer"].isin(alone["layer"].head(_DRAWN))].drop(columns=["low", "high"])
        drawn = drawn.rename(columns={"relative_low": "low", "relative_high": "high"})
        drawn["quantized"] = drawn["mode"].map(_MODE_NAMES)
        figure = plots.bars(drawn, "layer", "relative", group="quantized", percent=True, y_label=f"change of {words}")
        most = f", the {_DRAWN} layers that cost most alone" if len(alone) > _DRAWN else ""
        caption = f"Change of {words} at the output by {scheme}{most}; most sensitive layer first."
        report.figure(figure, caption, f"{caption} {' '.join(sentences(rows, measure))}", name=f"sensitivity_{scheme}")
        columns = ["mode", "rank", "layer", "operator", "kib", "before", "after", "relative", "real", "mean_change"]
        columns += [name for name in ("transformed_flips", "transformed_accuracy") if np.isfinite(rows[name]).any()]
        shown = rows[columns].replace({"mode": _MODE_NAMES})
        report_parts.add_layers(report, shown, f"Sensitivity to {scheme}, layer by layer", collapsed=True)


def _change(row: Any) -> str:
    low, high = row["relative_low"], row["relative_high"]
    interval = f", {100 * low:+.1f} to {100 * high:+.1f}" if np.isfinite(low + high) else ""
    return f"{100 * row['relative']:+.1f} %{interval}"
