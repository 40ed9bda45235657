"""Distance measures of invariance: mean distances over pairs of transformations and pairs of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.measures.base import Aggregate, Measure, aggregate_maps
from tfinv.results import LayerResult
from tfinv.statistics.column_sample import EMPTY, ColumnSample
from tfinv.statistics.pair_distances import Metric, member_distances, unit_maps
from tfinv.statistics.row_distances import RowDistances
from tfinv.status import Status, finite_status, quotient
from tfinv.support.checks import flag, one_of, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.base import Statistic


@dataclass(frozen=True)
class _Distance(Measure):
    normalize: bool = False
    per_map: bool = False
    metric: Metric = "euclidean"
    aggregate: Aggregate = "none"

    def __post_init__(self) -> None:
        flag("normalize", self.normalize)
        flag("per_map", self.per_map)
        one_of("metric", self.metric, Metric)
        one_of("aggregate", self.aggregate, Aggregate)

    @property
    def _rows(self) -> RowDistances:
        return RowDistances(self.per_map, self.normalize and self.per_map, self.metric)

    def _over_transformations(self, states: Mapping[Statistic, Any]) -> NDArray[np.float64]:
        return aggregate_maps(states[self._rows].mean, self.aggregate)


@dataclass(frozen=True)
class _Sampled(_Distance):
    samples: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples is not None:
            whole_number("samples", self.samples, 4)
        whole_number("seed", self.seed, 0)

    @property
    def _columns(self) -> ColumnSample:
        return ColumnSample(self.samples, self.seed)

    def _over_samples(self, states: Mapping[Statistic, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean distance and its standard error, before aggregation."""
        state = states[self._columns]
        total, kept = int(state.count), int((state.keys[0] != EMPTY).sum())
        means, variances = [], []
        for keys, values in zip(state.keys, state.values, strict=True):
            members = np.asarray(values[np.argsort(keys)[:kept]], np.float64)
            if self.normalize and self.per_map and members.ndim > 2 and members[0, ..., 0].size > 1:
                members, _ = unit_maps(members)
            distances = member_distances(members, self.metric, self.per_map)
            means.append(distances.mean(axis=0))
            # The jackknife variance of a U-statistic of pairs, for a draw without replacement.
            spread = np.square(distances - means[-1]).sum(axis=0) * 4 / max(kept - 2, 1) ** 2 * (kept - 1) / kept
            variances.append(spread * (1 - kept / total))
        return np.mean(means, axis=0), np.sqrt(np.sum(variances, axis=0)) / len(means)

    def standard_error(self, states: Mapping[Statistic, Any]) -> NDArray[np.float64]:
        """Standard error of the mean distance between samples, one a unit; 0 where all samples were kept.

        Args:
            states: see `compute`.

        Returns:
            float64 `(*U)` or `(C,)`, before aggregation.
        """
        return self._over_samples(states)[1]

    def _note(self, states: Mapping[Statistic, Any], mean: Any, error: Any) -> str:
        state = states[self._columns]
        total, kept = int(state.count), int((state.keys[0] != EMPTY).sum())
        if kept == total:
            return f"exact over all pairs of {total} samples"
        relative = np.median(error[mean > 0] / mean[mean > 0]) if (mean > 0).any() else 0.0
        return (
            f"between samples estimated from {kept} of {total} samples a transformation, "
            f"standard error of a unit {relative:.1%} (median)"
        )


