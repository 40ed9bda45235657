"""Results class by class, and their mean over classes (results of evaluation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfinv.engine.batches import ImageBatches
from tfinv.measures import Measure
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.status import Status


def classes_of(batches: ImageBatches, measures: Sequence[Measure]) -> dict[int, ImageBatches]:
    """The samples of each class, by label in ascending order.

    Raises:
        ValueError: there are no labels, or too few samples of a class for a measure.
    """
    if not batches.has_labels:
        raise ValueError("labels must be given for stratified=True, which measures class by class. Received: none")
    least = max(each.min_samples for each in measures)
    found = {}
    for label in np.unique(batches.labels):
        own = np.flatnonzero(batches.labels == label)
        if len(own) < least:
            raise ValueError(
                f"images must be at least {least} of every class for stratified=True. Received: {len(own)} of class "
                f"{label}"
            )
        found[int(label)] = batches.only(own)
    return found


def over_classes(by_class: Mapping[int, Results], metadata: Mapping[str, Any]) -> Results:
    """Unweighted means over classes, unit by unit, with the results of each class in `classes`.

    A unit is averaged over the classes in which it is valid, and keeps its first class's status and value where there
    is none.

    Args:
        by_class: results by label, of the same layers and measures.
        metadata: see `Results`.
    """
    first = next(iter(by_class.values()))
    measures = {}
    for key, measure in first.measures.items():
        layers = {name: _mean([each[key][name] for each in by_class.values()]) for name in measure}
        measures[key] = MeasureResult(key, layers)
    return Results(measures, dict(metadata), classes={label: each.measures for label, each in by_class.items()})


def _mean(results: Sequence[LayerResult]) -> LayerResult:
    values = np.stack([each.values for each in results])
    valid = np.stack([each.status for each in results]) == Status.VALID
    count = valid.sum(axis=0)
    mean = np.where(valid, values, 0.0).sum(axis=0) / np.maximum(count, 1)
    partial = int(((count > 0) & (count < len(results))).sum())
    note = results[0].note if results[0].values.size == 0 else ""
    if partial:
        note = f"{partial} units are valid in some classes only, and averaged over those"
    return LayerResult(
        np.where(count > 0, mean, results[0].values),
        np.where(count > 0, Status.VALID, results[0].status),
        note,
        results[0].trim,
    )
