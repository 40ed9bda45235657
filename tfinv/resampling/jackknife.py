"""How far a number would move with other samples, from its values without each shard of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.resampling import shards

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Replicates:
    """Layer profiles computed without each shard of the samples in turn, and perhaps of resampled shards.

    Args:
        confidence: the confidence of the intervals, such as 0.95.
        sizes: number of samples in each shard, `(G,)`.
        means: by layer the `G` values of the layer profile, the `g`-th without the samples of shard `g`.
        draws: by layer the `B` values of the layer profile in resamples of the shards; where there are some, intervals
            come from them, otherwise from `means`.
    """

    confidence: float
    sizes: tuple[int, ...]
    means: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    draws: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def interval(self, layer: str, estimate: float) -> tuple[float, float]:
        """The confidence interval around one layer's value; NaN where the layer has none."""
        if layer not in self.means:
            return float("nan"), float("nan")
        return interval_of(estimate, self.means[layer], self.sizes, self.confidence, self.draws.get(layer))


def interval_of(
    estimate: float, without: Any, sizes: Sequence[int], confidence: float, draws: Any = None
) -> tuple[float, float]:
    """The confidence interval of a number that was computed without each shard, and perhaps of resampled shards.

    Args:
        estimate: the number from all samples.
        without: `(G,)`, the number without the samples of each shard.
        sizes: number of samples in each shard, `(G,)`.
        confidence: such as 0.95.
        draws: `(B,)`, the number in resamples, from which the interval then comes; None for none.
    """
    pseudo = pseudo_values(estimate, without, sizes)
    if draws is None:
        return interval(pseudo, sizes, estimate, confidence)
    middle, spread = middle_of(pseudo, sizes, estimate), spread_of(pseudo, sizes, estimate)
    return shards.interval(draws, estimate, middle, len(sizes), confidence, spread)


def pseudo_values(estimate: float, without: Any, sizes: Sequence[int]) -> NDArray[np.float64]:
    r"""What each shard contributes to an estimate, so that their spread shows how far the estimate is off.

        \tilde\theta_g = h_g \hat\theta - (h_g - 1) \hat\theta_{(g)},   \quad h_g = n / m_g

    Args:
        estimate: the number from all samples.
        without: `(G,)`, the number without the samples of each shard.
        sizes: number of samples in each shard, `(G,)`.

    Returns:
        `(G,)`.

    Source: Busing, Meijer and van der Leeden 1999, "Delete-m jackknife for unequal m", equation 2.
    """
    ratio = sum(sizes) / np.asarray(sizes, np.float64)
    return ratio * estimate - (ratio - 1) * np.asarray(without, np.float64)


def corrected(pseudo: Any, sizes: Sequence[int]) -> float:
    r"""An estimate less its bias, as far as the shards show one.

        \bar\theta = \sum_g \tilde\theta_g / h_g

    A quotient of means of heavy-tailed numbers is biased by an amount that shrinks with the number of samples: it is
    larger without a shard than with it, and that difference is what is taken off.

    Source: Busing, Meijer and van der Leeden 1999, equation 2.
    """
    ratio = sum(sizes) / np.asarray(sizes, np.float64)
    return float(np.sum(np.asarray(pseudo, np.float64) / ratio))


def middle_of(pseudo: Any, sizes: Sequence[int], estimate: float) -> float:
    """The corrected estimate, at most one standard error from the estimate.

    A larger bias cannot be told from a shard that decides whether a unit counts.
    """
    reach = standard_error(pseudo, sizes)
    return float(np.clip(corrected(pseudo, sizes), estimate - reach, estimate + reach))


def spread_of(pseudo: Any, sizes: Sequence[int], estimate: float) -> float:
    r"""How far the middle of an interval would move with other samples.

        \sqrt{SE^2 + (b / 2)^2}, \quad b \text{: what the middle lies off the estimate}

    `SE` is that of the estimate. The middle is less certain, because what is taken off for bias is known to about half
    of it: in simulations of paired changes the middle varied 1.2 times as much as `SE` says, and without this term
    intervals at 95 % held 91 to 93 %.

    Args:
        pseudo: see `pseudo_values`.
        sizes: number of samples in each shard.
        estimate: the number from all samples.
    """
    return math.hypot(standard_error(pseudo, sizes), (middle_of(pseudo, sizes, estimate) - estimate) / 2)


def standard_error(pseudo: Any, sizes: Sequence[int]) -> float:
    r"""Standard error of an estimate from the pseudo-values of its shards.

        SE^2 = \frac{1}{G} \sum_g \frac{(\tilde\theta_g - \bar\theta)^2}{h_g - 1},
        \quad \bar\theta = \sum_g \tilde\theta_g / h_g

    Source: Busing, Meijer and van der Leeden 1999, equation 3.
    """
    pseudo = np.asarray(pseudo, np.float64)
    ratio = sum(sizes) / np.asarray(sizes, np.float64)
    return float(np.sqrt(np.mean((pseudo - corrected(pseudo, sizes)) ** 2 / (ratio - 1))))


def interval(pseudo: Any, sizes: Sequence[int], estimate: float, confidence: float) -> tuple[float, float]:
    r"""Confidence interval around the corrected estimate: Student's t with `G - 1` degrees of freedom.

        \bar\theta \pm t_{G - 1} \sqrt{SE^2 + (\bar\theta - \hat\theta)^2 / 4}

    The bias that is taken off the middle is the reason why the interval may reach further on one side of the estimate
    than on the other. It always contains the estimate.

    Example:
        >>> import numpy as np
        >>> from tfinv.resampling.jackknife import interval, pseudo_values
        >>> shards = np.array([2.0, 3.0, 4.0, 7.0])
        >>> without = [np.delete(shards, each).mean() for each in range(4)]
        >>> low, high = interval(pseudo_values(4.0, without, [1] * 4), [1] * 4, 4.0, 0.95)
        >>> round(low, 3), round(high, 3)
        (0.563, 7.437)

    Args:
        pseudo: see `pseudo_values`.
        sizes: number of samples in each shard.
        estimate: the number from all samples.
        confidence: such as 0.95.
    """
    from scipy.stats import t

    reach = float(t.ppf((1 + confidence) / 2, len(sizes) - 1)) * spread_of(pseudo, sizes, estimate)
    middle = middle_of(pseudo, sizes, estimate)
    return min(middle - reach, estimate), max(middle + reach, estimate)
