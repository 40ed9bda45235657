"""Files of few bits, made and measured once each, kept in the cache, with the time that is left."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.resampling.equivalence import TESTED
from tfinv.support.cache import Cache
from tfinv.support.environment import versions
from tfinv.support.files import write_json
from tfinv.tflite.comparison.conditions import Condition
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.cost import latency
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.studies.bit_conditions import (
    OF_FILES,
    OF_LABELS,
    BitContext,
    Seen,
    changes_by_image,
    look,
    needs_all_layers,
)
from tfinv.tflite.studies.bit_schemes import FLOAT, MixedFiles
from tfinv.tflite.studies.bit_search import Judged, Schemes
from tfinv.tflite.studies.pieces import Piece, Settings, fingerprint, measured
from tfinv.tflite.studies.recipes import REFERENCE
from tfinv.uncertainty import layer_rows

if TYPE_CHECKING:
    from tfinv.datasets import Split


@dataclass(frozen=True)
class MeasuredFile:
    """What is known of one file.

    Args:
        schemes: the scheme of every group.
        size: in bytes.
        seen: by text of a condition, what it is on this file.
        output_change: relative change of the measure at the output: value and 90 % interval.
        sqnr_db: ratio of signal to quantization noise at the output.
        flip_rate: share of transformed images that are answered differently; NaN without classes.
        accuracy: of untransformed images; NaN without labels.
        transformed_accuracy: NaN without labels.
    """

    schemes: Schemes
    size: int
    seen: Mapping[str, Seen]
    output_change: tuple[float, float, float]
    sqnr_db: float
    flip_rate: float
    accuracy: float
    transformed_accuracy: float

    @property
    def judged(self) -> Judged:
        """Whether it meets all conditions."""
        return self.judged_but(())

    def judged_but(self, left_out: Collection[str]) -> Judged:
        """Whether it meets all conditions but some, which are given by their texts."""
        outcomes = [seen.outcome for text, seen in self.seen.items() if text not in left_out]
        return Judged(all(outcome == "holds" for outcome in outcomes), "fails" in outcomes)

    @property
    def noise(self) -> float:
        """Noise at the output as a share of the signal's power."""
        return 0.0 if self.sqnr_db == math.inf else 10 ** (-self.sqnr_db / 10)

    def cells(self) -> dict[str, Any]:
        """Columns of a table."""
        row: dict[str, Any] = {"bytes": self.size, "holds": self.judged.holds}
        for text, seen in self.seen.items():
            row |= {text: seen.value, f"{text} low": seen.low, f"{text} high": seen.high}
            row |= {f"{text} outcome": seen.outcome, f"{text} needed": seen.needed}
        low_high = dict(zip(("output_change", "output_low", "output_high"), self.output_change, strict=True))
        row |= {**low_high, "output_sqnr_db": self.sqnr_db, "flip_rate": self.flip_rate}
        return row | {"accuracy": self.accuracy, "transformed_accuracy": self.transformed_accuracy}


