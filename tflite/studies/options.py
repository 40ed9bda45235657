"""Option objects of studies: how files are made, and where they are kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tfinv.support.cache import Cache
from tfinv.support.checks import finite, function, kind_of, path_like, whole_number
from tfinv.tflite.comparison.options import Subsets

SUBSETS = Subsets(measured_samples=300)
"""How many images count for what in a study by default: a study measures many files."""
SEARCHED_SAMPLES = 400
"""On how many images bits are searched by default."""
BIT_SUBSETS = Subsets(max_samples=SEARCHED_SAMPLES, measured_samples=300)
"""How many images count for what in a search for bits by default: it measures hundreds of files."""


@dataclass(frozen=True)
class Quantizing:
    """How a study makes its files.

    Example:
        >>> from tfinv.tflite import Quantizing
        >>> Quantizing(epochs=3).calibration_samples
        200

    Args:
        calibration_samples: how many images calibrate, upright or transformed.
        epochs: number of epochs of every recipe that trains.
        learning_rate: learning rate of every recipe that trains.
        sensitivity: schemes by which to quantize one layer at a time, and all but one: `"weight_int4"`,
            `"weight_int8"`, `"static_int8"`, see `sensitivity`. They count by the first of the measures.

    Raises:
        ValueError: a number out of range.
    """

    calibration_samples: int = 200
    epochs: int = 1
    learning_rate: float = 1e-4
    sensitivity: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("calibration_samples", "epochs"):
            whole_number(name, getattr(self, name), 1)
        if not finite("learning_rate", self.learning_rate) > 0:
            raise ValueError(f"learning_rate must be above 0. Received: {self.learning_rate!r}")
        kind_of("sensitivity", self.sensitivity, (str, Sequence), "names of schemes")


@dataclass(frozen=True)
class Output:
    """What a study keeps besides its result, and whom it tells of its steps.

    Example:
        >>> from tfinv.tflite import Output
        >>> Output(files="runs/files").cache is None
        True

    Args:
        files: a folder for the files, `<recipe>.tflite` each; None to keep none.
        cache: a folder where finished files and measurements are kept: an interrupted study goes on from there.
        report: called with a line of text at every step.
    """

    files: str | os.PathLike[str] | None = None
    cache: str | os.PathLike[str] | Cache | None = None
    report: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.files is not None:
            path_like("files", self.files)
        if self.cache is not None and not isinstance(self.cache, Cache):
            path_like("cache", self.cache)
        if self.report is not None:
            function("report", self.report, "a function of a line of text")


QUANTIZING = Quantizing()
"""How a study makes its files by default."""
OUTPUT = Output()
"""What a study keeps by default: nothing."""
