"""Join results of disjoint samples through the statistics that they kept (results of evaluation)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfinv.engine.measuring import assembled, merged
from tfinv.evaluation.arguments import as_measures
from tfinv.measures import Measure
from tfinv.measures.base import required_statistics
from tfinv.results import LayerResult, Results
from tfinv.statistics import Layer, Statistic
from tfinv.transformations import rotations

SAME = ("model", "transformations", "num_transformations", "image_shape", "padding", "interpolation")
"""Metadata entries that results must share to be merged."""


def merge(*results: Results, measures: Any = None) -> Results:
    """Join the results of disjoint samples into what one evaluation of all of them gives.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> activations = np.random.default_rng(0).normal(size=(10, 4, 3))
        >>> kept = tfinv.Sampling(keep_statistics=True)
        >>> halves = [
        ...     tfinv.evaluate_arrays({"dense": half}, "NormalizedVariance", sampling=kept)
        ...     for half in (activations[:5], activations[5:])
        ... ]
        >>> whole = tfinv.evaluate_arrays({"dense": activations}, "NormalizedVariance")
        >>> joined = tfinv.merge(*halves)["NormalizedVariance"]["dense"].values
        >>> bool(np.allclose(joined, whole["NormalizedVariance"]["dense"].values))
        True

    Args:
        *results: at least two, of the same model, layers, transformations and measures on disjoint samples, evaluated
            with `sampling=Sampling(keep_statistics=True)`.
        measures: the measures, where they are of one's own and their keys cannot be read back.

    Returns:
        `Results` that hold the merged statistics, so that they can be merged again. Measures whose thresholds come
        from an earlier pass, such as `Goodfellow`, keep those of each part, and their `note` says so.

    Raises:
        ValueError: results without statistics, or of different layers, models, transformations or measures, or of the
            same samples; what differs is named.
        TypeError: something that is no `Results`.
    """
    if len(results) < 2:
        raise ValueError(f"results must be at least two to be merged. Received: {len(results)}")
    for each in results:
        if not isinstance(each, Results):
            raise TypeError(f"results must be Results. Received: {type(each).__name__}")
    first = results[0]
    chosen = _read_back(first) if measures is None else as_measures(measures)
    _check_same(results)
    statistics = {each.key: each for each in required_statistics(chosen)}
    _check_gathered(results, chosen, statistics)
    by_layer, kept = {}, {}
    for layer in first.layers:
        states = {
            each: merged(each, [_state(each, result.statistics[each.key][layer]) for result in results])
            for each in statistics.values()
            if layer in first.statistics.get(each.key, {})
        }
        by_layer[layer] = _measured(chosen, layer, states, first)
        kept[layer] = states
    samples = sum(each.metadata["samples"] for each in results)
    metadata = {**first.metadata, "samples": samples, "merged": len(results)}
    return assembled(chosen, by_layer, metadata, states=kept)


def _read_back(results: Results) -> list[Measure]:
    """The measures that the keys in the results name; nothing that a file of results says is run."""
    try:
        return as_measures(list(results))
    except ValueError as error:
        raise ValueError(
            f"measures must be given to merge results of measures that are not known here, such as measures=[Mine()], "
            f"or their classes registered with tfinv.measures.register: {error}"
        ) from error


def _measured(
    measures: Sequence[Measure], layer: str, states: Mapping[Statistic, Any], first: Results
) -> dict[str, LayerResult]:
    found = {}
    for measure in measures:
        if all(each in states for each in measure.requires):
            result = measure.compute({each: states[each] for each in measure.requires})
            if any(each.depends for each in measure.requires):
                remark = "merged from parts that each found its own thresholds: not quite those of one evaluation"
                result = dataclasses.replace(result, note="; ".join(filter(None, (result.note, remark))))
            found[measure.key] = result
        else:
            found[measure.key] = first[measure.key][layer]
    return found


def _state(statistic: Statistic, fields: Mapping[str, Any]) -> Any:
    """The state that kept arrays stand for."""
    kind: Any = type(statistic.init(Layer("", (4, 4, 2), 2, rotations(2), is_output=True)))
    if set(fields) != set(kind._fields):
        raise ValueError(f"statistics {statistic.key} must hold {kind._fields}. Received: {tuple(fields)}")
    return kind(**{name: np.asarray(value) for name, value in fields.items()})


def _check_same(results: Sequence[Results]) -> None:
    first = results[0]
    for other in results[1:]:
        for entry in SAME:
            if other.metadata.get(entry) != first.metadata.get(entry):
                raise ValueError(
                    f"results must share {entry} to be merged. Received: {first.metadata.get(entry)!r} and "
                    f"{other.metadata.get(entry)!r}"
                )
        if other.layers != first.layers:
            different = sorted(set(first.layers) ^ set(other.layers)) or "another order"
            raise ValueError(f"results must be of the same layers to be merged. Received: different {different}")
        if list(other) != list(first):
            raise ValueError(f"results must share measures to be merged. Received: {list(first)} and {list(other)}")
    data = [each.metadata["data"] for each in results if "data" in each.metadata]
    if len(set(data)) < len(data):
        raise ValueError("results must be of disjoint samples to be merged. Received: the same samples twice")


def _check_gathered(results: Sequence[Results], measures: Sequence[Measure], statistics: Mapping[str, Any]) -> None:
    for number, each in enumerate(results):
        missing = [key for key in statistics if key not in each.statistics]
        applying = [key for key in missing if any(layer.values.size for layer in _needing(each, measures, key))]
        if applying:
            raise ValueError(
                "results must hold their statistics to be merged: evaluate with "
                "sampling=Sampling(keep_statistics=True). Received: "
                f"results number {number + 1} without {', '.join(applying)}"
            )
        for key, by_layer in each.statistics.items():
            for layer, state in results[0].statistics.get(key, {}).items():
                own = {name: np.shape(value) for name, value in by_layer.get(layer, {}).items()}
                if own != {name: np.shape(value) for name, value in state.items()}:
                    raise ValueError(
                        f"results must be of layers of one shape to be merged. Received: layer {layer!r} with other "
                        f"{key} in results number {number + 1}"
                    )


def _needing(results: Results, measures: Sequence[Measure], key: str) -> list[LayerResult]:
    """The layer results of measures that read a statistic."""
    keys = [each.key for each in measures if any(needed.key == key for needed in each.requires)]
    return [layer for each in keys if each in results for layer in results[each].values()]
