"""What every measure is: hyper-parameters, the statistics it needs, and a formula on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tfinv.results import LayerResult
from tfinv.support.keys import key_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.base import Statistic

Aggregate = Literal["none", "mean", "max", "sum"]
Dispersion = Literal["std", "variance"]
PooledDispersion = Literal["pooled_std", "std", "variance"]
TRIM = 0.05
"""The number of a layer leaves out this share of the valid units at both ends (`docs/estimators.md`)."""


class Measure(ABC):
    """A frozen dataclass of hyper-parameters; `compute` is a pure NumPy function of gathered statistics."""

    min_samples: ClassVar[int] = 1
    """Fewest samples for which the measure is defined."""
    min_transformations: ClassVar[int] = 1
    """Fewest transformations for which the measure is defined."""
    settles: ClassVar[bool] = True
    """Whether values tend to a limit as samples are added; those of a test statistic grow with their number."""

    @property
    def by_unit(self) -> bool:
        """Whether each unit has a value that comes from its own states alone.

        The number of a layer is then a mean over units, so that of many units tells how the number of all would move.
        """
        return False

    @property
    def key(self) -> str:
        """Stable text of class and parameters; names the measure in results."""
        return key_of(self)

    @property
    @abstractmethod
    def requires(self) -> tuple[Statistic, ...]:
        """The statistics that `compute` reads."""

    @abstractmethod
    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        """Values and status of one layer.

        Args:
            states: for each required statistic its state as NumPy arrays (float64) of one layer.
        """


def aggregate_maps(values: NDArray[np.float64], how: Aggregate) -> NDArray[np.float64]:
    """One number per feature map: reduce the spatial axes of `(H', W', C')`; other shapes stay as they are."""
    if how == "none" or values.ndim < 2:
        return values
    function = {"mean": np.mean, "max": np.max, "sum": np.sum}[how]
    return function(values, axis=tuple(range(values.ndim - 1)))


def per_row(statistic: PooledDispersion) -> Dispersion:
    """What is averaged over samples: pooled deviations are roots of averages of variances."""
    return "std" if statistic == "std" else "variance"


def required_statistics(measures: Sequence[Measure]) -> list[Statistic]:
    """The union of what the measures need, each once."""
    return list(dict.fromkeys(statistic for measure in measures for statistic in measure.requires))


def check_enough(measures: Sequence[Measure], samples: int | None, transformations: int) -> None:
    """Refuse fewer samples or transformations than a measure is defined for; None is an unknown number."""
    for measure in measures:
        if transformations < measure.min_transformations:
            raise ValueError(
                f"transformations must be at least {measure.min_transformations} for {measure.key}, a deviation over "
                f"one is undefined. Received: {transformations}"
            )
        if samples is not None and samples < measure.min_samples:
            raise ValueError(
                f"images must be at least {measure.min_samples} for {measure.key}, a deviation over one is undefined. "
                f"Received: {samples}"
            )
