"""What each layer of an evaluation needs in memory, and the plan that follows (evaluation)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfinv.engine.memory import Need, Plan, parse_budget, plan
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.compiled import fused
from tfinv.support.lazy import tf


def plan_layers(
    layers: Sequence[Layer],
    statistics: Sequence[Statistic],
    image_shape: Sequence[int],
    batch_size: int,
    *,
    budget: Any = None,
    fixed: bool = False,
    shards: int = 0,
    checkpoint: bool = False,
    keep: bool = False,
) -> Plan:
    """Groups of layers that fit a memory budget.

    Args:
        layers: the layers in network order.
        statistics: all that is gathered, in whichever pass.
        image_shape: `(H, W, C)`.
        batch_size: samples in a block.
        budget: see `memory.parse_budget`.
        fixed: whether the batch size must stay as it is.
        shards: number of shards whose states are held apart; 0 for none.
        checkpoint: whether a checkpoint holds copies of the states of shards.
        keep: whether states are kept in the results.
    """
    count = layers[0].num_transformations
    image = 3 * count * int(np.prod(image_shape)) * 4
    copies = 1 + 1.5 * shards + checkpoint * shards + 1.5 * keep
    needs = [_need(layer, statistics, shards, copies) for layer in layers]
    return plan(needs, batch_size, parse_budget(budget), image, shrink=not fixed)


def _need(layer: Layer, statistics: Sequence[Statistic], shards: int, copies: float) -> Need:
    fitting = [each for each in statistics if not each.applies(layer)]
    groups = fused.groups(fitting)
    others = [each for each in fitting if not any(each in group for group in groups)]
    in_graph = _state_bytes(others, layer)
    state = in_graph + sum(fused.state_bytes(each, layer) for each in groups)
    block = (layer.num_transformations + 1) * int(np.prod(layer.shape)) * 4
    # Operations on variables write a handful of temporary arrays of the size of what they read; two layers at a time.
    updating, updating_block = 2 * 3 * in_graph, 2 * 3 * block if others else 0
    # Measures read float64 and square it; shards are merged in both directions.
    computing = int(state * (5 + 4 * shards))
    return Need(layer.name, int(state * copies), block, max(updating, computing), updating_block)


def _state_bytes(statistics: Sequence[Statistic], layer: Layer) -> int:
    """Bytes of states, which are built in a graph and so never take them."""
    if not statistics:
        return 0
    with tf.Graph().as_default():
        arrays = [each for statistic in statistics for each in statistic.init(layer)]
    return sum(int(np.prod(each.shape)) * tf.as_dtype(each.dtype).size for each in arrays)
