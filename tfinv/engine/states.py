"""States of disjoint samples: read by measures, merged, without one of them, and drawn anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.resampling.shards import shard_counts
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.resolution import Resolution, Unresolved
from tfinv.transformations import rotations

if TYPE_CHECKING:
    from numpy.typing import NDArray

LayerStates = Mapping[Statistic, Any]
"""The states of one layer as NumPy arrays; those of statistics that do not apply to it are absent."""


def readable(statistic: Statistic, state: Any) -> Any:
    """A state as measures read it: in float64, unless the statistic says that they read it as it is."""
    return state if statistic.is_readable(state) else widened(statistic, state)


def widened(statistic: Statistic, state: Any) -> Any:
    """A state that merges, with its floating-point arrays in float64."""
    return _changed(
        statistic.settled(state),
        lambda array: array.astype(np.float64, copy=False) if array.dtype.kind == "f" else array,
    )


class SampleStates(NamedTuple):
    """The states of one layer for all samples, and for the other samples that intervals need.

    Args:
        whole: of all samples.
        without: of all samples but one shard, shard by shard; empty where there are no intervals.
        drawn: of shards drawn with replacement, draw by draw; empty where there are no draws.
        units: those that vary by rounding alone, see `unresolved`.
    """

    whole: LayerStates
    without: Iterable[LayerStates]
    drawn: Iterable[LayerStates]
    units: Mapping[Statistic, Unresolved]

    @classmethod
    def of(cls, shards: Sequence[LayerStates], resolution: Resolution, resamples: int | None = None) -> SampleStates:
        """From the states of shards.

        Args:
            shards: states of disjoint samples.
            resolution: variation below it is rounding.
            resamples: the number of draws; None for no intervals.
        """
        whole = _whole(shards)
        without = () if resamples is None else leave_one_out(shards, whole)
        drawn = draws(shards, resamples) if resamples and whole else ()
        return cls(whole, without, drawn, unresolved(whole, resolution))


def unresolved(states: LayerStates, resolution: Resolution) -> dict[Statistic, Unresolved]:
    """The units of one layer that vary by rounding alone, by the statistics that find some."""
    by_statistic = {}
    for statistic, state in states.items():
        units = statistic.unresolved(readable(statistic, state), resolution)
        if units is not None:
            by_statistic[statistic] = units
    return by_statistic


def without_rounding(states: LayerStates, units: Mapping[Statistic, Unresolved]) -> LayerStates:
    """What one measure reads, where units that vary by rounding alone are constant.

    Args:
        states: of the statistics that the measure requires.
        units: see `unresolved`; those of other statistics change nothing.
    """
    for finder in units.keys() & states.keys():
        states = {
            statistic: statistic.without_rounding(state, units[finder]) if statistic.view == finder.view else state
            for statistic, state in states.items()
        }
    return states


def copied(state: Any) -> Any:
    """A state that further samples do not change."""
    return _changed(state, np.array)


def kept(states: LayerStates) -> dict[str, dict[str, Any]]:
    """Copies of states as results hold them: arrays by the statistic's key and the name of the array."""
    return {statistic.key: copied(statistic.settled(state))._asdict() for statistic, state in states.items()}


def restored(statistic: Statistic, fields: Mapping[str, Any]) -> Any:
    """The state that kept arrays stand for.

    Raises:
        ValueError: arrays of something else.
    """
    kind: Any = type(statistic.init(Layer("", (4, 4, 2), 2, rotations(2), is_output=True)))
    if set(fields) != set(kind._fields):
        raise ValueError(f"statistics {statistic.key} must hold {kind._fields}. Received: {tuple(fields)}")
    return kind(**{name: np.asarray(value) for name, value in fields.items()})


def merged(statistic: Statistic, states: Sequence[Any]) -> Any:
    """The states of disjoint samples as one, in float64; a single state stays as it is."""
    if len(states) == 1:
        return states[0]
    total = widened(statistic, states[0])
    for state in states[1:]:
        total = joined_states(statistic, total, state)
    return total


