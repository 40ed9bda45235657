"""Mean over samples of the dispersion over those transformations that keep a position inside the frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from tfinv.statistics.base import Context, Layer, Statistic, mean_without, resampled_means, share
from tfinv.statistics.loop_sums import LoopParts, LoopSums
from tfinv.statistics.resolution import Unresolved
from tfinv.statistics.views import InverseWarp, visible
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


class AlignedDispersionState(NamedTuple):
    """`count` samples, `mean` (`*U`) of their dispersions, `visible` (`(T, H', W')`, the same in every state)."""

    count: Any
    mean: Any
    visible: Any


@dataclass(frozen=True)
class AlignedDispersion(Statistic):
    """Row dispersion of inverse-warped feature maps, over the transformations that keep each position visible.

        mean_s D_{j in V(p)} B[s, j](p),   V(p) = transformations that keep position p inside the frame, ddof = 1

    Positions with fewer than two such transformations are left at 0; `visible` tells which.

    Args:
        statistic: `"std"` or `"variance"`.
    """

    statistic: Literal["std", "variance"] = "std"

    per_unit = ("mean",)

    @property
    def view(self) -> InverseWarp:
        return InverseWarp()

    @property
    def loop(self) -> LoopParts:
        return LoopParts(rows=True, visible=True)

    def from_loop(self, sums: LoopSums) -> AlignedDispersionState:
        mean = sums.mean("stds" if self.statistic == "std" else "variances")
        return AlignedDispersionState(sums.count, mean, visible(sums.layer))

    def without_rounding(self, state: Any, units: Unresolved) -> Any:
        return state._replace(mean=np.where(units.all, 0.0, state.mean))

    def init(self, layer: Layer, dtype: Any = "float32") -> AlignedDispersionState:
        return AlignedDispersionState(tf.zeros((), dtype), tf.zeros(layer.shape, dtype), tf.constant(visible(layer)))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> AlignedDispersionState:
        assert context is not None
        seen = visible(context.layer)
        weights = tf.constant(seen[..., None], block.dtype)
        count = tf.maximum(tf.reduce_sum(weights, axis=0), 2.0)
        # Shifting by one row member removes the mean before anything is squared; the most visible one is best.
        shifted = (block - block[:, int(seen.sum(axis=(1, 2)).argmax()), None]) * weights
        centred = (shifted - tf.reduce_sum(shifted, axis=1, keepdims=True) / count) * weights
        variance = tf.reduce_sum(tf.square(centred), axis=1) / (count - 1)
        dispersion = tf.sqrt(variance) if self.statistic == "std" else variance
        samples = tf.cast(tf.shape(block)[0], block.dtype)
        return self.merge(state, AlignedDispersionState(samples, tf.reduce_mean(dispersion, axis=0), state.visible))

    def merge(self, first: Any, second: Any) -> AlignedDispersionState:
        mean = first.mean + (second.mean - first.mean) * share(first.count, second.count)
        return AlignedDispersionState(first.count + second.count, mean, first.visible)

    def without(self, total: Any, part: Any) -> tuple[Any, NDArray[np.bool_]] | None:
        return mean_without(total, part)

    def at_positions(self, state: Any, positions: NDArray[np.intp]) -> Any:
        return state._replace(visible=state.visible.reshape(len(state.visible), -1)[:, positions])

    def resampled(self, states: Any, counts: Any) -> Iterator[Any]:
        return resampled_means(states, counts)
