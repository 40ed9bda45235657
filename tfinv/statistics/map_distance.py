"""Distance between the map of a transformed image and the transformed map of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from tfinv.statistics.base import Context, Layer, Statistic, share
from tfinv.statistics.views import why_not_spatial
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor
from tfinv.transformations.frame import inside_frame
from tfinv.transformations.warp import warp

Border = Literal["mask", "keep"]


class MapDistanceState(NamedTuple):
    """`count` samples, `mean` distance (`(T, C')`), `positions` compared (`(T,)`, the same in every state)."""

    count: Any
    mean: Any
    positions: Any


@dataclass(frozen=True)
class MapDistance(Statistic):
    """Root mean square difference of `P = f(t_j(x))` and `Q = t_j(f(x))` over the positions of each feature map.

        mean_s sqrt( mean_p (P - Q)^2 )   for each transformation and feature map

    Args:
        normalize: divide each map of `P` and of `Q` by its own L2 norm first.
        border: `"mask"` compares positions of `Q` whose source was inside the frame, `"keep"` all.
    """

    needs_reference = True

    normalize: bool = False
    border: Border = "mask"

    def applies(self, layer: Layer) -> str:
        return why_not_spatial(layer)

    def init(self, layer: Layer, dtype: Any = "float32") -> MapDistanceState:
        mean = tf.zeros((layer.num_transformations, layer.shape[-1]), dtype)
        return MapDistanceState(tf.zeros((), dtype), mean, tf.constant(self._seen(layer).sum(axis=(1, 2)), dtype))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> MapDistanceState:
        assert context is not None and context.reference is not None
        moved = warp(context.reference, context.layer.transformations, padding="nearest")
        distances = map_distances(block, tf.cast(moved, block.dtype), self._seen(context.layer), self.normalize)
        count = tf.cast(tf.shape(block)[0], block.dtype)
        return self.merge(state, MapDistanceState(count, tf.reduce_mean(distances, axis=0), state.positions))

    def merge(self, first: Any, second: Any) -> MapDistanceState:
        mean = first.mean + (second.mean - first.mean) * share(first.count, second.count)
        return MapDistanceState(first.count + second.count, mean, first.positions)

    def _seen(self, layer: Layer) -> Any:
        assert layer.transformations is not None
        inside = inside_frame(layer.transformations, *layer.shape[:2])
        return np.ones_like(inside) if self.border == "keep" else inside


def map_distances(first: Any, second: Any, seen: Any, normalize: bool) -> Any:
    """RMS difference of feature maps over the positions seen.

    Args:
        first: `(S_b, T, H', W', C')`.
        second: the same shape.
        seen: bool `(T, H', W')`.
        normalize: divide each map by its L2 norm over the positions seen; a zero map stays zero.

    Returns:
        `(S_b, T, C')`.
    """
    weights = tf.constant(np.asarray(seen)[..., None], first.dtype)
    first, second = first * weights, second * weights
    if normalize:
        first, second = (
            tf.math.divide_no_nan(maps, tf.sqrt(tf.reduce_sum(tf.square(maps), axis=(2, 3), keepdims=True)))
            for maps in (first, second)
        )
    total = tf.reduce_sum(tf.square(first - second), axis=(2, 3))
    return tf.sqrt(total / tf.maximum(tf.reduce_sum(weights, axis=(1, 2)), 1.0))
