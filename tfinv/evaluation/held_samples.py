"""Which samples results hold: none may be held twice, and none may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.results import Results

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN = 5
"""Runs of positions that an error names."""


def check_samples(parts: Sequence[Results], *, partial: bool = False) -> NDArray[np.int64]:
    """Refuse samples that are held twice or missing.

    A sample is known by its position in the whole data and its content. Parts that were evaluated without
    `first_sample` share positions; their samples are then told apart by content alone.

    Args:
        parts: the results.
        partial: whether samples may be missing.

    Returns:
        See `Results.samples`; empty where a part does not tell.

    Raises:
        ValueError: names the positions.
    """
    data = [part.metadata["data"] for part in parts if "data" in part.metadata]
    if not all(len(part.samples) for part in parts):
        if len(set(data)) < len(data):
            raise ValueError("results must be of disjoint samples to be merged. Received: the same samples twice")
        return np.empty((0, 2), np.int64)
    pairs = np.concatenate([part.samples for part in parts])
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    twice = pairs[1:][(pairs[1:] == pairs[:-1]).all(axis=1)]
    if len(twice):
        raise _held_twice(twice[:, 0])
    whole = (parts[0].metadata.get("sampling") or {}).get("whole")
    shared = pairs[1:, 0][pairs[1:, 0] == pairs[:-1, 0]]
    if len(shared) and whole is not None:
        raise ValueError(
            "results must be of disjoint samples to be merged. Received: two different images at position "
            f"{positions(shared)}; first_sample tells where a part begins"
        )
    if len(shared):
        order = np.argsort(pairs[:, 1], kind="stable")
        content, position = pairs[order, 1], pairs[order, 0]
        same = np.flatnonzero(content[1:] == content[:-1])
        if len(same):
            raise _held_twice(position[same + 1])
    elif len(set(data)) < len(data):
        raise ValueError("results must be of disjoint samples to be merged. Received: the same samples twice")
    if whole is not None and not partial:
        missing = np.setdiff1d(np.arange(whole), pairs[:, 0])
        if len(missing):
            raise ValueError(
                f"results must hold all {whole} samples, or partial=True. Received: results without {len(missing)} of "
                f"them, {positions(missing)}"
            )
    return pairs


def positions(numbers: Any) -> str:
    """Positions as text: `0-4, 9`; the first few runs.

    Example:
        >>> from tfinv.evaluation.held_samples import positions
        >>> positions([9, 0, 1, 2, 3, 4])
        '0-4, 9'
    """
    runs = list(_runs(sorted({int(number) for number in numbers})))
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs[:SHOWN])
    return text + (", ..." if len(runs) > SHOWN else "")


def _runs(numbers: Sequence[int]) -> Iterable[tuple[int, int]]:
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            yield numbers[start], numbers[place - 1]
            start = place


def _held_twice(numbers: NDArray[np.int64]) -> ValueError:
    return ValueError(
        f"results must be of disjoint samples to be merged. Received: the same samples twice, {positions(numbers)}"
    )