@dataclass(frozen=True)
class TransformationDistance(_Distance):
    r"""How far apart transformations put a unit or a feature map: mean distance over all pairs, then over samples.

        TD(a) = \frac{1}{S} \sum_s \frac{2}{T (T - 1)} \sum_{i < j} d(A[s, i], A[s, j])

    0 means invariant. Exact, independent of batches and of order. For Gaussian activations of single units it is
    `2 / sqrt(pi)` times `TransformationVariance`.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> matrix = np.array([[7.0, 4, 6], [9, 3, 1], [5, 6, 3]])[..., None]
        >>> result = tfinv.evaluate_arrays({"unit": matrix}, "TransformationDistance")
        >>> round(float(result["TransformationDistance"]["unit"].values[0]), 4)
        3.1111

    Args:
        normalize: divide each feature map by its L2 norm, so that only its direction counts (a zero map stays zero,
            a map that is always zero is dead); changes nothing without `per_map`.
        per_map: one value a feature map, its positions together as one vector; otherwise one value a unit.
        metric: `"euclidean"`, or `"sqeuclidean"` (for single units twice the variance).
        aggregate: `"none"`, `"mean"`, `"max"` or `"sum"` over the positions of a map, where units are measured.

    Raises:
        ValueError: an unknown option.

    Source: Quiroga et al. 2021, "Measuring (in)variances in convolutional networks".
    """

    min_transformations: ClassVar[int] = 2

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (self._rows,)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        values = self._over_transformations(states)
        alive = states[self._rows].alive
        status = finite_status(values)
        if alive.shape == status.shape:
            status[alive == 0] = Status.DEAD
        return LayerResult(values, status)


@dataclass(frozen=True)
class SampleDistance(_Sampled):
    r"""How far apart samples put a unit or a feature map: mean distance over pairs, then over transformations.

        SD(a) = \frac{1}{T} \sum_j \frac{2}{S (S - 1)} \sum_{r < s} d(A[r, j], A[s, j])

    The yardstick for `TransformationDistance`. Exact over all pairs as long as `samples` of them fit; beyond, each
    transformation draws that many samples at random (seeded, independent of batches and shards), all pairs among
    them give an unbiased estimate, and `note` and `standard_error` say how precise it is.

    Args:
        normalize: see `TransformationDistance`.
        per_map: see `TransformationDistance`.
        metric: see `TransformationDistance`.
        aggregate: see `TransformationDistance`.
        samples: samples to keep for each transformation, at least 4; None for as many as fit into 32 MiB a layer
            (between 8 and 512). Memory is `4 * samples * T * units` bytes a layer.
        seed: of the draw.

    Raises:
        ValueError: an unknown option, fewer than 4 samples.

    Source: Quiroga et al. 2021; the jackknife error of a U-statistic from Arvesen 1969, "Jackknifing U-statistics".
    """

    min_samples: ClassVar[int] = 2

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (self._columns,)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        mean, error = self._over_samples(states)
        values = aggregate_maps(mean, self.aggregate)
        return LayerResult(values, finite_status(values), self._note(states, mean, error))


@dataclass(frozen=True)
class NormalizedDistance(_Sampled):
    r"""Distances between transformations against distances between samples: 0 is invariant, 1 is alike.

        ND(a) = \frac{agg(TD(a))}{agg(SD(a))},   \quad 0/0 \to 1 \text{ (dead)}, \; x/0 \to \infty

    For Gaussian activations of single units it equals `NormalizedVariance`; with `per_map` it compares whole maps.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> invariant = np.repeat(np.arange(5.0)[:, None, None], 4, axis=1)
        >>> result = tfinv.evaluate_arrays({"unit": invariant}, tfinv.measures.NormalizedDistance())
        >>> float(result["NormalizedDistance"]["unit"].values[0])
        0.0

    Args:
        normalize: see `TransformationDistance`.
        per_map: see `TransformationDistance`.
        metric: see `TransformationDistance`.
        aggregate: see `TransformationDistance`.
        samples: see `SampleDistance`.
        seed: see `SampleDistance`.

    Raises:
        ValueError: an unknown option, fewer than 4 samples.

    Source: Quiroga et al. 2021.
    """

    min_samples: ClassVar[int] = 2
    min_transformations: ClassVar[int] = 2

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return self._rows, self._columns

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        mean, error = self._over_samples(states)
        values, status = quotient(self._over_transformations(states), aggregate_maps(mean, self.aggregate))
        return LayerResult(values, status, self._note(states, mean, error))
