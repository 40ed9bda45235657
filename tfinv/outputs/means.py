"""Means over the images on which a quantity exists, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 1000
_CHUNK = 2**22


def means_with_intervals(
    values: NDArray[Any], *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    r"""Means over images without NaN, with percentile intervals from resampled images.

        m_j = \frac{\sum_s w_s v_{sj} k_{sj}}{\sum_s w_s k_{sj}}

    where `k` is 1 where the value exists and `w` is how often image `s` was drawn.

    Example:
        >>> import numpy as np
        >>> from tfinv.outputs.means import means_with_intervals
        >>> means_with_intervals(np.array([[1.0], [np.nan], [1.0]])).tolist()
        [[1.0, 1.0, 1.0]]

    Args:
        values: `(S, Q)`, by image and quantity.
        confidence: such as 0.95.
        resamples: how often the images are drawn anew; the same images for every quantity. 0 for no intervals.
        seed: of the drawing.

    Returns:
        float64 `(Q, 3)`: mean, low, high; NaN where no image has the quantity, low and high also where one alone has.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 13.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values) | np.isinf(values)
    kept, counts = np.where(known, values, 0.0), known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = kept.sum(axis=0) / counts
        samples, rng, drawn = len(values), np.random.default_rng(seed), []
        step = max(1, _CHUNK // max(1, samples))
        for start in range(0, resamples if samples > 1 else 0, step):
            weights = rng.multinomial(samples, np.full(samples, 1 / samples), size=min(step, resamples - start))
            drawn.append((weights @ kept) / (weights @ known.astype(np.float64)))
    if not drawn:
        return np.stack([mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)], axis=1)
    all_drawn = np.concatenate(drawn)
    bounds = np.full((2, values.shape[1]), np.nan)
    several = counts > 1
    if several.any():
        bounds[:, several] = np.nanquantile(all_drawn[:, several], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return np.stack([mean, *bounds], axis=1)
