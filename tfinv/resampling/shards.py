"""How far a number would move with other samples, from drawing the shards of them again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def shard_counts(shards: int, resamples: int) -> NDArray[np.int64]:
    """How often each shard stands in each resample, drawn with replacement: `(B, G)`, always the same numbers.

    Example:
        >>> from tfinv.resampling.shards import shard_counts
        >>> shard_counts(4, 1000).sum(axis=1).min(), shard_counts(4, 1000).mean().item()
        (np.int64(4), 1.0)

    Args:
        shards: `G`.
        resamples: `B`.
    """
    return np.random.default_rng(0).multinomial(shards, np.full(shards, 1 / shards), size=resamples)


def interval(
    draws: Any, estimate: float, middle: float, shards: int, confidence: float, spread: float = 0.0
) -> tuple[float, float]:
    r"""Confidence interval: quantiles of the resampled values, taken further out and moved to the middle.

        [q_{\alpha'} - b, q_{1 - \alpha'} - b],   \quad \alpha' = \Phi(-\sqrt{G / (G - 1)} \; t_{(1 + c) / 2, G - 1}),
        \quad b = \bar\theta^* - \bar\theta

    Quantiles at `(1 - c) / 2` would be too close: resampled shards spread by `sqrt((G - 1) / G)` of the standard error
    alone, and a standard error from `G` shards is itself uncertain. And resampled values lie off the estimate on one
    side where a measure has a bias that shrinks with the number of samples, since samples that stand twice add nothing.
    The middle is the estimate less that bias, see `tfinv.resampling.jackknife.middle_of`. The interval always contains
    the estimate.

    Draws whose standard deviation, times `sqrt(G / (G - 1))`, is below `spread` are spread out to it: resamples show
    nothing of how uncertain the bias is that the middle lacks.

    Quantiles beyond `5 / B` rest on fewer than five draws.
    Where `\alpha'` does, as with many layers at once, the distance of the quantile
    at `5 / B` from the mean of the draws is taken `\Phi^{-1}(\alpha') / \Phi^{-1}(5 / B)` times.

    Example:
        >>> import numpy as np
        >>> from tfinv.resampling.shards import interval
        >>> low, high = interval(np.linspace(0, 1, 1001), 0.5, 0.5, 20, 0.95)
        >>> round(low, 3), round(high, 3)
        (0.016, 0.984)

    Args:
        draws: `(B,)`, the number in each resample; those that are not finite are left out.
        estimate: the number from all samples.
        middle: the same less its bias.
        shards: `G`.
        confidence: `c`, such as 0.95.
        spread: the least standard error, see `tfinv.resampling.jackknife.spread_of`.

    Source: Hesterberg 2015, "What teachers should know about the bootstrap" (expanded percentile interval); Efron and
    Tibshirani 1993, "An introduction to the bootstrap", chapter 10 (estimate of bias).
    """
    from scipy.stats import norm, t

    draws = np.asarray(draws, np.float64)
    draws = draws[np.isfinite(draws)]
    if not draws.size:
        return float("nan"), float("nan")
    lacking = (shards / (shards - 1)) ** 0.5
    reach = lacking * t.ppf((1 + confidence) / 2, shards - 1)
    furthest = min(reach, -norm.ppf(5 / draws.size)) if draws.size > 10 else reach
    below, above = np.quantile(draws, [norm.cdf(-furthest), norm.cdf(furthest)]) - draws.mean()
    deviation = float(draws.std()) * lacking
    wider = reach / furthest * (max(1.0, spread / deviation) if deviation > 0 else 1.0)
    low, high = middle + below * wider, middle + above * wider
    return float(min(low, estimate)), float(max(high, estimate))
