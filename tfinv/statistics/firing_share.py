"""How often a unit responds, over all samples and transformations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfinv.statistics.base import Context, Layer, Statistic, resampled_means, share
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor


class ShareAboveState(NamedTuple):
    """`count` samples seen, `mean` (`*U`) share of their transformed versions above the threshold."""

    count: Any
    mean: Any


@dataclass(frozen=True)
class ShareAbove(Statistic):
    """Share of all `S * T` activations above a threshold.

    Args:
        threshold: activations above it count.
    """

    threshold: float = 0.0

    def init(self, layer: Layer, dtype: Any = "float32") -> ShareAboveState:
        return ShareAboveState(tf.zeros((), dtype), tf.zeros(layer.shape, dtype))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> ShareAboveState:
        fires = tf.cast(block > tf.cast(self.threshold, block.dtype), block.dtype)
        # NaN must not count as silence: the engine refuses states that are not finite.
        fires = tf.where(tf.math.is_nan(block), block, fires)
        count = tf.cast(tf.shape(block)[0], block.dtype)
        return self.merge(state, ShareAboveState(count, tf.reduce_mean(fires, axis=(0, 1))))

    def merge(self, first: Any, second: Any) -> ShareAboveState:
        weight = share(first.count, second.count)
        return ShareAboveState(first.count + second.count, first.mean + (second.mean - first.mean) * weight)

    def resampled(self, states: Any, counts: Any) -> Iterator[Any]:
        return resampled_means(states, counts)
