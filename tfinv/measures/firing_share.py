"""How often a unit responds: what tells silence from invariance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfinv.measures.base import Aggregate, Measure, aggregate_maps
from tfinv.results import LayerResult
from tfinv.statistics.firing_share import ShareAbove
from tfinv.status import finite_status
from tfinv.support.checks import finite, one_of

if TYPE_CHECKING:
    from tfinv.statistics.base import Statistic


@dataclass(frozen=True)
class FiringShare(Measure):
    r"""How often a unit responds: the share of all activations above a threshold.

        FS(a) = \frac{1}{S T} \#\{(s, j) : A[s, j] > \theta\}

    0 is a unit that never responds, 1 one that always does. It says nothing about invariance: it tells whether a unit
    that other measures call invariant responds at all. Units whose resting value is not 0, such as those of a layer
    without activation function, need another threshold.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> relu = np.maximum(0, np.array([[-1.0, 2], [-3, -4], [5, -6], [-7, -8]]))[..., None]
        >>> result = tfinv.evaluate_arrays({"relu": relu}, "FiringShare")
        >>> float(result["FiringShare"]["relu"].values[0])
        0.25

    Args:
        threshold: activations above it count as responses, in the activation's own units.
        aggregate: `"none"` (one value per unit), or `"mean"`, `"max"`, `"sum"` over the positions of a feature map.

    Raises:
        ValueError: an unknown option.
    """

    threshold: float = 0.0
    aggregate: Aggregate = "none"

    def __post_init__(self) -> None:
        finite("threshold", self.threshold)
        one_of("aggregate", self.aggregate, Aggregate)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (ShareAbove(self.threshold),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        values = aggregate_maps(states[self.requires[0]].mean, self.aggregate)
        return LayerResult(values, finite_status(values))
