"""States of disjoint samples: read by measures, merged, without one of them, and drawn anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.resampling.shards import shard_counts
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.resolution import Resolution, Unresolved
from tfinv.transformations import rotations

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE = 2**16
"""Numbers of a state that are worked on at a time: states of wide layers are larger than any cache."""
_SMALL = Layer("", (4, 4, 2), 2, rotations(2), is_output=True)
"""Any layer, where the form of a state is looked up."""
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


class Summary(NamedTuple):
    """What `Statistic.summary` gives, where it is small and the state is not.

    Args:
        value: the summary.
    """

    value: Any


def seen(statistic: Statistic, state: Any) -> Any:
    """What statistics of a later pass get to see of a state, or of the summary that stands for it."""
    return state.value if isinstance(state, Summary) else statistic.summary(state)


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
    kind: Any = type(statistic.init(_SMALL))
    if set(fields) != set(kind._fields):
        raise ValueError(f"statistics {statistic.key} must hold {kind._fields}. Received: {tuple(fields)}")
    return kind(**{name: np.asarray(value) for name, value in fields.items()})


def merged(statistic: Statistic, states: Sequence[Any], shape: tuple[int, ...] = ()) -> Any:
    """The states of disjoint samples as one, in float64; a single state stays as it is.

    Args:
        statistic: what the states are of.
        states: the states.
        shape: `*U`, unit shape of the layer; `()` where it is not known, which is slower for wide layers.
    """
    if len(states) == 1:
        return states[0]
    pieces = _pieces(statistic, states[0], shape)
    if len(pieces) < 2:
        return _merged(statistic, states)
    whole = None
    for piece in pieces:
        part = _merged(statistic, [_flat(statistic, state, piece, shape) for state in states])
        whole = _room(statistic, part, shape) if whole is None else whole
        whole = _put(statistic, whole, part, piece, shape)
    return whole


def merged_into(statistic: Statistic, total: Any, state: Any, shape: tuple[int, ...]) -> Any:
    """`merged` of two states in place, with the same bits.

    Args:
        statistic: what the states are of.
        total: in float64; its arrays are written over.
        state: of other samples.
        shape: see `merged`.
    """
    done = statistic.merged_into(total, state)
    if done is not None:
        return done
    pieces = _pieces(statistic, total, shape)
    if len(pieces) < 2:
        return _merged(statistic, [total, state])
    for piece in pieces:
        part = _merged(statistic, [_flat(statistic, some, piece, shape) for some in (total, state)])
        total = _put(statistic, total, part, piece, shape)
    return total


def of_units(statistic: Statistic, state: Any, units: NDArray[np.intp], shape: tuple[int, ...]) -> Any:
    """The state of some units, as of a layer of the shape that `shape_of_some` gives.

    Args:
        statistic: one with `per_unit` arrays.
        state: of a layer.
        units: their flat numbers.
        shape: `*U`, unit shape of the layer.
    """
    some = _flat(statistic, state, units, shape)
    arrays = {name: getattr(some, name) for name in _fields(statistic, some)}
    smaller = shape_of_some(len(units), shape)
    some = some._replace(**{name: array.reshape(*array.shape[:-1], *smaller) for name, array in arrays.items()})
    return statistic.at_positions(some, units // shape[-1]) if len(shape) > 1 else some


def shape_of_some(units: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The unit shape of so many units of a layer: `(N,)`, or `(N, 1)` where they have positions.

    Args:
        units: `N`.
        shape: `*U`, unit shape of the layer.
    """
    return (units,) if len(shape) < 2 else (units, 1)


def unit_shape(states: LayerStates) -> tuple[int, ...]:
    """`*U` of the layer that states of the type that `merge` takes are of; `()` where none of them tells.

    Args:
        states: by statistic.
    """
    for statistic, state in states.items():
        for name in _fields(statistic, state)[:1]:
            small = np.shape(getattr(statistic.init(_SMALL), name))
            return np.shape(getattr(state, name))[len(small) - len(_SMALL.shape) :]
    return ()


