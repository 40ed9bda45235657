"""``python -m tfinv.run compare``: compare two `.tflite` files on images, write a report, fail beyond limits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfinv.commands import arguments as shared
from tfinv.commands.deciding import add_deciding, check_margin, idle_margin
from tfinv.commands.effects import parse, refuse_idle
from tfinv.commands.outputs import add_fixed_inputs, add_output, stated
from tfinv.support.safe_text import printable

if TYPE_CHECKING:
    import argparse

EXIT_OK, EXIT_GATE = 0, 3
_EPILOG = """\
writes report.html, report.md, comparison.npz, tables as .csv and model_explorer/*.json into --out

exit codes: 0 done, 2 wrong arguments or input, 3 a --fail-if condition was met

examples:
  python -m tfinv.run compare --before float.tflite --after int8.tflite --data images/ \\
      --input-scale 0..255 --transformations "rotations(16)" --out runs/compared
  python -m tfinv.run compare --before float.tflite --after int8.tflite --data images/ --out runs/gate \\
      --fail-if "max_profile_increase>10%" "flip_rate>5%" "transformed_accuracy_drop>2pt"
  python -m tfinv.run compare --before float.tflite --after int8.tflite --data images/ \\
      --kernels xnnpack,reference --fail-if "kernel_flip_rate>10%" "kernel_max_lsb>64" --out runs/kernels
  python -m tfinv.run compare --before float.tflite --after int8.tflite --data images/ --out runs/decided \\
      --decide equivalence --margin "1 point" "5%" --fail-if "changed>0" "inconclusive>0"

conditions of --fail-if: METRIC, one of > >= < <=, and a number with its unit; METRIC is one of
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    from tfinv.evaluation.distribution import distributed

    options = parse(_parser(), shared.with_signs(arguments))
    with distributed(options.workers):
        return _compare(options)


def _compare(options: argparse.Namespace) -> int:
    refuse_idle(
        options,
        {
            "allow_unmatched": not options.fail_if and "there is no --fail-if to pass",
            "margin": idle_margin(options),
        },
    )

    from tfinv.commands.data import load_fitting
    from tfinv.commands.elsewhere import refuse_elsewhere
    from tfinv.commands.planning import plan_memory
    from tfinv.commands.sources import open_model, scale_words
    from tfinv.evaluation import Sampling
    from tfinv.tflite.comparison.compare_files import compare_files
    from tfinv.tflite.comparison.conditions import amount, parse_condition
    from tfinv.tflite.comparison.gate import DECISIONS, check
    from tfinv.tflite.comparison.options import Subsets
    from tfinv.tflite.files.checks import scales_of_pair
    from tfinv.tflite.files.kernels import kernel_sets

    # before anything that takes long
    conditions = [parse_condition(text, argument="fail-if") for text in options.fail_if]
    kernels = kernel_sets(options.kernels)
    refuse_idle(options, {"kernel_samples": shared.idle_kernels(kernels)})
    lonely = [str(condition) for condition in conditions if condition.metric.startswith("kernel_")]
    if lonely and len(kernels) < 2:
        raise ValueError(f"--fail-if {lonely[0]} needs --kernels with two sets, such as xnnpack,reference")
    check_margin(options)
    decided = [condition for condition in conditions if condition.metric in DECISIONS]
    if decided and options.decide != "equivalence":
        raise ValueError(f"fail-if {decided[0].metric} needs --decide equivalence --margin. Received: {decided[0]}")
    refuse_elsewhere("compare", "two .tflite files", options.before, options.after)
    measures, transformations = shared.measures(options.measures), shared.transformations(options.transformations)
    warping, kinds = shared.warping(options), stated(options.output)
    how = {"size": options.input_size, "layout": options.layout, "fixed": options.fixed_inputs}
    opened = open_model(options.before, options.input_scale, **how)
    after = open_model(options.after, options.after_input_scale or options.input_scale, **how)
    first, second = scales_of_pair(opened.model, after.model)
    fitted = load_fitting(options, opened)
    for name, model in (("before", first), ("after", second)):
        if name == "before" or options.layers is None:  # partners in the second file have about the same size
            chosen = model.select(options.layers)
            plan_memory(chosen, len(fitted.measured), transformations, measures, options, options.confidence)
        print(printable(f"{name}: {scale_words(model.input_scale, model.scale_from)}"))
    comparison = compare_files(
        first,
        second,
        fitted.images,
        transformations,
        measures=measures,
        names=tuple(options.names) if options.names else None,  # type: ignore[arg-type]
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
        seed=options.seed,
        progress=not options.quiet,
        metadata={"dataset": fitted.dataset.id, "before": options.before, "after": options.after},
    )
    if options.decide == "equivalence":
        comparison = comparison.decide(*options.margin)
    comparison.save(options.out / "comparison.npz", full_precision=options.full_precision)
    comparison.report(options.out)
    comparison.model_explorer(options.out / "model_explorer")
    for line in (*comparison.warnings, *comparison.verdict):
        print(printable("* " + line.replace("**", "").replace("`", "")))
    print(f"Written to {options.out}")
    if not conditions:
        return EXIT_OK
    gate = check(conditions, comparison, allow_unmatched=options.allow_unmatched)
    if gate.failed:
        print(f"tfinv: failed: {gate.reason}", file=sys.stderr)
        return EXIT_GATE
    print("passed: " + ", ".join(f"{name} {amount(name, value, 4)}" for name, value in gate.values.items()))
    if points := [name for name in gate.values if name not in DECISIONS]:
        print(f"{', '.join(points)}: measured numbers, not the ends of their intervals")
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    from tfinv.tflite.comparison.conditions import UNITS_TEXT, listed

    parser = shared.parser(
        "compare",
        "Say what changed from one .tflite file to another of the same network.",
        f"{_EPILOG}{listed()}\n{UNITS_TEXT}",
    )
    parser.add_argument("--before", required=True, metavar="FILE", help="the reference, usually the float file")
    parser.add_argument("--after", required=True, metavar="FILE", help="the other, usually quantized, file")
    shared.add_data(parser)
    shared.add_transformations(parser)
    shared.add_input_scale(parser)
    shared.add_layout(parser)
    parser.add_argument("--after-input-scale", help="the same for the second file; default: as --input-scale")
    parser.add_argument(
        "--measures",
        nargs="+",
        default=["NormalizedVariance", "NormalizedVarianceSE"],
        help="keys, or your own as file.py:Class; default: NormalizedVariance NormalizedVarianceSE; the first alone is "
        "several times faster",
    )
    add_output(parser)
    add_fixed_inputs(parser)
    shared.add_measuring(parser, 1000, 0.95)
    shared.add_kernels(parser)
    shared.add_full_precision(parser)
    parser.add_argument("--names", nargs=2, metavar=("BEFORE", "AFTER"), help="what to call them; default: file names")
    parser.add_argument("--fail-if", nargs="+", default=[], metavar="COND", help="exit with code 3 if one is met")
    add_deciding(parser)
    parser.add_argument(
        "--allow-unmatched",
        nargs="+",
        default=[],
        metavar="LAYER",
        help="layers (names or globs) that need no partner in the other file to pass",
    )
    return parser
