"""Same-equivariance: the invariance measures on feature maps that were transformed back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.measures.base import TRIM, Aggregate, Dispersion, Measure, PooledDispersion, per_row
from tfinv.measures.sparsity import effective_samples, of_maps, relative_error, silence, with_sparse
from tfinv.results import LayerResult
from tfinv.statistics import ColumnMoments, RowDispersion
from tfinv.statistics.aligned_dispersion import AlignedDispersion
from tfinv.statistics.map_distance import Border, MapDistance
from tfinv.statistics.views import InverseWarp, Viewed
from tfinv.status import Status, finite_status, quotient
from tfinv.support.checks import flag, one_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.base import Statistic

MIN_VISIBLE = 0.05
"""A layer needs this share of its positions visible under at least two transformations."""

_COLUMNS = Viewed(ColumnMoments(), InverseWarp())


@dataclass(frozen=True)
class _SameEquivariance(Measure):
    has_interpolation_floor: ClassVar[bool] = True

    statistic: PooledDispersion = "std"
    aggregate: Aggregate = "none"
    border: Border = "mask"

    def __post_init__(self) -> None:
        one_of("statistic", self.statistic, PooledDispersion)
        one_of("aggregate", self.aggregate, Aggregate)
        one_of("border", self.border, Border)

    @property
    def by_unit(self) -> bool:
        return self.aggregate == "none"

    @property
    def _rows(self) -> Statistic:
        return self._per_row(per_row(self.statistic))

    def _per_row(self, dispersion: Dispersion) -> Statistic:
        if self.border == "mask":
            return AlignedDispersion(dispersion)
        return Viewed(RowDispersion(dispersion), InverseWarp())

    def _visible(self, states: Mapping[Statistic, Any]) -> NDArray[np.bool_] | None:
        """Bool `(T, H', W')`, or None where the border is kept."""
        return states[self._rows].visible.astype(bool) if self.border == "mask" else None

    def _over_transformations(self, states: Mapping[Statistic, Any]) -> NDArray[np.float64]:
        return states[self._rows].mean

    def _over_samples(self, states: Mapping[Statistic, Any]) -> NDArray[np.float64]:
        moments, visible = states[_COLUMNS], self._visible(states)
        variance = moments.m2 / (moments.count - 1)
        dispersion = np.sqrt(variance) if self.statistic == "std" else variance
        if visible is None:
            return dispersion.mean(axis=0)
        weights = visible[..., None]
        return (dispersion * weights).sum(axis=0) / np.maximum(weights.sum(axis=0), 1)

    def _usable(self, states: Mapping[Statistic, Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Positions seen under two transformations or more, `(H', W')`; none where they are too few."""
        visible = self._visible(states)
        if visible is None:
            return np.ones(shape[:-1], bool)
        usable = visible.sum(axis=0) >= 2
        return usable if usable.mean() >= MIN_VISIBLE else np.zeros_like(usable)

    def _aggregate(self, values: NDArray[np.float64], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Reduce the usable positions of each map, without usable ones to NaN, and take roots of pooled variances."""
        if self.aggregate != "none" and not usable.any():
            return np.full(values.shape[-1], np.nan)
        if self.aggregate != "none":
            values = {"mean": np.mean, "max": np.max, "sum": np.sum}[self.aggregate](values[usable], axis=0)
        return np.sqrt(values) if self.statistic == "pooled_std" else values

    def _finish(self, values: NDArray[np.float64], status: NDArray[np.uint8], usable: NDArray[np.bool_]) -> LayerResult:
        hidden = np.broadcast_to(~usable[..., None], values.shape) if self.aggregate == "none" else not usable.any()
        note = "" if usable.all() else f"{usable.mean():.0%} of positions stay inside the frame"
        status = np.where(hidden, np.uint8(Status.TOO_FEW_POSITIONS), status)
        return LayerResult(np.where(hidden, np.nan, values), status, note)


@dataclass(frozen=True)
class TransformationVarianceSE(_SameEquivariance):
    r"""How much a feature map still moves after the transformation is undone: 0 is perfectly same-equivariant.

        TVSE(a) = \frac{1}{S} \sum_s \mathrm{std}_j B[s, j],   \quad B[s, j] = t_j^{-1}(f(t_j(x_s)))_a,   ddof = 1

    With `border="mask"` the deviation at each position is over the transformations that keep its source inside the
    frame; positions with fewer than two have the status `TOO_FEW_POSITIONS`. The inverse is the exact inverse map at
    the layer's own resolution. Bilinear interpolation alone makes the value larger than 0: compare with
    `Results.metadata["interpolation_floor"]`, the value of the identity network.

    Args:
        statistic: `"std"` (default); `"variance"`, the same with variances in place of standard deviations; or
            `"pooled_std"`, the root of the mean variance.
        aggregate: `"none"`, `"mean"`, `"max"` or `"sum"` over the visible positions of a map.
        border: `"mask"`, or `"keep"` for all positions, with the border repeated (as in earlier software).

    Raises:
        ValueError: an unknown option.

    Source: Quiroga et al. 2021.
    """

    min_transformations: ClassVar[int] = 2

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (self._rows,)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        raw = self._over_transformations(states)
        usable = self._usable(states, raw.shape)
        values = self._aggregate(raw, usable)
        return self._finish(values, finite_status(values), usable)


@dataclass(frozen=True)
class SampleVarianceSE(_SameEquivariance):
    r"""How much samples differ in feature maps that were transformed back; the yardstick of `TransformationVarianceSE`.

        SVSE(a) = \frac{1}{T} \sum_j \mathrm{std}_s B[s, j],   ddof = 1

    Args:
        statistic: see `TransformationVarianceSE`.
        aggregate: see `TransformationVarianceSE`.
        border: see `TransformationVarianceSE`.

    Raises:
        ValueError: an unknown option.

    Source: Quiroga et al. 2021.
    """

    min_samples: ClassVar[int] = 2

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (_COLUMNS, self._rows) if self.border == "mask" else (_COLUMNS,)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        raw = self._over_samples(states)
        usable = self._usable(states, raw.shape)
        values = self._aggregate(raw, usable)
        return self._finish(values, finite_status(values), usable)


@dataclass(frozen=True)
class NormalizedVarianceSE(_SameEquivariance):
    r"""Same-equivariance error against sample variation: 0 is perfect, 1 as different as another image.

        NVSE(a) = \sqrt{\frac{agg(R)}{agg(C)}},
        \quad R = \frac{1}{S} \sum_s \mathrm{var}_j B[s, j],   \quad C = \frac{1}{T} \sum_j \mathrm{var}_s B[s, j],
        \quad ddof = 1,   \quad 0/0 \to 1, \; x/0 \to \infty

    `B` is defined at `TransformationVarianceSE`. Both variances are unbiased, and the number of a layer is the mean
    over valid units without the lowest and the highest 5 %, as for `NormalizedVariance`. `statistic="std"` is the
    published definition, `agg(TVSE(a)) / agg(SVSE(a))` with the plain mean over units; it falls for units that respond
    rarely.

    Args:
        statistic: `"pooled_std"` (default); `"std"`, the published definition; or `"variance"`, the square of
            `"pooled_std"` per unit, with the plain mean over units.
        aggregate: see `TransformationVarianceSE`.
        border: see `TransformationVarianceSE`.

    Raises:
        ValueError: an unknown option.

    Source: Quiroga et al. 2021 for `"std"`; `docs/estimators.md` of this project for the default.
    """

    statistic: PooledDispersion = "pooled_std"

    min_samples: ClassVar[int] = 2
    min_transformations: ClassVar[int] = 2

    @property
    def requires(self) -> tuple[Statistic, ...]:
        if self.statistic == "pooled_std":
            return self._rows, _COLUMNS, self._per_row("std")
        return self._rows, _COLUMNS

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        over_transformations = self._over_transformations(states)
        usable = self._usable(states, over_transformations.shape)
        numerator = self._aggregate(over_transformations, usable)
        denominator = self._aggregate(self._over_samples(states), usable)
        values, status = quotient(numerator, denominator)
        if self.statistic != "pooled_std":
            return self._finish(values, status, usable)
        samples = float(states[self._rows].count)
        error = relative_error(states[self._per_row("std")].mean, over_transformations, samples)
        if self.aggregate != "none":
            error = of_maps(error[usable], over_transformations[usable], self.aggregate, (0,))
        result = self._finish(values, with_sparse(status, error), usable)
        effective = effective_samples(error, numerator, samples)
        effective = np.where(result.status == Status.TOO_FEW_POSITIONS, np.nan, effective)
        note = result.note or silence(result.status, error, samples)
        return LayerResult(result.values, result.status, note, TRIM, effective)


@dataclass(frozen=True)
class SimpleDistanceSE(Measure):
    r"""Distance between `f(t(x))` and `t(f(x))`, one value per feature map: 0 is perfectly same-equivariant.

        d(c) = \frac{1}{S T} \sum_{s, j} \sqrt{ \frac{1}{|V_j|} \sum_{p \in V_j} (P - Q)_{pc}^2 },

    with P = f(t_j(x_s)), \; Q = t_j(f(x_s)).

    Args:
        normalize: divide each map by its L2 norm first; a zero map stays zero.
        border: `"mask"` compares the positions `V_j` whose source was inside the frame, `"keep"` all.

    Raises:
        ValueError: an unknown option.

    Source: Quiroga et al. 2021.
    """

    has_interpolation_floor: ClassVar[bool] = True

    normalize: bool = False
    border: Border = "mask"

    def __post_init__(self) -> None:
        flag("normalize", self.normalize)
        one_of("border", self.border, Border)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (MapDistance(self.normalize, self.border),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        state = states[self.requires[0]]
        seen = state.positions > 0
        if not seen.any():
            empty = np.full(state.mean.shape[-1], np.nan)
            return LayerResult(empty, np.full(empty.shape, Status.TOO_FEW_POSITIONS, np.uint8))
        values = state.mean[seen].mean(axis=0)
        note = "" if seen.all() else f"{int(seen.sum())} of {seen.size} transformations leave positions to compare"
        return LayerResult(values, finite_status(values), note)
