"""`compare`: what changed from one measurement to another, layer by layer, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tfinv.results import MeasureResult, Results
from tfinv.support.guarded import guarded
from tfinv.uncertainty import COLUMNS, layer_rows

if TYPE_CHECKING:
    import pandas as pd

MUST_AGREE = ("transformations", "samples", "first_sample", "image_shape", "padding", "interpolation", "data", "shards")
"""Metadata without which two measurements cannot be compared."""


@guarded()
def compare(
    before: Results,
    after: Results,
    *,
    layers: Mapping[str, str] | None = None,
    simultaneous: bool = True,
) -> pd.DataFrame:
    r"""Layer profiles before and after, and their differences with paired confidence intervals.

    Both must be measured on the same images and transformations. Where both were asked for intervals
    (`evaluate(..., confidence=0.95)`), every difference gets the interval of `tfinv.uncertainty.difference`, from the
    bootstrap or from the jackknife.

        d = \bar m_{after} - \bar m_{before}, \quad r = \bar m_{after} / \bar m_{before} - 1

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> from tfinv.tflite import compare
        >>> rng = np.random.default_rng(0)
        >>> before = rng.normal(size=(40, 4, 3)) + rng.normal(size=(40, 1, 3))
        >>> after = before + 0.3 * rng.normal(size=before.shape)
        >>> results = [tfinv.evaluate_arrays({"logits": array}, "NormalizedVariance") for array in (before, after)]
        >>> frame = compare(*results)
        >>> frame["layer"].tolist(), bool(frame["difference"][0] > 0)
        (['logits'], True)

    Args:
        before: the reference's results.
        after: the other model's.
        layers: layer of `after` by layer of `before`; None for equal names.
        simultaneous: intervals that hold for all layers of a measure at once (Bonferroni) rather than for one alone:
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
    for key in [key for key in before if key in after]:
        old, new = before[key], after[key]
        pairs = {name: name for name in old if name in new} if layers is None else dict(layers)
        pairs = {name: other for name, other in pairs.items() if name in old and other in new}
        if not pairs:
            raise ValueError(f"before and after must share layers. Received: {_names(old)}, and {_names(new)}")
        rows += layer_rows(old, new, pairs, simultaneous=simultaneous)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _check_comparable(before: Results, after: Results) -> None:
    if not any(key in after for key in before):
        raise ValueError(f"before and after must share measures. Received: {', '.join(before)}, and {', '.join(after)}")
    for name in MUST_AGREE:
        values = [results.metadata.get(name) for results in (before, after)]
        if None not in values and values[0] != values[1]:
            raise ValueError(
                f"before and after must be measured with the same {name.replace('_', ' ')}. "
                f"Received: {values[0]!r}, and {values[1]!r}"
            )


def _names(measure: MeasureResult) -> str:
    names = list(measure)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
