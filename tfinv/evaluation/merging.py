"""Join results of disjoint samples through the statistics that they kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfinv.engine.measuring import LayerMeasured, assembled
from tfinv.engine.states import LayerStates, kept, merged, unresolved, without_rounding
from tfinv.evaluation.arguments import as_measures
from tfinv.measures import Measure
from tfinv.measures.base import required_statistics
from tfinv.results import LayerResult, Results
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.resolution import EXACT, Resolution
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
    for part in results:
        if not isinstance(part, Results):
            raise TypeError(f"results must be Results. Received: {type(part).__name__}")
    first = results[0]
    chosen = _read_back(first) if measures is None else as_measures(measures)
    _check_same(results)
    statistics = {statistic.key: statistic for statistic in required_statistics(chosen)}
    _check_gathered(results, chosen, statistics)
    coarsest = _coarsest(results)
    by_layer = {}
    for layer in first.layers:
        states = {
            statistic: merged(statistic, [_state(statistic, part.statistics[key][layer]) for part in results])
            for key, statistic in statistics.items()
            if layer in first.statistics.get(key, {})
        }
        by_layer[layer] = LayerMeasured(
            _measured(chosen, layer, states, first, coarsest.get(layer, EXACT)), {}, {}, kept(states)
        )
    samples = sum(part.metadata["samples"] for part in results)
    return assembled(by_layer, {**first.metadata, "samples": samples, "merged": len(results), "resolutions": coarsest})


def _coarsest(results: Sequence[Results]) -> dict[str, Resolution]:
    """By layer the largest resolution of all parts."""
    given = [part.metadata.get("resolutions", {}) for part in results]
    return {
        name: Resolution(*map(max, zip(*(part.get(name, (0.0, 0.0)) for part in given), strict=True)))
        for name in given[0]
    }


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
    measures: Sequence[Measure], layer: str, states: LayerStates, first: Results, resolution: Resolution
) -> dict[str, LayerResult]:
    by_measure, units = {}, unresolved(states, resolution)
    for measure in measures:
        if all(statistic in states for statistic in measure.requires):
            result = measure.compute(
                without_rounding({statistic: states[statistic] for statistic in measure.requires}, units)
            )
            if any(statistic.depends for statistic in measure.requires):
                remark = "merged from parts that each found its own thresholds: not quite those of one evaluation"
                result = dataclasses.replace(result, note="; ".join(filter(None, (result.note, remark))))
            by_measure[measure.key] = result
        else:
            by_measure[measure.key] = first[measure.key][layer]
    return by_measure


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
    data = [part.metadata["data"] for part in results if "data" in part.metadata]
    if len(set(data)) < len(data):
        raise ValueError("results must be of disjoint samples to be merged. Received: the same samples twice")


def _check_gathered(results: Sequence[Results], measures: Sequence[Measure], statistics: Mapping[str, Any]) -> None:
    for number, part in enumerate(results):
        missing = [key for key in statistics if key not in part.statistics]
        applying = [key for key in missing if any(layer.values.size for layer in _needing(part, measures, key))]
        if applying:
            raise ValueError(
                "results must hold their statistics to be merged: evaluate with "
                "sampling=Sampling(keep_statistics=True). Received: "
                f"results number {number + 1} without {', '.join(applying)}"
            )
        for key, by_layer in part.statistics.items():
            for layer, state in results[0].statistics.get(key, {}).items():
                shapes = {name: np.shape(value) for name, value in by_layer.get(layer, {}).items()}
                if shapes != {name: np.shape(value) for name, value in state.items()}:
                    raise ValueError(
                        f"results must be of layers of one shape to be merged. Received: layer {layer!r} with other "
                        f"{key} in results number {number + 1}"
                    )


def _needing(results: Results, measures: Sequence[Measure], key: str) -> list[LayerResult]:
    """The layer results of measures that read a statistic."""
    needing = [measure.key for measure in measures if any(needed.key == key for needed in measure.requires)]
    return [layer for name in needing if name in results for layer in results[name].values()]
