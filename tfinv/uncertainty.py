"""Which layer differences between two results are real: paired comparison over shards of the samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.resampling.jackknife import Replicates, interval_of
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.status import Status
from tfinv.support.checks import measure_choice, share
from tfinv.support.guarded import guarded

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

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
    "both",
    "lost",
    "gained",
    "paired_before",
    "paired_after",
    "paired_relative",
    "median_relative",
    "silenced",
    "lost_names",
)
NAMED = 5
"""So many lost units are named, the rest is counted."""


@dataclass(frozen=True)
class PairedUnits:
    """The units of one layer in two results: those that are valid in both, and those that are valid in one alone.

    Args:
        before: float64 `(P,)`, the first values of the units that are valid in both.
        after: float64 `(P,)`, the second values of the same units.
        lost: indices into the layer's unit shape, one for every unit that is valid before and not after.
        gained: the same for units that are valid after and not before.
        trim: share that the means leave out at both ends, that of the layer before.
        silenced: how many of the lost units fell silent: they are dead or sparse after.
        weights: float64 `(P,)` twice, of the units before and after; None where the means are plain ones.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    lost: tuple[tuple[int, ...], ...]
    gained: tuple[tuple[int, ...], ...]
    trim: float = 0.0
    silenced: int = 0
    weights: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] = (None, None)

    @property
    def means(self) -> tuple[float, float]:
        """The number of the layer before and after, over the units that are valid in both; NaN where there is none."""
        codes = np.zeros(self.before.shape, np.uint8)
        first, second = (
            LayerResult(values, codes, trim=self.trim, weights=weights).mean
            for values, weights in zip((self.before, self.after), self.weights, strict=True)
        )
        return first, second

    @property
    def medians(self) -> tuple[float, float]:
        """The medians before and after, over the units that are valid in both; NaN where there is none."""
        if not self.before.size:
            return math.nan, math.nan
        return float(np.median(self.before)), float(np.median(self.after))

    @property
    def lost_names(self) -> str:
        """The first lost units by their indices, and how many more there are: `"0; 7; 12 and 3 more"`."""
        names = "; ".join(",".join(map(str, unit)) for unit in self.lost[:NAMED])
        return names + (f" and {len(self.lost) - NAMED} more" if len(self.lost) > NAMED else "")


@guarded()
def paired_units(before: LayerResult, after: LayerResult) -> PairedUnits:
    """Which units of a layer are valid in both of two results, and which are lost or gained.

    Example:
        >>> import numpy as np
        >>> from tfinv.results import LayerResult
        >>> from tfinv.status import Status
        >>> from tfinv.uncertainty import paired_units
        >>> first = LayerResult(np.array([0.5, 0.7, 1.0]), np.array([Status.VALID, Status.VALID, Status.DEAD]))
        >>> second = LayerResult(np.array([0.6, 1.0, 0.2]), np.array([Status.VALID, Status.DEAD, Status.VALID]))
        >>> pairs = paired_units(first, second)
        >>> pairs.means, pairs.lost, pairs.gained, pairs.silenced
        ((0.5, 0.6), ((1,),), ((2,),), 1)

    Args:
        before: one layer of one result.
        after: the same layer of another one.

    Raises:
        ValueError: the layers have different units.
    """
    if before.status.shape != after.status.shape:
        raise ValueError(
            "before and after must have the same units. "
            f"Received: units of shape {before.status.shape} and {after.status.shape}"
        )
    was, stays = before.status == Status.VALID, after.status == Status.VALID
    lost, gained = (
        tuple(tuple(int(place) for place in unit) for unit in np.argwhere(mask))
        for mask in (was & ~stays, stays & ~was)
    )
    silenced = int((was & np.isin(after.status, (Status.DEAD, Status.SPARSE))).sum())
    both = was & stays
    first, second = (None if layer.weights is None else layer.weights[both] for layer in (before, after))
    return PairedUnits(before.values[both], after.values[both], lost, gained, before.trim, silenced, (first, second))


@guarded()
def difference(
    before: Results,
    after: Results,
    measure: Any = None,
    *,
    layers: Mapping[str, str] | None = None,
    confidence: float | None = None,
    simultaneous: bool = True,
) -> pd.DataFrame:
    r"""Layer by layer, how much a measure differs between two evaluations of the same images, with an interval.

        d = \bar m_{after} - \bar m_{before}, \quad r = \bar m_{after} / \bar m_{before} - 1

    Both were evaluated on the same images in the same shards, so a sample that is odd for one is odd for the other:
    the interval is that of the difference, usually far narrower than those of the two values. It comes from a bootstrap
    where both were evaluated with `Sampling(interval="bootstrap")` and as many resamples, otherwise from the jackknife.

    With `simultaneous`, the intervals of all `L` layers together hold with the confidence `c`: each has the confidence
    `1 - (1 - c) / L` (Bonferroni), so that where nothing differs, the chance that any layer is called real is at most
    about `1 - c`.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> from tfinv.uncertainty import difference
        >>> rng = np.random.default_rng(0)
        >>> before = rng.normal(size=(200, 1, 8)) + rng.normal(size=(200, 6, 8))
        >>> after = before + 0.1 * rng.normal(size=before.shape)
        >>> first, second = (
        ...     tfinv.evaluate_arrays({"dense": activations}, "NormalizedVariance", sampling=tfinv.Sampling(0.95))
        ...     for activations in (before, after)
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
        simultaneous: whether the intervals hold for all layers at once rather than for every layer alone.

    Returns:
        One row per layer, in the order of `before`: `measure, layer, after_layer`; the means over valid units `before,
        after` and their `difference` with its interval `low, high`; the `relative` difference, a share of `before`,
        with `relative_low, relative_high`; `real`, whether `low` to `high` leaves out 0 (False where there is no
        interval); `valid_before, valid_after`, the numbers of valid units. Then the units compared one by one:
        `both`, `lost`, `gained`, the numbers of units valid in both, before alone and after alone; `paired_before,
        paired_after`, the layer's numbers over the units valid in both, and `paired_relative`, their relative
        difference. A change of `relative` that `paired_relative` does not show comes from units lost or gained. Last,
        `median_relative`, the relative difference of the medians over the same units; `silenced`, how many of the lost
        units are dead or sparse after; `lost_names`, the first lost units. These nine are NaN, and the names "", where
        the layers have different units.

    Raises:
        ValueError: results without shards, or of different images or shards; different measures or statistics of one;
            no layer in common.
        KeyError: an unknown measure or layer.

    Source: Busing, Meijer and van der Leeden 1999, "Delete-m jackknife for unequal m"; Hesterberg 2015, "What teachers
    should know about the bootstrap".
    """
    import pandas as pd

    first, second = _chosen(before, measure), _chosen(after, measure)
    if first.key != second.key:
        raise ValueError(f"before and after must hold one measure. Received: {first.key} and {second.key}")
    _check_paired(before, after, first, second)
    if confidence is not None:
        share("confidence", confidence)
    pairs = {name: name for name in first if name in second} if layers is None else dict(layers)
    if not pairs:
        raise ValueError(f"results must have a layer in common. Received: {list(first)} and {list(second)}")
    return pd.DataFrame(layer_rows(first, second, pairs, confidence, simultaneous), columns=list(COLUMNS))


