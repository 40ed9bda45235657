"""``python -m tfinv.run tflite --keep``: the smallest file that keeps the invariance that is asked for."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from tfinv.commands import arguments as shared
from tfinv.commands.effects import refuse_idle
from tfinv.support.safe_text import printable

if TYPE_CHECKING:
    from tfinv.commands.data import Fitted

EXIT_OK, EXIT_NOT_REACHED = 0, 3
_UNREAD = (
    *("recipes", "epochs", "learning_rate", "sensitivity", "kernels", "kernel_samples", "output", "layers"),
    "full_precision",
)
"""Options of the study that a choice of bits does not read."""


def add_keep(parser: argparse.ArgumentParser) -> None:
    """`--keep` and `--schemes`."""
    parser.add_argument(
        "--keep",
        nargs="+",
        metavar="COND",
        help="instead of following recipes, choose bits layer by layer for the smallest file for which these hold, "
        'such as "output_profile_increase<2%%" "transformed_accuracy_drop<0.5pt"; names are listed below',
    )
    parser.add_argument(
        "--schemes",
        nargs="+",
        metavar="SCHEME",
        help="of --keep, what layers may be stored as; default: int4 int8 int16x8 float16 float32",
    )


def explained() -> str:
    """What `--keep` takes, for the help."""
    from tfinv.tflite.comparison.conditions import UNITS_TEXT, listed
    from tfinv.tflite.studies.bit_conditions import BIT_METRICS

    return (
        "conditions of --keep: METRIC, one of > >= < <=, and a number with its unit; before is the float32 file, after "
        f"is the\nfile that is made; METRIC is one of\n{listed(BIT_METRICS)}\n{UNITS_TEXT}"
    )


def check(options: argparse.Namespace) -> None:
    """Refuse what has no effect, and conditions and schemes that are unknown, before anything that takes long.

    Raises:
        ValueError: such an option.
    """
    from tfinv.tflite.studies.bit_conditions import parse_keep
    from tfinv.tflite.studies.bit_schemes import choose_schemes

    if options.keep is None:
        refuse_idle(options, {"schemes": "there is no --keep"})
        return
    refuse_idle(options, dict.fromkeys(_UNREAD, "--keep chooses bits instead of following recipes"))
    parse_keep(options.keep)
    if options.schemes is not None:
        choose_schemes(options.schemes)


def choose(options: argparse.Namespace, model: Any, fitted: Fitted, scale: Any) -> int:
    """Search, write everything to `--out`, and print what was found.

    Args:
        options: of the command.
        model: the Keras model.
        fitted: its images; those of training calibrate, every one under one of the transformations.
        scale: how images become model inputs.

    Returns:
        The exit code.
    """
    from tfinv.evaluation import Sampling
    from tfinv.support.cache import Cache
    from tfinv.tflite import Output, Subsets, choose_bits, with_transformations
    from tfinv.tflite.studies.choose_bits import SCHEMES

    start = time.monotonic()
    transformations, warping = shared.transformations(options.transformations), shared.warping(options)
    chosen = fitted.train.subset(min(options.calibration_samples, len(fitted.train)), options.seed).x
    moved = with_transformations(chosen, transformations, per_image=1, seed=options.seed, warping=warping)

    def say(text: str) -> None:
        if not options.quiet:
            print(printable(text), file=sys.stderr, flush=True)

    choice = choose_bits(
        model,
        moved,
        fitted.images,
        transformations,
        keep=options.keep,
        schemes=options.schemes or SCHEMES,
        input_scale=scale,
        measures=shared.measures(options.measures or ["NormalizedVariance"]),
        subsets=Subsets(searched_samples(options), options.measured_samples, memory_budget=options.memory_budget),
        sampling=Sampling(options.confidence),
        warping=warping,
        output=Output(options.out, Cache(options.out / "cache", force=options.force), say),
        seed=options.seed,
        progress=not options.quiet,
    )
    choice.report(options.out)
    for line in choice.verdict:
        print(printable("* " + line.replace("**", "").replace("`", "")))
    for line in choice.warnings:
        print(printable(f"warning: {line}"), file=sys.stderr)
    print(f"Written to {options.out} in {time.monotonic() - start:.0f} s")
    return EXIT_OK if choice.holds and choice.confirmed is not False else EXIT_NOT_REACHED


def searched_samples(options: argparse.Namespace) -> int:
    """On how many images `--keep` searches."""
    from tfinv.tflite.studies.options import SEARCHED_SAMPLES

    return SEARCHED_SAMPLES if options.max_samples is None else options.max_samples


def with_other_images(options: argparse.Namespace) -> argparse.Namespace:
    """The options with twice the images of the search, so that as many others can confirm what it finds."""
    return argparse.Namespace(**{**vars(options), "max_samples": 2 * searched_samples(options)})
