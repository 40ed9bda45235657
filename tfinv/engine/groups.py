"""Measure groups of layers: all samples at once, class by class, or in shards, with checkpoints (evaluation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfinv.engine.batches import ImageBatches
from tfinv.engine.gatherer import States
from tfinv.engine.measuring import assembled, measure_layer, measure_shards, merged
from tfinv.engine.passes import Pass, Setting, make_passes
from tfinv.measures.base import check_enough, required_statistics
from tfinv.results import Results
from tfinv.statistics import Layer, Statistic


def measure_group(setting: Setting, layers: Sequence[Layer], subsets: Mapping[Any, ImageBatches]) -> dict[Any, Results]:
    """Measure a group of layers on each of several sets of samples.

    Args:
        setting: the evaluation.
        layers: the group.
        subsets: samples by label.

    Returns:
        Results by label.
    """
    runs, found = make_passes(setting, layers), {}
    for label, batches in subsets.items():
        part = f"{layers[0].name}/{label}"
        found[label] = _finished(setting, part, batches, runs) or measured(setting, layers, batches, runs, part)
    return found


def measured(
    setting: Setting, layers: Sequence[Layer], batches: ImageBatches, runs: Sequence[Pass], part: str
) -> Results:
    """Measure a group of layers on one set of samples.

    Args:
        setting: the evaluation.
        layers: the group.
        batches: the samples.
        runs: the passes, from `make_passes`; they can be used again.
        part: name for the checkpoint.
    """
    given: States = {}
    gatherers = []
    for number, run in enumerate(runs):
        gatherers.append(run.run(batches, given, f"{part}/pass {number}"))
        needed = _needed_later(runs, number)
        for layer in run.layers if needed else ():
            for statistic, state in gatherers[-1].states_of(layer.name).items():
                if statistic in needed:
                    given.setdefault(statistic, {})[layer.name] = state
    # A data set may not know its size before it has been read.
    check_enough(setting.measures, batches.count, len(setting.transformations))
    results, kept = {}, {}
    for layer in layers:
        states = {
            statistic: state
            for gatherer in gatherers
            if layer.name in gatherer.layers
            for statistic, state in gatherer.states_of(layer.name).items()
        }
        results[layer.name] = measure_layer(setting.measures, layer, states)
        if setting.keep_statistics:
            kept[layer.name] = {each: states[each] for each in required_statistics(setting.measures) if each in states}
    outcome = assembled(setting.measures, results, {}, states=kept)
    _note_finished(setting, part, outcome)
    return outcome


def measure_group_in_shards(
    setting: Setting, layers: Sequence[Layer], shards: Sequence[ImageBatches], confidence: float, resamples: int = 0
) -> Results:
    """Measure a group of layers, and how far the layer means would move with other samples.

    Args:
        setting: the evaluation.
        layers: the group.
        shards: disjoint samples.
        confidence: of the intervals.
        resamples: how often to draw shards for them; 0 for intervals from the jackknife.
    """
    runs, part = make_passes(setting, layers), f"{layers[0].name}/shards"
    found = _finished(setting, part, shards[0], runs)
    if found:
        return found
    given: States = {}
    by_shard: list[dict[str, dict[Statistic, Any]]] = [{layer.name: {} for layer in layers} for _ in shards]
    for number, run in enumerate(runs):
        for position, batches in enumerate(shards):
            gatherer = run.run(batches, given, f"{part}/pass {number}/{position}", copy=True)
            for layer in run.layers:
                states = gatherer.states_of(layer.name).items()
                by_shard[position][layer.name] |= {statistic: _copied(state) for statistic, state in states}
        for statistic in _needed_later(runs, number).intersection(run.statistics):
            for layer in run.layers:
                states = [each[layer.name][statistic] for each in by_shard if statistic in each[layer.name]]
                if states:
                    given.setdefault(statistic, {})[layer.name] = merged(statistic, states)
    results, means, draws, kept = {}, {}, {}, {}
    needed = required_statistics(setting.measures)
    for layer in layers:
        states = [{each: shard[layer.name][each] for each in needed if each in shard[layer.name]} for shard in by_shard]
        found = measure_shards(setting.measures, layer, states, resamples)
        results[layer.name], means[layer.name], draws[layer.name] = found
        if setting.keep_statistics:
            kept[layer.name] = {each: merged(each, [shard[each] for shard in states]) for each in states[0]}
    sizes = [each.count or 0 for each in shards]
    outcome = assembled(setting.measures, results, {}, means, confidence, sizes, kept, draws)
    _note_finished(setting, part, outcome)
    return outcome


def _needed_later(runs: Sequence[Pass], number: int) -> set[Statistic]:
    return {needed for each in runs[number + 1 :] for statistic in each.statistics for needed in statistic.depends}


def _copied(state: Any) -> Any:
    """A state that the next run of its pass does not change."""
    return type(state)(*(np.array(each) for each in state))


def _finished(setting: Setting, part: str, batches: ImageBatches, runs: Sequence[Pass]) -> Results | None:
    arrays = setting.checkpoint.get(part) if setting.checkpoint else None
    if arrays is None:
        return None
    setting.advance((batches.count or 0) * sum(each.images_per_sample for each in runs))
    return Results.from_arrays(arrays)


def _note_finished(setting: Setting, part: str, outcome: Results) -> None:
    if setting.checkpoint:
        setting.checkpoint.drop(f"{part}/")
        setting.checkpoint.put(part, outcome.to_arrays())


def joined(groups: Sequence[Results], metadata: Mapping[str, Any]) -> Results:
    """The results of several groups of layers as one."""
    measures: dict[str, Any] = {}
    statistics: dict[str, dict[str, Any]] = {}
    for group in groups:
        for key, measure in group.measures.items():
            measures[key] = measures[key].joined(measure) if key in measures else measure
        for key, by_layer in group.statistics.items():
            statistics.setdefault(key, {}).update(by_layer)
    return Results(measures, dict(metadata), statistics)
