"""Conditions that a file of few bits must keep: the language of the gate, decided with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tfinv.resampling.equivalence import TESTED, images_needed
from tfinv.resampling.images import Estimate
from tfinv.resampling.shares import paired_interval, quantile
from tfinv.tflite.comparison.behaviour import identities
from tfinv.tflite.comparison.conditions import Condition, parse_condition
from tfinv.tflite.comparison.conditions import amount as amount_in_unit
from tfinv.uncertainty import layer_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.tflite.comparison.predictions import Predictions
    from tfinv.tflite.studies.pieces import Piece
    from tfinv.transformations import TransformationSet

Outcome = Literal["holds", "fails", "inconclusive"]
OF_LABELS = (
    "accuracy_drop",
    "transformed_accuracy_drop",
    "worst_accuracy_drop",
    "worst_case_accuracy_drop",
    "accuracy",
    "transformed_accuracy",
    "worst_case_accuracy",
)
"""Conditions that need images with labels."""
OF_ANSWERS = (*OF_LABELS, "flip_rate", "upright_flip_rate", "consistency_drop")
"""Conditions that need a classifier; decided by the interval of a mean over images."""
OF_LAYERS = ("max_profile_increase", "max_profile_change", "lost_units", "min_sqnr_db")
"""Conditions that need all layers measured."""
OF_FILES = ("size_ratio", "latency_ratio")
"""Conditions on what a file costs, which float32 need not meet."""
BIT_METRICS = ("output_profile_increase", *OF_LAYERS, *OF_ANSWERS, *OF_FILES)
"""What a condition on bits may name; see `METRICS` of the gate for what it means."""


@dataclass(frozen=True)
class Seen:
    """A condition on one file.

    Args:
        value: what was measured.
        low: the lower end of its 90 % interval; the value itself where it has none.
        high: the upper end.
        outcome: `"holds"` where the whole interval meets the condition, `"fails"` where the value does not,
            `"inconclusive"` where the value does and the interval does not.
        needed: about how many images a decision needs if the value stays the same; NaN where more images do not help.
    """

    value: float
    low: float
    high: float
    outcome: Outcome
    needed: float = math.nan


@dataclass(frozen=True)
class BitContext:
    """What conditions are measured against.

    Args:
        reference: the float file, measured.
        output: its output layer.
        labels: int `(S,)`, or `(S, K)` for K labels per image; None where there are none.
        transformations: the set.
    """

    reference: Piece
    output: str
    labels: NDArray[np.int64] | None
    transformations: TransformationSet


def parse_keep(keep: str | Condition | Iterable[str | Condition]) -> tuple[Condition, ...]:
    """Read conditions that must hold, such as `"output_profile_increase<2%"`.

    Example:
        >>> from tfinv.tflite.studies.bit_conditions import parse_keep
        >>> [str(condition) for condition in parse_keep(["flip_rate<5%", "accuracy>0.9"])]
        ['flip_rate<5%', 'accuracy>90%']

    Args:
        keep: one or more, in the language of `--fail-if` of `compare`; see `parse_condition`.

    Raises:
        ValueError: none, one that does not parse, a metric that is not measured here, a number that could be read in
            two ways, or two that contradict each other.
    """
    given = [keep] if isinstance(keep, (str, Condition)) else list(keep)
    found = [text if isinstance(text, Condition) else parse_condition(text, BIT_METRICS, "keep") for text in given]
    if not found:
        raise ValueError("keep must hold at least one condition, such as 'output_profile_increase<2%'. Received: none")
    for condition in found:
        if condition.metric not in BIT_METRICS:
            raise ValueError(f"keep must name one of {', '.join(BIT_METRICS)}. Received: {str(condition)!r}")
    for upper in found:
        for lower in found:
            same = upper.metric == lower.metric and upper.sign in ("<", "<=") and lower.sign in (">", ">=")
            closed = upper.sign == "<=" and lower.sign == ">="
            if same and (upper.limit < lower.limit or (upper.limit == lower.limit and not closed)):
                raise ValueError(f"keep must not contradict itself. Received: {upper} and {lower}")
    return tuple(dict.fromkeys(found))


def in_words(condition: Condition) -> str:
    """A condition for a reader: `"transformed_accuracy_drop < 0.5 points"`."""
    return f"{condition.metric} {condition.sign} {amount(condition.metric, condition.limit)}"


def amount(metric: str, value: float) -> str:
    """A value of a metric with its unit."""
    text = amount_in_unit(metric, value)
    return f"{text} of float32" if metric in OF_FILES and math.isfinite(value) else text


def needs_all_layers(conditions: Sequence[Condition]) -> bool:
    """Whether a condition reads other layers than the output."""
    return any(condition.metric in OF_LAYERS for condition in conditions)


def look(
    conditions: Sequence[Condition], piece: Piece, context: BitContext, facts: Mapping[str, float]
) -> dict[str, Seen]:
    """What every condition is on one file, by its text.

    Args:
        conditions: the conditions.
        piece: the file, measured on the same images as the reference.
        context: the reference.
        facts: `size_ratio` and, where a condition reads it, `latency_ratio`.
    """
    return {str(condition): _judged(condition, piece, context, facts) for condition in conditions}


def _judged(condition: Condition, piece: Piece, context: BitContext, facts: Mapping[str, float]) -> Seen:
    metric = condition.metric
    if metric in OF_FILES:
        value = facts[metric]
        return _decided(condition, Estimate(value, value, value), math.nan, 0)
    if metric in OF_ANSWERS:
        columns = changes_by_image(metric, context, piece)
        return _of_images(condition, columns)
    return _of_layers(condition, piece, context)


def _of_images(condition: Condition, columns: Sequence[NDArray[np.float64]]) -> Seen:
    """The largest of one or several means over images; only worst cases over transformations have several."""
    found = []
    for column in columns:
        low, high = paired_interval(column, TESTED)
        low = low if condition.metric.endswith("_drop") else max(low, 0.0)  # a share is not negative
        found.append((Estimate(float(column.mean()), low, high), float(column.std())))
    value = max(estimate.value for estimate, _ in found)
    whole = Estimate(value, max(e.low for e, _ in found), max(e.high for e, _ in found))
    deviation = max(found, key=lambda pair: pair[0].high)[1]
    return _decided(condition, whole, deviation, len(columns[0]))


def changes_by_image(metric: str, context: BitContext, piece: Piece) -> list[NDArray[np.float64]]:
    """What a metric of answers is the mean of: float64 `(S,)`; for the worst of several means one array for each.

    Raises:
        ValueError: the model is no classifier, or the images have no labels.
    """
    before, after = context.reference.predictions, piece.predictions
    if before is None or after is None:
        raise ValueError(f"keep {metric} needs a model whose output is one number per class. Received: another model")
    if metric in OF_LABELS and context.labels is None:
        raise ValueError(f"keep {metric} needs images with labels. Received: images without")
    moved = ~identities(context.transformations)
    moved = moved if moved.any() else ~moved
    if metric not in OF_LABELS:
        return [before.by_image(_of_answers(metric, before, after, moved))]
    labels = before.truth(context.labels)
    assert labels is not None
    upright = [(answers.upright == labels).astype(np.float64) for answers in (before, after)]
    right = [(answers.transformed == labels[:, None]).astype(np.float64) for answers in (before, after)]
    mean, every = ([table[:, moved].mean(axis=1) for table in right], [table.min(axis=1) for table in right])
    if metric == "worst_accuracy_drop":
        return list(before.by_image(right[0] - right[1]).T)
    pair = {"accuracy": upright, "transformed_accuracy": mean, "worst_case_accuracy": every}
    first, second = pair[metric.removesuffix("_drop")]
    return [before.by_image(first - second if metric.endswith("_drop") else second)]


def _of_answers(metric: str, before: Predictions, after: Predictions, moved: NDArray[np.bool_]) -> NDArray[np.float64]:
    if metric == "flip_rate":
        return (after.transformed != before.transformed)[:, moved].mean(axis=1)
    if metric == "upright_flip_rate":
        return (after.upright != before.upright).astype(np.float64)
    first, second = ((a.transformed == a.upright[:, None])[:, moved].mean(axis=1) for a in (before, after))
    return first - second


def _of_layers(condition: Condition, piece: Piece, context: BitContext) -> Seen:
    metric, results = condition.metric, context.reference.results
    if metric == "min_sqnr_db":
        ratios = piece.fidelity["sqnr_db"].to_numpy(float) if "sqnr_db" in piece.fidelity else np.array([math.inf])
        value = float(np.nanmin(ratios)) if np.isfinite(ratios).any() or np.isinf(ratios).any() else math.nan
        return _decided(condition, Estimate(value, value, value), math.nan, 0)
    keys = list(results) if metric != "output_profile_increase" else list(results)[:1]
    rows = []
    for key in keys:
        names = [context.output] if metric == "output_profile_increase" else list(results[key])
        pairs = {name: name for name in names if name in piece.results[key] and results[key][name].valid.size}
        rows += layer_rows(results[key], piece.results[key], pairs, TESTED, simultaneous=False)
    if metric == "lost_units":
        shares = [row["lost"] / row["valid_before"] for row in rows]
        value = max(shares, default=math.nan)
        return _decided(condition, Estimate(value, value, value), math.nan, 0)
    spans = [_span(row, change=metric == "max_profile_change") for row in rows]
    known = spans or [Estimate(math.nan, math.nan, math.nan)]
    value, low, high = (float(np.max([getattr(span, name) for span in known])) for name in ("value", "low", "high"))
    samples = int(results.metadata["samples"])
    deviation = (high - low) / 2 / quantile(TESTED) * math.sqrt(samples)
    return _decided(condition, Estimate(value, low, high), deviation, samples)


def _span(row: Mapping[str, Any], change: bool) -> Estimate:
    """A relative change of a layer with its interval; of its size where `change`."""
    value, low, high = row["relative"], row["relative_low"], row["relative_high"]
    if not change:
        return Estimate(value, low, high)
    ends = abs(low), abs(high)
    return Estimate(abs(value), 0.0 if low <= 0 <= high else min(ends), max(ends))


def _decided(condition: Condition, estimate: Estimate, deviation: float, samples: int) -> Seen:
    """Whether the whole interval meets a condition."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if math.isnan(value):
        return Seen(value, low, high, "fails")
    worst = high if condition.sign in ("<", "<=") else low
    if math.isnan(worst):  # measured without intervals: the number itself decides
        worst = value
    if condition.holds(worst):
        return Seen(value, low, high, "holds")
    if not condition.holds(value):
        return Seen(value, low, high, "fails")
    distance = abs(condition.limit - value)
    needed = math.nan
    if samples and distance > 0:
        # of a few changes that are all zero, the interval is that of two added images
        fewest = math.ceil(quantile(TESTED) / distance) - 1
        needed = float(max(images_needed(deviation, distance), fewest))
    return Seen(value, low, high, "inconclusive", needed)


def check_reference(conditions: Sequence[Condition], seen: Mapping[str, Seen], images: int) -> None:
    """Refuse conditions that not even the float file meets, or that so few images cannot decide even for it.

    Args:
        conditions: the conditions.
        seen: what they are on the float file.
        images: how many images there are.

    Raises:
        ValueError: such a condition, with what was measured.
    """
    for condition in conditions:
        one = seen[str(condition)]
        if condition.metric in OF_FILES or one.outcome == "holds":
            continue
        if one.outcome == "fails":
            raise ValueError(
                f"keep {in_words(condition)} cannot be met: the float32 file itself does not. Received: "
                f"{condition.metric} {amount(condition.metric, one.value)} of float32"
            )
        needed = f"about {int(one.needed):,}" if math.isfinite(one.needed) else "more"
        ends = " to ".join(amount(condition.metric, end) for end in (one.low, one.high))
        raise ValueError(
            f"keep {in_words(condition)} cannot be decided with so few images, not even for the float32 file, where "
            f"the 90 % interval is {ends}; it takes {needed} images, or a wider margin. Received: {images} images"
        )
