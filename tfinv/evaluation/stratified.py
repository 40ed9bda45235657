"""Results class by class, and their mean over classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.engine.batches import ImageBatches
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray


def classes_of(batches: ImageBatches) -> dict[int, ImageBatches]:
    """The samples of each class, by label in ascending order.

    Raises:
        ValueError: there are no labels.
    """
    if not batches.has_labels:
        raise ValueError("labels must be given for stratified=True, which measures class by class. Received: none")
    if batches.label_shape:
        raise ValueError(
            "labels must be class numbers for stratified=True, which measures class by class. "
            f"Received: {batches.label_shape[0]} labels per image"
        )
    return {int(label): batches.only(np.flatnonzero(batches.labels == label)) for label in np.unique(batches.labels)}


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
        layers = {name: _mean([results[key][name] for results in by_class.values()]) for name in measure}
        measures[key] = MeasureResult(key, layers)
    subsets = {f"class {label}": results.statistics for label, results in by_class.items() if results.statistics}
    classes = {label: results.measures for label, results in by_class.items()}
    return Results(measures, dict(metadata), classes=classes, subsets=subsets)


def _mean(results: Sequence[LayerResult]) -> LayerResult:
    # Classes of a part may hold too few samples for a measure.
    results = [result for result in results if result.values.size] or results
    values = np.stack([result.values for result in results])
    valid = np.stack([result.status for result in results]) == Status.VALID
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
        weights=_mean_weights(results),
    )


def _mean_weights(results: Sequence[LayerResult]) -> NDArray[np.float64] | None:
    weights = [result.weights for result in results if result.weights is not None]
    return np.mean(weights, axis=0) if weights else None
