"""Equivariance in general: how well a linear map of channels predicts what a transformation does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.measures.base import Measure
from tfinv.results import LayerResult
from tfinv.statistics.channel_regression import ChannelCoMoments
from tfinv.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.base import Statistic


@dataclass(frozen=True)
class LinearEquivariance(Measure):
    r"""Explained variance of the best linear channel map: 1 is perfectly equivariant, 0 no better than the mean.

        f(t_j(x))_p \approx b_j + M_j \, t_j(f(x))_p,   \quad
        R^2(c) = 1 - \frac{\sum_j \|f(t_j(x))_c - \hat f_j(x)_c\|^2}{\sum_j \|f(t_j(x))_c - \overline{f(t_j)}_c\|^2}

    One matrix `M_j` a transformation, the same at every position, fitted by ridge regression in closed form on one half
    of the samples and scored on the other, and the other way round. A layer whose filters are rotated copies of each
    other gets a high value although it is not same-equivariant: `M_j` permutes its channels. Only positions whose
    source was inside the frame count; layers without feature maps are reported as not applicable.

    Args:
        ridge: regularisation, relative to the mean variance of a channel, at least 0.
        max_channels: layers with more feature maps are left out.

    Raises:
        ValueError: `ridge` is negative.

    Source: Lenc and Vedaldi 2015, "Understanding image representations by measuring their equivariance", section 3.
    """

    min_samples: ClassVar[int] = 4

    ridge: float = 1e-3
    max_channels: int = 512

    def __post_init__(self) -> None:
        if not self.ridge >= 0:
            raise ValueError(f"ridge must be at least 0. Received: {self.ridge!r}")

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (ChannelCoMoments(self.max_channels),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        state = states[self.requires[0]]
        residual, total = 0.0, 0.0
        for fitted, scored in ((0, 1), (1, 0)):
            for j in range(state.count.shape[1]):
                if state.count[fitted, j] and state.count[scored, j]:
                    residual = residual + _residual(state, fitted, scored, j, self.ridge)
                    total = total + state.yy[scored, j]
        if np.ndim(total) == 0:
            empty = np.full(state.yy.shape[-1], np.nan)
            return LayerResult(empty, np.full(empty.shape, Status.TOO_FEW_POSITIONS, np.uint8))
        dead = total <= 0
        values = np.where(dead, 1.0, 1.0 - residual / np.where(dead, 1.0, total))
        return LayerResult(values, np.where(dead, Status.DEAD, Status.VALID).astype(np.uint8))


def _residual(state: Any, fitted: int, scored: int, j: int, ridge: float) -> NDArray[np.float64]:
    """Sum of squared errors a channel on the scored half, from co-moments alone."""
    xx, xy = state.xx[fitted, j], state.xy[fitted, j]
    penalty = ridge * np.trace(xx) / len(xx)
    solution = np.linalg.lstsq(xx + penalty * np.eye(len(xx)), xy, rcond=None)[0]
    offset = (
        state.mean_y[scored, j]
        - state.mean_y[fitted, j]
        - (state.mean_x[scored, j] - state.mean_x[fitted, j]) @ solution
    )
    explained = 2 * (solution * state.xy[scored, j]).sum(0) - (solution * (state.xx[scored, j] @ solution)).sum(0)
    return np.maximum(state.yy[scored, j] - explained + state.count[scored, j] * offset**2, 0.0)
