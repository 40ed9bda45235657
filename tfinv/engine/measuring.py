"""Apply measures to gathered states: of all samples, and of all but one shard (measures, driven by evaluation)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfinv.engine.gatherer import settled, widened
from tfinv.measures import Measure
from tfinv.resampling.jackknife import Replicates
from tfinv.resampling.shards import shard_counts
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.column_moments import ShiftedMoments

LayerStates = Mapping[Statistic, Any]


def measure_layer(measures: Sequence[Measure], layer: Layer, states: LayerStates) -> dict[str, LayerResult]:
    """The result of every measure on one layer.

    Args:
        measures: the measures.
        layer: the layer.
        states: its states as NumPy arrays; those of statistics that do not apply to it are absent.

    Returns:
        Results by measure key; "not applicable" with the reason where a statistic does not apply.
    """
    read: dict[Statistic, Any] = {}
    results = {}
    for measure in measures:
        reason = next((why for each in measure.requires if (why := each.applies(layer))), "")
        if reason:
            results[measure.key] = LayerResult.not_applicable(reason)
            continue
        read |= {each: _as_read(states[each]) for each in measure.requires if each not in read}
        results[measure.key] = measure.compute({each: read[each] for each in measure.requires})
    return results


def _as_read(state: Any) -> Any:
    """A state as measures read it: in float64, but for column moments, the largest by far, whose readers widen."""
    return state if isinstance(state, ShiftedMoments) else widened(state)


def merged(statistic: Statistic, states: Sequence[Any]) -> Any:
    """The states of disjoint samples as one, in float64."""
    total = widened(states[0])
    for state in states[1:]:
        total = _as_arrays(statistic.merge(total, widened(state)))
    return total


def without_each(statistic: Statistic, states: Sequence[Any]) -> list[Any]:
    """For each of several states of disjoint samples the merged state of all others, in float64.

    Args:
        statistic: whose states these are.
        states: at least two.
    """
    before = [widened(states[0])]
    for state in states[1:-1]:
        before.append(_as_arrays(statistic.merge(before[-1], widened(state))))
    found, after = [before[-1]], widened(states[-1])
    for position in range(len(states) - 2, 0, -1):
        found.append(_as_arrays(statistic.merge(before[position - 1], after)))
        after = _as_arrays(statistic.merge(widened(states[position]), after))
    return [*reversed([*found, after])]


def measure_shards(
    measures: Sequence[Measure], layer: Layer, shards: Sequence[LayerStates], resamples: int = 0
) -> tuple[dict[str, LayerResult], dict[str, Any], dict[str, Any]]:
    """The result of every measure on one layer, and its layer mean with other samples.

    Args:
        measures: the measures.
        layer: the layer.
        shards: states of disjoint samples.
        resamples: `B`, how often to draw as many shards with replacement.

    Returns:
        Results by measure key; and by key of the measures that apply `(G,)` layer means without each shard, and `(B,)`
        layer means in each resample.
    """
    statistics = list(shards[0])
    total = {each: merged(each, [shard[each] for shard in shards]) for each in statistics}
    results = measure_layer(measures, layer, total)
    applying = [each for each in measures if not any(needed.applies(layer) for needed in each.requires)]
    others = [without_each(each, [shard[each] for shard in shards]) for each in statistics]
    means = _layer_means(applying, layer, statistics, zip(*others, strict=True))
    if not resamples or not statistics:
        return results, means, {}
    del others
    counts = shard_counts(len(shards), resamples)
    drawn = (each.resampled([widened(shard[each]) for shard in shards], counts) for each in statistics)
    return results, means, _layer_means(applying, layer, statistics, zip(*drawn, strict=True))


def _layer_means(
    measures: Sequence[Measure], layer: Layer, statistics: Sequence[Statistic], states: Iterable[Sequence[Any]]
) -> dict[str, Any]:
    """By measure key the layer means of one set of states after the other, each in the order of the statistics."""
    means: dict[str, list[float]] = {each.key: [] for each in measures}
    for each in states:
        for key, result in measure_layer(measures, layer, dict(zip(statistics, each, strict=True))).items():
            means[key].append(result.mean)
    return {key: np.array(values) for key, values in means.items()}


def assembled(
    measures: Sequence[Measure],
    results: Mapping[str, Mapping[str, LayerResult]],
    metadata: Mapping[str, Any],
    means: Mapping[str, Mapping[str, Any]] | None = None,
    confidence: float | None = None,
    sizes: Sequence[int] = (),
    states: Mapping[str, LayerStates] | None = None,
    draws: Mapping[str, Mapping[str, Any]] | None = None,
) -> Results:
    """`Results` of what was found layer by layer.

    Args:
        measures: the measures.
        results: by layer and measure key.
        metadata: see `Results`.
        means: by layer and measure key the layer means without each shard.
        confidence: see `Replicates`.
        sizes: see `Replicates`.
        states: by layer the states to keep.
        draws: by layer and measure key the layer means in each resample.
    """
    by_measure = {}
    for measure in measures:
        replicates = None
        if confidence is not None:
            without, drawn = (
                {layer: each[measure.key] for layer, each in (by_layer or {}).items() if measure.key in each}
                for by_layer in (means, draws)
            )
            replicates = Replicates(confidence, tuple(sizes), without, drawn)
        layers = {layer: each[measure.key] for layer, each in results.items()}
        by_measure[measure.key] = MeasureResult(measure.key, layers, replicates)
    kept: dict[str, dict[str, dict[str, Any]]] = {}
    for layer, by_statistic in (states or {}).items():
        for statistic, state in by_statistic.items():
            arrays = settled(state)._asdict().items()
            kept.setdefault(statistic.key, {})[layer] = {name: np.array(each) for name, each in arrays}
    return Results(by_measure, dict(metadata), kept)


def _as_arrays(state: Any) -> Any:
    return type(state)(*(np.asarray(each) for each in state))
