"""From numbers over seeds to a verdict: intervals, comparisons of layer profiles, checks (results -> experiments)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.experiment import Finding

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MARGIN = 0.05
"""A difference of normalized variance, or of correlation, below this counts as none."""
_JUDGEMENTS = {True: "", False: "not ", None: "inconclusive whether "}
"""What is put before the expectation of a check."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with the ends of its confidence interval.

    Args:
        mean: over the seeds.
        low: lower end; NaN for a single seed.
        high: upper end; NaN for a single seed.
        count: how many seeds.
    """

    mean: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Any, confidence: float = 0.95) -> Interval:
        r"""Student's interval of a mean, :math:`\bar v \pm t_{n-1} s / \sqrt n`; NaN are left out.

        Example:
            >>> from tfinv.experiments import Interval
            >>> print(Interval.of([0.1, 0.2, 0.3]))
            0.200 [-0.048, 0.448]
            >>> print(f"accuracy rises by {Interval.of([0.02, 0.03]):.1pt}")
            accuracy rises by 2.5 [-3.9, 8.9] points
        """
        from scipy.stats import t

        values = np.asarray(values, np.float64).ravel()
        values = values[np.isfinite(values)]
        if len(values) < 2:
            return cls(float(values.mean()) if len(values) else np.nan, np.nan, np.nan, len(values))
        half = t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        mean = float(values.mean())
        return cls(mean, mean - float(half), mean + float(half), len(values))

    @classmethod
    def of_shares(cls, values: Any, confidence: float = 0.95) -> Interval:
        """`of` of numbers between 0 and 1, such as accuracies; its ends lie there too.

        Example:
            >>> from tfinv.experiments import Interval
            >>> print(f"{Interval.of_shares([0.9, 0.99, 1.0]):.1%}")
            96.3% [82.7%, 100.0%]
        """
        amount = cls.of_amounts(values, confidence)
        return cls(amount.mean, amount.low, min(amount.high, 1.0), amount.count)

    @classmethod
    def of_amounts(cls, values: Any, confidence: float = 0.95) -> Interval:
        """`of` of numbers that are not negative, such as times; neither is its lower end.

        Example:
            >>> from tfinv.experiments import Interval
            >>> print(f"{Interval.of_amounts([3.2, 3.3, 9.6]):.1f} ms")
            5.4 [0.0, 14.5] ms
        """
        free = cls.of(values, confidence)
        return cls(free.mean, max(free.low, 0.0), free.high, free.count)

    def above(self, bound: float) -> bool | None:
        """Whether all of it lies above the bound; None where it contains the bound or there is one seed alone."""
        return True if self.low > bound else False if self.high < bound else None

    def below(self, bound: float) -> bool | None:
        """As `above`, the other way round."""
        return True if self.high < bound else False if self.low > bound else None

    def within(self, low: float, high: float) -> bool | None:
        """Whether all of it lies between the bounds; None where it contains one of them."""
        if self.low > high or self.high < low:
            return False
        return True if low < self.low and self.high < high else None

    def exceeds(self, other: Interval) -> bool | None:
        """Whether all of it lies above all of the other; None where the two overlap."""
        return True if self.low > other.high else False if self.high < other.low else None

    def __format__(self, spec: str) -> str:
        spec, unit, times = spec or ".3f", "", 1
        if spec.endswith("pt"):  # differences of shares, in percentage points
            spec, unit, times = f"{spec.removesuffix('pt')}f", " points", 100
        mean, low, high = (f"{times * value:{spec}}" for value in (self.mean, self.low, self.high))
        if np.isnan(self.low):
            return f"{mean}{unit} (one seed)" if self.count else "n/a"
        return f"{mean} [{low}, {high}]{unit}"

    def __str__(self) -> str:
        return format(self)


def conclude(
    claim: str, checks: Mapping[str, bool | None], table: pd.DataFrame | None = None, figure: str | None = None
) -> Finding:
    """A finding whose verdict follows from its checks.

    All true: it holds. None true and some false: it does not hold. Some true: it partly holds. Otherwise the intervals
    are too wide, and the finding is inconclusive.

    Example:
        >>> from tfinv.experiments import Interval, conclude
        >>> change = Interval.of([-0.2, -0.3, -0.25])
        >>> finding = conclude("Invariance grows.", {f"the variance changes by {change}; below zero": change.below(0)})
        >>> finding.verdict, finding.text
        ('holds', 'The variance changes by -0.250 [-0.374, -0.126]; below zero.')

    Args:
        claim: what was claimed, and by whom.
        checks: what was measured and, after the last semicolon, what the claim expects of it, with whether the interval
            agrees (None: inconclusive). The text says `...; not below zero` or `...; inconclusive whether below zero`.
        table: see `Finding`.
        figure: see `Finding`.
    """
    outcomes = list(checks.values())
    if outcomes and all(outcomes):
        verdict = "holds"
    elif any(outcomes):
        verdict = "partly holds"
    else:
        verdict = "does not hold" if False in outcomes else "inconclusive"
    text = " ".join(_sentence(check, outcome) for check, outcome in checks.items())
    return Finding(claim, verdict, text, table, figure)


def _sentence(check: str, outcome: bool | None) -> str:
    """A check with its outcome, such as "The mean is 0.2 [0.1, 0.3]; not below zero"."""
    measured, semicolon, expected = check.rpartition("; ")
    if not semicolon:
        raise ValueError(f"checks must read 'what was measured; what was expected'. Received: {check!r}")
    return f"{measured[0].upper()}{measured[1:]}; {_JUDGEMENTS[outcome]}{expected}."


def change(before: pd.DataFrame, after: pd.DataFrame, layer: str | None = None) -> Interval:
    """`after - before` seed by seed, at a layer, or (None) of the mean over the layers that both have."""
    common = [name for name in before if name in after] if layer is None else [layer]
    return Interval.of(after[common].mean(axis=1) - before[common].mean(axis=1))


def distance(one: pd.DataFrame, other: pd.DataFrame, *, relative: bool = False) -> Interval:
    r"""How much further apart the profiles of two kinds of network are than those of one kind with two seeds.

        E_i = \bar d(A_i, B_{j \ne i}) - \tfrac12 ( \bar d(A_i, A_{j \ne i}) + \bar d(B_i, B_{j \ne i}) ),

    with `d` the mean of `|a - b|` over the layers that both have. 0 means that the kind matters no more than the seed.
    The `E_i` share pairs, so the interval over them is approximate. Of a single seed it is `d` itself.

    Args:
        one: profiles of one kind, one row per seed, one column per layer.
        other: of the other kind, with the same seeds.
        relative: `|a - b| / (|a| + |b|)` in place of `|a - b|`, for measures without a common scale.
    """
    a, b = _common(one, other)

    def apart(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Mean difference of each row of `x` from the other rows of `y`."""
        x, y = x[:, None], y[None]
        difference = np.abs(x - y)
        if relative:
            scale = np.abs(x) + np.abs(y)
            difference = np.divide(difference, scale, out=np.zeros_like(difference), where=scale > 0)
        pairs = difference.mean(axis=2)
        return pairs[0] if len(pairs) == 1 else (pairs.sum(axis=1) - np.diag(pairs)) / (len(pairs) - 1)

    return Interval.of(apart(a, b) - (apart(a, a) + apart(b, b)) / 2)


