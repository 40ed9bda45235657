"""Conditions on numbers of a comparison, such as `"flip_rate>5%"`: their names, their units, how they are read."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tfinv.support.checks import close_match


@dataclass(frozen=True)
class Unit:
    """How the number of a condition is written.

    Args:
        words: what follows a number in a sentence.
        factor: a number in a sentence is the value times this.
        divisors: what may follow a number in a condition, and what the number is divided by then. The first is the one
            that conditions are written with.
        bare: the largest size of a number without a unit. A larger one could be meant in the unit as well.
    """

    words: str
    factor: float
    divisors: Mapping[str, float]
    bare: float


_PERCENT = MappingProxyType({"%": 100.0})
_OF_POINTS: Mapping[str, float] = MappingProxyType(dict.fromkeys(("pt", "pts", "pp", "point", "points", "%"), 100.0))
SHARE = Unit("%", 100, _PERCENT, 0.1)
LEVEL = Unit("%", 100, _PERCENT, 1.0)
POINTS = Unit("points", 100, _OF_POINTS, 0.1)
RATIO = Unit("", 1, MappingProxyType({"x": 1.0, "%": 100.0}), 10.0)
NUMBER = Unit("", 1, MappingProxyType({}), math.inf)
DECIBELS = Unit("dB", 1, MappingProxyType({"dB": 1.0}), math.inf)


@dataclass(frozen=True)
class GateMetric:
    """What a condition is on.

    Args:
        text: what it is.
        unit: how its number is written.
    """

    text: str
    unit: Unit


METRICS: dict[str, GateMetric] = {
    "max_profile_increase": GateMetric("largest relative increase of a layer's mean, over layers and measures", SHARE),
    "max_profile_change": GateMetric("the same, increase or decrease", SHARE),
    "output_profile_increase": GateMetric(
        "relative increase of the first measure at the last common layer that it exists on", SHARE
    ),
    "lost_units": GateMetric(
        "largest share of a layer's valid units that are valid no more, over layers and measures", SHARE
    ),
    "flip_rate": GateMetric("share of transformed images that are answered differently from before", SHARE),
    "upright_flip_rate": GateMetric("share of untransformed images that are answered differently from before", SHARE),
    "accuracy_drop": GateMetric("accuracy lost on untransformed images", POINTS),
    "transformed_accuracy_drop": GateMetric("accuracy lost on transformed images", POINTS),
    "worst_accuracy_drop": GateMetric("accuracy lost under the transformation where most is lost", POINTS),
    "worst_case_accuracy_drop": GateMetric(
        "accuracy lost where an image counts as right only under every transformation", POINTS
    ),
    "consistency_drop": GateMetric("share of predictions that transformations no longer leave unchanged", POINTS),
    "accuracy": GateMetric("accuracy after, on untransformed images", LEVEL),
    "transformed_accuracy": GateMetric("accuracy after, on transformed images", LEVEL),
    "worst_case_accuracy": GateMetric(
        "accuracy after, where an image counts as right only under every transformation", LEVEL
    ),
    "output_error": GateMetric(
        "error of outputs that are no classes after, mean over transformed images; the largest output", SHARE
    ),
    "output_error_increase": GateMetric("increase of that error; the largest output", SHARE),
    "output_change": GateMetric(
        "distance of such outputs after from those before on the same transformed images; the largest", SHARE
    ),
    "min_sqnr_db": GateMetric("lowest ratio of signal to quantization noise of a layer", DECIBELS),
    "changed": GateMetric("number of quantities that --decide equivalence calls changed", NUMBER),
    "inconclusive": GateMetric(
        "number of quantities that --decide equivalence can neither call changed nor unchanged", NUMBER
    ),
    "size_ratio": GateMetric("size of the file after, as a share of the file before", RATIO),
    "kernel_flip_rate": GateMetric(
        "largest share of transformed images that two of the kernel sets answer differently, after", SHARE
    ),
    "kernel_max_lsb": GateMetric(
        "largest difference of a layer between two of the kernel sets, in steps of its integers, after", NUMBER
    ),
    "latency_ratio": GateMetric("median latency after, as a share of that before, on this machine", RATIO),
}
"""What a condition may name."""
UNITS_TEXT = """\
a number takes the unit of what is measured: 5% of a share or a relative change, 0.5pt (percentage points) of an
accuracy that is lost, 20dB, 2x; without a unit it is the share itself (0.02 is 2%), and is refused where it could be
meant in the unit (0.5)"""
"""How numbers are written, for the help of commands."""
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_FORM = re.compile(r"\s*([a-z_]+)\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(%|[a-z]*)\s*", re.I)


@dataclass(frozen=True)
class Condition:
    """A condition on one number.

    Args:
        metric: a key of `METRICS`.
        sign: `>`, `>=`, `<` or `<=`.
        limit: the number to compare with; a share, not per cent or points.
    """

    metric: str
    sign: str
    limit: float

    def holds(self, value: float) -> bool:
        """Whether a value meets the condition; NaN, of which nothing is known, does."""
        return math.isnan(value) or _OPERATORS[self.sign](value, self.limit)

    def __str__(self) -> str:
        unit = METRICS[self.metric].unit
        name, divisor = next(iter(unit.divisors.items()), ("", 1.0))
        return f"{self.metric}{self.sign}{self.limit * divisor:g}{name}"


def listed(names: Iterable[str] = METRICS) -> str:
    """Metrics with what they are, one a line."""
    return "\n".join(f"  {name:26} {METRICS[name].text}" for name in names)


def parse_condition(text: str, names: Iterable[str] = METRICS, argument: str = "condition") -> Condition:
    """Read a condition such as `"max_profile_increase>10%"` or `"accuracy_drop >= 0.5pt"`.

    A number without a unit is the value itself: `"flip_rate>0.05"` is 5 %. Where it is so large that it could be meant
    in the unit, it is refused: `"accuracy_drop>0.5"` could be half a point or 50 points.

    Example:
        >>> from tfinv.tflite.comparison.conditions import parse_condition
        >>> parse_condition("flip_rate > 5%")
        Condition(metric='flip_rate', sign='>', limit=0.05)
        >>> str(parse_condition("accuracy_drop>0.02"))
        'accuracy_drop>2pt'

    Args:
        text: a metric, one of `>`, `>=`, `<`, `<=`, and a number with its unit.
        names: metrics of `METRICS` that may be named.
        argument: what the text was given as, for errors.

    Raises:
        ValueError: it does not read like that, names another metric, or has a number that could be read in two ways.
    """
    match = _FORM.fullmatch(str(text))
    if not match:
        raise ValueError(f"{argument} must read like max_profile_increase>10% or flip_rate>5%. Received: {text!r}")
    metric, sign, number, written = match.groups()
    names = list(names)
    if metric not in names:
        raise ValueError(
            f"{argument} must name one of {', '.join(names)}.{close_match(metric, names)} Received: {text!r}"
        )
    unit, value = METRICS[metric].unit, float(number)
    if written:
        divisor = {name.lower(): divisor for name, divisor in unit.divisors.items()}.get(written.lower())
        if divisor is None:
            takes = f"{' or '.join(_shown(unit))} after it" if unit.divisors else "no unit"
            raise ValueError(f"{argument} must give {metric} as a number with {takes}. Received: {text!r}")
        return Condition(metric, sign, value / divisor)
    if abs(value) > unit.bare:
        raise ValueError(f"{argument} must have a unit: {_readings(metric, sign, number)}. Received: {text!r}")
    return Condition(metric, sign, value)


def _shown(unit: Unit) -> list[str]:
    """The names of a unit that errors tell: of points the first two are enough."""
    names = list(unit.divisors)
    return [names[0], "%"] if len(names) > 1 else names


def _readings(metric: str, sign: str, number: str) -> str:
    """Both readings of a number without a unit."""
    unit = METRICS[metric].unit
    if unit is RATIO:
        texts = [f"{metric}{sign}{number}% is {number} %", f"{metric}{sign}{number}x is {number} times"]
    else:
        name = next(iter(unit.divisors))
        larger = f"{float(number) * unit.factor:g}"
        texts = [f"{metric}{sign}{size}{name} is {size} {unit.words}" for size in (number, larger)]
    return " and ".join(texts)


def amount(metric: str, value: float, digits: int = 3) -> str:
    """A value of a metric with its unit.

    Example:
        >>> from tfinv.tflite.comparison.conditions import amount
        >>> amount("flip_rate", 0.0512)
        '5.12 %'

    Args:
        metric: a key of `METRICS`.
        value: what was measured.
        digits: significant digits.
    """
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "infinite"
    unit = METRICS[metric].unit
    return f"{unit.factor * value:.{digits}g} {unit.words}".rstrip()
