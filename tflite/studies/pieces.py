"""The finished pieces that a study is put together from, kept so that an interrupted one goes on."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tfinv.activations.source import LayerChoice
from tfinv.engine.batches import ImageBatches
from tfinv.evaluation.options import Sampling, Warping
from tfinv.results import Results
from tfinv.support.cache import Cache
from tfinv.support.environment import versions
from tfinv.support.files import write_json
from tfinv.support.types import KerasModel
from tfinv.tflite.comparison.behaviour import identities
from tfinv.tflite.comparison.confidence import calibration_table
from tfinv.tflite.comparison.match_files import Match, match
from tfinv.tflite.comparison.measure_models import measure_models
from tfinv.tflite.comparison.observing import Observer
from tfinv.tflite.comparison.options import ALL_MEASURED
from tfinv.tflite.comparison.paired_run import PairedRun
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.tflite.comparison.storage import loaded_parts, save_parts
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.cost import latency, memory_estimate
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.studies.recipe import Materials, Recipe
from tfinv.tflite.studies.recipes import REFERENCE, is_built_in

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.datasets import Split
    from tfinv.transformations import TransformationSet

_KIND, _VERSION = "tfinv-study-piece", 2
_FACTS = {"unmatched": [str], "classifies": bool}
_MATCHING_SAMPLES = 32


@dataclass(frozen=True)
class Settings:
    """How every file is measured.

    Args:
        transformations: the set.
        measures: keys.
        sampling: confidence and kind of the intervals of layer means.
        warping: padding and interpolation of transformed images.
        fidelity_samples: images on which activations are compared number by number.
        seed: of subsets.
        layers: which layers of the float file; None for all.
        memory_budget: see `tfinv.evaluate`.
    """

    transformations: TransformationSet
    measures: tuple[str, ...]
    sampling: Sampling
    warping: Warping
    fidelity_samples: int
    seed: int
    layers: LayerChoice = None
    memory_budget: int | float | str | None = None


@dataclass(frozen=True)
class Piece:
    """One file, measured.

    Args:
        conversion: the file.
        facts: size, latency, memory, operators.
        results: layer measures under the names that the reference gives the layers.
        predictions: class and confidence of every image; None where the output is not one number a class.
        fidelity: against the reference, one row a matched layer; empty for the reference itself.
        unmatched: layers without a partner in the reference.
        calibration: see `calibration_table`; empty without labels.
    """

    conversion: Conversion
    facts: Mapping[str, Any]
    results: Results
    predictions: Predictions | None
    fidelity: pd.DataFrame
    unmatched: tuple[str, ...]
    calibration: pd.DataFrame


def fingerprint(*arrays: Any) -> str:
    """A short hash of arrays and texts."""
    digest = hashlib.sha256()
    for value in arrays:
        if isinstance(value, str):
            digest.update(value.encode())
        elif value is not None:
            array = np.ascontiguousarray(value)
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def model_fingerprint(model: KerasModel) -> str:
    """A short hash of a Keras model's architecture and weights."""
    return fingerprint(json.dumps(model.get_config(), sort_keys=True, default=str), *model.get_weights())


def made(cache: Cache, recipe: Recipe, materials: Materials, identity: Mapping[str, str]) -> tuple[Conversion, Any]:
    """A file by a recipe and its facts, from the cache where it was made before."""
    config: dict[str, Any] = {"recipe": recipe.name, "model": identity["model"], "scale": materials.input_scale.text}
    foreign = not is_built_in(recipe)  # what it reads of the materials is not known
    if recipe.calibrates or recipe.trains or foreign:
        config |= {"train": identity["train"], "seed": materials.seed, "transformations": materials.transformations.id}
        config["warping"] = asdict(materials.warping)
    if recipe.calibrates or foreign:
        config["calibration"] = materials.calibration_samples
    if recipe.trains or foreign:
        config |= {"epochs": materials.epochs, "rate": materials.learning_rate}
    if foreign:
        config["source"] = _source(recipe)
    config["versions"] = versions("tensorflow", "keras", "litert-quantizer")

    def make(folder: Path) -> None:
        conversion = recipe(materials)
        conversion.save(folder / "model.tflite")
        write_json(folder / "facts.json", _facts(conversion))

    def load(folder: Path) -> tuple[Conversion, Any]:
        return Conversion.load(folder / "model.tflite"), json.loads((folder / "facts.json").read_text())

    return cache.get("conversion", config, make, load)


def _source(recipe: Recipe) -> str:
    """A hash of the module that defines the function of a recipe; a new one each time where there is no source."""
    try:
        return fingerprint(inspect.getsource(cast(ModuleType, inspect.getmodule(recipe.make))))
    except (OSError, TypeError):
        return uuid.uuid4().hex


