"""What the compiled loop gathers of a layer, and which of it a statistic takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.layer import Layer


@dataclass(frozen=True)
class LoopParts:
    """The sums of the compiled loop that a statistic is made from.

    Args:
        rows: `stds` and `variances` of `LoopSums`.
        columns: `offset`, `shift` and `m2` of `LoopSums`.
        visible: whether rows leave out the transformations that move a position out of the frame. The statistic must
            then have the view `InverseWarp()`.
    """

    rows: bool = False
    columns: bool = False
    visible: bool = False


class LoopSums(NamedTuple):
    """What the compiled loop has gathered; the arrays are not copied, and empty where no statistic asked for them.

    Args:
        layer: the layer.
        count: number of samples.
        stds: `(*U)`, sum over samples of the standard deviation over transformations (ddof = 1).
        variances: `(*U)`, the same for the variance.
        offset: `(*U)` float32, what `shift` is relative to.
        shift: `(T, *U)` float32, mean over samples minus `offset`.
        m2: `(T, *U)` float32, sum over samples of squared deviations from the mean.
        scratch: arrays that may be written over, by name, where states need not outlive the next ones; None otherwise.
    """

    layer: Layer
    count: np.float64
    stds: NDArray[np.float64]
    variances: NDArray[np.float64]
    offset: NDArray[np.float32]
    shift: NDArray[np.float32]
    m2: NDArray[np.float32]
    scratch: dict[str, NDArray[np.float64]] | None = None

    def mean(self, name: str) -> NDArray[np.float64]:
        """`(*U)`, the mean over samples of a sum over samples: `stds` or `variances`."""
        total: NDArray[np.float64] = getattr(self, name)
        out = None if self.scratch is None else self.scratch.setdefault(name, np.empty_like(total))
        return np.divide(total, max(self.count, 1), out=out)
