"""Co-moments of transformed feature maps and maps of transformed images, for two halves of the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tfinv.statistics.base import Context, Layer, Statistic, share
from tfinv.statistics.views import why_not_spatial
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor
from tfinv.transformations.frame import inside_frame
from tfinv.transformations.warp import warp


class ChannelCoMomentsState(NamedTuple):
    """Positions `count` `(2, T)`, means `(2, T, C)` and centred co-moments of `x` and `y`, by half and transformation.

    `xx` and `xy` are `(2, T, C, C)`, `yy` the diagonal `(2, T, C)`.
    """

    count: Any
    mean_x: Tensor
    mean_y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Any


@dataclass(frozen=True)
class ChannelCoMoments(Statistic):
    """Second moments over samples and positions of `x = t_j(f(x_s))_p` and `y = f(t_j(x_s))_p`, vectors over channels.

    Samples at even positions of the data form the first half, those at odd positions the second. Only positions whose
    source was inside the frame count. Merged by Chan's rule for vectors.

    Args:
        max_channels: layers with more feature maps are left out, the state is `4 T C^2` numbers.
    """

    needs_reference = True

    max_channels: int = 512

    def applies(self, layer: Layer) -> str:
        if reason := why_not_spatial(layer):
            return reason
        if layer.shape[-1] > self.max_channels:
            return f"{layer.shape[-1]} feature maps are more than max_channels={self.max_channels}"
        return ""

    def init(self, layer: Layer, dtype: Any = "float32") -> ChannelCoMomentsState:
        halves, channels = (2, layer.num_transformations), layer.shape[-1]
        vector, matrix = (*halves, channels), (*halves, channels, channels)
        shapes = (halves, vector, vector, matrix, matrix, vector)
        return ChannelCoMomentsState(*(tf.zeros(shape, dtype) for shape in shapes))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> ChannelCoMomentsState:
        assert context is not None and context.reference is not None and context.layer.transformations is not None
        height, width, channels = context.layer.shape
        moved = tf.cast(warp(context.reference, context.layer.transformations, padding="nearest"), block.dtype)
        x, y = (tf.reshape(maps, (-1, tf.shape(block)[1], height * width, channels)) for maps in (moved, block))
        seen = inside_frame(context.layer.transformations, height, width).reshape(-1, height * width)
        halves = []
        for half in (0, 1):
            chosen = context.index % 2 == half
            halves.append(_co_moments(x[chosen], y[chosen], tf.constant(seen[..., None], block.dtype)))
        added = ChannelCoMomentsState(*(tf.stack(pair) for pair in zip(*halves, strict=True)))
        return self.merge(state, added)

    def merge(self, first: Any, second: Any) -> ChannelCoMomentsState:
        weight = share(first.count, second.count)
        reduced = (first.count * weight)[..., None]
        dx, dy = second.mean_x - first.mean_x, second.mean_y - first.mean_y
        return ChannelCoMomentsState(
            first.count + second.count,
            first.mean_x + dx * weight[..., None],
            first.mean_y + dy * weight[..., None],
            first.xx + second.xx + dx[..., :, None] * dx[..., None, :] * reduced[..., None],
            first.xy + second.xy + dx[..., :, None] * dy[..., None, :] * reduced[..., None],
            first.yy + second.yy + dy * dy * reduced,
        )


def _co_moments(x: Tensor, y: Tensor, weights: Tensor) -> tuple[Any, ...]:
    """Co-moments of one half of a block, `x` and `y` of shape `(S_h, T, P, C)`, `weights` `(T, P, 1)`."""
    count = tf.reduce_sum(weights, axis=(1, 2)) * tf.cast(tf.shape(x)[0], x.dtype)

    def centred(values: Any) -> tuple[Any, Any]:
        mean = tf.math.divide_no_nan(tf.reduce_sum(values * weights, axis=(0, 2)), count[:, None])
        return mean, (values - mean[:, None]) * weights

    mean_x, x = centred(x)
    mean_y, y = centred(y)
    gram = "stpc,stpd->tcd"
    return count, mean_x, mean_y, tf.einsum(gram, x, x), tf.einsum(gram, x, y), tf.reduce_sum(y * y, axis=(0, 2))
