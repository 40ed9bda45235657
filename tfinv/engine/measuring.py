"""Apply measures to the gathered states of one layer after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.engine.shards import UNITS, ShardStates
from tfinv.engine.states import LayerStates, kept, readable, unresolved, without_rounding
from tfinv.measures import Measure
from tfinv.measures.base import required_statistics
from tfinv.resampling.jackknife import Replicates
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.resolution import EXACT, Resolution, Unresolved

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Intervals(NamedTuple):
    """How confidence intervals are made from shards.

    Args:
        confidence: such as 0.95.
        resamples: how often to draw shards for them; 0 for intervals from the jackknife.
    """

    confidence: float
    resamples: int = 0


def usable(intervals: Intervals | None, measures: Sequence[Measure], sizes: Sequence[int]) -> Intervals | None:
    """The intervals, None where they cannot be made from shards of these sizes, which may be those of a small part."""
    full = [size for size in sizes if size]
    enough = len(full) > 1 and sum(full) - max(full) >= max(measure.min_samples for measure in measures)
    return intervals if enough else None


class LayerMeasured(NamedTuple):
    """What was measured on one layer; everything but `states` is by measure key.

    Args:
        results: values and status.
        means: `(G,)` layer means without each shard; around the layer mean for measures that do not settle.
        draws: `(B,)` layer means in each resample.
        states: those that the results keep, see `states.kept`.
    """

    results: Mapping[str, LayerResult]
    means: Mapping[str, NDArray[np.float64]]
    draws: Mapping[str, NDArray[np.float64]]
    states: Mapping[str, Mapping[str, Any]]


def measure_layer(
    measures: Sequence[Measure],
    layer: Layer,
    held: ShardStates,
    intervals: Intervals | None = None,
    *,
    keep: bool = False,
    resolution: Resolution = EXACT,
    samples: int | None = None,
) -> LayerMeasured:
    """The result of every measure on one layer, and its layer mean with other samples.

    Args:
        measures: the measures.
        layer: the layer.
        held: states of disjoint samples, shard by shard; of a single shard where there are no intervals.
        intervals: None for none.
        keep: whether the results keep the states.
        resolution: variation below it is rounding.
        samples: how many there are; a measure that is undefined for so few does not apply. None for enough.
    """
    reasons = {measure.key: _why_not(measure, layer) for measure in measures}
    return measure_states(measures, reasons, held, intervals, keep=keep, resolution=resolution, samples=samples)


def measure_states(
    measures: Sequence[Measure],
    reasons: Mapping[str, str],
    held: ShardStates,
    intervals: Intervals | None = None,
    *,
    keep: bool = False,
    resolution: Resolution = EXACT,
    samples: int | None = None,
) -> LayerMeasured:
    """`measure_layer` where the layer itself is not at hand.

    Args:
        measures: the measures.
        reasons: by measure key why it does not exist on the layer; "" where it does.
        held: see `measure_layer`.
        intervals: see `measure_layer`.
        keep: see `measure_layer`.
        resolution: see `measure_layer`.
        samples: see `measure_layer`.
    """
    needed = required_statistics(measures)
    whole = {statistic: held.whole[statistic] for statistic in needed if statistic in held.whole}
    units = unresolved(whole, resolution)
    few = f"{samples} samples are too few for this measure; merged with others they may be enough"
    reasons = {
        measure.key: reasons[measure.key] or (few if samples is not None and samples < measure.min_samples else "")
        for measure in measures
    }
    applying = [measure for measure in measures if not reasons[measure.key]]
    results = _results(applying, whole, units)
    means: dict[str, NDArray[np.float64]] = {}
    drawn: dict[str, NDArray[np.float64]] = {}
    for replicated in held.replicated(applying, intervals.resamples) if intervals else ():
        some = replicated.of_those(units)
        moved = dict.fromkeys(results, 0.0)
        if replicated.units is not None:
            among = _results(replicated.measures, replicated.whole, some)
            moved = {key: results[key].mean - result.mean for key, result in among.items()}
            results |= {key: _without_interval(results[key]) for key, by in moved.items() if np.isnan(by)}
        means |= _layer_means(replicated.measures, replicated.without, some, moved)
        drawn |= _layer_means(replicated.measures, replicated.drawn, some, moved)
    return LayerMeasured(
        {key: LayerResult.not_applicable(reason) if reason else results[key] for key, reason in reasons.items()},
        _centered(applying, means, results),
        drawn,
        kept(whole) if keep else {},
    )


def _results(
    measures: Sequence[Measure], states: LayerStates, units: Mapping[Statistic, Unresolved]
) -> dict[str, LayerResult]:
    """By measure key the result."""
    read: dict[Any, Any] = {}
    results = {}
    for measure in measures:
        for statistic in measure.requires:
            if statistic not in read:
                read[statistic] = readable(statistic, states[statistic])
        required = {statistic: read[statistic] for statistic in measure.requires}
        results[measure.key] = measure.compute(without_rounding(required, units))
    return results


def _why_not(measure: Measure, layer: Layer) -> str:
    """Why a measure does not exist on a layer; "" where it does."""
    return next((reason for statistic in measure.requires if (reason := statistic.applies(layer))), "")


def _layer_means(
    measures: Sequence[Measure],
    samples: Iterable[LayerStates],
    units: Mapping[Statistic, Unresolved],
    moved: Mapping[str, float],
) -> dict[str, NDArray[np.float64]]:
    """By measure key the layer means of the states of one set of samples after the other; empty for no sets.

    Args:
        measures: the measures.
        samples: see above.
        units: see `unresolved`.
        moved: by measure key what is added to each.
    """
    means: dict[str, list[float]] = {measure.key: [] for measure in measures}
    for states in samples:
        for key, result in _results(measures, states, units).items():
            means[key].append(result.mean)
    return {key: np.array(values) + moved[key] for key, values in means.items() if values}


def _without_interval(result: LayerResult) -> LayerResult:
    """The result of a layer none of whose chosen units has a value."""
    if np.isnan(result.mean):
        return result
    note = f"no interval: none of the {UNITS:,} units that intervals are computed from has a value"
    return replace(result, note=f"{result.note}; {note}" if result.note else note)


def _centered(
    measures: Sequence[Measure], means: dict[str, NDArray[np.float64]], results: Mapping[str, LayerResult]
) -> dict[str, NDArray[np.float64]]:
    """Replicates around the value itself, for measures that are smaller with fewer samples without being biased."""
    for measure in measures:
        if not measure.settles and measure.key in means:
            means[measure.key] += results[measure.key].mean - means[measure.key].mean()
    return means


def assembled(
    layers: Mapping[str, LayerMeasured],
    metadata: Mapping[str, Any],
    intervals: Intervals | None = None,
    sizes: Sequence[int] = (),
) -> Results:
    """`Results` of what was measured layer by layer.

    Args:
        layers: by name, at least one; all of the same measures.
        metadata: see `Results`.
        intervals: those that the layers were measured with.
        sizes: see `Replicates`.
    """
    measures = {}
    for key in next(iter(layers.values())).results:
        results = {name: layer.results[key] for name, layer in layers.items()}
        replicates = None
        if intervals:
            means = {name: layer.means[key] for name, layer in layers.items() if key in layer.means}
            drawn = {name: layer.draws[key] for name, layer in layers.items() if key in layer.draws}
            replicates = Replicates(intervals.confidence, tuple(sizes), means, drawn)
        measures[key] = MeasureResult(key, results, replicates)
    statistics: dict[str, dict[str, Any]] = {}
    for name, layer in layers.items():
        for key, arrays in layer.states.items():
            statistics.setdefault(key, {})[name] = arrays
    return Results(measures, dict(metadata), statistics)
