"""What every statistic is: an immutable state that blocks of activations update and that merges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from tfinv.statistics.layer import Layer
from tfinv.support.keys import key_of
from tfinv.support.types import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.loop_sums import LoopParts, LoopSums
    from tfinv.statistics.resolution import Resolution, Unresolved
    from tfinv.transformations.generators import Generator


@dataclass(frozen=True)
class Context:
    """What a block of samples comes with besides the activations.

    Args:
        layer: the layer.
        index: int64 `(S_b,)`, position of each sample in the whole data, the same however the data are cut.
        labels: int64 `(S_b,)`, `(S_b, K)` of 0 and 1 for several labels per image, or None.
        reference: `(S_b, *U)`, activations of the untransformed images; only where a statistic `needs_reference`.
        given: what the finished statistics named in `depends` hand on, as tensors; see `Statistic.summary`.
        derivatives: `(S_b, *U)` by generator, how `reference` changes as that transformation of the images sets in;
            only for the generators that statistics go `along`.
    """

    layer: Layer
    index: Tensor = None
    labels: Any = None
    reference: Any = None
    given: Mapping[Statistic, Any] = field(default_factory=dict)
    derivatives: Mapping[str, Any] = field(default_factory=dict)


class View(ABC):
    """A function of a block that several statistics may share, such as the inverse warp; computed once per layer."""

    def applies(self, layer: Layer) -> str:
        """Why the view does not exist on a layer; "" where it does."""
        return ""

    @abstractmethod
    def apply(self, block: Tensor, layer: Layer) -> Any:
        """The viewed block `(S_b, T, *U)` of a block of the same shape; in-graph."""


class Statistic(ABC):
    """A frozen dataclass of hyper-parameters that turns a stream of blocks into one mergeable state.

    The law that sharding, resuming and distribution rest on: `merge` is associative and commutative up to rounding,
    `init` is neutral, and `update(state, block) = merge(state, state of block alone)`.
    Two equal statistics are gathered once.
    """

    needs_labels: ClassVar[bool] = False
    """Whether `update` reads `context.labels`."""
    needs_reference: ClassVar[bool] = False
    """Whether `update` reads `context.reference`: the engine then runs the untransformed images as well."""
    per_unit: ClassVar[tuple[str, ...]] = ()
    """The arrays of the state whose last axes are `*U`, for statistics that define `without`."""
    reference_only: ClassVar[bool] = False
    """Whether `update` reads nothing but `context.reference`: a pass of such statistics runs each image once, not `T`
    times, and `block` is then None."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if {"init", "update"} & vars(cls).keys() and "loop" not in vars(cls):
            # What the parent takes from the compiled loop says nothing about a subclass that computes something else.
            setattr(cls, "loop", Statistic.loop)  # noqa: B010
        if "merge" in vars(cls) and "without" not in vars(cls):
            setattr(cls, "without", Statistic.without)  # noqa: B010

    @property
    def key(self) -> str:
        """Stable text of class and parameters."""
        return key_of(self)

    @property
    def view(self) -> View | None:
        """What is done to a block before `update` sees it; None for nothing."""
        return None

    @property
    def depends(self) -> tuple[Statistic, ...]:
        """Statistics that must be complete before this one starts: it is gathered in a second pass."""
        return ()

    @property
    def along(self) -> Generator | None:
        """The infinitesimal transformation whose derivative `update` reads in `context.derivatives`; None for none.

        Such statistics are `reference_only`, and gathered in a pass of their own that differentiates the model.
        """
        return None

    @property
    def loop(self) -> LoopParts | None:
        """Which sums of the compiled loop the state is made from; None where blocks go through `update`.

        On the CPU one compiled loop reads a block once for all statistics that name parts of it. These define
        `from_loop`, and read nothing but the block as their `view` shows it. They define `update` as well, which runs
        where the loop does not: on a GPU, in float64, without Numba. A subclass with an `init` or `update` of its own
        does not join the loop unless it defines `loop` too.
        """
        return None

    def from_loop(self, sums: LoopSums) -> NamedTuple:
        """The state, as NumPy arrays, from what the compiled loop has gathered; only where `loop` names parts.

        Args:
            sums: its arrays change with the next block.
        """
        raise NotImplementedError(
            f"{type(self).__name__} names parts of the compiled loop, so it must define from_loop"
        )

    def settled(self, state: Any) -> Any:
        """A state of the type that `merge` takes: `from_loop` may give another one."""
        return state

    def is_readable(self, state: Any) -> bool:
        """Whether measures read a state as it was gathered; they read all others settled and in float64."""
        return False

    def unresolved(self, state: Any, resolution: Resolution) -> Unresolved | None:
        """Which units vary by rounding alone; None where there are none, or the state cannot tell.

        Args:
            state: as measures read it.
            resolution: of the layer.
        """
        return None

    def without_rounding(self, state: Any, units: Unresolved) -> Any:
        """The state in which units that vary by rounding alone are constant; the given state does not change.

        Args:
            state: as measures read it.
            units: what another statistic with the same view found.
        """
        return state

    def applies(self, layer: Layer) -> str:
        """Why this statistic does not exist on a layer, in words; "" where it does."""
        return self.view.applies(layer) if self.view else ""

    @abstractmethod
    def init(self, layer: Layer, dtype: Any = "float32") -> NamedTuple:
        """The state of no samples, as tensors.

        Args:
            layer: name, unit shape, number of transformations.
            dtype: of the accumulators.
        """

    @abstractmethod
    def update(self, state: Any, block: Tensor, context: Context | None = None) -> NamedTuple:
        """The state after a block of samples; pure, in-graph.

        Args:
            state: a state of this statistic.
            block: activations `(S_b, T, *U)`, any `S_b` of at least 1, seen through `view`.
            context: labels, sample positions and more, for statistics that read them.
        """

    @abstractmethod
    def merge(self, first: Any, second: Any) -> NamedTuple:
        """The state of two disjoint sets of samples; works on tensors and on NumPy arrays alike."""

    def merged_into(self, total: Any, state: Any) -> Any:
        """`merge` in place, with the same bits; None where the statistic has no faster way than `merge`.

        Args:
            total: a merged state as NumPy arrays, float64, which are written over.
            state: of other samples, as it was gathered.

        Returns:
            The state with the arrays of `total`.
        """
        return None

    def without(self, total: Any, part: Any) -> tuple[Any, NDArray[np.bool_]] | None:
        """The state of the samples of one state that are not in another one; None where `merge` cannot be undone.

        Args:
            total: a merged state as NumPy arrays, float64.
            part: one of the states that it was merged from, float64.

        Returns:
            The state, and `(*U)` whether a unit has lost digits in the subtraction: the others must be merged for it.
        """
        return None

    def resampled(self, states: Sequence[Any], counts: NDArray[np.integer]) -> Iterator[Any]:
        """The states in which those of disjoint samples count several times or not at all, one after the other.

        Args:
            states: `G` states as NumPy arrays, float64.
            counts: `(B, G)`, how often each counts.
        """
        for times in counts:
            chosen = [state for state, number in zip(states, times, strict=True) for _ in range(number)]
            total = chosen[0]
            for state in chosen[1:]:
                merged: Any = self.merge(total, state)
                total = merged._make(np.asarray(array) for array in merged)
            yield total

    def at_positions(self, state: Any, positions: NDArray[np.intp]) -> Any:
        """The state of some units, where it holds arrays by position besides those of `per_unit`.

        Args:
            state: its `per_unit` arrays are `(..., N, 1)` already.
            positions: `(N,)`, flat number of the position of every unit.
        """
        return state

    def summary(self, state: Any) -> Any:
        """What statistics that depend on this one get to see of its finished state.

        Args:
            state: the state as NumPy arrays.
        """
        return state


