"""What a comparison of two files found: tables, words, a report, one file to keep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.outputs.comparing import FACTS as OUTPUT_FACTS
from tfinv.outputs.comparing import OutputComparison
from tfinv.results import Results
from tfinv.support.schema import Rule
from tfinv.tflite.comparison.answers import Answers
from tfinv.tflite.comparison.decisions import DECIDED, decisions, parse_margins, sentence
from tfinv.tflite.comparison.flips import flipped_rows
from tfinv.tflite.comparison.kernels import KERNEL_FACTS, KernelComparison
from tfinv.tflite.comparison.match_files import Match
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.tflite.comparison.storage import loaded_parts, save_parts

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "tfinv-comparison"
VERSION = 2
OLDER = (1,)
_FRAMES = ("layers", "fidelity", "models", "curves", "operators")
_FACTS = {
    "names": Rule([str], lambda names: len(names) == 2, "two names"),
    "verdict": [str],
    "warnings": [str],
    "match": {
        "pairs": {str: str},
        "unmatched_before": [str],
        "unmatched_after": [str],
        "how": {str: str},
        "correlations": {str: float},
        "reasons_before?": {str: str},
        "reasons_after?": {str: str},
    },
    "metadata": dict,
    "predictions": [str],
    "kernels?": KERNEL_FACTS,
    "outputs?": [OUTPUT_FACTS],
}


@dataclass(frozen=True)
class Comparison:
    """Two files of one network, measured on the same images under the same transformations.

    Args:
        names: what the two are called, the reference first.
        verdict: what was found, in sentences, the most important first.
        warnings: what a reader must know before trusting it: a suspicious input scale, a failed check.
        layers: one row a measure and layer, as `compare` gives: before, after, difference with paired interval.
        fidelity: one row a layer: `sqnr_db`, `cosine`, `mse`, `max_error`, `saturated`, `clipped`, `effective_bits`,
            ranges of activations and weights, operator and tensor names, `firing_before`, `firing_after` (share of
            activations above zero) and `levels` (how many of its integers a feature map of the second file uses).
        models: one row a model: accuracy, flips, consistency and more with intervals, size, latency, memory.
        curves: one row a model and transformation: accuracy, flips, consistency, effective invariance.
        operators: one row an operator type: how often each file has it.
        match: which layer is which, and what has no partner.
        before: all measures of the reference, unit by unit, and firing shares and used levels of feature maps.
        after: of the other model, layers named as in the reference.
        predictions: class and confidence of every image by model; empty where models are no classifiers.
        metadata: settings, versions, hashes.
        kernels: kernel set against kernel set; None where one alone was run.
        answers: which answers changed and what that costs, worst cases, calibration; empty tables where models are no
            classifiers, and for comparisons that earlier versions saved.
        outputs: of outputs that are no classes, what transformations do to them in both; None for classifiers.
    """

    names: tuple[str, str]
    verdict: tuple[str, ...]
    warnings: tuple[str, ...]
    layers: pd.DataFrame = field(repr=False)
    fidelity: pd.DataFrame = field(repr=False)
    models: pd.DataFrame = field(repr=False)
    curves: pd.DataFrame = field(repr=False)
    operators: pd.DataFrame = field(repr=False)
    match: Match = field(repr=False)
    before: Results = field(repr=False)
    after: Results = field(repr=False)
    predictions: Mapping[str, Predictions] = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)
    kernels: KernelComparison | None = field(default=None, repr=False)
    answers: Answers = field(default_factory=Answers.none, repr=False)
    outputs: OutputComparison | None = field(default=None, repr=False)

    def flipped(self) -> pd.DataFrame:
        """All answers that the second file gives differently, see `tfinv.tflite.comparison.flips.flipped_rows`."""
        import pandas as pd

        if len(self.predictions) < 2:
            return pd.DataFrame()
        before, after = (self.predictions[name] for name in self.names)
        names = self.curves[self.curves["model"] == self.names[0]]["transformation"].tolist()
        return flipped_rows(before, after, self.answers.labels, names)

    def decide(self, *margins: str) -> Comparison:
        """Decide by intervals what changed, rather than by the measured numbers.

        Every accuracy and every layer is "unchanged" if the 90 % interval of its change lies inside the margin (two
        one-sided tests at 5 %), otherwise "changed" if the 95 % interval excludes zero, otherwise "inconclusive",
        with the number of images that a decision takes.

        Args:
            margins: `"1 point"` (percentage points of accuracy, upright, transformed and worst case), `"5%"` (of the
                mean of every layer), or both.

        Returns:
            The comparison with the table `answers.decisions`, and the decisions as the first sentence of the verdict.

        Raises:
            ValueError: a margin without a unit, or one that the comparison has no numbers for.

        Source: Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach".
        """
        parsed = parse_margins(margins)
        frame = decisions(self, parsed)
        kept = [text for text in self.verdict if not text.startswith(DECIDED)]
        answers = replace(self.answers, decisions=frame)
        return replace(self, answers=answers, verdict=(sentence(frame, str(parsed)), *kept))

    def to_frame(self) -> pd.DataFrame:
        """One tidy table of layers: `layers` with the columns of `fidelity` joined to them."""
        return self.layers.merge(self.fidelity.drop(columns="after_layer"), on="layer", how="left")

    def save(self, path: str | os.PathLike[str], *, full_precision: bool = False) -> None:
        """Write everything to one `.npz` file, atomically.

        Args:
            path: the file; by convention it ends in `.npz`.
            full_precision: keep the values of units as float64, and `effective_samples`: the file becomes about four
                times as large. Otherwise values are float32, with a relative error of at most 6e-8, and
                `effective_samples` are left out; intervals and tables are always float64.
        """
        facts = {
            "names": list(self.names),
            "verdict": list(self.verdict),
            "warnings": list(self.warnings),
            "match": asdict(self.match),
            "metadata": dict(self.metadata),
            "predictions": list(self.predictions),
        }
        frames = {name: getattr(self, name) for name in _FRAMES}
        if self.kernels is not None:
            facts["kernels"] = self.kernels.facts()
            frames |= self.kernels.frames()
        arrays = {
            f"{number}.{name}": array
            for number, answers in enumerate(self.predictions.values())
            for name, array in answers.to_arrays().items()
        }
        arrays |= self.answers.to_arrays()
        if self.outputs is not None:
            told, more = self.outputs.to_parts("outputs.")
            facts["outputs"], arrays = [told], {**arrays, **more}
        save_parts(
            path,
            FORMAT,
            VERSION,
            facts,
            frames=frames | self.answers.to_frames(),
            results={"before": self.before, "after": self.after},
            arrays=arrays,
            full_precision=full_precision,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Comparison:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a truncated file, another kind of file, or an unknown version.
        """
        with loaded_parts(path, FORMAT, VERSION, _FACTS, OLDER) as (facts, frames, results, arrays):
            predictions = {
                name: Predictions.from_arrays(arrays, f"{number}.") for number, name in enumerate(facts["predictions"])
            }
            match = facts["match"]
            outputs = [OutputComparison.from_parts(told, arrays, "outputs.") for told in facts.get("outputs", [])]
            unmatched = {name: tuple(match[name]) for name in ("unmatched_before", "unmatched_after")}
            return cls(
                names=(facts["names"][0], facts["names"][1]),
                verdict=tuple(facts["verdict"]),
                warnings=tuple(facts["warnings"]),
                match=Match(**{**match, **unmatched}),
                predictions=predictions,
                metadata=facts["metadata"],
                before=results["before"],
                after=results["after"],
                answers=Answers.from_parts(frames, arrays),
                outputs=outputs[0] if outputs else None,
                **{name: frames[name] for name in _FRAMES},
                kernels=KernelComparison.of(facts["kernels"], frames) if "kernels" in facts else None,
            )

    def report(self, folder: str | os.PathLike[str]) -> Path:
        """Write `report.html` (self-contained), `report.md` with its figures, and the tables as CSV.

        Args:
            folder: where; it is made if need be.

        Returns:
            The path of `report.html`.
        """
        from tfinv.tflite.comparison.report import write

        return write(self, Path(folder))

    def model_explorer(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write node data for the Model Explorer viewer: one JSON file a quantity, by tensor of the second file.

        Args:
            folder: where; it is made if need be.

        Returns:
            The paths, to be loaded in the viewer beside the `.tflite` file.
        """
        from tfinv.tflite.comparison.model_explorer import write

        return write(self.layers, self.fidelity, Path(folder))