def leave_one_out(shards: Sequence[LayerStates], whole: LayerStates | None = None) -> Iterator[LayerStates]:
    """The states of one layer without each of several shards in turn, in float64.

    Args:
        shards: states of disjoint samples, of at least two shards.
        whole: all of them merged, where that is known already.
    """
    whole = _whole(shards) if whole is None else whole
    statistics = list(shards[0])
    rest = [_left_out(statistic, [shard[statistic] for shard in shards], whole[statistic]) for statistic in statistics]
    return (dict(zip(statistics, states, strict=True)) for states in zip(*rest, strict=True))


def draws(shards: Sequence[LayerStates], resamples: int) -> Iterator[LayerStates]:
    """The states of one layer when as many shards are drawn with replacement, in float64, draw by draw.

    Args:
        shards: states of disjoint samples.
        resamples: `B`, the number of draws.
    """
    counts, statistics = shard_counts(len(shards), resamples), list(shards[0])
    drawn = (
        statistic.resampled([widened(statistic, shard[statistic]) for shard in shards], counts)
        for statistic in statistics
    )
    return (dict(zip(statistics, states, strict=True)) for states in zip(*drawn, strict=True))


def _whole(shards: Sequence[LayerStates]) -> dict[Statistic, Any]:
    """`merged` for every statistic of one layer."""
    return {statistic: merged(statistic, [shard[statistic] for shard in shards]) for statistic in shards[0]}


def _left_out(statistic: Statistic, states: Sequence[Any], whole: Any) -> Iterator[Any]:
    """The merged state of all others, for every state: the whole without it, or all others merged."""
    total = widened(statistic, whole)
    for position, state in enumerate(states):
        left = None if len(states) == 2 else statistic.without(total, widened(statistic, state))
        if left is None:
            yield from _rests(statistic, states)[position:]
            return
        rest, uncertain = left
        units = np.flatnonzero(uncertain)
        if units.size:
            shape = np.shape(uncertain)
            others = [
                _of_units(statistic, other, units, shape) for other in (*states[:position], *states[position + 1 :])
            ]
            exact = merged(statistic, others)
            for name in set(statistic.per_unit).intersection(rest._fields):
                _by_unit(getattr(rest, name), shape)[..., units] = getattr(exact, name)
        yield rest


def _of_units(statistic: Statistic, state: Any, units: NDArray[np.intp], shape: tuple[int, ...]) -> Any:
    """The state of some units of a layer of that unit shape, by their flat numbers."""
    names = set(statistic.per_unit).intersection(state._fields)
    return state._replace(**{name: _by_unit(getattr(state, name), shape).take(units, axis=-1) for name in names})


def _by_unit(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The array `(..., *U)` with its units along one axis, without a copy."""
    return array.reshape(*array.shape[: array.ndim - len(shape)], -1)


def _rests(statistic: Statistic, states: Sequence[Any]) -> list[Any]:
    """The merged state of all others, for every state: two merges a state, from the front and from the back."""
    before = [widened(statistic, states[0])]
    for state in states[1:-1]:
        before.append(joined_states(statistic, before[-1], state))
    rests, after = [before[-1]], widened(statistic, states[-1])
    for position in range(len(states) - 2, 0, -1):
        rests.append(joined_states(statistic, before[position - 1], after))
        after = joined_states(statistic, states[position], after)
    return [*reversed([*rests, after])]


def joined_states(statistic: Statistic, first: Any, second: Any) -> Any:
    """The states of two disjoint sets of samples as one, in float64."""
    return _changed(statistic.merge(widened(statistic, first), widened(statistic, second)), np.asarray)


def _changed(state: Any, change: Any) -> Any:
    return type(state)(*(change(np.asarray(array)) for array in state))
