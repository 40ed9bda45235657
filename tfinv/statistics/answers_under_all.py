"""Under how many transformations a classifier is right, image by image, and whether its answer is always the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tfinv.statistics.base import Context, Layer, Statistic
from tfinv.statistics.class_counts import output_threshold, right_and_unknown, share_of_image, why_not_classes
from tfinv.statistics.classification import by_label, chosen
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor


class RightCountsState(NamedTuple):
    """Counts: `right` `(T + 1,)`, samples that are right under so many transformations; `unknown` labels.

    Of K labels per sample, every label is a K-th of it.
    """

    right: Any
    unknown: Any


@dataclass(frozen=True)
class RightCounts(Statistic):
    """How many samples are classified as their label says under exactly 0, 1, ..., T transformations.

    Args:
        threshold: above it an output of one unit says class 1; None for 0.5 of a sigmoid and 0 of a logit.
    """

    needs_labels = True

    threshold: float | None = None

    def applies(self, layer: Layer) -> str:
        return why_not_classes(layer, self.threshold, single=True)

    def init(self, layer: Layer, dtype: Any = "float32") -> RightCountsState:
        return RightCountsState(tf.zeros(layer.num_transformations + 1, dtype), tf.zeros((), dtype))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> RightCountsState:
        assert context is not None
        right, unknown = right_and_unknown(block, context, self.threshold)
        counts = tf.reduce_sum(tf.cast(right, tf.int32), axis=1)
        rows = tf.one_hot(counts, context.layer.num_transformations + 1, dtype=block.dtype)
        rows *= share_of_image(context.labels)
        added = RightCountsState(tf.reduce_sum(rows, axis=0), tf.reduce_sum(tf.cast(unknown, block.dtype)))
        return self.merge(state, added)

    def merge(self, first: Any, second: Any) -> RightCountsState:
        return RightCountsState(*(mine + theirs for mine, theirs in zip(first, second, strict=True)))


class SameAnswersState(NamedTuple):
    """Counts: `count` samples, `same` of them with one answer under all transformations."""

    count: Any
    same: Any


@dataclass(frozen=True)
class SameAnswers(Statistic):
    """How many samples get one and the same class under all transformations.

    Args:
        threshold: above it an output of one unit says class 1; None for 0.5 of a sigmoid and 0 of a logit.
    """

    threshold: float | None = None

    def applies(self, layer: Layer) -> str:
        return why_not_classes(layer, self.threshold, single=True)

    def init(self, layer: Layer, dtype: Any = "float32") -> SameAnswersState:
        zero = tf.zeros((), dtype)
        return SameAnswersState(zero, zero)

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> SameAnswersState:
        assert context is not None
        rows, _ = by_label(block, context.labels)
        classes = chosen(rows, output_threshold(context.layer, self.threshold))
        same = tf.reduce_all(tf.equal(classes, classes[:, :1]), axis=1)
        count = tf.reduce_sum(tf.cast(same, block.dtype)) * share_of_image(context.labels)
        added = SameAnswersState(tf.cast(tf.shape(block)[0], block.dtype), count)
        return self.merge(state, added)

    def merge(self, first: Any, second: Any) -> SameAnswersState:
        return SameAnswersState(*(mine + theirs for mine, theirs in zip(first, second, strict=True)))
