"""The states of one layer for all samples, and of each shard as much as replicates are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.engine.states import LayerStates, copied, draws, leave_one_out, merged_into, of_units, shape_of_some, widened
from tfinv.measures.base import Measure, required_statistics
from tfinv.statistics import Statistic
from tfinv.statistics.resolution import Unresolved

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNITS = 2**14
"""Units that the replicates of a wider layer are computed from (`docs/measures.md`)."""


class Replicated(NamedTuple):
    """What replicates of some measures are computed from.

    Args:
        measures: the measures.
        whole: of all samples.
        without: of all samples but one shard, shard by shard.
        drawn: of shards drawn with replacement, draw by draw; empty where there are no draws.
        units: flat numbers of the units that the states are of; None for all.
    """

    measures: tuple[Measure, ...]
    whole: LayerStates
    without: Iterable[LayerStates]
    drawn: Iterable[LayerStates]
    units: NDArray[np.intp] | None

    def of_those(self, unresolved: Mapping[Statistic, Unresolved]) -> Mapping[Statistic, Unresolved]:
        """What is known of all units, of those that the states are of."""
        if self.units is None:
            return unresolved
        return {
            statistic: found.of_units(self.units, shape_of_some(len(self.units), found.all.shape))
            for statistic, found in unresolved.items()
        }


class ShardStates:
    """The states of one layer, gathered shard by shard.

    Replicates of measures whose values are computed unit by unit come from `UNITS` units of a wider layer, the same in
    every layer of that many units; those of other measures from all units.

    Args:
        measures: the measures, all of which get replicates.
        shape: `*U`, unit shape of the layer; `()` where it is not known: replicates then come from all units.
    """

    def __init__(self, measures: Sequence[Measure], shape: tuple[int, ...] = ()) -> None:
        self.whole: dict[Statistic, Any] = {}
        self._shape = shape
        self._units = chosen_units(int(np.prod(shape))) if shape else None
        by_unit = [measure for measure in measures if self._units is not None and is_by_unit(measure)]
        self._by_unit, self._others = by_unit, [measure for measure in measures if measure not in by_unit]
        self._needed = set(required_statistics(by_unit)), set(required_statistics(self._others))
        self._chosen: list[dict[Statistic, Any]] = []
        self._all: list[dict[Statistic, Any]] = []
        self._joined: set[Statistic] = set()

    @classmethod
    def of(cls, shards: Sequence[LayerStates], measures: Sequence[Measure], shape: tuple[int, ...] = ()) -> ShardStates:
        """From states that stay as they are.

        Args:
            shards: states of disjoint samples.
            measures: see `ShardStates`.
            shape: see `ShardStates`.
        """
        held = cls(measures, shape)
        for number, states in enumerate(shards):
            held.add(number, states)
        return held

    def add(self, shard: int, states: LayerStates, *, copy: bool = False) -> None:
        """Take the states of a shard, or those of some more of its statistics.

        Args:
            shard: its number among those that are taken, which come in order.
            states: by statistic.
            copy: whether the arrays change afterwards.
        """
        for shards in (self._chosen, self._all):
            if len(shards) <= shard:
                shards.append({})
        for statistic, state in states.items():
            if self._units is not None and statistic in self._needed[0]:
                self._chosen[shard][statistic] = of_units(statistic, state, self._units, self._shape)
            known, needed = statistic in self.whole, statistic in self._needed[1]
            held = copied(state) if copy and (needed or not known) else state
            if needed:
                self._all[shard][statistic] = held
            if not known:
                self.whole[statistic] = held
                continue
            total = self.whole[statistic]
            if statistic not in self._joined:  # the first shard is kept as it was gathered
                total = copied(widened(statistic, total))
                self._joined.add(statistic)
            self.whole[statistic] = merged_into(statistic, total, state, self._shape)

    def replicated(self, measures: Sequence[Measure], resamples: int) -> list[Replicated]:
        """What replicates of these measures are computed from; the states are each valid until the next.

        Args:
            measures: those of the given measures that apply to the layer.
            resamples: how often shards are drawn; 0 for no draws.
        """
        found = []
        for kind, shards, units in ((self._by_unit, self._chosen, self._units), (self._others, self._all, None)):
            applying = tuple(measure for measure in measures if measure in kind)
            if not applying:
                continue
            needed = required_statistics(applying)
            whole: LayerStates = {statistic: self.whole[statistic] for statistic in needed}
            shape = self._shape
            if units is not None:
                whole = {key: of_units(key, state, units, shape) for key, state in whole.items()}
                shape = shape_of_some(len(units), shape)
            read = [{statistic: shard[statistic] for statistic in needed} for shard in shards]
            drawn = draws(read, resamples) if resamples else ()
            found.append(Replicated(applying, whole, leave_one_out(read, whole, shape), drawn, units))
        return found


def is_by_unit(measure: Measure) -> bool:
    """Whether replicates of a measure can be computed from some of the units."""
    return measure.by_unit and all(statistic.per_unit for statistic in measure.requires)


def held_of_some(measures: Sequence[Measure]) -> set[Statistic]:
    """The statistics of which `ShardStates` holds some units of each shard of a wide layer, and not all."""
    others = required_statistics([measure for measure in measures if not is_by_unit(measure)])
    return set(required_statistics(measures)).difference(others)


def chosen_units(units: int) -> NDArray[np.intp] | None:
    """`(UNITS,)` flat numbers in ascending order, drawn with a fixed seed; None for all of a layer that is not wider.

    Args:
        units: how many the layer has.
    """
    if units <= UNITS:
        return None
    chosen = np.random.default_rng(units).choice(units, UNITS, replace=False, shuffle=False)
    chosen.sort()
    return chosen
