"""Activations as a quantized network stores them, and sums of them that become moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Stored:
    """Numbers in memory and what they stand for: `(q - zero_point) * step`.

    Args:
        values: integers or floats of any shape.
        step: what one stands for.
        zero_point: the one that stands for zero.
    """

    values: NDArray[Any]
    step: float = 1.0
    zero_point: float = 0.0

    def real(self) -> NDArray[np.float32]:
        """float32, same shape; the values themselves where they are that already."""
        if self.values.dtype == np.float32:
            return self.values
        values = np.subtract(self.values, np.float32(self.zero_point), dtype=np.float32, casting="unsafe")
        return np.multiply(values, np.float32(self.step), out=values)

    def reshaped(self, shape: tuple[int, ...]) -> Stored:
        """The same in another shape."""
        return Stored(self.values.reshape(shape), self.step, self.zero_point)


class IntegerSums:
    """Sums of integers and of their squares over samples, for every transformation and unit, exact.

    Args:
        columns: `T`.
        units: `U`.
        step: see `Stored`.
        zero_point: see `Stored`.
    """

    def __init__(self, columns: int, units: int, step: float, zero_point: float) -> None:
        self.sums, self.squares = (np.zeros((columns, units), np.int32) for _ in range(2))
        self.count = 0
        self._step, self._zero = step, zero_point

    def merge_into(
        self, count: int, offset: NDArray[np.float32], mean: NDArray[np.float32], m2: NDArray[np.float32]
    ) -> None:
        """Add what was summed up to moments of other samples, in place (Chan's rule).

        Args:
            count: samples in the moments.
            offset: see `kernel.gather`.
            mean: see `kernel.gather`.
            m2: see `kernel.gather`.
        """
        from tfinv.statistics.compiled import integer_loop as integer_kernel

        moments = (self.sums, self.squares, self.count, self._step, self._zero)
        integer_kernel.add_moments(*moments, count, offset, mean, m2)
