"""Measure a group of layers on more and more samples, until all intervals are narrow enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfinv.engine.batches import ImageBatches
from tfinv.engine.groups import states_of_shard
from tfinv.engine.measuring import Intervals, assembled, measure_layer
from tfinv.engine.passes import Pass, Setting
from tfinv.engine.shards import ShardStates
from tfinv.engine.states import LayerStates, merged
from tfinv.measures.base import check_enough
from tfinv.resampling.sequential import boundary, looks, parts_of
from tfinv.results import Results
from tfinv.statistics import Layer
from tfinv.statistics.resolution import EXACT


def measured_until(
    setting: Setting,
    layers: Sequence[Layer],
    batches: ImageBatches,
    run: Pass,
    precision: float,
    confidence: float,
    seed: int = 0,
) -> tuple[Results, dict[str, Any]]:
    """Measure layers on samples in random order until every interval reaches at most `precision` to either side.

    Args:
        setting: the evaluation.
        layers: the layers.
        batches: all samples, in memory.
        run: the only pass over them.
        precision: in the unit of each measure.
        confidence: of all intervals of all measures and layers at all looks together.
        seed: of the random order.

    Returns:
        The results on the samples that were taken, with these intervals, and what `Results.metadata` says of it.
    """
    total = batches.count or 0
    counts = looks(total)
    order = np.random.default_rng(seed).permutation(total)
    applying = sum(
        not any(statistic.applies(layer) for statistic in measure.requires)
        for measure in setting.measures
        for layer in layers
    )
    single = 1 - (1 - confidence) / max(applying, 1)
    intervals = Intervals(boundary(counts, single))
    shards: list[dict[str, LayerStates]] = []
    sizes: list[int] = []
    for number, parts in enumerate(parts_of(order, counts)):
        shards, sizes = _in_pairs(shards, sizes)
        for position, part in enumerate(parts):
            shards.append(states_of_shard(run, batches.only(part), f"look {number}/{position}"))
            sizes.append(len(part))
        results = _results(setting, layers, shards, sizes, intervals)
        reach = half_widths(results)
        if not reach or max(reach.values()) <= precision:
            break
    widest = max(reach, key=reach.__getitem__, default="")
    return results, {
        "target": precision,
        "reached": bool(reach) and reach[widest] <= precision,
        "half_width": reach.get(widest, float("nan")),
        "widest": widest,
        "used": sum(sizes),
        "of": total,
        "confidence": confidence,
        "looks": counts,
        "taken": np.sort(order[: sum(sizes)]).tolist(),
    }


def half_widths(results: Results) -> dict[str, float]:
    """By measure and layer, half the width of the interval; those without a number are left out."""
    found = {}
    for key, measure in results.items():
        assert measure.replicates is not None
        for name, layer in measure.items():
            low, high = measure.replicates.interval(name, layer.mean)
            if np.isfinite(high - low):
                found[f"{key} at {name}"] = (high - low) / 2
    return found


def _in_pairs(shards: list[dict[str, LayerStates]], sizes: list[int]) -> tuple[list[dict[str, LayerStates]], list[int]]:
    """Shards joined two by two."""
    joined = []
    for first, second in zip(shards[::2], shards[1::2], strict=True):
        layers: dict[str, LayerStates] = {
            name: {
                statistic: merged(statistic, [state, second[name][statistic]]) for statistic, state in states.items()
            }
            for name, states in first.items()
        }
        joined.append(layers)
    return joined, [first + second for first, second in zip(sizes[::2], sizes[1::2], strict=True)]


def _results(
    setting: Setting,
    layers: Sequence[Layer],
    shards: Sequence[dict[str, LayerStates]],
    sizes: Sequence[int],
    intervals: Intervals,
) -> Results:
    check_enough(setting.measures, sum(sizes), len(setting.transformations))
    by_layer = {}
    for layer in layers:
        held = ShardStates.of([shard.get(layer.name, {}) for shard in shards], setting.measures, layer.shape)
        resolution = setting.resolutions.get(layer.name, EXACT)
        by_layer[layer.name] = measure_layer(setting.measures, layer, held, intervals, resolution=resolution)
    return assembled(by_layer, {}, intervals, sizes)
