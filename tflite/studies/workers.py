"""The files of a study measured side by side on workers, which put what they measure into the cache of the study."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.datasets.split import SentSplit
from tfinv.evaluation.distribution import distributed, run_tasks, share_of_memory, team_of, worker_name
from tfinv.support.cache import Cache
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.studies.pieces import Settings, made, measured
from tfinv.tflite.studies.recipe import Materials, Recipe
from tfinv.tflite.studies.recipes import is_built_in

if TYPE_CHECKING:
    from tfinv.datasets import Split

CANNOT = (ValueError, TypeError, RuntimeError, ModuleNotFoundError, NotImplementedError)
"""What a recipe raises that cannot be followed."""


def measure_ahead(
    recipes: Sequence[Recipe],
    store: Cache,
    materials: Materials,
    images: tuple[Split, Split],
    settings: Settings,
    identity: Mapping[str, str],
) -> None:
    """Fill the cache with the measurements of all files, where the evaluations run on workers.

    Files are made in this process first, because their latency is measured then. A recipe that cannot be followed is
    left out here: whoever makes it again hears why.

    Args:
        recipes: the reference first.
        store: the cache; workers must see the same folder.
        materials: see `pieces.made`.
        images: see `pieces.measured`.
        settings: see `pieces.measured`.
        identity: see `pieces.measured`.
    """
    with team_of(None) as team:
        if team is None or store.force:
            return
        conversions: dict[str, tuple[Conversion, Any]] = {}
        for recipe in recipes:
            try:
                if is_built_in(recipe):
                    conversions[recipe.name] = made(store, recipe, materials, identity)
            except CANNOT:
                continue
        if not conversions:
            return
        if team.size:  # workers of this machine share its memory
            settings = replace(settings, memory_budget=share_of_memory(settings.memory_budget, team))
        reference = next(iter(conversions.values()))[0]
        mark = store.root / f".{uuid.uuid4().hex}"
        mark.touch()
        sent = tuple(SentSplit.of(split) for split in images)
        common = (str(mark), reference, materials.input_scale, sent, settings, dict(identity))
        tasks = [(name, conversion, facts) for name, (conversion, facts) in conversions.items()]
        try:
            lonely = {worker for worker in run_tasks(team, measure_file, common, tasks) if worker}
        finally:
            mark.unlink()
        if lonely:
            warnings.warn(
                f"the cache of the study must be a folder that all workers see, to be filled by them: {store.root} is "
                f"not seen by {', '.join(sorted(lonely))}",
                stacklevel=2,
            )


def measure_file(common: tuple[Any, ...], name: str, conversion: Conversion, facts: Any) -> str:
    """In a worker: measure one file into the cache.

    Returns:
        The name of the worker where it does not see the cache.
    """
    mark, reference, scale, sent, settings, identity = common
    if not Path(mark).exists():
        return worker_name()
    images = tuple(split.opened for split in sent)
    model = TFLiteModel(reference, input_scale=scale, probe=False)
    try:
        with distributed(None):
            measured(Cache(Path(mark).parent), name, conversion, facts, model, images, settings, identity, False)
    except CANNOT:
        return ""  # whoever measures it again hears why
    return ""