def leave_one_out(
    shards: Sequence[LayerStates], whole: LayerStates | None = None, shape: tuple[int, ...] = ()
) -> Iterator[LayerStates]:
    """The states of one layer without each of several shards in turn, in float64, each valid until the next.

    Args:
        shards: states of disjoint samples, of at least two shards.
        whole: all of them merged, where that is known already.
        shape: see `merged`.
    """
    whole = _whole(shards, shape) if whole is None else whole
    statistics = list(shards[0])
    rest = [
        _left_out(statistic, [shard[statistic] for shard in shards], whole[statistic], shape)
        for statistic in statistics
    ]
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


def _whole(shards: Sequence[LayerStates], shape: tuple[int, ...]) -> dict[Statistic, Any]:
    """`merged` for every statistic of one layer."""
    return {statistic: merged(statistic, [shard[statistic] for shard in shards], shape) for statistic in shards[0]}


def _merged(statistic: Statistic, states: Sequence[Any]) -> Any:
    total = widened(statistic, states[0])
    for state in states[1:]:
        total = joined_states(statistic, total, state)
    return total


def _left_out(statistic: Statistic, states: Sequence[Any], whole: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """The merged state of all others, for every state: the whole without it, or all others merged."""
    total, room = widened(statistic, whole), None
    pieces = _pieces(statistic, states[0], shape)
    for position, state in enumerate(states):
        uncertain: list[NDArray[np.intp]] = []
        unit_shape = shape
        for piece in pieces:
            left = None if len(states) == 2 else _without(statistic, total, state, piece, shape)
            if left is None:
                yield from _rests(statistic, states)[position:]
                return
            part, unclear = left
            if len(pieces) == 1:
                room, unit_shape = part, np.shape(unclear)
            else:
                room = _room(statistic, part, shape) if room is None else room
                room = _put(statistic, room, part, piece, shape)
            uncertain.append(np.flatnonzero(unclear) + (piece.start or 0))
        units = np.concatenate(uncertain)
        if units.size:
            others = (*states[:position], *states[position + 1 :])
            exact = _merged(statistic, [_flat(statistic, other, units, unit_shape) for other in others])
            _put(statistic, room, exact, units, unit_shape)
        yield room


def _without(
    statistic: Statistic, total: Any, state: Any, piece: slice, shape: tuple[int, ...]
) -> tuple[Any, NDArray[np.bool_]] | None:
    """`Statistic.without` for some units."""
    if piece == slice(None):
        return statistic.without(total, widened(statistic, state))
    part = widened(statistic, _flat(statistic, state, piece, shape))
    return statistic.without(_flat(statistic, total, piece, shape), part)


def _pieces(statistic: Statistic, state: Any, shape: tuple[int, ...]) -> list[slice]:
    """Runs of units whose states fit a cache; one of all where the unit shape is not known."""
    units = int(np.prod(shape))
    largest = max((np.size(getattr(state, name)) for name in _fields(statistic, state)), default=0)
    if not shape or largest <= PIECE:
        return [slice(None)]
    size = max(1, PIECE * units // largest)
    return [slice(start, min(start + size, units)) for start in range(0, units, size)]


def _fields(statistic: Statistic, state: Any) -> list[str]:
    return [name for name in statistic.per_unit if name in state._fields]


def _room(statistic: Statistic, part: Any, shape: tuple[int, ...]) -> Any:
    """A state like one of some units, with room for all."""
    names = _fields(statistic, part)
    arrays = {name: getattr(part, name) for name in names}
    return part._replace(**{name: np.empty((*a.shape[:-1], *shape), a.dtype) for name, a in arrays.items()})


def _put(statistic: Statistic, state: Any, part: Any, units: slice | NDArray[np.intp], shape: tuple[int, ...]) -> Any:
    """Write the state of some units into that of all, which is returned with what is not per unit taken from it."""
    names = _fields(statistic, part)
    for name in names:
        _by_unit(getattr(state, name), shape)[..., units] = getattr(part, name)
    return part._replace(**{name: getattr(state, name) for name in names})


def _flat(statistic: Statistic, state: Any, units: slice | NDArray[np.intp], shape: tuple[int, ...]) -> Any:
    """The state of some units of a layer of that unit shape, by their flat numbers."""
    arrays = {name: _by_unit(getattr(state, name), shape) for name in _fields(statistic, state)}
    if isinstance(units, slice):
        return state._replace(**{name: array[..., units] for name, array in arrays.items()})
    # With "clip", NumPy does not check the numbers one by one.
    return state._replace(**{name: array.take(units, axis=-1, mode="clip") for name, array in arrays.items()})


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
