"""Confidence intervals in closed form: of a share of images, and of a paired difference of shares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PSEUDO = 2.0
"""Images that `paired_moments` adds: half a +1, half a -1, and one 0."""


def wilson(successes: float, samples: int, confidence: float = 0.95) -> tuple[float, float]:
    r"""Wilson's score interval of a share.

        \frac{1}{n + z^2} \left( k + \frac{z^2}{2} \pm z \sqrt{\frac{k (n - k)}{n} + \frac{z^2}{4}} \right)

    It keeps its confidence where the share is 0 or 1, where the usual interval has no width.

    Example:
        >>> from tfinv.resampling.shares import wilson
        >>> [round(bound, 3) for bound in wilson(0, 10)], [round(bound, 3) for bound in wilson(49, 100)]
        ([0.0, 0.278], [0.394, 0.587])

    Args:
        successes: k, how many of the images have a property.
        samples: n, how many images there are.
        confidence: such as 0.95.

    Returns:
        The lower and the upper bound, both in [0, 1]; NaN where there are no images.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if samples < 1 or math.isnan(successes):
        return math.nan, math.nan
    z = quantile(confidence)
    middle = successes + z * z / 2
    reach = z * math.sqrt(max(successes * (samples - successes) / samples, 0.0) + z * z / 4)
    low, high = (middle - reach) / (samples + z * z), (middle + reach) / (samples + z * z)
    return (0.0 if successes <= 0 else max(low, 0.0)), (1.0 if successes >= samples else min(high, 1.0))


def paired_moments(changes: NDArray[Any]) -> tuple[float, float, float]:
    """Number of images, mean and standard deviation of changes in [-1, 1], with two images added.

    The added images are half a +1, half a -1 and one 0, so that the deviation is never 0: that no image of a few
    changed does not prove that none ever does.

    Args:
        changes: `(S,)`, by image.

    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions".
    """
    changes = np.asarray(changes, np.float64)
    count = len(changes) + _PSEUDO
    mean = float(changes.sum()) / count
    variance = (float(np.square(changes).sum()) + 1.0) / count - mean * mean
    return count, mean, math.sqrt(max(variance, 0.0))


def paired_interval(changes: NDArray[Any], confidence: float = 0.95) -> tuple[float, float]:
    r"""The interval of a mean over images of changes in [-1, 1], such as right after minus right before.

        \tilde d \pm z \, \tilde s / \sqrt{S + 2}, \quad \tilde d = \frac{\sum_s d_s}{S + 2}, \quad
        \tilde s^2 = \frac{\sum_s d_s^2 + 1}{S + 2} - \tilde d^2

    Example:
        >>> import numpy as np
        >>> from tfinv.resampling.shares import paired_interval
        >>> [round(bound, 4) for bound in paired_interval(np.zeros(100))]
        [-0.0192, 0.0192]

    Args:
        changes: `(S,)`, by image.
        confidence: such as 0.95.

    Returns:
        The lower and the upper bound; NaN where there are no images.

    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions".
    """
    if not len(changes):
        return math.nan, math.nan
    count, mean, deviation = paired_moments(changes)
    reach = quantile(confidence) * deviation / math.sqrt(count)
    return max(mean - reach, -1.0), min(mean + reach, 1.0)


def quantile(confidence: float) -> float:
    """The quantile of the normal distribution that leaves `(1 - confidence) / 2` above."""
    return float(ndtri(0.5 + confidence / 2))
