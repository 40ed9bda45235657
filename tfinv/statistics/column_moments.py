"""Count, mean and sum of squared deviations over samples for each transformation: the columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.statistics.base import CANCELLED, RESAMPLES_AT_A_TIME, Context, Layer, Statistic, share
from tfinv.statistics.loop_sums import LoopParts, LoopSums
from tfinv.statistics.resolution import Resolution, Unresolved
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ColumnMomentsState(NamedTuple):
    """`count` samples, `mean` and `m2 = sum (x - mean)^2`, both `(T, *U)`."""

    count: Any
    mean: Any
    m2: Any


class ShiftedMoments(NamedTuple):
    """What `ColumnMomentsState` says, as the compiled loop gathers it: float32 and not copied.

    `offset` (`*U`) and `shift` (`(T, *U)`) add up to the mean.
    """

    count: Any
    offset: Any
    shift: Any
    m2: Any

    @property
    def mean(self) -> NDArray[np.float64]:
        """`(T, *U)`, computed here."""
        return np.add(self.shift, self.offset, dtype=np.float64)


class PooledMoments(NamedTuple):
    """`mean` and `std` (ddof = 1) of all `S * T` activations of each unit, both `(*U)`."""

    mean: Any
    std: Any


@dataclass(frozen=True)
class ColumnMoments(Statistic):
    """Moments over samples of every column of the ST matrix, merged by Chan's rule.

        delta = mean_b - mean_a,  mean = mean_a + delta n_b / n,  m2 = m2_a + m2_b + delta^2 n_a n_b / n

    Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", eq. 2.1.
    """

    per_unit = ("offset", "shift", "mean", "m2")

    @property
    def loop(self) -> LoopParts:
        return LoopParts(columns=True)

    def from_loop(self, sums: LoopSums) -> ShiftedMoments:
        return ShiftedMoments(sums.count, sums.offset, sums.shift, sums.m2)

    def settled(self, state: Any) -> ColumnMomentsState:
        return ColumnMomentsState(state.count, state.mean, state.m2) if self.is_readable(state) else state

    def is_readable(self, state: Any) -> bool:
        # The largest states by far: those who read them widen what they need.
        return isinstance(state, ShiftedMoments)

    def unresolved(self, state: Any, resolution: Resolution) -> Unresolved | None:
        largest = np.sqrt(np.asarray(state.m2.max(axis=0), np.float64) / max(state.count - 1, 1))
        size = state.offset + state.shift[0] if isinstance(state, ShiftedMoments) else state.mean[0]
        bound = resolution.of(size)
        samples = largest <= bound
        if not (samples & (bound > 0)).any():
            return None
        means = state.mean[:, samples]
        between = np.square(means - means.mean(axis=0)).mean(axis=0)
        within = np.asarray(state.m2[:, samples], np.float64).mean(axis=0) / state.count
        everything = samples.copy()
        everything[samples] = np.sqrt(between + within) <= bound[samples]
        return Unresolved(samples, everything)

    def without_rounding(self, state: Any, units: Unresolved) -> ColumnMomentsState:
        mean = np.where(units.all, state.mean[0], state.mean)
        return ColumnMomentsState(state.count, mean, np.where(units.samples, 0.0, state.m2))

    def init(self, layer: Layer, dtype: Any = "float32") -> ColumnMomentsState:
        shape = (layer.num_transformations, *layer.shape)
        return ColumnMomentsState(tf.zeros((), dtype), tf.zeros(shape, dtype), tf.zeros(shape, dtype))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> ColumnMomentsState:
        # Shifting by the block's first sample keeps constant columns at exactly zero and float32 safe.
        first = block[0]
        shifted = block - first
        mean = tf.reduce_mean(shifted, axis=0)
        m2 = tf.reduce_sum(tf.square(shifted - mean), axis=0)
        count = tf.cast(tf.shape(block)[0], block.dtype)
        return self.merge(state, ColumnMomentsState(count, first + mean, m2))

    def merge(self, first: Any, second: Any) -> ColumnMomentsState:
        weight = share(first.count, second.count)
        delta = second.mean - first.mean
        return ColumnMomentsState(
            first.count + second.count,
            first.mean + delta * weight,
            first.m2 + second.m2 + delta * delta * (first.count * weight),
        )

    def merged_into(self, total: ColumnMomentsState, state: Any) -> ColumnMomentsState | None:
        if not isinstance(state, ShiftedMoments):
            return None
        from tfinv.statistics.compiled import moment_loop

        columns, offset = len(state.shift), np.ravel(state.offset)
        mean, m2, shift, other = (
            np.reshape(array, (columns, -1)) for array in (total.mean, total.m2, state.shift, state.m2)
        )
        moment_loop.merge_moments(float(total.count), mean, m2, float(state.count), offset, shift, other)
        return total._replace(count=total.count + state.count)

    def without(self, total: Any, part: Any) -> tuple[Any, NDArray[np.bool_]] | None:
        # The rule of `merge` solved for one of its sides. In place: states of wide layers are larger than any cache.
        count = total.count - part.count
        delta = total.mean - part.mean
        m2 = np.square(delta)
        m2 *= -total.count * part.count / count
        m2 += total.m2
        m2 -= part.m2
        delta *= part.count / count
        delta += total.mean
        return ColumnMomentsState(count, delta, m2), (m2 < CANCELLED * total.m2).any(axis=0)

    def resampled(self, states: Sequence[ColumnMomentsState], counts: Any) -> Iterator[ColumnMomentsState]:
        # With deviations from one centre, sums of squares are safe: m2 = sum (m2_g + n_g d_g^2) - n d^2.
        centre = states[0].mean
        away = np.stack([state.mean - centre for state in states])
        squares = np.stack([state.m2 + state.count * np.square(d) for state, d in zip(states, away, strict=True)])
        sizes = np.array([state.count for state in states])
        for start in range(0, len(counts), RESAMPLES_AT_A_TIME):
            times = counts[start : start + RESAMPLES_AT_A_TIME].astype(np.float64)
            total = times @ sizes
            shift = np.tensordot(times * sizes / total[:, None], away, 1)
            m2 = np.tensordot(times, squares, 1)
            for count, d, square in zip(total, shift, m2, strict=True):
                yield ColumnMomentsState(count, centre + d, np.maximum(square - count * np.square(d), 0.0))

    def summary(self, state: Any) -> PooledMoments:
        mean, m2 = np.asarray(state.mean, np.float64), np.asarray(state.m2, np.float64)
        # Deviations from the first column keep a constant unit at exactly zero.
        deviation = mean - mean[0]
        shift = deviation.mean(axis=0)
        total = m2.sum(axis=0) + state.count * np.square(deviation - shift).sum(axis=0)
        return PooledMoments(mean[0] + shift, np.sqrt(total / (state.count * len(mean) - 1)))