@dataclass
class Bench:
    """Makes and measures files.

    Args:
        files: makes them.
        conditions: what is looked at.
        images: those for predictions, and those whose activations are measured.
        settings: how to measure.
        calibration: hash of the calibration.
        store: where files and measurements are kept.
        scale: how images become model inputs.
        say: called with a line of text before every measurement.
        expected: how many files will be measured at most, for that line; 0 to leave it out.
    """

    files: MixedFiles
    conditions: Sequence[Condition]
    images: tuple[Split, Split]
    settings: Settings
    calibration: str
    store: Cache
    scale: Any
    say: Callable[[str], None]
    expected: int = 0
    _kept: dict[Schemes, MeasuredFile] = field(default_factory=dict)
    _seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        reference = TFLiteModel(self.files.reference, input_scale=self.scale, probe=False)
        self.output = reference.output_layer or list(reference.layer_shapes)[-1]
        if not needs_all_layers(self.conditions):
            self.settings = Settings(**{**vars(self.settings), "layers": [self.output]})
        kept = "all" if self.settings.layers is None else self.output
        all_images, few = self.images
        self.hashes = {"test": fingerprint(all_images.x, all_images.y), "measured": fingerprint(few.x, few.y)}
        self.hashes["calibration"] = self.calibration
        self._identity = {**self.hashes, "measured": f"{self.hashes['measured']}-{kept}"}
        self._reference = reference
        self.float = (FLOAT,) * len(self.files.groups)
        self._piece = self._measure(self.files.reference, REFERENCE)
        self.context = BitContext(self._piece, self.output, self.images[0].y, self.settings.transformations)

    def look(self, schemes: Schemes, words: str) -> MeasuredFile:
        """Measure a file, or remember what was measured.

        Args:
            schemes: the scheme of every group.
            words: what it is, for the line of text.
        """
        if schemes not in self._kept:
            number = self.count + 1
            told = f" ({number} of at most {max(self.expected, number)}{self._left()})" if self.expected else ""
            self.say(words + told)
            start, made = time.monotonic(), self.store.made
            self._kept[schemes] = self._look(schemes)
            if self.store.made > made:
                self._seconds.append(time.monotonic() - start)
        return self._kept[schemes]

    @property
    def count(self) -> int:
        """Number of files measured so far."""
        return len(self._kept)

    @property
    def measured_files(self) -> Sequence[MeasuredFile]:
        """All files measured so far, in order."""
        return list(self._kept.values())

    def _left(self) -> str:
        """The time that the rest takes at most, by the last files that were not in the cache, but for the slowest."""
        if len(self._seconds) < 3:
            return ""
        usual = sorted(self._seconds[-20:])[:-1]
        seconds = float(np.mean(usual)) * max(self.expected - self.count, 1)
        return f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"

    def _look(self, schemes: Schemes) -> MeasuredFile:
        conversion = self._file(schemes)
        is_float = schemes == self.float
        piece = self._piece if is_float else self._measure(conversion, "mixed")
        facts = {"size_ratio": conversion.size / self.files.reference.size}
        if any(condition.metric == OF_FILES[1] for condition in self.conditions):
            facts["latency_ratio"] = (
                1.0 if is_float else self._latency(conversion) / self._latency(self.files.reference)
            )
        seen = look(self.conditions, piece, self.context, facts)
        answers = (self._mean(metric, piece) for metric in ("flip_rate", "accuracy", "transformed_accuracy"))
        return MeasuredFile(schemes, conversion.size, seen, self._output_change(piece), self._sqnr(piece), *answers)

    def _mean(self, metric: str, piece: Piece) -> float:
        """A mean over images; NaN where the model has no classes, or the images no labels."""
        if piece.predictions is None or (metric in OF_LABELS and self.context.labels is None):
            return math.nan
        (values,) = changes_by_image(metric, self.context, piece)
        return float(values.mean())

    def _output_change(self, piece: Piece) -> tuple[float, float, float]:
        key = self.settings.measures[0]
        first, second = self._piece.results[key], piece.results[key]
        if self.output not in first or self.output not in second:
            return math.nan, math.nan, math.nan
        (row,) = layer_rows(first, second, {self.output: self.output}, TESTED, simultaneous=False)
        return float(row["relative"]), float(row["relative_low"]), float(row["relative_high"])

    def _sqnr(self, piece: Piece) -> float:
        if piece is self._piece:
            return math.inf
        rows = piece.fidelity[piece.fidelity["layer"] == self.output]
        return float(rows["sqnr_db"].iloc[0]) if len(rows) else math.nan

    def _file(self, schemes: Schemes) -> Conversion:
        if schemes == self.float:
            return self.files.reference
        return self.store.get(
            "bits",
            self.config(schemes),
            lambda folder: void(self.files.make(schemes).save(folder / "model.tflite")),
            lambda folder: Conversion.load(folder / "model.tflite"),
        )

    def config(self, schemes: Sequence[str]) -> dict[str, Any]:
        """What determines the files of these schemes."""
        return {
            "reference": self.files.reference.sha256,
            "schemes": list(schemes),
            "calibration": self.calibration,
            "version": versions("tfinv", "litert-quantizer"),
        }

    def _measure(self, conversion: Conversion, name: str) -> Piece:
        return measured(
            self.store, name, conversion, {}, self._reference, self.images, self.settings, self._identity, False
        )

    def _latency(self, conversion: Conversion) -> float:
        """Milliseconds on this machine, measured once."""

        def make(folder: Path) -> None:
            model = TFLiteModel(conversion, input_scale=self.scale, probe=False)
            write_json(folder / "latency.json", {"milliseconds": latency(model).milliseconds})

        config = {"file": conversion.sha256, "version": versions("tfinv", "ai-edge-litert")}
        return self.store.get(
            "latency",
            config,
            make,
            lambda folder: float(json.loads((folder / "latency.json").read_text())["milliseconds"]),
        )


def void(_: object) -> None:
    """Nothing, whatever was given."""
