"""A bounded random sample of every column of the ST matrix: all samples where they fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfinv.statistics.base import Context, Layer, Statistic
from tfinv.statistics.hashing import hash_of
from tfinv.statistics.resolution import Resolution, Unresolved
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor

BUDGET = 32 * 2**20
MOST, LEAST = 512, 8
EMPTY = np.iinfo(np.int64).max


class ColumnSampleState(NamedTuple):
    """`count` samples seen; `keys` int64 `(T, m)`, `EMPTY` where a place is free; `values` `(T, m, *U)`."""

    count: Any
    keys: Any
    values: Any


@dataclass(frozen=True)
class ColumnSample(Statistic):
    """For each transformation the activations of `m` samples drawn at random without replacement.

    A sample's place in the draw of column `j` is a hash of its index, of `j` and of the seed; the `m` smallest are
    kept. So the draw does not depend on batches, shards or their order, columns draw independently of each other,
    and with up to `m` samples all are kept.

    Args:
        samples: `m`; None for as many as fit into 32 MiB a layer, at least 8 and at most 512.
        seed: of the draw.
    """

    samples: int | None = None
    seed: int = 0

    def size(self, layer: Layer) -> int:
        """`m` on a layer."""
        if self.samples is not None:
            return self.samples
        return int(np.clip(BUDGET // (4 * layer.num_transformations * np.prod(layer.shape, dtype=int)), LEAST, MOST))

    def init(self, layer: Layer, dtype: Any = "float32") -> ColumnSampleState:
        shape = (layer.num_transformations, self.size(layer))
        keys = tf.fill(shape, tf.constant(EMPTY, tf.int64))
        return ColumnSampleState(tf.zeros((), dtype), keys, tf.zeros((*shape, *layer.shape), dtype))

    def unresolved(self, state: Any, resolution: Resolution) -> Unresolved | None:
        members = np.asarray(state.values, np.float64)[state.keys != EMPTY]
        columns = members.reshape(len(state.keys), -1, *members.shape[1:])
        bound = resolution.of(columns[0].mean(axis=0))
        samples = columns.std(axis=1, ddof=min(1, columns.shape[1] - 1)).max(axis=0) <= bound
        if not (samples & (bound > 0)).any():
            return None
        return Unresolved(samples, samples & (members.std(axis=0) <= bound))

    def without_rounding(self, state: Any, units: Unresolved) -> ColumnSampleState:
        rows = np.arange(len(state.keys))
        first = state.values[rows, state.keys.argmin(axis=1)][:, None]
        values = np.where(units.samples, first, state.values)
        return state._replace(values=np.where(units.all, first[:1], values))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> ColumnSampleState:
        assert context is not None and context.index is not None
        columns, size = state.keys.shape
        cells = context.index[None, :] * columns + tf.range(columns, dtype=tf.int64)[:, None]
        new = hash_of(cells, self.seed)
        last_kept = tf.sort(tf.concat([state.keys, new], axis=1), axis=1)[:, size - 1 : size]
        accepted = new <= last_kept
        # The k-th newcomer of a column takes the place with the k-th largest key; only those rows are copied.
        places = tf.argsort(state.keys, axis=1, direction="DESCENDING")
        rank = tf.cumsum(tf.cast(accepted, tf.int32), axis=1, exclusive=True)
        place = tf.gather(places, tf.minimum(rank, size - 1), batch_dims=1)
        column, sample = tf.unstack(tf.where(accepted), axis=1)
        cell = tf.stack([column, sample], axis=1)
        target = tf.stack([column, tf.cast(tf.gather_nd(place, cell), tf.int64)], axis=1)
        return ColumnSampleState(
            state.count + tf.cast(tf.shape(block)[0], state.count.dtype),
            tf.tensor_scatter_nd_update(state.keys, target, tf.gather_nd(new, cell)),
            tf.tensor_scatter_nd_update(state.values, target, tf.gather_nd(block, tf.stack([sample, column], axis=1))),
        )

    def merge(self, first: Any, second: Any) -> ColumnSampleState:
        size = first.keys.shape[1]
        count = first.count + second.count
        if isinstance(first.keys, np.ndarray):
            keys = np.concatenate([first.keys, second.keys], axis=1)
            order = np.argsort(keys, axis=1)[:, :size]
            values = np.concatenate([first.values, second.values], axis=1)
            rows = np.arange(len(keys))[:, None]
            return ColumnSampleState(count, keys[rows, order], values[rows, order])
        keys = tf.concat([first.keys, second.keys], axis=1)
        order = tf.argsort(keys, axis=1)[:, :size]
        values = tf.gather(tf.concat([first.values, second.values], axis=1), order, batch_dims=1)
        return ColumnSampleState(count, tf.gather(keys, order, batch_dims=1), values)
