"""The chosen file on images that the search did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfinv.datasets.as_split import subset
from tfinv.datasets.sampling import stratified_sample
from tfinv.tflite.studies.bit_measuring import Bench, MeasuredFile, void
from tfinv.tflite.studies.bit_search import Schemes

if TYPE_CHECKING:
    from tfinv.datasets import Split

FEWEST = 30
"""Fewer other images decide nothing, unless the search itself took fewer."""


def two_parts(images: Split, count: int | None, seed: int) -> tuple[Split, Split | None]:
    """Images to search on, and others to confirm what was found, as many where there are so many.

    Args:
        images: all of them.
        count: how many to search on; None for all.
        seed: draws both stratified subsets.

    Returns:
        The images of the search, as `Split.subset` draws them, and the others; None where too few are left.
    """
    if count is None or count >= len(images):
        return images, None
    drawn = stratified_sample(images.y, len(images), count, seed)
    rest = np.setdiff1d(np.arange(len(images)), drawn)
    others = None if len(rest) < min(count, FEWEST) else subset(images.take(rest), count, seed)
    return images.take(drawn), others


def on_other_images(bench: Bench, schemes: Schemes, others: Split, measured_samples: int | None) -> MeasuredFile:
    """Measure a file of a search, and float32, on other images.

    Args:
        bench: of the search.
        schemes: the scheme of every group.
        others: images that the search did not see.
        measured_samples: measure layers on a stratified subset of so many of them; None for all.
    """
    images = others, subset(others, measured_samples, bench.settings.seed)
    bench.say(f"the chosen file on {len(others):,} other images")
    other = Bench(
        bench.files, bench.conditions, images, bench.settings, bench.calibration, bench.store, bench.scale, void
    )
    return other.look(schemes, "")
