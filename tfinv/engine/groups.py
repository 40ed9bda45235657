"""Measure groups of layers: all samples at once, class by class, or in shards, with checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfinv.engine.batches import ImageBatches
from tfinv.engine.gatherer import States
from tfinv.engine.measuring import Intervals, assembled, measure_layer
from tfinv.engine.passes import Pass, Setting, make_passes
from tfinv.engine.states import LayerStates, copied, merged
from tfinv.measures.base import check_enough, required_statistics
from tfinv.results import Results
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.resolution import EXACT


def measure_group(
    setting: Setting,
    layers: Sequence[Layer],
    subsets: Mapping[Any, ImageBatches],
    intervals: Intervals | None = None,
) -> dict[Any, Results]:
    """Measure a group of layers on each of several sets of samples, or on all of them as shards of one set.

    Args:
        setting: the evaluation.
        layers: the group.
        subsets: disjoint samples by label.
        intervals: how far layer means would move with other samples: the subsets are then the shards of one set.

    Returns:
        Results by label; under `""` alone with `intervals`.
    """
    passes = make_passes(setting, layers)
    if intervals:
        return {"": measured(setting, layers, list(subsets.values()), passes, "shards", intervals)}
    return {label: measured(setting, layers, [batches], passes, str(label)) for label, batches in subsets.items()}


def measured(
    setting: Setting,
    layers: Sequence[Layer],
    shards: Sequence[ImageBatches],
    passes: Sequence[Pass],
    label: str = "",
    intervals: Intervals | None = None,
) -> Results:
    """Measure a group of layers on one set of samples, or take the results from the checkpoint.

    Args:
        setting: the evaluation.
        layers: the group.
        shards: disjoint samples; a single one where there are no intervals.
        passes: from `make_passes`; they can be used again.
        label: tells the set of samples from others in the checkpoint.
        intervals: see `measure_group`.
    """
    part, checkpoint = f"{layers[0].name}/{label}", setting.checkpoint
    finished = checkpoint.get(part) if checkpoint else None
    if finished is not None:
        samples = sum(shard.count or 0 for shard in shards)
        setting.advance(samples * sum(run.images_per_sample for run in passes))
        return Results.from_arrays(finished)
    states = _gathered(layers, shards, passes, part)
    # A data set may not know its size before it has been read.
    sizes = [shard.count or 0 for shard in shards]
    check_enough(setting.measures, sum(sizes), len(setting.transformations))
    needed = required_statistics(setting.measures)
    by_layer = {}
    for layer in layers:
        by_shard = [shard[layer.name] for shard in states]
        read = [{statistic: shard[statistic] for statistic in needed if statistic in shard} for shard in by_shard]
        by_layer[layer.name] = measure_layer(
            setting.measures,
            layer,
            read,
            intervals,
            keep=setting.keep_statistics,
            resolution=setting.resolutions.get(layer.name, EXACT),
        )
    results = assembled(by_layer, {}, intervals, sizes)
    if checkpoint:
        checkpoint.drop(f"{part}/")
        checkpoint.put(part, results.to_arrays())
    return results


def states_of_shard(run: Pass, samples: ImageBatches, part: str) -> dict[str, LayerStates]:
    """By layer the states of one pass over some samples, where other samples follow.

    Args:
        run: a pass that needs no other before it.
        samples: the samples.
        part: name for the checkpoint.
    """
    gatherer = run.run(samples, {}, part, copy=True)
    return {
        layer.name: {statistic: copied(state) for statistic, state in gatherer.states_of(layer.name).items()}
        for layer in run.layers
    }


def _gathered(
    layers: Sequence[Layer], shards: Sequence[ImageBatches], passes: Sequence[Pass], part: str
) -> Sequence[Mapping[str, LayerStates]]:
    """By shard and layer the states of all passes."""
    several = len(shards) > 1
    given: States = {}
    by_shard: list[dict[str, dict[Statistic, Any]]] = [{layer.name: {} for layer in layers} for _ in shards]
    for number, run in enumerate(passes):
        for position, batches in enumerate(shards):
            gatherer = run.run(batches, given, f"{part}/pass {number}/{position}", copy=several)
            for layer in run.layers:
                for statistic, state in gatherer.states_of(layer.name).items():
                    # The next shard goes through the same gatherer.
                    by_shard[position][layer.name][statistic] = copied(state) if several else state
        later = {
            needed for rest in passes[number + 1 :] for statistic in rest.statistics for needed in statistic.depends
        }
        for statistic in later.intersection(run.statistics):
            for name in by_shard[0]:
                states = [shard[name][statistic] for shard in by_shard if statistic in shard[name]]
                if states:
                    given.setdefault(statistic, {})[name] = merged(statistic, states)
    return by_shard


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
