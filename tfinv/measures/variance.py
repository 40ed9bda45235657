"""Variance measures of invariance: over transformations, over samples, and their quotient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.measures.base import TRIM, Aggregate, Measure, PooledDispersion, aggregate_maps, per_row
from tfinv.measures.sparsity import effective_samples, of_maps, relative_error, silence, with_sparse
from tfinv.results import LayerResult
from tfinv.statistics import ColumnMoments, RowDispersion
from tfinv.status import finite_status, quotient
from tfinv.support.checks import one_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.base import Statistic


@dataclass(frozen=True)
class _Variance(Measure):
    statistic: PooledDispersion = "std"
    aggregate: Aggregate = "none"

    def __post_init__(self) -> None:
        one_of("statistic", self.statistic, PooledDispersion)
        one_of("aggregate", self.aggregate, Aggregate)

    @property
    def by_unit(self) -> bool:
        return self.aggregate == "none"

    @property
    def _rows(self) -> RowDispersion:
        return RowDispersion(per_row(self.statistic))

    def _over_transformations(self, states: Mapping[Statistic, Any]) -> NDArray[np.float64]:
        return self._rooted(aggregate_maps(states[self._rows].mean, self.aggregate))

    def _rooted(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pooled standard deviations are roots of variances that were averaged, and aggregated, before."""
        return np.sqrt(values) if self.statistic == "pooled_std" else values

    def _over_samples(self, states: Mapping[Statistic, Any]) -> NDArray[np.float64]:
        moments = states[ColumnMoments()]
        freedom = moments.count - 1
        if self.statistic != "std":
            total = moments.m2.sum(axis=0, dtype=np.float64)
            return self._rooted(aggregate_maps(total / (freedom * len(moments.m2)), self.aggregate))
        total, root = np.zeros(moments.m2.shape[1:]), np.empty(moments.m2.shape[1:])
        # One transformation at a time: temporary arrays of all would cost more than the rest.
        for column in moments.m2:
            total += np.sqrt(column, out=root)
        return aggregate_maps(total / (np.sqrt(freedom) * len(moments.m2)), self.aggregate)


@dataclass(frozen=True)
class TransformationVariance(_Variance):
    r"""How much transformations move a unit: mean over samples of the standard deviation over transformations.

        TV(a) = \frac{1}{S} \sum_s \mathrm{std}_j A[s, j],   \quad A[s, j] = a(t_j(x_s)),   ddof = 1

    0 means invariant; the unit is the activation's own, so compare layers with `NormalizedVariance`.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> matrix = np.array([[7.0, 4, 6], [9, 3, 1], [5, 6, 3]])[..., None]
        >>> result = tfinv.evaluate_arrays({"unit": matrix}, [tfinv.measures.TransformationVariance()])
        >>> round(float(result["TransformationVariance"]["unit"].values[0]), 4)
        2.4061

    Args:
        statistic: `"std"` (default); `"variance"`: the same with variances in place of standard deviations; or
            `"pooled_std"`: the root of the mean variance.
        aggregate: `"none"` (one value per unit), or `"mean"`, `"max"`, `"sum"` over the positions of a feature map.

    Raises:
        ValueError: an unknown option.

    Source: Quiroga et al. 2021, "Measuring (in)variances in convolutional networks"; `std` as computed there.
    """

    min_transformations: ClassVar[int] = 2

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (self._rows,)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        values = self._over_transformations(states)
        return LayerResult(values, finite_status(values))


@dataclass(frozen=True)
class SampleVariance(_Variance):
    r"""How much a change of sample moves a unit: mean over transformations of the standard deviation over samples.

        SV(a) = \frac{1}{T} \sum_j \mathrm{std}_s A[s, j],   ddof = 1

    The yardstick for `TransformationVariance`; 0 means that the unit does not look at the image.

    Args:
        statistic: see `TransformationVariance`.
        aggregate: see `TransformationVariance`.

    Raises:
        ValueError: an unknown option.

    Source: Quiroga et al. 2021.
    """

    min_samples: ClassVar[int] = 2

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (ColumnMoments(),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        values = self._over_samples(states)
        return LayerResult(values, finite_status(values))


@dataclass(frozen=True)
class NormalizedVariance(_Variance):
    r"""Transformations against samples: 0 is invariant, 1 means that both move the unit alike, above 1 anti-invariant.

        NV(a) = \sqrt{\frac{agg(R)}{agg(C)}},
        \quad R = \frac{1}{S} \sum_s \mathrm{var}_j A[s, j],   \quad C = \frac{1}{T} \sum_j \mathrm{var}_s A[s, j],
        \quad ddof = 1,   \quad 0/0 \to 1 \text{ (dead)}, \; x/0 \to \infty

    Both variances are unbiased, so a unit without invariance tends to 1 however rarely it responds. A unit whose
    transformations cause half of the standard deviation over samples reads 0.5 (a quarter of the variance). The number
    of a layer is the mean over valid units without the lowest and the highest 5 %, because a few nearly dead units may
    read 100 and more. Aggregation comes before the quotient. Multiplying all activations by a constant changes nothing.

    `statistic="std"` is the published definition: the quotient of mean standard deviations, `agg(TV(a)) / agg(SV(a))`,
    and the plain mean over units. It tends to `sqrt(T / S)` for a unit that responds rarely, whatever the unit does.
    Units that fire at random have no invariance, so 1 is the truth; at T = 16 they read

    | share of firing | `"std"`, S = 250 | `"std"`, S = 2000 | `"variance"`, `"pooled_std"` |
    |---|---|---|---|
    | 100 % | 0.98 | 0.98 | 1.00 |
    | 20 % | 0.89 | 0.89 | 1.00 |
    | 5 % | 0.64 | 0.62 | 1.00 |
    | 1 % | 0.37 | 0.32 | 1.00 |
    | 0.2 % | 0.28 | 0.16 | 1.00 |

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> invariant = np.repeat(np.arange(5.0)[:, None, None], 4, axis=1)
        >>> result = tfinv.evaluate_arrays({"unit": invariant}, [tfinv.measures.NormalizedVariance()])
        >>> float(result["NormalizedVariance"]["unit"].values[0])
        0.0

    Args:
        statistic: `"pooled_std"` (default); `"std"`, the published definition; or `"variance"`, the square of
            `"pooled_std"` per unit, with the plain mean over units.
        aggregate: see `TransformationVariance`.

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
            return self._rows, ColumnMoments(), RowDispersion("std")
        return self._rows, ColumnMoments()

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        over_transformations = self._over_transformations(states)
        values, status = quotient(over_transformations, self._over_samples(states))
        if self.statistic != "pooled_std":
            return LayerResult(values, status)
        rows, samples = states[self._rows], float(states[self._rows].count)
        error = relative_error(states[RowDispersion("std")].mean, rows.mean, samples)
        if self.aggregate != "none" and rows.mean.ndim > 1:
            error = of_maps(error, rows.mean, self.aggregate, tuple(range(rows.mean.ndim - 1)))
        status = with_sparse(status, error)
        effective = effective_samples(error, over_transformations, samples)
        return LayerResult(values, status, silence(status, error, samples), TRIM, effective)
