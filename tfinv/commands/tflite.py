"""``python -m tfinv.run tflite``: quantize a trained Keras model in every way; measure and report it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from tfinv.commands import arguments as shared
from tfinv.support.safe_text import printable

_EPILOG = """\
writes report.html, report.md, recipes.csv, layers.csv, curves.csv, operators.csv, study.npz, the files as
files/<recipe>.tflite and node data for the Model Explorer viewer as model_explorer/<recipe>/*.json into --out;
finished files and measurements are kept in --out/cache, the same command again goes on from there

example:
  python -m tfinv.run tflite --model model.keras --data mnist --transformations "rotations(16)" --recipes all \\
      --out runs/study
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    parser = shared.parser("tflite", "Quantize a model in every way and measure what that does to it.", _EPILOG)
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
    parser.add_argument("--measured-samples", type=int, default=300, help="images to measure layers on; default: 300")
    parser.add_argument("--train-samples", type=int, help="train and calibrate on so many training images")
    parser.add_argument("--calibration-samples", type=int, default=200, help="images that calibrate; default: 200")
    parser.add_argument("--epochs", type=int, default=1, help="of recipes that train; default: 1")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="of recipes that train; default: 0.0001")
    parser.add_argument(
        "--sensitivity",
        nargs="+",
        default=[],
        metavar="SCHEME",
        help="also quantize one layer at a time, and all but one, by weight_int4, weight_int8 or static_int8",
    )
    parser.add_argument("--force", action="store_true", help="make everything anew")
    options = parser.parse_args(shared.with_signs(arguments))

    from tfinv.tflite.comparison.compare_files import MEASURES
    from tfinv.tflite.studies.options import Quantizing
    from tfinv.tflite.studies.sensitivities import choose_schemes

    scale = shared.input_scale(options.input_scale)
    # before anything that takes long
    recipes, schemes = shared.recipes(options.recipes), choose_schemes(options.sensitivity)
    quantizing = Quantizing(options.calibration_samples, options.epochs, options.learning_rate, schemes)
    transformations = shared.transformations(options.transformations)
    measures = shared.measures(options.measures or MEASURES)

    from tfinv import datasets
    from tfinv.commands.measure import load_source
    from tfinv.support.cache import Cache
    from tfinv.tflite import Output, Subsets, study

    start = time.monotonic()
    if options.model.endswith(".tflite"):
        raise ValueError(f"model must be a Keras model; compare reads .tflite files. Received: {options.model!r}")
    model, shape = load_source(options.model, scale, options.layer_class)
    dataset, test = shared.load_fitting(options.data, shape, options.max_samples, options.seed)
    train = dataset.train
    if options.train_samples is not None and options.train_samples < len(train):
        train = train.subset(options.train_samples, options.seed)
    if tuple(train.x.shape[1:]) != tuple(test.x.shape[1:]):
        train = datasets.adapt(train, (int(test.x.shape[1]), int(test.x.shape[2]), int(test.x.shape[3])))

    def say(text: str) -> None:
        if not options.quiet:
            print(text, file=sys.stderr, flush=True)

    result = study(
        model,
        train,
        test,
        transformations,
        recipes,
        input_scale=scale,
        measures=measures,
        subsets=Subsets(measured_samples=options.measured_samples),
        quantizing=quantizing,
        output=Output(options.out / "files", Cache(options.out / "cache", force=options.force, report=say), say),
        seed=options.seed,
        progress=not options.quiet,
    )
    result.save(options.out / "study.npz")
    result.report(options.out)
    result.model_explorer(options.out / "model_explorer")
    for line in result.verdict:
        print(printable(f"* {line}"))
    for line in result.warnings:
        print(printable(f"warning: {line}"), file=sys.stderr)
    print(f"Written to {options.out} in {time.monotonic() - start:.0f} s")
    return 0
