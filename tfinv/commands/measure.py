"""``python -m tfinv.run measure``: measure given models on given images; write results, tables and a report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.commands import arguments as shared
from tfinv.commands import parts
from tfinv.commands.effects import Whole, parse, refuse_idle
from tfinv.commands.outputs import add_fixed_inputs, add_output, measure_outputs, stated
from tfinv.support.safe_text import printable

if TYPE_CHECKING:
    from tfinv.activations import ActivationModel
    from tfinv.activations.foreign import ForeignModel
    from tfinv.commands.data import Fitted
    from tfinv.commands.sources import Opened
    from tfinv.datasets import Split, StoredImages
    from tfinv.outputs import OutputChange
    from tfinv.results import Results
    from tfinv.tflite import KernelComparison, TFLiteModel

SEVERAL_CONFIDENCE = 0.95
"""Of the intervals of differences, where several models are measured and nothing is said."""
CHECKPOINT = "checkpoint"

_EPILOG = """\
writes results.npz, profile.csv, one figure per measure and report.html into --out; of several models one results file
each, and differences.csv with paired intervals against the first; of outputs that are no classes also outputs.csv,
outputs.npz and pictures of what was found

examples:
  python -m tfinv.run measure --model model.keras --data images/ --transformations "rotations(16)" \\
      --measures NormalizedVariance "NormalizedVarianceSE(aggregate='mean')" --out runs/mine
  python -m tfinv.run measure --model model.keras --data images/ --precision 0.02 \\
      --measures NormalizedVariance AccuracyUnder WorstCaseAccuracy --out runs/few
  python -m tfinv.run measure --model plain.keras augmented.keras int8.tflite --data images/ --out runs/three
  python -m tfinv.run measure --model net.keras net.onnx saved_model/ --data images/ --out runs/converted
  python -m tfinv.run measure --model face.tflite --data faces/ --output "landmarks(dimensions=3)" --out runs/face
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    from tfinv.evaluation.distribution import distributed

    options = parse(_parser(), shared.with_signs(arguments))
    with distributed(options.workers):
        return _measure(options)


def _measure(options: argparse.Namespace) -> int:
    from tfinv.commands.kernels import compared_kernels, limit_slow, with_kernels
    from tfinv.commands.sources import open_model
    from tfinv.tflite.files.kernels import kernel_sets

    names = [text.strip() for text in options.model]
    kernels = kernel_sets(options.kernels)
    _check(options, names, kernels)
    limit_slow(options, kernels)
    measures, transformations = shared.measures(options.measures), shared.transformations(options.transformations)
    warping, kinds = shared.warping(options), stated(options.output)
    scales = _one_per_model(options.input_scale, len(names))
    models = [
        with_kernels(
            open_model(name, scale, options.layer_class, options.input_size, options.layout, options.fixed_inputs),
            kernels,
        )
        for name, scale in zip(names, scales, strict=True)
    ]
    from tfinv.commands.data import common_shape, load_fitting
    from tfinv.commands.late import late_images
    from tfinv.commands.planning import plan_memory

    late = None if options.part is None else late_images(options, common_shape(models))
    if late is not None:  # a part reads its own images alone
        return _measure_part(options, models[0], late.images, late.id, late.shape, measures, transformations, warping)
    fitted = load_fitting(options, common_shape(models))
    if options.part is not None:
        given = fitted.measured, fitted.dataset.id, fitted.shape
        return _measure_part(options, models[0], *given, measures, transformations, warping)
    labels = _short_names(names)
    sources = [model.source(fitted.shape, options.layers) for model in models]
    for source in sources:
        plan_memory(source, len(fitted.measured), transformations, measures, options, _confidence(options))
    found, changes, warnings = {}, {}, list(fitted.notes)
    for label, model, source in zip(labels, models, sources, strict=True):
        found[label], said = _measured(label, model, source, fitted, options, measures, transformations, warping, kinds)
        warnings += said
        facts = {"dataset": fitted.dataset.id, "model_file": model.name}
        change = measure_outputs(source, fitted.measured, transformations, kinds, warping, not options.quiet, facts)
        changes |= {} if change is None else {label: change}
    by_kernels = compared_kernels(
        dict(zip(labels, sources, strict=True)), kernels, fitted, options, measures, transformations, warping
    )
    _write(found, changes, options, fitted, warnings, by_kernels)
    return 0


