"""One part of the images, measured by itself: for arrays of jobs, whatever starts them."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tfinv.commands.sources import Opened
    from tfinv.datasets import Split, StoredImages

THRESHOLDS = "thresholds.npz"
FIRST, FINAL = "first", "part"
"""How the names of files begin: states of a first pass, and finished parts."""


@dataclass(frozen=True)
class Part:
    """Some of the images.

    Args:
        number: from 1.
        count: how many parts there are.
        first: position of the first image.
        last: position after the last one.
        whole: how many images there are.
    """

    number: int
    count: int
    first: int
    last: int
    whole: int

    def file(self, kind: str) -> str:
        """The name of its file, such as `part-0003-of-1000.npz`."""
        digits = len(str(self.count))
        return f"{kind}-{self.number:0{digits}}-of-{self.count}.npz"


def parse_part(text: str, samples: int) -> Part:
    """The part that `K/N` names.

    Example:
        >>> from tfinv.commands.parts import parse_part
        >>> parse_part("2/3", 10)
        Part(number=2, count=3, first=3, last=6, whole=10)

    Args:
        text: such as `"3/1000"`.
        samples: how many images there are.

    Raises:
        ValueError: another text, a number out of range, or more parts than images.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise ValueError(f"part must read like 3/1000, from 1/1000 to 1000/1000. Received: {text!r}")
    if count > samples:
        raise ValueError(f"part must be one of at most {samples}, as many as there are images. Received: {text!r}")
    return Part(number, count, (number - 1) * samples // count, number * samples // count, samples)


def measure_part(
    part: Part,
    model: Opened,
    source: Any,
    images: Split | StoredImages,
    name: str,
    options: argparse.Namespace,
    measures: Any,
    transformations: Any,
    warping: Any,
) -> str:
    """Measure a part and write its file.

    Measures of two passes take two rounds: without `thresholds.npz` in the folder this is the first one.

    Args:
        part: which one.
        model: the model.
        source: its activations.
        images: all images, of which the part is read.
        name: of the data.
        options: of the command.
        measures: the measures.
        transformations: the set.
        warping: see `evaluate`.

    Returns:
        What was done, for the user.
    """
    from tfinv.evaluation import Sampling, evaluate
    from tfinv.evaluation.thresholds import take_two_rounds
    from tfinv.results import Results

    kept = options.out / THRESHOLDS
    sampling = Sampling(
        options.confidence,
        stratified=options.stratified,
        keep_statistics=True,
        first_sample=part.first,
        whole=part.whole,
    )
    two = take_two_rounds(measures)
    first_round = two and not kept.exists()
    if two:
        thresholds = None if first_round else Results.load(kept)
        sampling = replace(sampling, first_pass=first_round, thresholds=thresholds)
    path: Path = options.out / part.file(FIRST if first_round else FINAL)
    results = evaluate(
        source,
        images.take(np.arange(part.first, part.last)),
        transformations,
        measures,
        batch_size=options.batch_size,
        sampling=sampling,
        warping=warping,
        memory_budget=options.memory_budget,
        checkpoint=path.with_suffix(".checkpoint") if options.checkpoint else None,
        progress=not options.quiet,
        metadata={
            "dataset": name,
            "model_file": model.name,
            "seed": options.seed,
            "input_scale_from": model.scale_from,
            "parts": part.count,
        },
    )
    options.out.mkdir(parents=True, exist_ok=True)
    results.save(path)
    return f"Written to {path}"