def measured(
    cache: Cache,
    recipe: str,
    conversion: Conversion,
    facts: Mapping[str, Any],
    reference: TFLiteModel,
    images: tuple[Split, Split],
    settings: Settings,
    identity: Mapping[str, str],
    progress: bool,
) -> Piece:
    """Measure a file, or load what was measured before.

    Args:
        cache: where pieces are kept.
        recipe: its name.
        conversion: the file.
        facts: see `Piece`.
        reference: the float file, opened.
        images: those for predictions, and those whose activations are measured.
        settings: how.
        identity: hashes of the images, by `test` and `measured`.
        progress: show progress bars.
    """
    config = {
        "file": conversion.sha256,
        "reference": reference.id,
        "scale": reference.input_scale.text,
        "test": identity["test"],
        "measured": identity["measured"],
        "transformations": settings.transformations.id,
        "measures": list(settings.measures),
        "sampling": asdict(settings.sampling),
        "warping": asdict(settings.warping),
        "fidelity_samples": settings.fidelity_samples,
        "layers": None if settings.layers is None else list(reference.layer_shapes),
        "version": versions("tfinv"),
        "layout": _VERSION,
    }

    def make(folder: Path) -> None:
        piece = _measure(recipe, conversion, facts, reference, images, settings, progress)
        arrays = {} if piece.predictions is None else piece.predictions.to_arrays()
        save_parts(
            folder / "measured.npz",
            _KIND,
            _VERSION,
            {"unmatched": list(piece.unmatched), "classifies": piece.predictions is not None},
            frames={"fidelity": piece.fidelity, "calibration": piece.calibration},
            results={"results": piece.results},
            arrays=arrays,
            full_precision=True,  # a study that goes on gives the numbers of one that was never interrupted
        )

    def load(folder: Path) -> Piece:
        with loaded_parts(folder / "measured.npz", _KIND, _VERSION, _FACTS) as (known, frames, results, arrays):
            predictions = Predictions.from_arrays(arrays) if known["classifies"] else None
            unmatched = tuple(known["unmatched"])
            tables = frames["fidelity"], unmatched, frames["calibration"]
            return Piece(conversion, facts, results["results"], predictions, *tables)

    return cache.get("measurement", config, make, load)


def _measure(
    recipe: str,
    conversion: Conversion,
    facts: Mapping[str, Any],
    reference: TFLiteModel,
    images: tuple[Split, Split],
    settings: Settings,
    progress: bool,
) -> Piece:
    import pandas as pd

    from tfinv.tflite.comparison.compare_files import renamed

    model = TFLiteModel(conversion, input_scale=reference.input_scale, probe=False)
    test, few = images
    matched = None if recipe == REFERENCE else _matched(reference, model, few)
    if settings.layers is not None:
        reference = reference.select(settings.layers)
        matched = matched and matched.only(reference.layer_shapes)
        model = model.select(list(matched.pairs.values() if matched else reference.layer_shapes))
    measured = measure_models(
        {recipe: model},
        test,
        settings.transformations,
        list(settings.measures),
        measured=few,
        sampling=settings.sampling,
        warping=settings.warping,
        subsets=replace(ALL_MEASURED, memory_budget=settings.memory_budget),
        progress=progress,
        metadata={"recipe": recipe, "seed": settings.seed},
    )[recipe]
    calibration = pd.DataFrame()
    if measured.scores is not None and test.y is not None:
        moved = ~identities(settings.transformations)
        names = list(settings.transformations.labels)
        calibration = calibration_table(
            {recipe: measured.scores}, test.y.reshape(-1), names, moved if moved.any() else ~moved
        )
    if matched is None:
        empty = pd.DataFrame({"layer": []})
        return Piece(conversion, facts, measured.results, measured.predictions, empty, (), calibration)
    observers = {"reference": Observer(reference), recipe: Observer(model)}
    count = min(settings.fidelity_samples, len(few))
    batches = ImageBatches(few.take(np.arange(count)), max(1, 256 // len(settings.transformations)))
    run = PairedRun(
        observers,
        "reference",
        {recipe: matched.pairs},
        settings.transformations,
        batches,
        settings.warping,
        settings.memory_budget,
    )
    run.run(count, progress)
    fidelity = run.recorders[recipe].to_frame()
    results = renamed(measured.results, matched)
    return Piece(conversion, facts, results, measured.predictions, fidelity, matched.unmatched_before, calibration)


def _matched(reference: TFLiteModel, model: TFLiteModel, images: Split) -> Match:
    some = images.x[np.linspace(0, len(images) - 1, min(len(images), _MATCHING_SAMPLES)).astype(int)]
    try:
        return match(reference, model, some)
    except ValueError:  # weights that training or four bits moved far are still those of this network
        return match(reference, model)


def _facts(conversion: Conversion) -> dict[str, Any]:
    """What is known of a file without images."""
    model = TFLiteModel(conversion, probe=False)
    check = model.self_check()
    timed, memory = latency(model), memory_estimate(model)
    milliseconds = timed.milliseconds if math.isfinite(timed.milliseconds) else None
    return {
        "kib": conversion.size / 1024,
        "latency_ms": milliseconds,
        "threads": timed.threads,
        "delegate": timed.delegate,
        "working_kib": memory.working / 1024,
        "is_integer": conversion.is_integer,
        "float_operators": len(conversion.float_operators),
        "float_kernels": len(conversion.float_kernels),
        "operators": conversion.operators,
        "self_check": check.summary() if check else "not run",
    }
