"""Plan groups of layers so that accumulators and activations fit a memory budget (evaluation)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfinv.support.memory import available

SHARE_OF_FREE = 0.5
"""The default budget, as a share of the memory that is free when the evaluation starts."""
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
    plans = [found for size in sizes if (found := _grouped(needs, size, budget, image))]
    if not plans:
        worst = max(needs, key=lambda each: _bytes([each], sizes[-1], image))
        least = _bytes([worst], sizes[-1], image)
        hint = "" if sizes[-1] == 1 else " or a smaller batch_size"
        raise ValueError(
            f"memory_budget must be at least {readable(least)} for layer {worst.layer!r} alone; give more, fewer "
            f"transformations{hint}. Received: {readable(budget)}"
        )
    return min(plans, key=lambda each: (len(each.groups), -each.batch_size))


def _grouped(needs: Sequence[Need], batch_size: int, budget: int, image: int) -> Plan | None:
    groups: list[list[Need]] = []
    for need in needs:
        if _bytes([need], batch_size, image) > budget:
            return None
        if groups and _bytes([*groups[-1], need], batch_size, image) <= budget:
            groups[-1].append(need)
        else:
            groups.append([need])
    names = tuple(tuple(each.layer for each in group) for group in groups)
    return Plan(names, batch_size, tuple(_bytes(group, batch_size, image) for group in groups), budget)


def _bytes(group: Sequence[Need], batch_size: int, image: int) -> int:
    own = sum(each.state + batch_size * each.block for each in group)
    return own + batch_size * image + max(each.work + batch_size * each.work_block for each in group)


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
    if isinstance(budget, bool) or not isinstance(budget, (int, float)):
        raise TypeError(f"memory_budget must be a number of bytes or text such as '8GiB'. Received: {budget!r}")
    if not budget >= 1:
        raise ValueError(f"memory_budget must be positive. Received: {budget!r}")
    return int(budget)


def readable(size: float) -> str:
    """Bytes as people write them: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"
