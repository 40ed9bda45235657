"""What a study found: tables, words, a report, one file to keep."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.outputs.comparing import FACTS as OUTPUT_FACTS
from tfinv.outputs.comparing import OutputComparison
from tfinv.results import Results
from tfinv.tflite.comparison.answers import Answers
from tfinv.tflite.comparison.decisions import DECIDED, decided, parse_margins, sentence
from tfinv.tflite.comparison.kernels import KERNEL_FACTS, KernelComparison
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.tflite.comparison.storage import loaded_parts, save_parts
from tfinv.tflite.studies.answers import flipped
from tfinv.tflite.studies.recipes import RECIPES, REFERENCE
from tfinv.tflite.studies.recipes import facts as recipe_facts

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "tfinv-study"
VERSION = 3
OLDER = (2,)
_FRAMES = ("recipes", "layers", "curves", "operators", "sensitivity", "outputs", "output_curves")
_FACTS = {"verdict": [str], "warnings": [str], "failed": {str: str}, "predictions": [str], "metadata": dict}
_FACTS |= {"kernels?": KERNEL_FACTS, "output_example?": [OUTPUT_FACTS]}


def _empty() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame()


@dataclass(frozen=True)
class StudyResult:
    """Every way of quantizing one model, measured on the same images under the same transformations.

    Args:
        verdict: what was found, in sentences, the most important first.
        warnings: what a reader must know before trusting it, recipes that failed included.
        recipes: one row a recipe, float32 first: `recipe, kib`; accuracy, flips, consistency and more with `_low,
            _high`; `profile` (mean of the first measure over layers), `largest_change` of a layer as a share and
            `at_layer`, `layers_beyond_noise`, `output_sqnr_db`; latency, memory; `best_trade_off`.
        layers: one row a recipe, measure and layer: `before, after, difference, low, high, relative, real`, and
            `sqnr_db, cosine, saturated` and the like; `tensor`, the layer's output in the recipe's file.
        curves: one row a recipe (`model`) and transformation: accuracy, flips, consistency, effective invariance.
        operators: one row an operator type: how often each recipe's file has it.
        sensitivity: one row a `scheme`, `mode` and layer, see `tfinv.tflite.sensitivity`; empty where not asked for.
        failed: why a recipe could not be made, by name.
        results: all measures by recipe, unit by unit, layers named as in the float file.
        predictions: class and confidence of every image by recipe; empty where the model is no classifier.
        metadata: settings, versions, hashes; `recipes`, by name the words and flags of every `Recipe`.
        kernels: kernel set against kernel set for every file; None where one alone was run.
        outputs: one row per recipe and output that is no class: `output, kind, error, before, after, difference, low,
            high, upright_between, between`; empty for a classifier.
        output_curves: one row per recipe (`model`), output, quantity and transformation.
        output_example: the outputs of float32 and of the recipe that is furthest from it, with pictures; None for a
            classifier, and for studies that earlier versions saved.
        answers: which answers recipes change and what that costs, worst cases, calibration, decisions; tables of flips,
            classes and decisions with the column `recipe`; pictures of the recipe `metadata["pictured"]`. Empty where
            the model is no classifier, and for studies that earlier versions saved.
    """

    verdict: tuple[str, ...]
    warnings: tuple[str, ...]
    recipes: pd.DataFrame = field(repr=False)
    layers: pd.DataFrame = field(repr=False)
    curves: pd.DataFrame = field(repr=False)
    operators: pd.DataFrame = field(repr=False)
    sensitivity: pd.DataFrame = field(repr=False)
    failed: Mapping[str, str]
    results: Mapping[str, Results] = field(repr=False)
    predictions: Mapping[str, Predictions] = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)
    kernels: KernelComparison | None = field(default=None, repr=False)
    outputs: pd.DataFrame = field(repr=False, default_factory=_empty)
    output_curves: pd.DataFrame = field(repr=False, default_factory=_empty)
    output_example: OutputComparison | None = field(default=None, repr=False)
    answers: Answers = field(default_factory=Answers.none, repr=False)

    def flipped(self, recipe: str | None = None) -> pd.DataFrame:
        """All answers that recipes change, see `tfinv.tflite.comparison.flips.flipped_rows`, with the column `recipe`.

        Args:
            recipe: of this one alone; None for all.

        Raises:
            ValueError: a recipe that is not in the study.
        """
        if recipe is not None and recipe not in set(self.recipes["recipe"]):
            raise ValueError(f"recipe must be one of {', '.join(self.recipes['recipe'])}. Received: {recipe!r}")
        if REFERENCE not in self.predictions:
            return _empty()
        names = self.curves[self.curves["model"] == REFERENCE]["transformation"].tolist()
        return flipped(self.predictions, self.answers.labels, names, recipe)

    def decide(self, *margins: str) -> StudyResult:
        """Decide by intervals what every recipe changed, see `Comparison.decide`.

        Args:
            margins: `"1 point"` (percentage points of accuracy, upright, transformed and worst case), `"5%"` (of the
                mean of every layer), or both.

        Returns:
            The study with the table `answers.decisions`, which begins with the column `recipe`, and the decisions as
            the first sentences of the verdict.

        Raises:
            ValueError: a margin without a unit, or one that the study has no numbers for.
        """
        import pandas as pd

        parsed, frames, said = parse_margins(margins), [], []
        curves = self.curves[self.curves["model"] == REFERENCE] if len(self.curves) else self.curves
        moved = (curves["transformation"] != "identity").to_numpy(bool) if len(curves) else np.zeros(0, bool)
        for name in self.recipes["recipe"]:
            if name == REFERENCE:
                continue
            frame = decided(
                (self.results[REFERENCE], self.results[name]),
                self.layers[self.layers["recipe"] == name],
                int(self.metadata["measured_samples"]),
                [self.predictions.get(one) for one in (REFERENCE, name)],
                self.answers.labels,
                moved,
                parsed,
            )
            said.append(sentence(frame, f"{parsed}, {name}"))
            frame.insert(0, "recipe", name)
            frames.append(frame)
        if not frames:
            raise ValueError("decide needs a recipe besides float32. Received: a study of float32 alone")
        kept = [text for text in self.verdict if not text.startswith(DECIDED)]
        answers = replace(self.answers, decisions=pd.concat(frames, ignore_index=True))
        return replace(self, answers=answers, verdict=(*said, *kept))

    def to_frame(self) -> pd.DataFrame:
        """One tidy table: `layers` with the recipe's size and accuracies beside each row."""
        kept = ["recipe", "kib", "accuracy", "transformed_accuracy", "flips", "transformed_flips", "collapsed"]
        return self.layers.merge(self.recipes[[column for column in kept if column in self.recipes]], on="recipe")

    def save(self, path: str | os.PathLike[str], *, full_precision: bool = False) -> None:
        """Write everything to one `.npz` file, atomically.

        Args:
            path: the file; by convention it ends in `.npz`.
            full_precision: keep the values of units as float64: the file becomes at least twice as large. Otherwise
                they are float32, with a relative error of at most 6e-8; intervals and tables are always float64.
        """
        facts = {
            "verdict": list(self.verdict),
            "warnings": list(self.warnings),
            "failed": dict(self.failed),
            "predictions": list(self.predictions),
            "metadata": dict(self.metadata),
        }
        arrays = {
            f"{number}.{name}": array
            for number, answers in enumerate(self.predictions.values())
            for name, array in answers.to_arrays().items()
        }
        frames = {name: getattr(self, name) for name in _FRAMES}
        if self.kernels is not None:
            facts["kernels"] = self.kernels.facts()
            frames |= self.kernels.frames()
        frames |= self.answers.to_frames()
        arrays |= self.answers.to_arrays()
        if self.output_example is not None:
            told, more = self.output_example.to_parts("output_example.")
            facts["output_example"], arrays = [told], {**arrays, **more}
        save_parts(
            path,
            FORMAT,
            VERSION,
            facts,
            frames=frames,
            results=self.results,
            arrays=arrays,
            full_precision=full_precision,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> StudyResult:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a truncated file, another kind of file, or an unknown version.
        """
        with loaded_parts(path, FORMAT, VERSION, _FACTS, OLDER) as (facts, frames, results, arrays):
            predictions = {
                name: Predictions.from_arrays(arrays, f"{number}.") for number, name in enumerate(facts["predictions"])
            }
            examples = [
                OutputComparison.from_parts(told, arrays, "output_example.") for told in facts.get("output_example", [])
            ]
            return cls(
                output_example=examples[0] if examples else None,
                verdict=tuple(facts["verdict"]),
                warnings=tuple(facts["warnings"]),
                failed=facts["failed"],
                results=results,
                predictions=predictions,
                metadata=_with_recipes(facts["metadata"], frames["recipes"]["recipe"]),
                # files of earlier versions have no tables of outputs
                **{name: frames[name] for name in _FRAMES if name in frames or not name.startswith("output")},
                kernels=KernelComparison.of(facts["kernels"], frames) if "kernels" in facts else None,
                answers=Answers.from_parts(frames, arrays),
            )

    def report(self, folder: str | os.PathLike[str]) -> Path:
        """Write `report.html` (self-contained), `report.md` with its figures, and the tables as CSV.

        Args:
            folder: where; it is made if need be.

        Returns:
            The path of `report.html`.
        """
        from tfinv.tflite.studies.report import write

        return write(self, Path(folder))

    def model_explorer(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write node data for the Model Explorer viewer: a folder a recipe with one JSON file a quantity.

        Args:
            folder: where; it is made if need be.

        Returns:
            The paths, each to be loaded in the viewer beside the recipe's `.tflite` file; those of the sensitivity of
            layers, in the folder `float32`, beside the float file.
        """
        from tfinv.tflite.studies.model_explorer import write

        return write(self.layers, self.sensitivity, Path(folder))


def _with_recipes(metadata: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Metadata with what is known of the recipes, which files of earlier versions lack."""
    if "recipes" in metadata:
        return dict(metadata)
    return {**metadata, "recipes": {name: recipe_facts(RECIPES[name]) for name in names}}
