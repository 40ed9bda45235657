"""What each layer needs in memory, and groups of layers whose accumulators and activations fit a budget."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfinv.engine.shards import UNITS
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.compiled import fused
from tfinv.support.checks import is_number
from tfinv.support.lazy import tf
from tfinv.support.memory import available

SHARE_OF_FREE = 0.5
"""The default budget, as a share of the memory that is free when the evaluation starts."""
HELD = 1.1
"""Bytes that the state of a shard takes, as a share of that of all samples while it is gathered."""
WHOLE = 2
"""Bytes of the state of all shards together, in float64."""
MEASURING, COMPUTING = 1, 7
"""Bytes that a layer's measures take at most, as multiples of its state, and of what is held of a shard's: the state of
all shards but one, in float64, with intermediate arrays."""
DRAWN, DRAWING = 15, 4.5
"""The same where shards are drawn: for the draws made at a time, and for each shard."""
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclass(frozen=True)
class Need:
    """The bytes that one layer needs.

    Args:
        layer: its name.
        state: accumulators.
        block: activations of one sample under all transformations.
        work: temporary arrays while its state is updated or its result is computed; not all layers need them at once.
        work_block: the same for each sample of a block.
    """

    layer: str
    state: int
    block: int
    work: int = 0
    work_block: int = 0


@dataclass(frozen=True)
class Plan:
    """Which layers are measured together, and what that takes.

    Args:
        groups: layer names, one group a run over the images.
        batch_size: samples in a block.
        sizes: bytes by group.
        budget: bytes allowed.
    """

    groups: tuple[tuple[str, ...], ...]
    batch_size: int
    sizes: tuple[int, ...]
    budget: int

    def __str__(self) -> str:
        head = f"memory budget {readable(self.budget)}, {self.batch_size} samples a block"
        rows = [("layers", "from", "to", "memory")]
        for group, size in zip(self.groups, self.sizes, strict=True):
            rows.append((str(len(group)), group[0], group[-1], readable(size)))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([head, *(f"  {line}" for line in lines)])


def plan_layers(
    layers: Sequence[Layer],
    statistics: Sequence[Statistic],
    image_shape: Sequence[int],
    batch_size: int,
    *,
    budget: Any = None,
    fixed: bool = False,
    shards: int = 0,
    resamples: int = 0,
    checkpoint: bool = False,
    keep: bool = False,
    pieces: bool = False,
    some: Collection[Statistic] = (),
) -> Plan:
    """Groups of layers that fit a memory budget.

    Args:
        layers: the layers in network order.
        statistics: all that is gathered, in whichever pass.
        image_shape: `(H, W, C)`.
        batch_size: samples in a block.
        budget: see `parse_budget`.
        fixed: whether the batch size must stay as it is.
        shards: number of shards whose states are held apart; 0 for none.
        resamples: how often shards are drawn; 0 where one is left out at a time.
        checkpoint: whether a checkpoint holds copies of the states of shards.
        keep: whether states are kept in the results.
        pieces: whether the samples are more than one piece, whose states are merged in float64.
        some: statistics of which shards are held for some units of wide layers, see `engine.shards.held_of_some`.
    """
    count = layers[0].num_transformations
    image = 3 * count * int(np.prod(image_shape)) * 4
    copies = 1 + 2 * pieces + (WHOLE if shards else 0) + checkpoint * shards + 1.5 * keep
    needs = [_need(layer, statistics, shards, resamples, copies, () if keep else some) for layer in layers]
    return plan(needs, batch_size, parse_budget(budget), image, shrink=not fixed)


def _need(
    layer: Layer,
    statistics: Sequence[Statistic],
    shards: int,
    resamples: int,
    copies: float,
    some: Collection[Statistic] = (),
) -> Need:
    fitting = [statistic for statistic in statistics if not statistic.applies(layer)]
    groups = fused.groups(fitting)
    others = [statistic for statistic in fitting if not any(statistic in group for group in groups)]
    in_graph = _state_bytes(others, layer)
    state = in_graph + sum(fused.state_bytes(group, layer) for group in groups)
    part = min(1.0, UNITS / int(np.prod(layer.shape)))
    held = part * _state_bytes([statistic for statistic in others if statistic in some], layer)
    held += _state_bytes([statistic for statistic in others if statistic not in some], layer)
    for group in groups:
        held += fused.state_bytes(group, layer) * (part if all(statistic in some for statistic in group) else 1)
    block = (layer.num_transformations + 1) * int(np.prod(layer.shape)) * 4
    # Operations on variables write a handful of temporary arrays of the size of what they read; two layers at a time.
    updating, updating_block = 2 * 3 * in_graph, 2 * 3 * block if others else 0
    # What cannot be subtracted is merged in both directions, in float64.
    merged = _state_bytes([statistic for statistic in others if not statistic.per_unit], layer)
    merged += sum(
        fused.state_bytes(group, layer) for group in groups if not all(statistic.per_unit for statistic in group)
    )
    computing = (MEASURING * state + COMPUTING * held if shards else COMPUTING * state) + 4 * shards * merged
    computing += (DRAWN + DRAWING * shards) * held if resamples else 0
    bytes_held = int(state * copies + HELD * shards * held)
    return Need(layer.name, bytes_held, block, int(max(updating, computing)), updating_block)


def _state_bytes(statistics: Sequence[Statistic], layer: Layer) -> int:
    """Bytes of states, which are built in a graph and so never take them."""
    if not statistics:
        return 0
    with tf.Graph().as_default():
        arrays = [array for statistic in statistics for array in statistic.init(layer)]
    return sum(int(np.prod(array.shape)) * tf.as_dtype(array.dtype).size for array in arrays)


def plan(needs: Sequence[Need], batch_size: int, budget: int, image: int = 0, *, shrink: bool = True) -> Plan:
    """Put layers, in network order, into as few groups as fit the budget.

    Fewer groups mean fewer runs over the images, so smaller blocks are tried too; among equals the largest block wins.

    Args:
        needs: the layers in network order.
        batch_size: largest number of samples in a block.
        budget: bytes.
        image: bytes of one sample's images under all transformations, as they are warped.
        shrink: whether smaller blocks may be tried.

    Raises:
        ValueError: one layer alone does not fit.
    """
    sizes = [batch_size]
    while shrink and sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    plans = [fits for size in sizes if (fits := _grouped(needs, size, budget, image))]
    if not plans:
        worst = max(needs, key=lambda need: _bytes([need], sizes[-1], image))
        least = _bytes([worst], sizes[-1], image)
        hint = "" if sizes[-1] == 1 else " or a smaller batch_size"
        raise ValueError(
            f"memory_budget must be at least {readable(least)} for layer {worst.layer!r} alone; give more, fewer "
            f"transformations{hint}. Received: {readable(budget)}"
        )
    return min(plans, key=lambda fits: (len(fits.groups), -fits.batch_size))


def _grouped(needs: Sequence[Need], batch_size: int, budget: int, image: int) -> Plan | None:
    groups: list[list[Need]] = []
    for need in needs:
        if _bytes([need], batch_size, image) > budget:
            return None
        if groups and _bytes([*groups[-1], need], batch_size, image) <= budget:
            groups[-1].append(need)
        else:
            groups.append([need])
    names = tuple(tuple(need.layer for need in group) for group in groups)
    return Plan(names, batch_size, tuple(_bytes(group, batch_size, image) for group in groups), budget)


def _bytes(group: Sequence[Need], batch_size: int, image: int) -> int:
    held = sum(need.state + batch_size * need.block for need in group)
    return held + batch_size * image + max(need.work + batch_size * need.work_block for need in group)


def parse_budget(budget: Any) -> int:
    """Bytes of a budget.

    Args:
        budget: None for a share of the free memory, a number of bytes, or text such as `"8GiB"` or `"500 MB"`.

    Raises:
        ValueError: text that is no amount of memory, or an amount that is not positive.
        TypeError: something else.
    """
    if budget is None:
        return int(available() * SHARE_OF_FREE)
    if isinstance(budget, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", budget)
        if not match or match[2].lower() not in _UNITS:
            raise ValueError(f"memory_budget must read like '8GiB' or '500MB'. Received: {budget!r}")
        budget = float(match[1]) * _UNITS[match[2].lower()]
    if not is_number(budget):
        raise TypeError(f"memory_budget must be a number of bytes or text such as '8GiB'. Received: {budget!r}")
    if not 1 <= budget < math.inf:
        raise ValueError(f"memory_budget must be a positive and finite number of bytes. Received: {budget!r}")
    return int(budget)


def readable(size: float) -> str:
    """Bytes as people write them: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"
