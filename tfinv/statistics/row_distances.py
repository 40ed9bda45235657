"""Mean over samples of the mean distance between all pairs of transformations: the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.statistics.base import Context, Layer, Statistic, share
from tfinv.statistics.pair_distances import NOISE, Metric
from tfinv.statistics.resolution import Unresolved
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


class RowDistancesState(NamedTuple):
    """`count` samples, `mean` distance, and `alive`, the share of vectors that are not zero; `(*U)` or `(C,)`."""

    count: Any
    mean: Any
    alive: Any


@dataclass(frozen=True)
class RowDistances(Statistic):
    """Mean over samples of the mean distance over all `T (T - 1) / 2` pairs of transformations.

        mean_s mean_{i < j} d(A[s, i], A[s, j])

    Exact: scalars by sorting, `sum_{i<j} |x_i - x_j| = sum_k (2 k - T - 1) x_(k)`, maps by their Gram matrix.

    Args:
        per_map: the vectors are feature maps; otherwise units, one by one.
        normalize: divide each map by its L2 norm first (a zero map stays zero); nothing for single units.
        metric: `"euclidean"` or `"sqeuclidean"`.
    """

    per_map: bool = False
    normalize: bool = False
    metric: Metric = "euclidean"

    def _has_maps(self, layer: Layer) -> bool:
        return self.per_map and len(layer.shape) > 1

    def without_rounding(self, state: Any, units: Unresolved) -> RowDistancesState:
        positions = tuple(range(units.all.ndim - state.mean.ndim))
        return state._replace(mean=np.where(units.all.all(axis=positions), 0.0, state.mean))

    def init(self, layer: Layer, dtype: Any = "float32") -> RowDistancesState:
        shape = layer.shape[-1:] if self._has_maps(layer) else layer.shape
        return RowDistancesState(tf.zeros((), dtype), tf.zeros(shape, dtype), tf.zeros(shape, dtype))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> RowDistancesState:
        count = tf.cast(tf.shape(block)[0], block.dtype)
        alive = tf.ones_like(state.mean)
        if self.per_map and block.shape.rank > 3:
            block = tf.reshape(block, (-1, block.shape[1], int(np.prod(block.shape[2:-1])), block.shape[-1]))
            if self.normalize and block.shape[2] > 1:
                norms = tf.norm(block, axis=2, keepdims=True)
                alive = tf.reduce_mean(tf.cast(norms[:, :, 0] > 0, block.dtype), axis=(0, 1))
                block = tf.math.divide_no_nan(block, norms)
        # Shifting by the first transformation makes rows that do not move exactly zero.
        shifted = block - block[:, :1]
        distances = self._of_maps(shifted) if block.shape.rank == 4 and self.per_map else self._of_scalars(shifted)
        return self.merge(state, RowDistancesState(count, tf.reduce_mean(distances, axis=0), alive))

    def merge(self, first: Any, second: Any) -> RowDistancesState:
        weight = share(first.count, second.count)
        return RowDistancesState(
            first.count + second.count,
            first.mean + (second.mean - first.mean) * weight,
            first.alive + (second.alive - first.alive) * weight,
        )

    def _of_scalars(self, rows: Tensor) -> Any:
        """`(S_b, T, *U)` -> `(S_b, *U)`."""
        count = rows.shape[1]
        if self.metric == "sqeuclidean":
            return 2 * tf.math.reduce_variance(rows, axis=1) * (count / (count - 1))
        weights = tf.constant(2 * np.arange(count) + 1 - count, rows.dtype)
        weights = tf.reshape(weights, (-1, *[1] * (rows.shape.rank - 2)))
        return tf.reduce_sum(_sorted_rows(rows) * weights, axis=1) / (count * (count - 1) / 2)

    def _of_maps(self, rows: Tensor) -> Any:
        """`(S_b, T, D, C)` -> `(S_b, C)`."""
        count = rows.shape[1]
        if self.metric == "sqeuclidean":
            return 2 * tf.reduce_sum(tf.math.reduce_variance(rows, axis=1), axis=1) * (count / (count - 1))
        maps = tf.transpose(rows - tf.reduce_mean(rows, axis=1, keepdims=True), (0, 3, 1, 2))
        gram = tf.matmul(maps, maps, transpose_b=True)
        norms = tf.linalg.diag_part(gram)
        total = norms[..., :, None] + norms[..., None, :]
        squared = total - 2 * gram
        noise = NOISE * np.finfo(rows.dtype.as_numpy_dtype).eps * total
        distances = tf.sqrt(tf.where(squared > noise, squared, tf.zeros_like(squared)))
        return tf.reduce_sum(distances, axis=(2, 3)) / (count * (count - 1))


def _sorted_rows(rows: Tensor) -> Any:
    """`(S_b, T, *U)` in ascending order of transformations; on the CPU by NumPy, several times faster at it."""
    if tf.config.list_physical_devices("GPU"):
        return tf.sort(rows, axis=1)
    return tf.ensure_shape(tf.numpy_function(_sort, [rows], rows.dtype, stateful=False), rows.shape)


def _sort(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.sort(rows, axis=1)
