"""States that stay with the workers: added piece by piece, measured layer by layer, so that values come back alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfinv.engine.measuring import Intervals, LayerMeasured, measure_layer
from tfinv.engine.shards import ShardStates
from tfinv.engine.states import LayerStates, Summary, joined_states, merged
from tfinv.measures import Measure
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.resolution import EXACT, Resolution

PARTS = 16
"""Parts of the layers at most; the states of a part are added by one worker at a time."""
ADDED = 4
"""Pieces that are added in one task."""

PieceStates = Mapping[str, LayerStates]
"""By layer the states of some samples."""


def parts_of(layers: Sequence[Layer], most: int = PARTS) -> list[tuple[str, ...]]:
    """The names of the layers in parts of about equal numbers of units.

    Example:
        >>> from tfinv.engine.reducing import parts_of
        >>> from tfinv.statistics import Layer
        >>> from tfinv.transformations import rotations
        >>> shapes = {"a": (9,), "b": (4,), "c": (3,)}
        >>> parts_of([Layer(name, shape, 2, rotations(2)) for name, shape in shapes.items()], 2)
        [('a',), ('b', 'c')]

    Args:
        layers: the layers.
        most: parts at most.
    """
    parts: list[list[str]] = [[] for _ in range(min(most, len(layers)))]
    units = [0] * len(parts)
    for layer in sorted(layers, key=lambda layer: -int(np.prod(layer.shape))):
        lightest = units.index(min(units))
        parts[lightest].append(layer.name)
        units[lightest] += int(np.prod(layer.shape))
    return [tuple(names) for names in parts]


def split(states: PieceStates, samples: int, parts: Sequence[Sequence[str]]) -> tuple[Any, ...]:
    """In a worker: the states of a piece part by part, and at the end how many samples they hold."""
    return (*({name: states[name] for name in names if name in states} for names in parts), samples)


def added(total: PieceStates | None, *pieces: PieceStates) -> dict[str, dict[Statistic, Any]]:
    """In a worker: the total of one part with the next pieces, in float64; a single piece stays as it is.

    Args:
        total: of the pieces so far; None for none.
        pieces: the next ones, in their order.
    """
    begin = 0 if total is not None else 1
    first: PieceStates = pieces[0] if total is None else total
    done = {name: dict(states) for name, states in first.items()}
    for piece in pieces[begin:]:
        for name, states in piece.items():
            for statistic, state in states.items():
                done[name][statistic] = joined_states(statistic, done[name][statistic], state)
    return done


def summarized(statistics: Sequence[Statistic], *totals: PieceStates) -> dict[str, dict[Statistic, Summary]]:
    """In a worker: of some statistics what a later pass reads.

    Args:
        statistics: which.
        *totals: of one part of the layers, for one set of samples after the other.
    """
    return {
        name: {
            statistic: Summary(statistic.summary(merged(statistic, [total[name][statistic] for total in totals])))
            for statistic in statistics
            if statistic in states
        }
        for name, states in totals[0].items()
    }


@dataclass(frozen=True)
class Measuring:
    """How a part of the layers is measured.

    Args:
        measures: the measures.
        layers: those of the part.
        needed: the statistics that the measures read.
        intervals: see `measure_layer`.
        resolutions: by layer, see `measure_layer`.
        shards: how many sets of samples there are.
    """

    measures: tuple[Measure, ...]
    layers: tuple[Layer, ...]
    needed: tuple[Statistic, ...]
    intervals: Intervals | None
    resolutions: Mapping[str, Resolution]
    shards: int


def measure_part(how: Measuring, *totals: PieceStates) -> dict[str, LayerMeasured]:
    """In a worker: what was measured on the layers of a part.

    Args:
        how: see `Measuring`.
        *totals: the states of the first pass shard by shard, then those of the next pass.
    """
    by_layer = {}
    for layer in how.layers:
        shards: list[dict[Statistic, Any]] = [{} for _ in range(how.shards)]
        for number, total in enumerate(totals):
            states = total.get(layer.name, {})
            shards[number % how.shards] |= {key: states[key] for key in how.needed if key in states}
        resolution = how.resolutions.get(layer.name, EXACT)
        held = ShardStates.of(shards, how.measures, layer.shape)
        by_layer[layer.name] = measure_layer(how.measures, layer, held, how.intervals, resolution=resolution)
    return by_layer


class Totals:
    """The totals of one set of samples, part by part, which grow as pieces are handed in.

    Args:
        team: workers that hold results.
        parts: how many there are.
    """

    def __init__(self, team: Any, parts: int) -> None:
        self._team = team
        self._totals: list[Any] = [None] * parts
        self._waiting: list[Sequence[Any]] = []

    def add(self, piece: Sequence[Any]) -> None:
        """Hand in the next piece, part by part."""
        self._waiting.append(piece)
        if len(self._waiting) == ADDED:
            self._flush()

    def by_part(self) -> list[Any]:
        """What stands for the totals, part by part."""
        if self._waiting:
            self._flush()
        return self._totals

    def _flush(self) -> None:
        for number, total in enumerate(self._totals):
            pieces = [piece[number] for piece in self._waiting]
            self._totals[number] = self._team.hold(added, total, *pieces)[0]
        self._waiting = []


def finished(begun: Iterator[Any], most: int) -> Iterator[Any]:
    """Let at most so many promises wait at a time, and give the results in their order."""
    waiting: deque[Any] = deque()
    for promise in begun:
        waiting.append(promise)
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