def correlation(one: pd.DataFrame, other: pd.DataFrame) -> Interval:
    """Correlation over layers between two profiles of each seed."""
    return Interval.of([_correlation(a, b) for a, b in zip(*_common(one, other), strict=True)])


def rank_agreement(profiles: pd.DataFrame) -> Interval:
    """Correlation over layers between each network's profile and the mean profile of the others."""
    pairs = _against_others(profiles)
    if len(pairs) < 3:  # the two correlations of two networks are one and the same
        pairs = pairs[1:]
    return Interval.of([_correlation(row, other) for row, other in pairs])


def spread(profiles: pd.DataFrame) -> Interval:
    """Mean over layers of the difference between each network's profile and the mean profile of the others."""
    pairs = _against_others(profiles)
    if len(pairs) < 3:
        pairs = pairs[1:]
    return Interval.of([np.abs(row - other).mean() for row, other in pairs])


def slope(levels: Sequence[float], profiles: Sequence[pd.DataFrame], layer: str | None = None) -> Interval:
    """Straight-line slope of a layer (None: of the mean over layers) against levels, one slope per seed."""
    values = [np.asarray(profile.mean(axis=1) if layer is None else profile[layer], np.float64) for profile in profiles]
    return Interval.of(np.polyfit(np.asarray(levels, np.float64), np.stack(values), 1)[0])


def _against_others(profiles: pd.DataFrame) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Each network's profile with the mean of the others'; empty for one network."""
    rows = profiles.dropna(axis=1).to_numpy(np.float64)
    if len(rows) < 2:
        return []
    return list(zip(rows, (rows.sum(axis=0) - rows) / (len(rows) - 1), strict=True))


def _common(one: pd.DataFrame, other: pd.DataFrame) -> tuple[NDArray[Any], NDArray[Any]]:
    """The values at the layers that both have."""
    layers = [name for name in one.dropna(axis=1) if name in other.dropna(axis=1)]
    if not layers:
        raise ValueError(f"profiles must share layers. Received: {', '.join(one)} and {', '.join(other)}")
    return one[layers].to_numpy(np.float64), other[layers].to_numpy(np.float64)


def _correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if np.ptp(one) > 0 and np.ptp(other) > 0 else float("nan")
