"""`compare`: what changed from one measurement to another, layer by layer, with paired intervals (comparison)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.resampling.jackknife import Replicates, interval, pseudo_values
from tfinv.results import MeasureResult, Results

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "measure",
    "layer",
    "after_layer",
    "before",
    "after",
    "difference",
    "low",
    "high",
    "relative",
    "relative_low",
    "relative_high",
    "real",
    "valid_before",
    "valid_after",
)
MUST_AGREE = ("transformations", "samples", "first_sample", "image_shape", "padding", "interpolation", "data", "shards")
"""Metadata without which two measurements cannot be compared."""


def compare(
    before: Results,
    after: Results,
    *,
    layers: Mapping[str, str] | None = None,
    simultaneous: bool = True,
) -> pd.DataFrame:
    r"""Layer profiles before and after, and their differences with paired confidence intervals.

    Both must be measured on the same images and transformations. Where both were asked for intervals
    (`evaluate(..., confidence=0.95)`), each difference gets one from the profiles without each shard of the images,
    which both models share: what the choice of images does to both alike cancels.

        d = \bar m_{after} - \bar m_{before}, \quad r = \bar m_{after} / \bar m_{before} - 1

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> from tfinv.tflite import compare
        >>> rng = np.random.default_rng(0)
        >>> before = rng.normal(size=(40, 4, 3)) + rng.normal(size=(40, 1, 3))
        >>> after = before + 0.3 * rng.normal(size=before.shape)
        >>> results = [tfinv.evaluate_arrays({"logits": each}, "NormalizedVariance") for each in (before, after)]
        >>> frame = compare(*results)
        >>> frame["layer"].tolist(), bool(frame["difference"][0] > 0)
        (['logits'], True)

    Args:
        before: the reference's results.
        after: the other model's.
        layers: layer of `after` by layer of `before`; None for equal names.
        simultaneous: intervals that hold for all layers of a measure at once (Bonferroni) rather than for each alone:
            one of many layers always looks changed if one looks at enough of them.

    Returns:
        One row a measure and common layer, in the order of `before`: `measure, layer, after_layer`; the means over
        valid units `before, after` and their `difference` with `low, high`; the `relative` difference, a share of
        `before`, with `relative_low, relative_high`; `real`, whether the interval excludes zero (False where there is
        none); `valid_before, valid_after`, numbers of valid units.

    Raises:
        ValueError: other images or transformations, no common measure, no common layer.

    Source: Busing, Meijer and van der Leeden 1999, "Delete-m jackknife for unequal m".
    """
    import pandas as pd

    _check_comparable(before, after)
    rows = []
    for key in [each for each in before if each in after]:
        old, new = before[key], after[key]
        pairs = {name: name for name in old if name in new} if layers is None else dict(layers)
        pairs = {name: other for name, other in pairs.items() if name in old and other in new}
        if not pairs:
            raise ValueError(f"before and after must share layers. Received: {_names(old)}, and {_names(new)}")
        rows += _rows(old, new, pairs, simultaneous)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(old: MeasureResult, new: MeasureResult, pairs: Mapping[str, str], simultaneous: bool) -> list[dict[str, Any]]:
    usable = _paired(old.replicates, new.replicates)
    measured = sum(bool(old[name].valid.size and new[other].valid.size) for name, other in pairs.items())
    rows = []
    for name, other in pairs.items():
        first, second = old[name], new[other]
        row: dict[str, Any] = {"measure": old.key, "layer": name, "after_layer": other}
        row |= {"before": first.mean, "after": second.mean, "difference": second.mean - first.mean}
        row["relative"] = _relative(row["difference"], first.mean)
        bounds = (math.nan,) * 4
        if usable is not None and name in usable[0].means and other in usable[1].means:
            bounds = _bounds(row, usable[0], usable[1], measured if simultaneous else 1)
        row |= dict(zip(("low", "high", "relative_low", "relative_high"), bounds, strict=True))
        row["real"] = bool(row["low"] > 0 or row["high"] < 0)
        row |= {"valid_before": int(first.valid.size), "valid_after": int(second.valid.size)}
        rows.append(row)
    return rows


def _relative(difference: float, before: float) -> float:
    if before == 0 and not math.isnan(difference):
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / before


def _paired(first: Replicates | None, second: Replicates | None) -> tuple[Replicates, Replicates] | None:
    if first is None or second is None or tuple(first.sizes) != tuple(second.sizes):
        return None
    return first, second


def _bounds(row: Mapping[str, Any], first: Replicates, second: Replicates, tests: int) -> tuple[float, ...]:
    without = first.means[row["layer"]], second.means[row["after_layer"]]
    confidence = 1 - (1 - first.confidence) / max(tests, 1)
    sizes = first.sizes
    found: tuple[float, ...] = ()
    with np.errstate(divide="ignore", invalid="ignore"):
        quantities = ((row["difference"], without[1] - without[0]), (row["relative"], without[1] / without[0] - 1))
    for estimate, others in quantities:
        if not (math.isfinite(estimate) and np.isfinite(others).all()):
            found += (math.nan, math.nan)
            continue
        found += interval(pseudo_values(estimate, others, sizes), sizes, estimate, confidence)
    return found


def _check_comparable(before: Results, after: Results) -> None:
    if not any(key in after for key in before):
        raise ValueError(f"before and after must share measures. Received: {', '.join(before)}, and {', '.join(after)}")
    for name in MUST_AGREE:
        values = [each.metadata.get(name) for each in (before, after)]
        if None not in values and values[0] != values[1]:
            raise ValueError(
                f"before and after must be measured with the same {name.replace('_', ' ')}. "
                f"Received: {values[0]!r}, and {values[1]!r}"
            )


def _names(measure: MeasureResult) -> str:
    names = list(measure)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
