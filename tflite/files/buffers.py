"""Arrays whose memory is used again once nobody holds them."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64  # what TensorFlow needs to take an array over without a copy


class Buffers:
    """Hands out float32 arrays by name, in memory that an earlier array of that name no longer uses.

    Fresh memory for a block of activations costs more than computing them: the system clears every page at its first
    use. Memory comes back when the array and all its views are gone, so no array ever changes under its holder.

    Example:
        >>> from tfinv.tflite.files.buffers import Buffers
        >>> buffers = Buffers()
        >>> first = buffers.array("conv", (4, 8))
        >>> address = first.ctypes.data
        >>> del first
        >>> buffers.array("conv", (4, 8)).ctypes.data == address
        True
    """

    def __init__(self) -> None:
        self._free: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """An array of undefined content, float32, aligned."""
        size = int(np.prod(shape, dtype=np.int64)) * 4
        memory = self._free.pop(name, None)
        if memory is None or memory.size < size + _ALIGNMENT:
            memory = np.empty(size + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        lease = _Lease(memory[start : start + size].view(np.float32).reshape(shape))
        # No lock: one operation on a dict is atomic, and a lock could be held when a finalizer runs.
        weakref.finalize(lease, self._free.__setitem__, name, memory).atexit = False
        return np.asarray(lease)


class _Lease:
    """What all views of an array refer to in the end: its death means that none is left."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.__array_interface__ = array.__array_interface__
