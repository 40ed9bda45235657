"""What a classifier says under each transformation: right, unchanged, how surely: sums over samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tfinv.statistics.base import Context, Layer, Statistic, View
from tfinv.statistics.classification import (
    by_label,
    chosen,
    consistent,
    correct,
    effective_invariance,
    predicted,
    threshold_of,
)
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor


def why_not_classes(layer: Layer, threshold: float | None = None, *, single: bool = False) -> str:
    """Why a layer's units are not the classes of a classifier; "" where they are.

    Args:
        layer: the layer.
        threshold: what the user says of a single unit; None where nothing is said.
        single: whether a single unit may tell two classes, by a threshold.
    """
    if not layer.is_output:
        return "it is not the model's output"
    if single and layer.shape == (1,):
        known = threshold is not None or layer.activation is not None
        return "" if known else "an output of one unit needs the threshold above which it says class 1"
    if len(layer.shape) != 1 or layer.shape[0] < 2:
        return f"an output of shape {layer.shape} has no unit for each of two or more classes"
    return ""


def output_threshold(layer: Layer, given: float | None) -> float:
    """What an output of one unit must exceed to say class 1."""
    return threshold_of(layer.activation) if given is None else given


def right_and_unknown(block: Tensor, context: Context | None, threshold: float | None) -> tuple[Tensor, Tensor]:
    """Which answers are right, bool `(S, T)`, and which labels are no class of the model, bool `(S,)`.

    Of K labels per image, every one is an answer: `(S * K, T)` and `(S * K,)`.

    Args:
        block: outputs `(S, T, C)`.
        context: with the labels.
        threshold: what the user says of a single unit.
    """
    assert context is not None and context.labels is not None
    rows, labels = by_label(block, tf.cast(context.labels, tf.int64))
    right = correct(chosen(rows, output_threshold(context.layer, threshold)), labels)
    return right, (labels < 0) | (labels >= max(2, rows.shape[-1]))


def share_of_image(labels: Tensor | None) -> float:
    """What one answer counts of its image: 1, or `1 / K` for K labels per image, whose answers are not independent."""
    return 1.0 if labels is None or len(labels.shape) == 1 else 1.0 / labels.shape[-1]


class CorrectPredictionsState(NamedTuple):
    """Counts: `count` samples, `correct` (`(T,)`), and `unknown` labels, which are no class of the model."""

    count: Any
    correct: Any
    unknown: Any


@dataclass(frozen=True)
class CorrectPredictions(Statistic):
    """How many samples are classified as their label says, under each transformation.

    Args:
        threshold: above it an output of one unit says class 1; None for 0.5 of a sigmoid and 0 of a logit.
    """

    needs_labels = True

    threshold: float | None = None

    def applies(self, layer: Layer) -> str:
        return why_not_classes(layer, self.threshold, single=True)

    def init(self, layer: Layer, dtype: Any = "float32") -> CorrectPredictionsState:
        zero = tf.zeros((), dtype)
        return CorrectPredictionsState(zero, tf.zeros(layer.num_transformations, dtype), zero)

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> CorrectPredictionsState:
        right, unknown = right_and_unknown(block, context, self.threshold)
        added = CorrectPredictionsState(
            tf.cast(tf.shape(right)[0], block.dtype),
            tf.reduce_sum(tf.cast(right, block.dtype), axis=0),
            tf.reduce_sum(tf.cast(unknown, block.dtype)),
        )
        return self.merge(state, added)

    def merge(self, first: Any, second: Any) -> CorrectPredictionsState:
        return CorrectPredictionsState(*(mine + theirs for mine, theirs in zip(first, second, strict=True)))


class ConsistentPredictionsState(NamedTuple):
    """Sums over samples.

    `count`: samples; `consistent` `(T,)`: predictions equal to that of the untransformed image; `confidence` `(T,)`:
    of those, the geometric mean of both confidences; `labelled`: samples with a label; `correct` `(T,)` and
    `correct_untransformed`: of those, classified right; `contradicting`: outputs that `from_logits` is wrong about.
    """

    count: Any
    consistent: Any
    confidence: Any
    labelled: Any
    correct: Any
    correct_untransformed: Any
    contradicting: Any


@dataclass(frozen=True)
class ConsistentPredictions(Statistic):
    """Whether the predicted class survives each transformation, how confident both predictions are, and their accuracy.

    Args:
        from_logits: outputs are logits, and confidence is their softmax; otherwise they are probabilities.
        threshold: above it an output of one unit says class 1; None for 0.5 of a sigmoid.
    """

    needs_reference = True

    from_logits: bool = True
    threshold: float | None = None

    def applies(self, layer: Layer) -> str:
        if layer.is_output and layer.shape == (1,) and layer.activation != "sigmoid" and self.threshold is None:
            return "an output of one unit that is no sigmoid needs the threshold above which it says class 1"
        return why_not_classes(layer, self.threshold, single=True)

    def init(self, layer: Layer, dtype: Any = "float32") -> ConsistentPredictionsState:
        zero, row = tf.zeros((), dtype), tf.zeros(layer.num_transformations, dtype)
        return ConsistentPredictionsState(zero, row, row, zero, row, zero, zero)

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> ConsistentPredictionsState:
        assert context is not None and context.reference is not None
        kind = block.dtype
        reference, _ = by_label(context.reference, context.labels)
        block, targets = by_label(block, context.labels)
        options = {"from_logits": self.from_logits, "threshold": output_threshold(context.layer, self.threshold)}
        classes, confidence = predicted(block, **options)
        upright, upright_confidence = predicted(reference, **options)
        same = consistent(classes, upright)
        labels = tf.fill(tf.shape(upright), tf.constant(-1, tf.int64)) if targets is None else targets
        labels = tf.cast(labels, tf.int64)
        added = ConsistentPredictionsState(
            tf.cast(tf.shape(block)[0], kind),
            tf.reduce_sum(tf.cast(same, kind), axis=0),
            tf.reduce_sum(effective_invariance(same, confidence, upright_confidence), axis=0),
            tf.reduce_sum(tf.cast(labels >= 0, kind)),
            tf.reduce_sum(tf.cast(correct(classes, labels), kind), axis=0),
            tf.reduce_sum(tf.cast(correct(upright[:, None], labels), kind)),
            tf.reduce_sum(tf.cast(self._contradicts(reference), kind)),
        )
        return self.merge(state, added)

    def merge(self, first: Any, second: Any) -> ConsistentPredictionsState:
        return ConsistentPredictionsState(*(mine + theirs for mine, theirs in zip(first, second, strict=True)))

    def _contradicts(self, outputs: Any) -> Any:
        """Which rows `(S_b, classes)` are a distribution where logits are expected, or none where they are not."""
        tolerance = 0.02  # 8-bit outputs add up to one only roughly
        lowest, highest = tf.reduce_min(outputs, axis=-1), tf.reduce_max(outputs, axis=-1)
        if self.from_logits and outputs.shape[-1] == 1:
            return (lowest >= 0) & (highest <= 1)
        if self.from_logits:
            return (lowest >= 0) & (tf.abs(tf.reduce_sum(outputs, axis=-1) - 1) < tolerance)
        return (lowest < -tolerance) | (highest > 1 + tolerance)


@dataclass(frozen=True)
class CentredLogits(View):
    """Logits without their mean over classes, which no prediction depends on."""

    def applies(self, layer: Layer) -> str:
        return why_not_classes(layer)

    def apply(self, block: Tensor, layer: Layer) -> Any:
        return block - tf.reduce_mean(block, axis=-1, keepdims=True)
