"""The gate for continuous integration: whether a comparison fails, which it does when in doubt."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.tflite.comparison.behaviour import NEAR_CHANCE
from tfinv.tflite.comparison.conditions import Condition, amount, parse_condition
from tfinv.tflite.comparison.decisions import named

if TYPE_CHECKING:
    from tfinv.tflite.comparison.comparison import Comparison

DECISIONS = ("changed", "inconclusive")
"""Metrics that judge by intervals; all others compare the measured number."""


@dataclass(frozen=True)
class Gate:
    """Whether a comparison passes.

    Args:
        reasons: why it fails; none where it passes.
        values: the metrics that were looked at.
    """

    reasons: tuple[str, ...]
    values: Mapping[str, float]

    @property
    def failed(self) -> bool:
        """Whether there is a reason."""
        return bool(self.reasons)

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)


def check(
    conditions: Iterable[str | Condition], comparison: Comparison, *, allow_unmatched: Sequence[str] = ()
) -> Gate:
    """Whether a comparison meets none of the conditions that would make it fail.

    It fails closed: also where a layer of one file has no partner in the other, where a layer's mean is not a number
    after but was before, where a metric that a condition needs does not exist, where the self-check of a file failed,
    and where a model has collapsed or knows hardly more than chance.

    Args:
        conditions: texts or parsed conditions; each says when to fail.
        comparison: what was found.
        allow_unmatched: layers (names or globs) that need no partner.

    Returns:
        The gate with all reasons to fail.

    Raises:
        ValueError: a condition that does not parse.
    """
    parsed = [condition if isinstance(condition, Condition) else parse_condition(condition) for condition in conditions]
    reasons = list(_reasons_without_condition(comparison, allow_unmatched))
    values = {condition.metric: metric_value(condition.metric, comparison) for condition in parsed}
    for condition in parsed:
        value = values[condition.metric]
        if math.isnan(value):
            reasons.append(f"{condition.metric} is not known, so {condition} cannot be ruled out")
        elif condition.holds(value):
            which = (
                f": {named(comparison.answers.decisions, condition.metric)}" if condition.metric in DECISIONS else ""
            )
            reasons.append(f"{condition.metric} is {amount(condition.metric, value, 4)} ({condition}){which}")
    return Gate(tuple(reasons), values)


def metric_value(metric: str, comparison: Comparison) -> float:
    """The value of one of `METRICS`; NaN where it does not exist."""
    existing = comparison.layers[np.isfinite(comparison.layers["before"].to_numpy(float))]
    relative = existing["relative"].to_numpy(float)
    before, after = (dict(comparison.models.iloc[i]) for i in (0, 1))

    def lost(column: str) -> float:
        return float(before.get(column, math.nan)) - float(after.get(column, math.nan))

    def ratio(column: str) -> float:
        first = float(before.get(column, math.nan))
        return float(after.get(column, math.nan)) / first if first else math.nan

    functions: dict[str, Callable[[], float]] = {
        "max_profile_increase": lambda: _largest(relative),
        "max_profile_change": lambda: _largest(np.abs(relative)),
        "output_profile_increase": lambda: _output_increase(comparison),
        "lost_units": lambda: _lost_share(existing),
        "flip_rate": lambda: float(after.get("transformed_flips", math.nan)),
        "upright_flip_rate": lambda: float(after.get("flips", math.nan)),
        "accuracy_drop": lambda: lost("accuracy"),
        "transformed_accuracy_drop": lambda: lost("transformed_accuracy"),
        "worst_accuracy_drop": lambda: _worst_drop(comparison),
        "worst_case_accuracy_drop": lambda: lost("worst_case_accuracy"),
        "consistency_drop": lambda: lost("consistency"),
        "accuracy": lambda: float(after.get("accuracy", math.nan)),
        "transformed_accuracy": lambda: float(after.get("transformed_accuracy", math.nan)),
        "worst_case_accuracy": lambda: float(after.get("worst_case_accuracy", math.nan)),
        "output_error": lambda: _of_outputs(comparison, "after"),
        "output_error_increase": lambda: _of_outputs(comparison, "difference"),
        "output_change": lambda: _of_outputs(comparison, "between"),
        "min_sqnr_db": lambda: float(comparison.fidelity["sqnr_db"].min()) if len(comparison.fidelity) else math.nan,
        "changed": lambda: _decided("changed", comparison),
        "inconclusive": lambda: _decided("inconclusive", comparison),
        "size_ratio": lambda: ratio("kib"),
        "kernel_flip_rate": lambda: _between_kernels(comparison, "transformed_flips"),
        "kernel_max_lsb": lambda: _between_kernels(comparison, "max_lsb"),
        "latency_ratio": lambda: ratio("latency_ms"),
    }
    return functions[metric]()


def _between_kernels(comparison: Comparison, column: str) -> float:
    """The largest over pairs of kernel sets of the file after; NaN without pairs, or where one set refused the file."""
    kernels, name = comparison.kernels, comparison.names[1]
    if kernels is None or any(place.startswith(f"{name}: ") for place in kernels.refused):
        return math.nan
    pairs = kernels.pairs[kernels.pairs["model"] == name]
    return _largest(pairs[column].to_numpy(float)) if column in pairs else math.nan


def _reasons_without_condition(comparison: Comparison, allowed: Sequence[str]) -> Iterable[str]:
    match = comparison.match
    for side, names in (("before", match.unmatched_before), ("after", match.unmatched_after)):
        missing = [name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in allowed)]
        if missing:
            yield f"no partner for {len(missing)} layer(s) of the file {side}: {', '.join(missing[:5])}"
    frame = comparison.layers
    lost = frame[np.isfinite(frame["before"].to_numpy(float)) & ~np.isfinite(frame["after"].to_numpy(float))]
    if len(lost):
        yield f"{lost['measure'].iloc[0]} exists no more at {', '.join(dict.fromkeys(lost['layer']))}"
    for row in comparison.models.to_dict("records"):
        yield from _reasons_of_model(row)


def _reasons_of_model(row: Mapping[Any, Any]) -> Iterable[str]:
    if str(row.get("self_check", "")).startswith("FAILED"):
        yield f"{row['model']}: the self-check {row['self_check']}"
    kappa = float(row.get("kappa", math.nan))
    if row.get("collapsed") is True or row.get("collapsed") is np.True_:
        yield f"{row['model']} has collapsed: it answers nearly the same for every image"
    elif kappa < NEAR_CHANCE:
        yield f"{row['model']} knows hardly more than chance (kappa {kappa:.2f}); check the input scale"


def _decided(decision: str, comparison: Comparison) -> float:
    """NaN before anything is decided."""
    frame = comparison.answers.decisions
    return float((frame["decision"] == decision).sum()) if len(frame) else math.nan


def _largest(values: Any) -> float:
    """The largest; NaN where there is none, or one is NaN: it may be the worst."""
    return float(np.max(values)) if len(values) else math.nan


def _lost_share(layers: Any) -> float:
    """NaN also where the layers of a row have different units, so that none can be paired."""
    if "lost" not in layers:
        return math.nan
    return _largest((layers["lost"] / layers["valid_before"]).to_numpy(float))


def _output_increase(comparison: Comparison) -> float:
    frame = comparison.layers
    rows = frame[frame["measure"] == frame["measure"].iloc[0]]
    known = rows[np.isfinite(rows["before"].to_numpy(float))]
    return float(known["relative"].iloc[-1]) if len(known) else math.nan


def _of_outputs(comparison: Comparison, column: str) -> float:
    """The largest of all outputs that are no classes; NaN where there is none."""
    if comparison.outputs is None:
        return math.nan
    frame = comparison.outputs.summary()
    rows = frame[frame["kind"] != "class"] if len(frame) else frame
    return _largest(rows[column].to_numpy(float)) if len(rows) else math.nan


def _worst_drop(comparison: Comparison) -> float:
    curves = comparison.curves
    if curves.empty:
        return math.nan
    names = comparison.names
    before, after = (curves[curves["model"] == name]["accuracy"].to_numpy(float) for name in names)
    return _largest(before - after)
