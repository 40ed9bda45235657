"""``python -m tfinv.run measure``: measure a given model on given images; write results, tables and a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.commands import arguments as shared
from tfinv.support.safe_text import printable, to_csv

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.results import Results

_EPILOG = """\
writes results.npz, profile.csv, one figure per measure and report.html into --out

example:
  python -m tfinv.run measure --model model.keras --data images/ --transformations "rotations(16)" \\
      --measures NormalizedVariance "NormalizedVarianceSE(aggregate='mean')" --out runs/mine
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    parser = shared.parser("measure", "Measure every layer of a model on images of your own.", _EPILOG)
    parser.add_argument("--model", required=True, help=f"{shared.MODEL_HELP}, or a .tflite file")
    shared.add_data(parser)
    shared.add_transformations(parser)
    parser.add_argument("--measures", nargs="+", default=["NormalizedVariance"], help=shared.MEASURES_HELP)
    parser.add_argument("--layers", nargs="+", help="names, globs or layer types; default: all")
    shared.add_input_scale(parser)
    shared.add_layer_classes(parser)
    parser.add_argument("--batch-size", type=int, help="images per block under all transformations")
    options = parser.parse_args(shared.with_signs(arguments))

    from tfinv.evaluation.evaluate import evaluate

    measures, transformations = shared.measures(options.measures), shared.transformations(options.transformations)
    model, shape = load_source(options.model, shared.input_scale(options.input_scale), options.layer_class)
    dataset, test = shared.load_fitting(options.data, shape, options.max_samples, options.seed)
    results = evaluate(
        model,
        test,
        transformations,
        measures,
        layers=options.layers,
        batch_size=options.batch_size,
        progress=not options.quiet,
        metadata={"dataset": dataset.id, "model_file": options.model, "seed": options.seed},
    )
    results.save(options.out / "results.npz")
    frame = profile_with_floor(results)
    write_report(results, frame, options.out, f"{options.model} on {dataset.name}, {len(test)} images")
    columns = [column for column in ("measure", "layer", "mean", "floor", "valid", "left_out") if column in frame]
    print(printable(frame[columns].to_string(index=False, float_format="{:.4f}".format)))
    print(f"Written to {options.out}")
    return 0


def load_source(model: str, input_scale: Any, layer_classes: Sequence[str] = ()) -> tuple[Any, tuple[int | None, ...]]:
    """A Keras model or a TFLite model, and its input shape `(H, W, C)`, None where open.

    Args:
        model: a path or a name of `keras.applications`.
        input_scale: of a TFLite model.
        layer_classes: of `--layer-class`.

    Raises:
        ValueError: a missing or damaged file, one that holds an unknown class, or a model that does not take images.
    """
    stand_ins = shared.layer_classes(layer_classes)
    if model.endswith(".tflite"):
        from tfinv.tflite import TFLiteModel

        source = TFLiteModel(model, input_scale=input_scale)
        return source, source.input_shape
    from tfinv import models

    loaded = (
        models.build(model, None, None)
        if model.startswith("keras.applications.")
        else models.load(model, stand_ins=stand_ins)
    )
    shapes = [tuple(tensor.shape) for tensor in loaded.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(f"model must have one input of images (N, H, W, C). Received: input shapes {shapes}")
    return loaded, shapes[0][1:]


def profile_with_floor(results: Results) -> pd.DataFrame:
    """The profiles, with the interpolation floor of same-equivariance measures as a column where there is one."""
    frame = results.profile()
    floors = results.metadata.get("interpolation_floor") or {}
    if floors:
        pairs = zip(frame["measure"], frame["layer"], strict=True)
        frame["floor"] = [floors.get(measure, {}).get(layer, np.nan) for measure, layer in pairs]
    return frame


def save_figures(results: Results, folder: Any) -> list[str]:
    """Write the profile and the heat map of each measure; returns the names of the files."""
    from tfinv import plots

    names = []
    for number, measure in enumerate(results.values()):
        figures = {"profile": plots.profile({"model": measure}), "heatmap": plots.heatmap(measure)}
        for name, figure in figures.items():
            plots.save(figure, folder / f"{name}_{number}.png")
            names.append(f"{name}_{number}.png")
    return names


def write_report(results: Results, frame: pd.DataFrame, folder: Any, subtitle: str) -> None:
    """Write `profile.csv`, the figures and `report.html`."""
    from tfinv import plots
    from tfinv.report import Report, explain
    from tfinv.support import environment
    from tfinv.support.files import write_text

    write_text(folder / "profile.csv", to_csv(frame))
    report = Report("Invariance by layer", subtitle).verdict(_sentences(results))
    save_figures(results, folder)
    for key, measure in results.items():
        report.section(key)
        profile, heatmap = plots.profile({"model": measure}), plots.heatmap(measure)
        report.figure(profile, f"{key} by layer, from input to output.", f"Layer profile of {key}")
        report.figure(heatmap, "Every unit: one column per layer, units sorted by their value.", f"Heat map of {key}")
    floor = " `floor`: the value of the identity network, interpolation alone." if "floor" in frame else ""
    report.table(frame, f"All layers.{floor}", {"mean": ".4f", "std": ".4f"})
    report.glossary(explain("layer profile", "normalized variance", "unit", "dead unit", "sample-constant unit"))
    report.environment({**results.metadata, **environment.describe()}).write_html(folder / "report.html")


def _sentences(results: Results) -> list[str]:
    sentences = []
    for key, measure in results.items():
        means = {name: layer.mean for name, layer in measure.items() if np.isfinite(layer.mean)}
        if not means:
            sentences.append(f"{key} exists on none of the layers.")
            continue
        lowest, highest = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        sentences.append(
            f"{key} is lowest at {lowest} ({means[lowest]:.3f}), highest at {highest} ({means[highest]:.3f}), and "
            f"{list(means.values())[-1]:.3f} at {list(means)[-1]}."
        )
    return sentences
