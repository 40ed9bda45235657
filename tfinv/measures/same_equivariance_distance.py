"""Same-equivariance by distances: the distance measures on feature maps that were transformed back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.measures.base import Measure
from tfinv.measures.distance import NormalizedDistance, SampleDistance, TransformationDistance
from tfinv.measures.same_equivariance import MIN_VISIBLE
from tfinv.results import LayerResult
from tfinv.statistics.map_distance import Border
from tfinv.statistics.pair_distances import Metric
from tfinv.statistics.views import CommonFrame, InverseWarp, Viewed, Visibility
from tfinv.status import Status
from tfinv.support.checks import one_of

if TYPE_CHECKING:
    from tfinv.statistics.base import Statistic


@dataclass(frozen=True)
class _DistanceSE(Measure):
    has_interpolation_floor: ClassVar[bool] = True

    normalize: bool = False
    per_map: bool = False
    metric: Metric = "euclidean"
    border: Border = "mask"

    def __post_init__(self) -> None:
        one_of("border", self.border, Border)
        _ = self._inner  # checks the other options

    @property
    @abstractmethod
    def _inner(self) -> Measure:
        """The same measure of activations that were not transformed back."""

    def _viewed(self, statistic: Statistic) -> Viewed:
        return Viewed(statistic, CommonFrame() if self.border == "mask" else InverseWarp())

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (*map(self._viewed, self._inner.requires), Visibility())

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        result = self._inner.compute({statistic: states[self._viewed(statistic)] for statistic in self._inner.requires})
        if self.border == "keep":
            return result
        shown = states[Visibility()].visible.astype(bool).all(axis=0)
        enough = shown.mean() >= MIN_VISIBLE
        hidden = ~(shown & enough)[..., None] if result.values.ndim == 3 else np.array(not enough)
        note = f"{shown.mean():.0%} of positions stay inside the frame under all transformations; {result.note}"
        return LayerResult(
            np.where(hidden, np.nan, result.values),
            np.where(hidden, np.uint8(Status.TOO_FEW_POSITIONS), result.status),
            note.rstrip("; "),
        )


@dataclass(frozen=True)
class TransformationDistanceSE(_DistanceSE):
    r"""Distance between feature maps that were transformed back: 0 is perfectly same-equivariant.

        TDSE(a) = \frac{1}{S} \sum_s \frac{2}{T (T - 1)} \sum_{i < j} d(B[s, i], B[s, j]),
        \quad B[s, j] = t_j^{-1}(f(t_j(x_s)))_a

    Args:
        normalize: see `TransformationDistance`.
        per_map: see `TransformationDistance`.
        metric: see `TransformationDistance`.
        border: `"mask"` uses the positions that stay inside the frame under all transformations, so that every pair
            is compared on the same ones; `"keep"` uses all.

    Raises:
        ValueError: an unknown option.

    Source: Quiroga et al. 2021.
    """

    min_transformations: ClassVar[int] = 2

    @property
    def _inner(self) -> Measure:
        return TransformationDistance(self.normalize, self.per_map, self.metric)


@dataclass(frozen=True)
class SampleDistanceSE(_DistanceSE):
    r"""Distance between samples in feature maps that were transformed back: the yardstick of the above.

        SDSE(a) = \frac{1}{T} \sum_j \frac{2}{S (S - 1)} \sum_{r < s} d(B[r, j], B[s, j])

    Args:
        normalize: see `TransformationDistance`.
        per_map: see `TransformationDistance`.
        metric: see `TransformationDistance`.
        border: see `TransformationDistanceSE`.
        samples: see `SampleDistance`.
        seed: see `SampleDistance`.

    Raises:
        ValueError: an unknown option.

    Source: Quiroga et al. 2021.
    """

    min_samples: ClassVar[int] = 2

    samples: int | None = None
    seed: int = 0

    @property
    def _inner(self) -> Measure:
        return SampleDistance(self.normalize, self.per_map, self.metric, samples=self.samples, seed=self.seed)


@dataclass(frozen=True)
class NormalizedDistanceSE(_DistanceSE):
    r"""Same-equivariance error against the distance between samples: 0 is perfect, 1 as different as another image.

        NDSE(a) = TDSE(a) / SDSE(a),   \quad 0/0 \to 1, \; x/0 \to \infty

    Args:
        normalize: see `TransformationDistance`.
        per_map: see `TransformationDistance`.
        metric: see `TransformationDistance`.
        border: see `TransformationDistanceSE`.
        samples: see `SampleDistance`.
        seed: see `SampleDistance`.

    Raises:
        ValueError: an unknown option.

    Source: Quiroga et al. 2021.
    """

    min_samples: ClassVar[int] = 2
    min_transformations: ClassVar[int] = 2

    samples: int | None = None
    seed: int = 0

    @property
    def _inner(self) -> Measure:
        return NormalizedDistance(self.normalize, self.per_map, self.metric, samples=self.samples, seed=self.seed)