def _measure_part(
    options: argparse.Namespace,
    model: Opened,
    images: Split | StoredImages,
    name: str,
    shape: tuple[int, int, int],
    measures: Any,
    transformations: Any,
    warping: Any,
) -> int:
    from tfinv.commands.planning import plan_memory

    part = parts.parse_part(options.part, len(images))
    source = model.source(shape, options.layers)
    plan_memory(source, len(images), transformations, measures, options, _confidence(options))
    print(parts.measure_part(part, model, source, images, name, options, measures, transformations, warping))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = shared.parser("measure", "Measure every layer of models on images of your own.", _EPILOG)
    parser.add_argument(
        "--model",
        required=True,
        nargs="+",
        help=f"{shared.MODEL_HELP}, a .tflite or .onnx file, or a folder with a SavedModel; several, of any kinds, are "
        "compared",
    )
    shared.add_data(parser)
    shared.add_transformations(parser)
    parser.add_argument("--measures", nargs="+", default=["NormalizedVariance"], help=shared.MEASURES_HELP)
    shared.add_input_scale(parser, "+")
    shared.add_layout(parser)
    add_output(parser)
    add_fixed_inputs(parser)
    shared.add_layer_classes(parser)
    shared.add_measuring(parser, None, None)
    shared.add_kernels(parser)
    shared.add_full_precision(parser)
    parser.add_argument("--stratified", action="store_true", help="measure every class apart, and their mean")
    parser.add_argument(
        "--checkpoint",
        action="store_true",
        help="save to --out about once a minute: the same command after an interruption goes on from there",
    )
    parser.add_argument(
        "--precision",
        type=float,
        help="take images in random order only until all intervals reach at most this far to either side (0.02 is 2 "
        "points of accuracy); default: all images",
    )
    parser.add_argument(
        "--part",
        metavar="K/N",
        help="measure the K-th of N parts of the images alone, into --out; python -m tfinv.run merge joins the parts",
    )
    parser.add_argument("--batch-size", type=Whole(1), help="images per block under all transformations")
    return parser


def _check(options: argparse.Namespace, names: Sequence[str], kernels: Sequence[str]) -> None:
    """Refuse what changes nothing, before anything is loaded."""
    from tfinv.commands.sources import is_tflite, takes_layer_classes

    several = len(names) > 1
    foreign = "" if any(map(is_tflite, names)) else "no model is a .tflite file"
    if several and options.precision is not None:
        raise ValueError(
            "--precision may stop at other images for every model, and differences need the same. Received: "
            f"--precision with {len(names)} models"
        )
    refuse_idle(
        options,
        {
            "kernels": foreign,
            "kernel_samples": foreign or shared.idle_kernels(kernels),
            "seed": options.max_samples is None
            and options.measured_samples is None
            and "it draws a subset, and none is asked for",
            "full_precision": options.part is not None and "parts are always written as they are",
            "layer_class": not takes_layer_classes(names) and "no model is a Keras file",
        },
    )
    if several and options.part:
        raise ValueError(f"--part takes one model at a time. Received: --part with {len(names)} models")
    if several and options.stratified:
        raise ValueError(
            "--stratified gives no intervals, which the differences of several models need. Received: "
            f"--stratified with {len(names)} models"
        )
    if len(set(names)) < len(names) and options.input_scale is None:
        raise ValueError(f"model must name each model once. Received: {' '.join(names)}")


def _confidence(options: argparse.Namespace) -> float | None:
    """Of intervals; several models have some in any case."""
    several = len(options.model) > 1
    return SEVERAL_CONFIDENCE if several and options.confidence is None else options.confidence


def _one_per_model(scales: Sequence[str] | None, count: int) -> list[str | None]:
    if scales is None:
        return [None] * count
    if len(scales) not in (1, count):
        raise ValueError(f"input-scale must be one scale, or one per model ({count}). Received: {' '.join(scales)}")
    return [*scales] if len(scales) == count else [scales[0]] * count


