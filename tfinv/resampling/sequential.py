"""Looking at intervals again and again while data come in, without losing their confidence."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from tfinv.resampling.shares import quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = 20
"""Parts of the samples that intervals come from at every look."""
_DOUBLINGS = 4
_FEWEST = 3 * PARTS
"""So many samples the first look has, at least."""
_POINTS = 400
"""Points of the numerical integration."""


def looks(samples: int) -> list[int]:
    """After how many samples to look: all of them, half, a quarter, ..., at most five times.

    Example:
        >>> from tfinv.resampling.sequential import looks
        >>> looks(10000), looks(150)
        ([625, 1250, 2500, 5000, 10000], [75, 150])
    """
    counts = [samples]
    while len(counts) <= _DOUBLINGS and counts[0] // 2 >= _FEWEST:
        counts.insert(0, counts[0] // 2)
    return counts


def boundary(counts: Sequence[int], confidence: float) -> float:
    r"""The confidence of the interval at every look, so that all looks together have the confidence given.

        P\left(\max_k |Z_k| \le c\right) = \text{confidence}, \quad Z_k = B(n_k) / \sqrt{n_k}

    with `B` a Brownian motion: the mean of the first `n_k` samples, standardized. The same bound `c` at every look
    (Pocock's) is found by integrating from look to look. Whenever one stops, for whatever reason, the interval at that
    look holds with the confidence.

    Example:
        >>> from tfinv.resampling.sequential import boundary
        >>> round(boundary([100], 0.95), 4), round(boundary([100, 200, 300, 400, 500], 0.95), 4)
        (0.95, 0.9842)

    Args:
        counts: numbers of samples, ascending, see `looks`.
        confidence: of all looks together, such as 0.95.

    Returns:
        A confidence above the given one where there are several looks.

    Source: Armitage, McPherson and Rowe 1969, "Repeated significance tests on accumulating data"; Pocock 1977, "Group
    sequential methods in the design and analysis of clinical trials".
    """
    from scipy.optimize import brentq

    if len(counts) == 1:
        return confidence
    shares = np.asarray(counts, np.float64) / counts[-1]
    least, most = quantile(confidence), quantile(1 - (1 - confidence) / len(counts))
    found: Any = brentq(lambda bound: stays_within(shares, bound) - confidence, least, most, xtol=1e-6)
    return float(2 * ndtr(found) - 1)


def stays_within(shares: NDArray[np.float64], bound: float) -> float:
    """The chance that a standardized Brownian motion is within `bound` at all of some times.

    Args:
        shares: the times, ascending and positive.
        bound: of the standardized value.
    """
    nodes, weights = _rule()
    places = density = np.zeros(0)
    for number, share in enumerate(shares):
        ends = bound * np.sqrt(share)
        new = nodes * ends
        if number == 0:
            values = _normal(new, share)
        else:
            values = _normal(new[:, None] - places[None], share - shares[number - 1]) @ density
        places, density = new, values * weights * ends
    return float(density.sum())


@functools.cache
def _rule() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of Gauss and Legendre on [-1, 1]."""
    return np.polynomial.legendre.leggauss(_POINTS)


def _normal(values: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    return np.exp(-np.square(values) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def parts_of(order: NDArray[np.int64], counts: Sequence[int]) -> list[list[NDArray[np.int64]]]:
    """Which samples are new at every look, in parts.

    The first look has `PARTS` parts. At every later look the parts there are joined in pairs, and half as many new ones
    of about their size come in: the number of parts stays the same.

    Args:
        order: positions of all samples, in random order.
        counts: see `looks`.
    """
    starts = [0, *counts[:-1]]
    sizes = [PARTS, *[PARTS // 2] * (len(counts) - 1)]
    return [
        [np.sort(part) for part in np.array_split(order[start:stop], size)]
        for start, stop, size in zip(starts, counts, sizes, strict=True)
    ]
