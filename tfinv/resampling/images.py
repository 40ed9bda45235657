"""Confidence intervals of means over images, by resampling the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 1000
_CHUNK = 2**22
"""Numbers that a piece of the resampling holds at a time."""


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval; all NaN where it does not exist."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the number differs from zero beyond noise."""
        return self.low > 0 or self.high < 0


NOTHING = Estimate(float("nan"), float("nan"), float("nan"))


def intervals(
    values: NDArray[Any],
    *,
    signed: bool = False,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    r"""Mean over images of several quantities, with percentile intervals from resampled images.

    The same images are drawn for every quantity, and for every call with the same number of images and seed:
    differences of quantities are to be given as quantities, `a - b` by image, and are then paired.

    Where a quantity is 0 or 1 for all images, resampling gives an interval without width. The interval then ends
    where a share would give such a sample with probability `(1 - confidence) / 2`, which is
    `1 - ((1 - confidence) / 2)^{1/S}` from it.

    Example:
        >>> import numpy as np
        >>> from tfinv.resampling.images import intervals
        >>> right = np.arange(100)[:, None] < 75
        >>> intervals(right)[0].tolist()
        [0.75, 0.67, 0.84]

    Args:
        values: `(S, Q)`, by image and quantity numbers in [0, 1], or in [-1, 1] if `signed`.
        signed: whether values may be negative, as differences are.
        confidence: such as 0.95.
        resamples: how often the images are drawn anew.
        seed: of the drawing.

    Returns:
        float64 `(Q, 3)`: mean, low, high.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 13.
    """
    values = np.asarray(values, np.float64)
    samples, tail = len(values), (1 - confidence) / 2
    rng = np.random.default_rng(seed)
    means = []
    step = max(1, _CHUNK // samples)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(samples, size=(rows, samples)) + samples * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * samples).reshape(rows, samples)
        means.append(counts @ values / samples)
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    reach = 1 - tail ** (1 / samples)
    low = np.where((values == 1).all(axis=0), 1 - reach, low)
    none = (values == 0).all(axis=0)
    high, low = np.where(none, reach, high), np.where(none & signed, -reach, low)
    return np.stack([values.mean(axis=0), low, high], axis=1)
