"""Equivariance in general: how well a linear map of channels predicts what a transformation does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.measures.base import Measure
from tfinv.results import LayerResult
from tfinv.statistics.channel_regression import ChannelCoMoments
from tfinv.status import Status
from tfinv.support.checks import finite, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.base import Statistic


RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Regularisations to choose from, relative to the variance of a channel."""
DEAD_BELOW = 1e-6
"""A map whose standard deviation is below this share of the layer's largest is dead."""


@dataclass(frozen=True)
class LinearEquivariance(Measure):
    r"""Explained variance of the best linear channel map: 1 is perfectly equivariant, 0 no better than the mean.

        f(t_j(x))_p \approx b_j + M_j \, t_j(f(x))_p,   \quad
        R^2(c) = 1 - \frac{\sum_j \|f(t_j(x))_c - \hat f_j(x)_c\|^2}{\sum_j \|f(t_j(x))_c - \overline{f(t_j)}_c\|^2}

    One matrix `M_j` a transformation, the same at every position, fitted by ridge regression on standardized channels
    in closed form on one half of the samples and scored on the other, and the other way round. A layer whose filters
    are rotated copies of each other gets a high value although it is not same-equivariant: `M_j` permutes its channels.
    Only positions whose source was inside the frame count; layers without feature maps are reported as not applicable.

    Values are too low where the samples times positions of a half are not many more than the channels: an equivariant
    layer of 40 maps of one position read 0.55 at 15 samples a half. A half with no more positions than live channels
    has no value (`TOO_FEW_POSITIONS`). A map that is dead in one half is left out of that transformation, and `DEAD`
    where no transformation is left.

    Args:
        ridge: regularisation, relative to the variance of a channel. None takes for each transformation the one of
            `1e-5, 1e-4, ..., 1` with the least error on the halves that were not fitted; choosing among so few raises
            the value by less than 0.003.
        max_channels: layers with more feature maps are left out.

    Raises:
        ValueError: `ridge` is negative.

    Source: Lenc and Vedaldi 2015, "Understanding image representations by measuring their equivariance", section 3.
    """

    min_samples: ClassVar[int] = 4

    ridge: float | None = None
    max_channels: int = 512

    def __post_init__(self) -> None:
        if self.ridge is not None:
            finite("ridge", self.ridge, 0)
        whole_number("max_channels", self.max_channels, 1)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (ChannelCoMoments(self.max_channels),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        state = states[self.requires[0]]
        ridges = RIDGES if self.ridge is None else (self.ridge,)
        channels = state.yy.shape[-1]
        residual, total = np.zeros(channels), np.zeros(channels)
        live_x, live_y = _live(np.diagonal(state.xx, axis1=-2, axis2=-1), state.count), _live(state.yy, state.count)
        enough = 0
        for j in range(state.count.shape[1]):
            if (state.count[:, j] <= live_x[:, j].sum(axis=-1)).any() or not state.count[:, j].all():
                continue
            enough += 1
            scored = live_y[:, j].all(axis=0)  # in both halves
            first, second = (_errors(state, fitted, 1 - fitted, j, live_x[fitted, j], ridges) for fitted in (0, 1))
            errors = first + second
            yardstick = state.yy[:, j].sum(axis=0)
            relative = (errors[:, scored] / yardstick[scored]).sum(axis=1)
            residual += np.where(scored, errors[np.argmin(relative)], 0.0)
            total += np.where(scored, yardstick, 0.0)
        if not enough:
            return LayerResult(np.full(channels, np.nan), np.full(channels, Status.TOO_FEW_POSITIONS, np.uint8))
        dead = total <= 0
        values = np.where(dead, 1.0, 1.0 - residual / np.where(dead, 1.0, total))
        count = state.count.shape[1]
        note = "" if enough == count else f"{enough} of {count} transformations leave more positions than maps"
        return LayerResult(values, np.where(dead, Status.DEAD, Status.VALID).astype(np.uint8), note)


def _live(squares: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which channels vary, by half and transformation, `(2, T, C)`, from their sums of squared deviations."""
    deviation = np.sqrt(squares / np.maximum(count, 1)[..., None])
    return deviation > DEAD_BELOW * deviation.max()


def _errors(
    state: Any, fitted: int, scored: int, j: int, live: NDArray[np.bool_], ridges: Sequence[float]
) -> NDArray[np.float64]:
    """Sum of squared errors on the scored half by ridge and channel, `(R, C)`, from co-moments alone.

    Args:
        state: of `ChannelCoMoments`.
        fitted: the half that the map is fitted on.
        scored: the other half.
        j: the transformation.
        live: which channels vary in the fitted half; the others predict nothing.
        ridges: relative to the variance of a channel.
    """
    xx, xy = state.xx[fitted, j][np.ix_(live, live)], state.xy[fitted, j][live]
    scale = np.sqrt(np.diagonal(xx))
    values, vectors = np.linalg.eigh(xx / np.outer(scale, scale))
    projected = vectors.T @ (xy / scale[:, None])
    tested_xx, tested_xy = state.xx[scored, j][np.ix_(live, live)], state.xy[scored, j][live]
    shift = state.mean_x[scored, j] - state.mean_x[fitted, j]
    errors = []
    for ridge in ridges:
        weights = np.maximum(values, 0.0) + ridge
        kept = weights > np.finfo(np.float64).eps * len(values) * max(values.max(initial=0.0), 1.0)
        inverse = np.where(kept, 1.0 / np.where(kept, weights, 1.0), 0.0)
        solution = (vectors * inverse) @ projected / scale[:, None]
        offset = state.mean_y[scored, j] - state.mean_y[fitted, j] - shift[live] @ solution
        explained = 2 * (solution * tested_xy).sum(axis=0) - (solution * (tested_xx @ solution)).sum(axis=0)
        errors.append(np.maximum(state.yy[scored, j] - explained + state.count[scored, j] * offset**2, 0.0))
    return np.stack(errors)
