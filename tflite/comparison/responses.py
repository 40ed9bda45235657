"""How often each feature map responds in two files, and how many integer levels it uses, gathered block by block."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.results import LayerResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.tflite.comparison.limits import Limits

COLUMNS = ("firing_before", "firing_after", "levels")
FIRING, LEVELS = "FiringShare(aggregate='mean')", "UsedLevels"
"""Keys of the results by feature map: share of activations above zero, number of levels that occur."""
MOST_LEVELS = 256
"""Levels are counted in tensors of up to 8 bits."""


@dataclass
class Responses:
    r"""What is counted of one layer; a unit of a layer without feature maps counts as a map of one position.

        firing(c) = \frac{\#\{a > 0\}}{n},   \quad levels(c) = \#\{q : q \text{ occurs in map } c\}

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite.comparison.limits import Limits
        >>> from tfinv.tflite.comparison.responses import Responses
        >>> seen = Responses(Limits(low=0.0, high=127.5, step=0.5))
        >>> seen.update(np.array([[0.1, 1.0], [0.0, 2.0]]), np.array([[0.0, 1.0], [0.0, 2.0]]))
        >>> seen.firing_before.tolist(), seen.firing_after.tolist(), seen.levels.tolist()
        ([0.5, 1.0], [0.0, 1.0], [1, 2])

    Args:
        limits: of the second file's integers; None for floats.
    """

    limits: Limits | None = None
    count: int = 0
    fires: NDArray[np.int64] | None = field(default=None, repr=False)
    used: NDArray[np.bool_] | None = field(default=None, repr=False)

    def update(self, before: NDArray[Any], after: NDArray[Any]) -> None:
        """Add a block of activations `(N, C)` or `(N, H', W', C)` of both files."""
        first, second = (np.reshape(block, (-1, block.shape[-1])) for block in (before, after))
        fires = np.stack([np.count_nonzero(flat > 0, axis=0) for flat in (first, second)])
        self.fires = fires if self.fires is None else self.fires + fires
        self.count += len(first)
        if self.limits is not None and self.limits.high - self.limits.low < MOST_LEVELS * self.limits.step:
            if self.used is None:
                self.used = np.zeros((second.shape[1], MOST_LEVELS), bool)
            _mark_levels(second, self.limits, self.used)

    def merge(self, other: Responses) -> None:
        """Add what was counted in other blocks."""
        self.count += other.count
        for name, join in (("fires", np.add), ("used", np.logical_or)):
            mine, theirs = getattr(self, name), getattr(other, name)
            if theirs is not None:
                setattr(self, name, theirs if mine is None else join(mine, theirs))

    @property
    def firing_before(self) -> NDArray[np.float64]:
        """Share of activations above zero, of every map of the first file."""
        return self._shares(0)

    @property
    def firing_after(self) -> NDArray[np.float64]:
        """The same of the second file."""
        return self._shares(1)

    @property
    def levels(self) -> NDArray[np.int64] | None:
        """How many levels occur in every map of the second file; None where it is not stored in up to 8 bits."""
        return None if self.used is None else self.used.sum(axis=1)

    def values(self) -> dict[str, float]:
        """One number for each of `COLUMNS`: mean shares, and the median number of levels; NaN where there is none."""
        if self.fires is None:
            return dict.fromkeys(COLUMNS, float("nan"))
        levels = float("nan") if self.levels is None else float(np.median(self.levels))
        return dict(
            zip(COLUMNS, (float(self.firing_before.mean()), float(self.firing_after.mean()), levels), strict=True)
        )

    def results(self) -> tuple[dict[str, LayerResult], dict[str, LayerResult]]:
        """The same by map and key, of the first and of the second file."""
        if self.fires is None:
            return {}, {}
        valid = np.zeros(self.fires.shape[1], np.uint8)
        before = {FIRING: LayerResult(self.firing_before, valid)}
        after = {FIRING: LayerResult(self.firing_after, valid)}
        if self.levels is not None:
            after[LEVELS] = LayerResult(self.levels.astype(np.float64), valid)
        return before, after

    def _shares(self, side: int) -> NDArray[np.float64]:
        return np.empty(0) if self.fires is None else self.fires[side] / self.count


def _mark_levels(values: NDArray[Any], limits: Limits, used: NDArray[np.bool_]) -> None:
    """Mark in `(C, MOST_LEVELS)` which levels occur in real numbers `(N, C)` that are all levels."""
    low, per_step = float(np.float32(limits.low)), float(np.float32(1 / limits.step))
    if importlib.util.find_spec("numba") is not None:
        from tfinv.tflite.comparison import response_loop

        response_loop.mark_levels(np.ascontiguousarray(values, np.float32), low, per_step, used)
        return
    levels = ((values - np.float32(low)) * np.float32(per_step) + np.float32(0.5)).astype(np.uint8)
    used[np.arange(len(used)), levels] = True
