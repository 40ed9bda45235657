"""Mean over samples of the dispersion over transformations: the rows of the ST matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from tfinv.statistics.base import Context, Layer, Statistic, mean_without, resampled_means, share
from tfinv.statistics.loop_sums import LoopParts, LoopSums
from tfinv.statistics.resolution import Unresolved
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


class RowDispersionState(NamedTuple):
    """`count` samples seen, `mean` (`*U`) of their dispersions."""

    count: Any
    mean: Any


@dataclass(frozen=True)
class RowDispersion(Statistic):
    """Mean over samples of the standard deviation (or variance) over transformations.

        mean_s D_j A[s, j],   D = std or variance with ddof = 1

    Args:
        statistic: `"std"` or `"variance"`.
    """

    statistic: Literal["std", "variance"] = "std"

    per_unit = ("mean",)

    @property
    def loop(self) -> LoopParts:
        return LoopParts(rows=True)

    def from_loop(self, sums: LoopSums) -> RowDispersionState:
        mean = sums.mean("stds" if self.statistic == "std" else "variances")
        return RowDispersionState(sums.count, mean)

    def without_rounding(self, state: Any, units: Unresolved) -> Any:
        return state._replace(mean=np.where(units.all, 0.0, state.mean))

    def init(self, layer: Layer, dtype: Any = "float32") -> RowDispersionState:
        return RowDispersionState(tf.zeros((), dtype), tf.zeros(layer.shape, dtype))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> RowDispersionState:
        # Shifting by the first transformation keeps constant rows at exactly zero and float32 safe.
        shifted = block - block[:, :1]
        centred = shifted - tf.reduce_mean(shifted, axis=1, keepdims=True)
        variance = tf.reduce_sum(tf.square(centred), axis=1) / (tf.cast(tf.shape(block)[1], block.dtype) - 1)
        dispersion = tf.sqrt(variance) if self.statistic == "std" else variance
        count = tf.cast(tf.shape(block)[0], block.dtype)
        return self.merge(state, RowDispersionState(count, tf.reduce_mean(dispersion, axis=0)))

    def merge(self, first: Any, second: Any) -> RowDispersionState:
        weight = share(first.count, second.count)
        return RowDispersionState(first.count + second.count, first.mean + (second.mean - first.mean) * weight)

    def without(self, total: Any, part: Any) -> tuple[Any, NDArray[np.bool_]] | None:
        return mean_without(total, part)

    def resampled(self, states: Any, counts: Any) -> Iterator[Any]:
        return resampled_means(states, counts)
