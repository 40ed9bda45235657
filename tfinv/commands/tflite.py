"""``python -m tfinv.run tflite``: quantize a trained Keras model in every way; measure and report it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfinv.commands import arguments as shared
from tfinv.commands import choose_bits
from tfinv.commands.deciding import add_deciding, check_margin, idle_margin
from tfinv.commands.effects import Whole, parse, refuse_idle
from tfinv.commands.outputs import add_output, stated
from tfinv.support.safe_text import printable

if TYPE_CHECKING:
    import argparse

    from tfinv.tflite import Recipe

_EPILOG = """\
writes report.html, report.md, tables as .csv (recipes, layers, curves, operators, flipped and more), study.npz, the
files as files/<recipe>.tflite and node data for the Model Explorer viewer as model_explorer/<recipe>/*.json into --out;
finished files and measurements are kept in --out/cache, the same command again goes on from there

examples:
  python -m tfinv.run tflite --model model.keras --data mnist --transformations "rotations(16)" --recipes all \\
      --out runs/study
  python -m tfinv.run tflite --model model.keras --data mnist --recipes static_int8 weight_int4 \\
      --decide equivalence --margin "1 point" "5%" --out runs/decided
  python -m tfinv.run tflite --model model.keras --data mnist --transformations "rotations(16)" \\
      --keep "output_profile_increase<2%" "transformed_accuracy_drop<0.5pt" --out runs/bits

with --keep, writes model.tflite, recipe.json for litert-quantizer, path.png, report.html, report.md, bits.npz and
tables as .csv into --out; searches on --max-samples images, 400 by default, and measures what it chose on as many
others; exit code 3 if a condition on size or latency is not reached, or one does not hold on the other images

"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    parser = shared.parser(
        "tflite", "Quantize a model in every way and measure what that does to it.", _EPILOG + choose_bits.explained()
    )
    parser.add_argument("--model", required=True, help=shared.MODEL_HELP)
    shared.add_layer_classes(parser)
    shared.add_data(parser)
    shared.add_transformations(parser)
    parser.add_argument("--recipes", nargs="+", default=["all"], help=shared.RECIPES_HELP)
    shared.add_input_scale(parser)
    parser.add_argument(
        "--measures",
        nargs="+",
        help="keys, or your own as file.py:Class; default: NormalizedVariance NormalizedVarianceSE",
    )
    add_output(parser)
    shared.add_measuring(parser, 300, 0.95)
    shared.add_kernels(parser)
    shared.add_full_precision(parser)
    parser.add_argument("--train-samples", type=Whole(1), help="train and calibrate on so many training images")
    parser.add_argument("--calibration-samples", type=Whole(1), default=200, help="images that calibrate; default: 200")
    parser.add_argument("--epochs", type=Whole(1), default=1, help="of recipes that train; default: 1")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="of recipes that train; default: 0.0001")
    parser.add_argument(
        "--sensitivity",
        nargs="+",
        default=[],
        metavar="SCHEME",
        help="also quantize one layer at a time, and all but one, by weight_int4, weight_int8 or static_int8",
    )
    add_deciding(parser)
    choose_bits.add_keep(parser)
    parser.add_argument("--force", action="store_true", help="make everything anew")
    options = parse(parser, shared.with_signs(arguments))

    from tfinv.evaluation.distribution import distributed

    with distributed(options.workers):
        return _study(options)


def _study(options: argparse.Namespace) -> int:
    from tfinv.tflite.comparison.compare_files import MEASURES
    from tfinv.tflite.files.kernels import kernel_sets
    from tfinv.tflite.studies.options import Quantizing
    from tfinv.tflite.studies.sensitivities import choose_schemes

    # before anything that takes long
    choose_bits.check(options)
    kernels = kernel_sets(options.kernels)
    refuse_idle(options, {"kernel_samples": shared.idle_kernels(kernels), "margin": idle_margin(options)})
    check_margin(options)
    recipes, schemes = shared.recipes(options.recipes), choose_schemes(options.sensitivity)
    quantizing = Quantizing(options.calibration_samples, options.epochs, options.learning_rate, schemes)
    transformations = shared.transformations(options.transformations)
    measures = shared.measures(options.measures or MEASURES)
    warping, kinds = shared.warping(options), stated(options.output)
    _check(options, recipes, schemes)

    from tfinv.commands.data import load_fitting
    from tfinv.commands.elsewhere import refuse_elsewhere
    from tfinv.commands.planning import offering_flags, plan_memory
    from tfinv.commands.sources import fixed_size, is_tflite, open_model
    from tfinv.evaluation import Sampling
    from tfinv.support.cache import Cache
    from tfinv.tflite import Output, Subsets, study
    from tfinv.tflite.convert.channels import with_channels_last

    start = time.monotonic()
    refuse_elsewhere("tflite", "a Keras model", options.model)
    if is_tflite(options.model):
        raise ValueError(f"model must be a Keras model; compare reads .tflite files. Received: {options.model!r}")
    opened = open_model(options.model, options.input_scale, options.layer_class, options.input_size)
    print(printable(opened.said))
    wanted = options if options.keep is None else choose_bits.with_other_images(options)
    fitted = load_fitting(wanted, opened, trains=True)
    if options.keep is not None:
        model = opened.model if options.input_size is None else fixed_size(opened.model, fitted.shape)
        return choose_bits.choose(options, model, fitted, opened.scale)
    if options.layers is None:  # layers are named as the float file names them, which is not made yet
        source = opened.source(fitted.shape)
        plan_memory(source, len(fitted.measured), transformations, measures, options, options.confidence)
    model = with_channels_last(opened.model)
    model = model if options.input_size is None else fixed_size(model, fitted.shape)

    def say(text: str) -> None:
        if not options.quiet:
            print(text, file=sys.stderr, flush=True)

    with offering_flags():  # of chosen layers, the float file tells, which comes first
        result = study(
            model,
            fitted.train,
            fitted.images,
            transformations,
            recipes,
            input_scale=opened.scale,
            measures=measures,
            subsets=Subsets(
                measured_samples=options.measured_samples,
                layers=options.layers,
                memory_budget=options.memory_budget,
                kernels=kernels,
                kernel_samples=options.kernel_samples,
                outputs=kinds,
            ),
            sampling=Sampling(options.confidence),
            warping=warping,
            quantizing=quantizing,
            output=Output(options.out / "files", Cache(options.out / "cache", force=options.force, report=say), say),
            seed=options.seed,
            progress=not options.quiet,
        )
    if options.decide == "equivalence":
        result = result.decide(*options.margin)
    result.save(options.out / "study.npz", full_precision=options.full_precision)
    result.report(options.out)
    result.model_explorer(options.out / "model_explorer")
    for line in result.verdict:
        print(printable(f"* {line}"))
    for line in result.warnings:
        print(printable(f"warning: {line}"), file=sys.stderr)
    print(f"Written to {options.out} in {time.monotonic() - start:.0f} s")
    return 0


def _check(options: argparse.Namespace, recipes: Sequence[Recipe], schemes: Sequence[str]) -> None:
    """Refuse what changes nothing."""
    from tfinv.commands.sources import takes_layer_classes
    from tfinv.tflite.studies.recipes import is_built_in

    foreign = any(not is_built_in(recipe) for recipe in recipes)  # what these read is not known
    calibrates = foreign or any(recipe.calibrates for recipe in recipes) or "static_int8" in schemes
    trains = foreign or any(recipe.trains for recipe in recipes)
    refuse_idle(
        options,
        {
            "calibration_samples": not calibrates and "no recipe calibrates",
            "train_samples": not (calibrates or trains) and "no recipe trains or calibrates",
            "epochs": not trains and "no recipe trains",
            "learning_rate": not trains and "no recipe trains",
            "layer_class": not takes_layer_classes([options.model]) and "the model is no Keras file",
        },
    )
