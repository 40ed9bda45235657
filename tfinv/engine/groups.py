"""Measure groups of layers: all samples at once, class by class, or in shards, with checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tfinv.engine.batches import ImageBatches
from tfinv.engine.gatherer import States
from tfinv.engine.measuring import Intervals, assembled, measure_layer, usable
from tfinv.engine.passes import Pass, Setting, first_statistics, make_passes, ordered
from tfinv.engine.shards import ShardStates
from tfinv.engine.states import LayerStates, copied, kept
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
    given = setting.given.get("" if intervals else label, {})
    if setting.measure is not None and not setting.keep_statistics:
        measured_elsewhere = setting.measure(layers, shards, passes, given, intervals)
        if measured_elsewhere is not None:
            return assembled(measured_elsewhere, {}, intervals, [shard.count or 0 for shard in shards])
    keep = setting.keep_statistics
    held, states = _gathered(setting, shards, passes, part, given)
    # A data set may not know its size before it has been read.
    sizes = [shard.count or 0 for shard in shards]
    samples = sum(sizes)
    check_enough([] if keep else setting.measures, samples, len(setting.transformations))
    full = [size for size in sizes if size] or sizes[:1]
    possible = usable(intervals, setting.measures, sizes) if keep else intervals
    by_layer, by_shard = {}, [{} for _ in shards]
    for layer in layers:
        by_layer[layer.name] = measure_layer(
            setting.measures,
            layer,
            held[layer.name],
            possible,
            keep=keep,
            resolution=setting.resolutions.get(layer.name, EXACT),
            samples=samples if keep else None,
        )
        for subset, shard in zip(by_shard, states if intervals else (), strict=False):
            for key, arrays in kept(shard[layer.name]).items():
                subset.setdefault(key, {})[layer.name] = arrays
    results = assembled(by_layer, {}, possible, full)
    if keep and intervals:
        results = replace(results, subsets={f"shard {number}": states for number, states in enumerate(by_shard)})
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
    return {
        layer: {statistic: copied(state) for statistic, state in states.items()}
        for layer, states in run.run(samples, {}, part, copy=True).items()
    }


def first_states(setting: Setting, layers: Sequence[Layer], subsets: Mapping[Any, ImageBatches]) -> dict[Any, Results]:
    """What a second pass needs of a group of layers, in results without measures.

    Args:
        setting: the evaluation.
        layers: the group.
        subsets: disjoint samples by label.

    Returns:
        Results by label, with the states of `passes.first_statistics`.
    """
    passes = [Pass(setting, layers, statistics) for statistics in ordered(first_statistics(setting.measures))]
    results = {}
    for label, batches in subsets.items():
        held, _ = _gathered(setting, [batches], passes, f"{layers[0].name}/first {label}", {})
        by_key: dict[str, dict[str, Any]] = {}
        for name, layer in held.items():
            for key, arrays in kept(layer.whole).items():
                by_key.setdefault(key, {})[name] = arrays
        results[label] = Results({}, {}, by_key)
    return results


def _gathered(
    setting: Setting, shards: Sequence[ImageBatches], passes: Sequence[Pass], part: str, given: States
) -> tuple[dict[str, ShardStates], list[dict[str, dict[Statistic, Any]]]]:
    """The states of all passes by layer, and also by shard and layer where the results keep them."""
    several, keep, finished = len(shards) > 1, setting.keep_statistics, dict(given)
    needed = required_statistics(setting.measures)
    held = {layer.name: ShardStates(setting.measures, layer.shape) for layer in setting.layers}
    by_shard: list[dict[str, dict[Statistic, Any]]] = [{name: {} for name in held} for _ in shards if keep]
    for number, run in enumerate(passes):
        taken = 0
        for position, states in enumerate(_states(setting, run, shards, finished, f"{part}/pass {number}")):
            # Shards without samples are left out, unless there is nothing else.
            counts = bool(shards[position].count) or (not taken and position == len(shards) - 1)
            for name, by_statistic in states.items():
                if keep:
                    by_statistic = {statistic: copied(state) for statistic, state in by_statistic.items()}
                    by_shard[position][name] |= {key: by_statistic[key] for key in needed if key in by_statistic}
                if counts:  # the next shard goes through the same gatherer
                    held[name].add(taken, by_statistic, copy=several and not keep)
            taken += counts
        later = {
            needed for rest in passes[number + 1 :] for statistic in rest.statistics for needed in statistic.depends
        }
        for statistic in later.intersection(run.statistics).difference(given):
            for name, layer in held.items():
                if statistic in layer.whole:
                    finished.setdefault(statistic, {})[name] = layer.whole[statistic]
    return held, by_shard


def _states(
    setting: Setting, run: Pass, shards: Sequence[ImageBatches], given: States, label: str
) -> Iterator[Mapping[str, LayerStates]]:
    """By layer the states of one shard after the other, each valid until the next."""
    if setting.gather is not None:
        yield from setting.gather(run, shards, given, label)
        return
    for position, batches in enumerate(shards):
        yield run.run(batches, given, f"{label}/{position}", copy=len(shards) > 1)


def joined(groups: Sequence[Results], metadata: Mapping[str, Any]) -> Results:
    """The results of several groups of layers as one."""
    measures: dict[str, Any] = {}
    statistics: dict[str, dict[str, Any]] = {}
    subsets: dict[str, dict[str, dict[str, Any]]] = {}
    for group in groups:
        for key, measure in group.measures.items():
            measures[key] = measures[key].joined(measure) if key in measures else measure
        for key, by_layer in group.statistics.items():
            statistics.setdefault(key, {}).update(by_layer)
        for label, by_key in group.subsets.items():
            for key, by_layer in by_key.items():
                subsets.setdefault(label, {}).setdefault(key, {}).update(by_layer)
    return Results(measures, dict(metadata), statistics, subsets=subsets)
