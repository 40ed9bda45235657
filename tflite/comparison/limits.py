"""The real numbers that an integer tensor can hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfinv.tflite.files.tensors import FileTensor


@dataclass(frozen=True)
class Limits:
    """The real numbers that an integer tensor can hold.

    Args:
        low: the smallest.
        high: the largest.
        step: the distance of two neighbours.
    """

    low: float
    high: float
    step: float

    @classmethod
    def of(cls, tensor: FileTensor) -> Limits | None:
        """Those of an activation; None where it is stored as floats."""
        if not tensor.is_quantized or tensor.scales.size != 1:
            return None
        info = np.iinfo(np.dtype(tensor.dtype))
        scale, zero = np.float32(tensor.scales[0]), np.float32(tensor.zero_points[0])
        # In float32 as dequantization computes, so that values at a limit are equal to it.
        low, high = ((np.float32(level) - zero) * scale for level in (info.min, info.max))
        return cls(float(low), float(high), float(scale))
