"""How often units fire, and how often on transformed versions of the images that activate them most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfinv.statistics.base import Context, Layer, Statistic, resampled_means, share
from tfinv.statistics.column_moments import ColumnMoments
from tfinv.statistics.top_values import TopValues
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor

SPARSE_BELOW = 0.1
"""Images that activate a unit most are looked up one by one while they are less than this share of all."""


class LocalFiringState(NamedTuple):
    """Sums over samples.

    `count` images; `fired` (`*U`): images that fire; `strongest` (`*U`): images that activate the unit most; `local`
    (`*U`): sum over the latter of the share of their transformed versions that fire.
    """

    count: Any
    fired: Any
    strongest: Any
    local: Any


@dataclass(frozen=True)
class LocalFiring(Statistic):
    """Firing of every unit on untransformed images, and on the transformed versions of those that activate it most.

    The threshold is the upper `percentile` quantile that `TopValues` found in a pass over the untransformed images.

    Args:
        percentile: see `TopValues`.
        sign: see `TopValues`.
        top: see `TopValues`.
        capacity: see `TopValues`.
        seed: see `TopValues`.
    """

    needs_reference = True

    percentile: float = 0.01
    sign: int = 1
    top: int | None = None
    capacity: int = 64
    seed: int = 0

    @property
    def thresholds(self) -> TopValues:
        """Where the threshold comes from."""
        return TopValues(self.percentile, self.sign, self.top, self.capacity, self.seed)

    @property
    def depends(self) -> tuple[Statistic, ...]:
        return (self.thresholds,)

    def init(self, layer: Layer, dtype: Any = "float32") -> LocalFiringState:
        return LocalFiringState(tf.zeros((), dtype), *(tf.zeros(layer.shape, dtype) for _ in range(3)))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> LocalFiringState:
        assert context is not None and context.reference is not None
        threshold, strong = context.given[self.thresholds]
        sign = tf.cast(self.sign, block.dtype)
        reference = sign * context.reference
        chosen = reference > strong
        local = self._gathered if self.percentile < SPARSE_BELOW else self._masked
        added = LocalFiringState(
            tf.cast(tf.shape(block)[0], block.dtype),
            tf.reduce_sum(tf.cast(reference > threshold, block.dtype), axis=0),
            tf.reduce_sum(tf.cast(chosen, block.dtype), axis=0),
            local(sign, block, chosen, threshold),
        )
        return self.merge(state, added)

    def merge(self, first: Any, second: Any) -> LocalFiringState:
        return LocalFiringState(*(mine + theirs for mine, theirs in zip(first, second, strict=True)))

    def _gathered(self, sign: Tensor, block: Tensor, chosen: Tensor, threshold: Tensor) -> Any:
        samples, columns, units = tf.shape(block)[0], block.shape[1], int(np.prod(block.shape[2:]))
        sample, unit = tf.unstack(tf.where(tf.reshape(chosen, (samples, units))), axis=1)
        cells = (sample * columns * units + unit)[:, None] + tf.range(columns, dtype=tf.int64) * units
        values = sign * tf.gather(tf.reshape(block, [-1]), cells)
        fires = values > tf.gather(tf.reshape(threshold, [-1]), unit)[:, None]
        rates = tf.reduce_mean(tf.cast(fires, block.dtype), axis=1)
        return tf.reshape(tf.math.unsorted_segment_sum(rates, unit, units), threshold.shape)

    def _masked(self, sign: Tensor, block: Tensor, chosen: Tensor, threshold: Tensor) -> Any:
        rates = tf.reduce_mean(tf.cast(sign * block > threshold, block.dtype), axis=1)
        return tf.reduce_sum(rates * tf.cast(chosen, block.dtype), axis=0)


class NormalFiringState(NamedTuple):
    """`count` samples, `mean` share of their transformed versions that fire (`*U`)."""

    count: Any
    mean: Any


@dataclass(frozen=True)
class NormalFiring(Statistic):
    """Share of all `S * T` activations above the `alpha` quantile of a normal distribution with their moments.

    Args:
        alpha: probability below the threshold.
        sign: 1, or -1 for the lower end.
    """

    alpha: float = 0.99
    sign: int = 1

    @property
    def depends(self) -> tuple[Statistic, ...]:
        return (ColumnMoments(),)

    def init(self, layer: Layer, dtype: Any = "float32") -> NormalFiringState:
        return NormalFiringState(tf.zeros((), dtype), tf.zeros(layer.shape, dtype))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> NormalFiringState:
        assert context is not None
        mean, std = context.given[ColumnMoments()]
        reach = std * _normal_quantile(self.alpha)
        fires = block > mean + reach if self.sign == 1 else block < mean - reach
        count = tf.cast(tf.shape(block)[0], block.dtype)
        return self.merge(state, NormalFiringState(count, tf.reduce_mean(tf.cast(fires, block.dtype), axis=(0, 1))))

    def merge(self, first: Any, second: Any) -> NormalFiringState:
        weight = share(first.count, second.count)
        return NormalFiringState(first.count + second.count, first.mean + (second.mean - first.mean) * weight)

    def resampled(self, states: Any, counts: Any) -> Iterator[Any]:
        return resampled_means(states, counts)


def _normal_quantile(probability: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(probability))