@guarded()
def layer_rows(
    before: MeasureResult,
    after: MeasureResult,
    pairs: Mapping[str, str],
    confidence: float | None = None,
    simultaneous: bool = True,
) -> list[dict[str, Any]]:
    """The rows of `difference` for one measure; NaN in place of intervals where the two have no shards in common.

    Args:
        before: of one model.
        after: of the other model.
        pairs: layer of `after` by layer of `before`.
        confidence: of the intervals; None for that of `before`.
        simultaneous: see `difference`.
    """
    first, second = before.replicates, after.replicates
    paired = first is not None and second is not None and tuple(first.sizes) == tuple(second.sizes)
    if confidence is None:
        confidence = first.confidence if first is not None else math.nan
    if simultaneous:
        measured = sum(bool(before[name].valid.size and after[other].valid.size) for name, other in pairs.items())
        confidence = 1 - (1 - confidence) / max(measured, 1)
    rows = []
    for name, other in pairs.items():
        old, new = before[name], after[other]
        row: dict[str, Any] = {"measure": before.key, "layer": name, "after_layer": other}
        row |= {"before": old.mean, "after": new.mean, "difference": new.mean - old.mean}
        row["relative"] = _relative(row["difference"], old.mean)
        bounds = (math.nan,) * 4
        if paired:
            assert first is not None and second is not None
            bounds = _bounds(row, first, second, confidence)
        row |= dict(zip(("low", "high", "relative_low", "relative_high"), bounds, strict=True))
        row["real"] = bool(row["low"] > 0 or row["high"] < 0)
        row |= {"valid_before": int(old.valid.size), "valid_after": int(new.valid.size)}
        rows.append(row | _paired(old, new))
    return rows


def _paired(old: LayerResult, new: LayerResult) -> dict[str, float | str]:
    """The columns of units compared one by one."""
    if old.status.shape != new.status.shape:
        return dict.fromkeys(COLUMNS[COLUMNS.index("both") :], math.nan) | {"lost_names": ""}
    pairs = paired_units(old, new)
    (first, second), (lower, upper) = pairs.means, pairs.medians
    return {
        "both": pairs.before.size,
        "lost": len(pairs.lost),
        "gained": len(pairs.gained),
        "paired_before": first,
        "paired_after": second,
        "paired_relative": _relative(second - first, first),
        "median_relative": _relative(upper - lower, lower),
        "silenced": pairs.silenced,
        "lost_names": pairs.lost_names,
    }


def _relative(difference: float, before: float) -> float:
    if before == 0 and not math.isnan(difference):
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / before


def _bounds(row: Mapping[str, Any], first: Replicates, second: Replicates, confidence: float) -> tuple[float, ...]:
    """The intervals of the difference and of the relative difference: from draws where both have as many of them."""
    layer, other = row["layer"], row["after_layer"]
    if not (layer in first.means and other in second.means):
        return (math.nan,) * 4
    drawn = layer in first.draws and other in second.draws and len(first.draws[layer]) == len(second.draws[other])
    bounds: tuple[float, ...] = ()
    for name in ("difference", "relative"):
        estimate, others = row[name], _change(name, first.means[layer], second.means[other])
        if not math.isfinite(estimate) or not np.isfinite(others).all():
            bounds += (math.nan, math.nan)
        else:
            draws = _change(name, first.draws[layer], second.draws[other]) if drawn else None
            bounds += interval_of(estimate, others, first.sizes, confidence, draws)
    return bounds


def _change(name: str, old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """The difference, or the relative difference."""
    if name == "difference":
        return new - old
    with np.errstate(divide="ignore", invalid="ignore"):
        return new / old - 1


def _chosen(results: Results, measure: Any) -> MeasureResult:
    measure_choice(measure)
    if measure is None:
        if len(results) != 1:
            raise ValueError(f"measure must be one of {', '.join(results)}. Received: None")
        measure = next(iter(results))
    return results[measure]


def _check_paired(before: Results, after: Results, first: MeasureResult, second: MeasureResult) -> None:
    for name, measure in (("before", first), ("after", second)):
        if measure.replicates is None:
            raise ValueError(f"{name} must be evaluated with sampling=Sampling(0.95) or the like. Received: no shards")
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
