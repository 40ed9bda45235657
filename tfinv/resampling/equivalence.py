"""Deciding by intervals whether something changed by less than a margin, and how many images that takes."""

from __future__ import annotations

import math
from typing import Literal

from tfinv.resampling.shares import quantile

Decision = Literal["unchanged", "changed", "inconclusive"]
TESTED = 0.90
"""Two one-sided tests at 5 % are one interval of 90 %."""
POWER = 0.8
"""The chance of a decision that numbers of images are computed for."""


def decide(tested: tuple[float, float], wider: tuple[float, float], margin: float) -> Decision:
    """Whether a change is smaller than a margin, is there, or neither can be said.

    It is "unchanged" if the 90 % interval lies inside the margin: both one-sided tests, that the change is at most
    `-margin` and that it is at least `margin`, are rejected at 5 %. Otherwise it is "changed" if the wider interval
    excludes zero, and "inconclusive" if not.

    Example:
        >>> from tfinv.resampling.equivalence import decide
        >>> decide((-0.004, 0.006), (-0.005, 0.007), 0.01), decide((-0.05, -0.02), (-0.06, -0.01), 0.01)
        ('unchanged', 'changed')
        >>> decide((-0.02, 0.01), (-0.03, 0.02), 0.01)
        'inconclusive'

    Args:
        tested: the 90 % interval of the change.
        wider: the interval that says whether there is a change at all, such as of 95 %.
        margin: a change of less than this does not matter; in the unit of the intervals.

    Raises:
        ValueError: a margin that is not above 0.

    Source: Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach"; Lakens 2017,
    "Equivalence tests".
    """
    if not margin > 0:
        raise ValueError(f"margin must be above 0. Received: {margin!r}")
    if tested[0] > -margin and tested[1] < margin:
        return "unchanged"
    return "changed" if wider[0] > 0 or wider[1] < 0 else "inconclusive"


def images_needed(deviation: float, margin: float, change: float = 0.0, power: float = POWER) -> float:
    r"""About how many images a decision needs.

        n = \left( \frac{\sigma (z_{0.95} + z_{\pi})}{m - |d|} \right)^2 \text{ for } 0 < |d| < m, \quad
        n = \left( \frac{\sigma (z_{0.95} + z_{(1 + \pi) / 2})}{m} \right)^2 \text{ for } d = 0, \quad
        n = \left( \frac{\sigma (z_{0.975} + z_{\pi})}{d} \right)^2 \text{ for } |d| \ge m

    The first two are for "unchanged", the last is for "changed". The first tends to the second from below near 0,
    where both tests can fail; the larger one is taken.

    Example:
        >>> from tfinv.resampling.equivalence import images_needed
        >>> images_needed(0.2, 0.01), images_needed(0.2, 0.01, change=0.005)
        (3426, 9893)

    Args:
        deviation: standard deviation of the change from image to image, sigma.
        margin: m.
        change: d, what the change is supposed to be; 0 to plan with.
        power: the chance of the decision.

    Returns:
        A whole number; NaN where the deviation is unknown.

    Source: Chow, Shao and Wang 2008, "Sample size calculations in clinical research", section 3.1.
    """
    if not math.isfinite(deviation + change):
        return math.nan
    one_sided, certain = quantile(TESTED), quantile(2 * power - 1)
    if abs(change) >= margin:
        return math.ceil((deviation * (quantile(0.95) + certain) / change) ** 2)
    planned = (deviation * (one_sided + quantile(power)) / margin) ** 2
    return math.ceil(max(planned, (deviation * (one_sided + certain) / (margin - abs(change))) ** 2))
