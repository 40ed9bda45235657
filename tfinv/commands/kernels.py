"""`--kernels` of the commands: `.tflite` files run by the named kernel sets, and these compared with each other."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfinv.commands.sources import Opened, is_tflite

if TYPE_CHECKING:
    from pathlib import Path

    from tfinv.commands.data import Fitted
    from tfinv.report import Report
    from tfinv.tflite import KernelComparison


def with_kernels(opened: Opened, kernels: Sequence[str]) -> Opened:
    """A `.tflite` model run by the first of the kernel sets; other models as they are."""
    if not is_tflite(opened.name):
        return opened
    return dataclasses.replace(opened, model=opened.model.with_kernels(kernels[0]))


def limit_slow(options: argparse.Namespace, kernels: Sequence[str]) -> None:
    """Measure on `--kernel-samples` images where the first kernel set is slow and nothing else was asked for."""
    from tfinv.tflite.files.kernels import SLOW

    if kernels[0] in SLOW and options.measured_samples is None:
        options.measured_samples = options.kernel_samples
        print(f"the kernel set {kernels[0]} is slow: layers are measured on at most {options.kernel_samples} images")


def compared_kernels(
    sources: Mapping[str, Any],
    kernels: Sequence[str],
    fitted: Fitted,
    options: argparse.Namespace,
    measures: Any,
    transformations: Any,
    warping: Any,
) -> KernelComparison | None:
    """The kernel sets of all `.tflite` models against each other; None where there are not two.

    Args:
        sources: by label what is measured.
        kernels: the kernel sets.
        fitted: the images.
        options: `confidence, kernel_samples, seed, quiet`.
        measures: of layer profiles.
        transformations: the set.
        warping: padding and interpolation.
    """
    from tfinv.evaluation import Sampling
    from tfinv.tflite import TFLiteModel, compare_kernels

    files = {label: source for label, source in sources.items() if isinstance(source, TFLiteModel)}
    if len(kernels) < 2 or not files:
        return None
    return compare_kernels(
        files,
        fitted.images,
        transformations,
        kernels=kernels,
        measures=measures,
        samples=options.kernel_samples,
        sampling=Sampling(options.confidence),
        warping=warping,
        memory_budget=options.memory_budget,
        seed=options.seed,
        progress=not options.quiet,
    )


def add_to_report(report: Report, found: KernelComparison | None, folder: Path) -> None:
    """Write the tables of kernel sets and add their section; nothing where there are none."""
    if found is None:
        return
    from tfinv.tflite.comparison import kernel_report

    kernel_report.write_tables(found, folder)
    kernel_report.add_section(report, found)


def kernel_lines(found: KernelComparison | None) -> list[str]:
    """What the terminal says of kernel sets."""
    return [] if found is None else [f"* {text.replace('**', '').replace('`', '')}" for text in found.verdict]
