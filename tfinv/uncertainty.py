"""Which layer differences between two results are real: paired comparison over shards of the samples (results)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfinv.resampling import shards as bootstrap
from tfinv.resampling.jackknife import interval, pseudo_values
from tfinv.results import MeasureResult, Results

if TYPE_CHECKING:
    import pandas as pd


def difference(
    before: Results,
    after: Results,
    measure: Any = None,
    *,
    layers: Mapping[str, str] | None = None,
    confidence: float | None = None,
) -> pd.DataFrame:
    """Layer by layer, how much a measure differs between two evaluations of the same images, with an interval.

    Both were evaluated on the same images in the same shards, so a sample that is odd for one is odd for the other:
    the interval is that of the difference, usually far narrower than those of the two values. It comes from a bootstrap
    where both were evaluated with `interval="bootstrap"` and as many resamples, otherwise from the jackknife.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> from tfinv.uncertainty import difference
        >>> rng = np.random.default_rng(0)
        >>> before = rng.normal(size=(200, 1, 8)) + rng.normal(size=(200, 6, 8))
        >>> after = before + 0.1 * rng.normal(size=before.shape)
        >>> first, second = (
        ...     tfinv.evaluate_arrays({"dense": each}, "NormalizedVariance", confidence=0.95)
        ...     for each in (before, after)
        ... )
        >>> row = difference(first, second).iloc[0]
        >>> bool(row.low < row.difference < row.high), bool(row.real)
        (True, True)

    Args:
        before: results with `confidence`, of one model.
        after: the same of another model, or of the same model quantized, on the same images in the same order.
        measure: which measure, as an object or a key; default: the only one.
        layers: by layer of `before` the layer of `after` to compare with; default: layers of one name.
        confidence: of the interval; default: as evaluated.

    Returns:
        Columns `measure, layer, before, after, difference` (after - before), `low, high` (its interval), `real`
        (whether the interval leaves out 0), in the order of `before`.

    Raises:
        ValueError: results without shards, or of different images or shards; different measures or statistics of one;
            no layer in common.
        KeyError: an unknown measure or layer.
    """
    import pandas as pd

    first, second = _chosen(before, measure), _chosen(after, measure)
    if first.key != second.key:
        raise ValueError(f"before and after must hold one measure. Received: {first.key} and {second.key}")
    _check_paired(before, after, first, second)
    assert first.replicates is not None and second.replicates is not None
    confidence = first.replicates.confidence if confidence is None else confidence
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1. Received: {confidence!r}")
    sizes, rows = first.replicates.sizes, []
    pairs = {name: name for name in first if name in second} if layers is None else dict(layers)
    if not pairs:
        raise ValueError(f"results must have a layer in common. Received: {list(first)} and {list(second)}")
    for mine, theirs in pairs.items():
        values = first[mine].mean, second[theirs].mean
        low = high = float("nan")
        if mine in first.replicates.means and theirs in second.replicates.means:
            own = pseudo_values(values[0], first.replicates.means[mine], sizes)
            other = pseudo_values(values[1], second.replicates.means[theirs], sizes)
            low, high = interval(other - own, sizes, values[1] - values[0], confidence)
        drawn = first.replicates.draws.get(mine), second.replicates.draws.get(theirs)
        if drawn[0] is not None and drawn[1] is not None and len(drawn[0]) == len(drawn[1]):
            low, high = bootstrap.interval(drawn[1] - drawn[0], values[1] - values[0], len(sizes), confidence)
        rows.append((first.key, mine, *values, values[1] - values[0], low, high, bool(low > 0 or high < 0)))
    return pd.DataFrame(rows, columns=["measure", "layer", "before", "after", "difference", "low", "high", "real"])


def _chosen(results: Results, measure: Any) -> MeasureResult:
    if measure is None:
        if len(results) != 1:
            raise ValueError(f"measure must be one of {', '.join(results)}. Received: None")
        measure = next(iter(results))
    return results[measure]


def _check_paired(before: Results, after: Results, first: MeasureResult, second: MeasureResult) -> None:
    for name, measure in (("before", first), ("after", second)):
        if measure.replicates is None:
            raise ValueError(f"{name} must be evaluated with confidence=0.95 or the like. Received: no shards")
    assert first.replicates is not None and second.replicates is not None
    if first.replicates.sizes != second.replicates.sizes:
        raise ValueError(
            f"before and after must be evaluated in the same shards. Received: {len(first.replicates.sizes)} shards of "
            f"{sum(first.replicates.sizes)} samples and {len(second.replicates.sizes)} of "
            f"{sum(second.replicates.sizes)}"
        )
    data = before.metadata.get("data"), after.metadata.get("data")
    if None not in data and data[0] != data[1]:
        raise ValueError("before and after must be evaluated on the same images. Received: different images")
