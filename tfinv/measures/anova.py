"""One-way analysis of variance: do the transformations shift a unit's mean beyond chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tfinv.measures.base import Measure
from tfinv.results import LayerResult
from tfinv.statistics import ColumnMoments
from tfinv.status import Status, quotient
from tfinv.support.checks import one_of, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.base import Statistic

Correction = Literal["bonferroni", "holm", "none"]
Returns = Literal["decision", "p_value"]


@dataclass(frozen=True)
class _Anova(Measure):
    min_samples: ClassVar[int] = 2
    min_transformations: ClassVar[int] = 2
    settles: ClassVar[bool] = False

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (ColumnMoments(),)


@dataclass(frozen=True)
class AnovaF(_Anova):
    r"""F statistic of a one-way ANOVA whose groups are the transformations, whose members are the samples.

        F(a) = \frac{ S \sum_j (u_j - u)^2 / (T - 1) }{ \sum_j \sum_s (A[s, j] - u_j)^2 / (T (S - 1)) },

    with `u_j` the mean of column j and `u` the mean of those. About 1 when all transformations have the same mean; it
    grows with the number of samples. 0/0 is 1 (dead), x/0 is inf (constant over samples). It comes from the column
    moments of the variance measures, without another pass.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> matrix = np.array([[7.0, 4, 6], [9, 3, 1], [5, 6, 3], [8, 2, 5]])[..., None]
        >>> result = tfinv.evaluate_arrays({"unit": matrix}, "AnovaF")["AnovaF"]["unit"]
        >>> round(float(result.values[0]), 4), result.note
        (4.5581, 'F with (2, 9) degrees of freedom')

    Source: Fisher 1925, "Statistical methods for research workers"; as a measure of invariance Quiroga et al. 2021.
    """

    @property
    def by_unit(self) -> bool:
        return True

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        values, status, (between, within) = f_statistic(states[ColumnMoments()])
        return LayerResult(values, status, f"F with ({between}, {within}) degrees of freedom")


@dataclass(frozen=True)
class Anova(_Anova):
    r"""Whether a unit's mean differs between transformations: 1 differs (not invariant), 0 no evidence that it does.

        1 if p(a) is significant at 1 - confidence over the m units of the layer, else 0;
        p(a) = P( F_{T-1, T(S-1)} > F(a) )

    `"bonferroni"` compares each p with `(1 - confidence) / m`; `"holm"` steps down through the sorted p-values and
    keeps the same family-wise guarantee with more power; `"none"` compares each p with `1 - confidence`. Dead units
    are not tested and do not count in m. The samples are treated as independent and the test sees means alone: a
    unit can pass and still change for every single image.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> noise = np.random.default_rng(0).normal(size=(50, 4, 2))
        >>> moved = noise + np.array([[0, 0], [0, 1], [0, 2], [0, 3]])
        >>> tfinv.evaluate_arrays({"units": moved}, "Anova")["Anova"]["units"].values.tolist()
        [0.0, 1.0]

    Args:
        confidence: family-wise confidence, above 0 and below 1.
        correction: `"bonferroni"`, `"holm"` or `"none"`.
        returns: `"decision"` (1.0 or 0.0), or `"p_value"` for the corrected p-values, which are below
            `1 - confidence` exactly where the decision is 1.

    Raises:
        ValueError: a confidence outside (0, 1), an unknown option.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure"; Quiroga et al. 2021.
    """

    confidence: float = 0.99
    correction: Correction = "bonferroni"
    returns: Returns = "decision"

    def __post_init__(self) -> None:
        share("confidence", self.confidence)
        one_of("correction", self.correction, Correction)
        one_of("returns", self.returns, Returns)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        from scipy.stats import f as f_distribution

        f, status, degrees = f_statistic(states[ColumnMoments()])
        tested = (status == Status.VALID) | (status == Status.SAMPLE_CONSTANT)
        corrected = np.ones(f.shape)
        corrected[tested] = correct(f_distribution.sf(f[tested], *degrees), self.correction)
        count = int(tested.sum())
        note = f"F with {degrees} degrees of freedom, {count} units tested, correction: {self.correction}"
        if self.returns == "p_value":
            return LayerResult(corrected, status, note)
        return LayerResult((corrected < 1 - self.confidence).astype(np.float64), status, note)


def f_statistic(moments: Any) -> tuple[NDArray[np.float64], NDArray[np.uint8], tuple[int, int]]:
    """F of every unit from its column moments.

    Args:
        moments: a `ColumnMomentsState` or `ShiftedMoments` of NumPy arrays.

    Returns:
        F `(*U)`, its status, and the degrees of freedom `(between, within)`.
    """
    samples, mean = int(moments.count), moments.mean
    groups = len(mean)
    # Deviations from the first column are exactly zero for a unit that no transformation moves.
    deviation = mean - mean[0]
    deviation = deviation - deviation.mean(axis=0)
    between, within = groups - 1, groups * (samples - 1)
    values, status = quotient(
        samples * np.square(deviation).sum(axis=0) / between,
        np.asarray(moments.m2).sum(axis=0, dtype=np.float64) / within,
    )
    return values, status, (between, within)


def correct(p_values: NDArray[np.float64], correction: Correction) -> NDArray[np.float64]:
    """p-values corrected for testing all of them at once.

    Args:
        p_values: `(m,)`.
        correction: `"bonferroni"`: `min(1, m p)`; `"holm"`: `max_{k <= i} min(1, (m - k) p_(k))` over the ascending
            p-values, k from 0; `"none"`.

    Returns:
        `(m,)`, in the order given.
    """
    count = len(p_values)
    if correction == "bonferroni":
        return np.minimum(1.0, count * p_values)
    if correction == "none" or not count:
        return p_values
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(np.minimum(1.0, (count - np.arange(count)) * p_values[order]))
    corrected = np.empty_like(stepped)
    corrected[order] = stepped
    return corrected
