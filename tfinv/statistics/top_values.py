"""The largest activations of every unit on untransformed images: a bounded sketch of an upper quantile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfinv.statistics.base import Context, Layer, Statistic
from tfinv.statistics.hashing import hash_of
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor

LEVELS = 32


class Thresholds(NamedTuple):
    """A unit fires above `fires`, and the images above `strong` activate it most; both `(*U)`, strict."""

    fires: Any
    strong: Any


class TopValuesState(NamedTuple):
    """What `TopValues` keeps.

    `counts` `(32,)`: samples of level r or higher. `values` `(*U, K)`, descending, and their `levels` int8, -1 for a
    free place. `lowest` `(*U)`: the smallest value of all.
    """

    counts: Any
    values: Any
    levels: Any
    lowest: Any


@dataclass(frozen=True)
class TopValues(Statistic):
    """The largest of `sign * a(x)` over the untransformed images `x`, enough to know the top `percentile`.

    Where the top `percentile` outgrows half the capacity, half of the images (chosen by a hash of their index) are
    dropped, and so on: level r holds a share `2^-r` of them. The quantile is exact for up to
    `capacity / (2 percentile)` images; beyond, it is that of a random subset of them, and the share of all images
    above it differs from `percentile` by a relative standard error of at most `sqrt(4 / capacity)`. Values below the
    quantile are kept only as far as they may still be needed, and which ones can depend on the order of merges.

    Args:
        percentile: share of images above the quantile.
        sign: 1, or -1 for the lower end.
        top: number of images that activate a unit most, below `capacity`; None for the top `percentile`.
        capacity: values kept for each unit at most, even, at least 64.
        seed: of the choice of images.
    """

    needs_reference = True
    reference_only = True

    percentile: float = 0.01
    sign: int = 1
    top: int | None = None
    capacity: int = 64
    seed: int = 0

    @property
    def most(self) -> int:
        """Images whose top `percentile` fits."""
        return int(self.capacity / (2 * self.percentile) + 1e-9)

    def size(self, layer: Layer) -> int:
        """Values kept for each unit: no more than the number of samples makes necessary."""
        if layer.num_samples is None or layer.num_samples > self.most:
            return self.capacity
        return min(self.capacity, max(_rank(self.percentile * layer.num_samples), self.top or 0) + 1)

    def init(self, layer: Layer, dtype: Any = "float32") -> TopValuesState:
        shape = (*layer.shape, self.size(layer))
        free = tf.fill(shape, tf.constant(-1, tf.int8))
        return TopValuesState(tf.zeros(LEVELS, dtype), tf.zeros(shape, dtype), free, tf.zeros(layer.shape, dtype))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> TopValuesState:
        assert context is not None and context.reference is not None and context.index is not None
        values = tf.cast(self.sign, context.reference.dtype) * context.reference
        masks = tf.constant([(1 << level) - 1 for level in range(LEVELS)], tf.int64)
        member = tf.equal(tf.bitwise.bitwise_and(hash_of(context.index, self.seed)[:, None], masks), 0)
        levels = tf.reduce_sum(tf.cast(member, tf.int8), axis=1) - tf.constant(1, tf.int8)
        last = tf.transpose(values, [*range(1, values.shape.rank), 0])
        added = TopValuesState(
            tf.reduce_sum(tf.cast(member, state.counts.dtype), axis=0),
            last,
            tf.broadcast_to(levels, tf.shape(last)),
            tf.reduce_min(values, axis=0),
        )
        return self.merge(state, added)

    def merge(self, first: Any, second: Any) -> TopValuesState:
        return (
            _merge_arrays(self, first, second) if isinstance(first.values, np.ndarray) else self._merge(first, second)
        )

    def _merge(self, first: Any, second: Any) -> TopValuesState:
        counts = first.counts + second.counts
        values, levels = (tf.concat([first[i], second[i]], axis=-1) for i in (1, 2))
        valid = levels >= tf.cast(tf.reduce_sum(tf.cast(self._too_many(counts), tf.int32)), tf.int8)
        ranked = tf.where(valid, values, tf.constant(-np.inf, values.dtype))
        ranked, order = tf.math.top_k(ranked, first.values.shape[-1])
        kept = ranked > -np.inf
        lowest = tf.where(
            first.counts[0] == 0,
            second.lowest,
            tf.where(second.counts[0] == 0, first.lowest, tf.minimum(first.lowest, second.lowest)),
        )
        levels = tf.gather(levels, order, batch_dims=values.shape.rank - 1)
        free = tf.constant(-1, tf.int8)
        return TopValuesState(
            counts, tf.where(kept, ranked, tf.zeros_like(ranked)), tf.where(kept, levels, free), lowest
        )

    def _too_many(self, counts: Any) -> Any:
        """Levels whose top `percentile` does not fit; they are the lowest ones."""
        return counts > self.most

    def summary(self, state: Any) -> Thresholds:
        held = state.counts[self._too_many(state.counts).sum()]
        fires = _above(state, _rank(self.percentile * held), held)
        share = held / state.counts[0]
        return Thresholds(fires, fires if self.top is None else _above(state, _rank(self.top * share), held))


def _rank(wanted: float) -> int:
    """The number of values meant by a share, at least one; rounding errors do not add one."""
    return max(1, int(np.ceil(wanted - 1e-6)))


ROUNDINGS = 4
"""Two runs of a network on one image, in batches of other sizes, may differ by so many float32 roundings of the
largest activation: sums of larger numbers give the smaller ones."""


def _above(state: Any, rank: int, held: float) -> Any:
    """The threshold that the `rank` largest of `held` values exceed, but never all of them."""
    place = min(rank, int(held) - 1)
    threshold, largest = state.values[..., place], state.values[..., 0]
    limits = np.finfo(np.float32)
    # The image that gives the threshold must not fire in the second pass by rounding alone; the others all must.
    half = (state.values[..., max(place - 1, 0)] - threshold) / 2
    threshold = threshold + np.minimum(
        half, np.maximum(np.abs(largest), np.abs(state.lowest)) * (ROUNDINGS * limits.eps)
    )
    # Many values tied at the maximum of a saturated unit: all of them fire, not none.
    below = largest - (np.abs(largest) * limits.eps + limits.tiny)
    return np.where((threshold >= largest) & (state.lowest < largest), below, threshold)


def _merge_arrays(statistic: TopValues, first: Any, second: Any) -> TopValuesState:
    counts = first.counts + second.counts
    values, levels = (np.concatenate([first[i], second[i]], axis=-1) for i in (1, 2))
    ranked = np.where(levels >= statistic._too_many(counts).sum(), values, -np.inf)
    order = np.argsort(-ranked, axis=-1, kind="stable")[..., : first.values.shape[-1]]
    ranked, levels = np.take_along_axis(ranked, order, -1), np.take_along_axis(levels, order, -1)
    kept = ranked > -np.inf
    full = [state for state in (first, second) if state.counts[0]] or [first]
    lowest = np.minimum.reduce([state.lowest for state in full])
    return TopValuesState(counts, np.where(kept, ranked, 0), np.where(kept, levels, np.int8(-1)), lowest)
