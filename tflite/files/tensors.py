"""A tensor of a `.tflite` file, and its integers as the real numbers that they stand for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_QUANTIZED_TYPES = ("int8", "uint8", "int16", "int4", "uint4", "int2")
FLOAT_TYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class FileTensor:
    """One tensor of a file.

    Args:
        index: its number in the file, as the interpreter counts.
        name: the name in the file; a fused tensor joins the names of all it holds with `;`.
        shape: with -1 for a dimension that the file leaves open.
        dtype: storage type, such as `"float32"`, `"int8"`, `"int4"`.
        scales: quantization scales, one or one per channel; empty for a float tensor.
        zero_points: as many as scales.
        axis: the channel axis of per-channel scales.
        buffer: number of the constant buffer.
        nbytes: size of the constant in bytes; 0 for what is computed.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: NDArray[np.float32] = field(repr=False)
    zero_points: NDArray[np.int64] = field(repr=False)
    axis: int
    buffer: int = field(repr=False)
    nbytes: int

    @property
    def is_quantized(self) -> bool:
        """Integers that stand for real numbers through scale and zero point."""
        return self.scales.size > 0 and self.dtype in _QUANTIZED_TYPES

    @property
    def real_range(self) -> tuple[float, float]:
        r"""The least and the largest real number that a quantized tensor of one scale can hold.

        (q_{min} - z) \, s \; .. \; (q_{max} - z) \, s
        """
        limits, scale, zero = np.iinfo(self.dtype), float(self.scales[0]), int(self.zero_points[0])
        return (limits.min - zero) * scale, (limits.max - zero) * scale

    @property
    def is_real(self) -> bool:
        """Whether the tensor holds real numbers, stored as floats or quantized; shapes and indices do not."""
        return self.dtype in FLOAT_TYPES or self.is_quantized


def dequantize(stored: NDArray[Any], tensor: FileTensor, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Real numbers of a quantized array: `(q - zero_point) * scale`, per tensor or per channel.

    Args:
        stored: integers of any shape that has the tensor's channel axis.
        tensor: gives scales, zero points and axis.
        out: float32 array of the same shape to write to.

    Returns:
        float32, same shape.
    """
    scale, zero = tensor.scales, tensor.zero_points
    if scale.size > 1:
        channels = [1] * stored.ndim
        channels[tensor.axis] = scale.size
        scale, zero = scale.reshape(channels), zero.reshape(channels)
    # Scalars keep numpy on its fast path; int8 and int16 minus the zero point are exact in float32.
    scale32 = np.float32(scale.item()) if scale.size == 1 else scale.astype(np.float32)
    zero32 = np.float32(zero.item()) if zero.size == 1 else zero.astype(np.float32)
    if out is None:
        out = np.empty(stored.shape, np.float32)
    np.subtract(stored, zero32, out=out, dtype=np.float32, casting="unsafe")
    np.multiply(out, scale32, out=out)
    return out


def quantize(inputs: NDArray[np.float32], tensor: FileTensor, out: NDArray[Any]) -> None:
    """Write real numbers as a tensor stores them: `round(x / scale) + zero_point`, clipped; unchanged for floats.

    Args:
        inputs: float32 of any shape.
        tensor: gives scale and zero point.
        out: what to write to, of the same shape, in the tensor's type.
    """
    if not np.issubdtype(out.dtype, np.integer):
        out[...] = inputs
        return
    scale = np.float32(tensor.scales[0]) if tensor.scales.size else np.float32(1)
    zero = np.float32(tensor.zero_points[0]) if tensor.scales.size else np.float32(0)
    limits = np.iinfo(out.dtype)
    piece = 1 << 14  # small enough to stay in the nearest caches between the steps
    flat, target = inputs.reshape(-1), out.reshape(-1)
    for start in range(0, flat.size, piece):
        steps = np.divide(flat[start : start + piece], scale)
        np.rint(steps, out=steps)
        np.add(steps, zero, out=steps)
        np.clip(steps, limits.min, limits.max, out=steps)
        target[start : start + piece] = steps


def unpack_nibbles(packed: NDArray[np.uint8], count: int, *, signed: bool) -> NDArray[np.int8]:
    """Two 4-bit values a byte, the low nibble first."""
    nibbles = np.stack([packed & 0xF, packed >> 4], axis=-1).reshape(-1)[:count].astype(np.int8)
    return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8) if signed else nibbles