RESAMPLES_AT_A_TIME = 8
"""So many resampled states are made from one reading of the shards' states."""


def resampled_means(states: Sequence[Any], counts: NDArray[np.integer]) -> Iterator[Any]:
    """`Statistic.resampled` for states of a `count`, a `mean` over samples, and what is the same in all.

    Args:
        states: see `Statistic.resampled`.
        counts: see `Statistic.resampled`.
    """
    means = np.stack([state.mean for state in states])
    lowest = means.min(axis=0)
    sizes = counts * np.array([state.count for state in states])
    for start in range(0, len(counts), RESAMPLES_AT_A_TIME):
        part = sizes[start : start + RESAMPLES_AT_A_TIME]
        total = part.sum(axis=1)
        # Deviations from the lowest are never negative, and keep what is constant or zero exactly so.
        drawn = lowest + np.tensordot(part / total[:, None], means - lowest, 1)
        for count, mean in zip(total, drawn, strict=True):
            yield states[0]._replace(count=count, mean=mean)


CANCELLED = 1e-5
"""What is left of a sum of positive numbers, as a share of it, below which a subtraction has lost digits."""


def mean_without(total: Any, part: Any) -> tuple[Any, NDArray[np.bool_]]:
    """`Statistic.without` for states of a `count`, a `mean` of numbers of at least 0, and what is the same in all.

        mean_{rest} = mean + (mean - mean_{part}) n_{part} / n_{rest}

    Args:
        total: see `Statistic.without`.
        part: see `Statistic.without`.
    """
    count = total.count - part.count
    mean = total.mean - part.mean
    mean *= part.count / count
    mean += total.mean
    return total._replace(count=count, mean=mean), mean < CANCELLED * total.mean


def share(first_count: Any, second_count: Any) -> Any:
    """`n_b / (n_a + n_b)`, and 0 for two empty states."""
    return second_count / (first_count + second_count + 1e-30)