def _short_names(names: Sequence[str]) -> list[str]:
    """File names without folder and ending where these tell the models apart."""
    ways = (lambda path: path.stem, lambda path: path.name, lambda path: "_".join(path.parts[-2:]))
    for shorten in ways:
        short = [shorten(Path(name)) for name in names]
        if len(set(short)) == len(names):
            return short
    return [f"{Path(name).stem} {number}" for number, name in enumerate(names, 1)]


def _measured(
    label: str,
    model: Opened,
    source: ActivationModel | TFLiteModel | ForeignModel,
    fitted: Fitted,
    options: argparse.Namespace,
    measures: Any,
    transformations: Any,
    warping: Any,
    kinds: Any,
) -> tuple[Results, list[str]]:
    """The results of a model, and warnings about its answers and its input scale."""
    from tfinv.commands.answers import check_answers
    from tfinv.evaluation import Sampling, evaluate
    from tfinv.outputs.comparing import are_classes
    from tfinv.tflite import TFLiteModel

    several = len(options.model) > 1
    print(printable(f"{label}: {model.said}"))
    answers = kinds is None or are_classes(source, fitted.images.x, kinds, fitted.images.y)
    facts, warnings = check_answers(source, fitted.images) if answers else ({}, [])
    if isinstance(source, TFLiteModel):
        from tfinv.tflite.files.checks import scale_warnings

        warnings = [*scale_warnings(source, fitted.measured.x), *warnings]
    warnings = [f"{label}: {text}" for text in (*getattr(source, "notes", ()), *warnings)]
    for text in warnings:
        print(printable(f"warning: {text}"), file=sys.stderr)
    if "accuracy" in facts:
        print(
            f"{label}: accuracy {facts['accuracy']:.1%} ({facts['accuracy_low']:.1%} to {facts['accuracy_high']:.1%}) "
            f"on {facts['answered']} untransformed images"
        )
    name = f"{CHECKPOINT}-{label}.npz" if several else f"{CHECKPOINT}.npz"
    results = evaluate(
        source,
        fitted.measured,
        transformations,
        measures,
        batch_size=options.batch_size,
        sampling=Sampling(_confidence(options), stratified=options.stratified, precision=options.precision),
        warping=warping,
        memory_budget=options.memory_budget,
        checkpoint=options.out / name if options.checkpoint else None,
        progress=not options.quiet,
        metadata={
            "dataset": fitted.dataset.id,
            "model_file": model.name,
            "seed": options.seed,
            "input_scale_from": model.scale_from,
            **({"kernels": source.kernels} if isinstance(source, TFLiteModel) else {}),
            **facts,
        },
    )
    return results, warnings


def _write(
    found: Mapping[str, Results],
    changes: Mapping[str, OutputChange],
    options: argparse.Namespace,
    fitted: Fitted,
    warnings: Sequence[str],
    by_kernels: KernelComparison | None,
) -> None:
    from tfinv.commands.kernels import kernel_lines
    from tfinv.commands.measure_report import write_single
    from tfinv.commands.measure_several import write_several
    from tfinv.report.ends import ends_sentences

    several = len(found) > 1
    for label, results in found.items():
        for text in ends_sentences(results.metadata):
            print(printable(f"{label}: {text}"))
        path = options.out / (f"results-{label}.npz" if several else "results.npz")
        results.save(path, full_precision=options.full_precision)
    subtitle = f"{', '.join(text.strip() for text in options.model)} on {fitted.dataset.name}, "
    subtitle += f"{len(fitted.measured)} images"
    if any("kernels" in results.metadata for results in found.values()):
        subtitle += f", kernels: {next(r.metadata['kernels'] for r in found.values() if 'kernels' in r.metadata)}"
    if several:
        lines = write_several(found, options.out, subtitle, warnings, changes, by_kernels)
    else:
        lines = write_single(next(iter(found.values())), options.out, subtitle, warnings, changes, by_kernels)
    for line in (*lines, *kernel_lines(by_kernels)):
        print(printable(line))
    print(f"Written to {options.out}")
