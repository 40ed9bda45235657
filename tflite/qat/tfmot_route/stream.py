"""Training batches on their way from one process to another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

END = b"{}\n"
"""After the last batch of an epoch."""


def write_batch(stream: IO[bytes], arrays: Mapping[str, Any], labels: Any) -> None:
    """Write one batch: a line with the shapes, the arrays in float32, the labels in int64.

    Args:
        stream: takes it.
        arrays: by name, of `N` images each.
        labels: `(N,)`.
    """
    made = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    stream.write(json.dumps({name: array.shape for name, array in made.items()}).encode() + b"\n")
    for array in made.values():
        stream.write(array.tobytes())
    stream.write(np.ascontiguousarray(labels, np.int64).tobytes())


def read_batches(stream: BinaryIO) -> Iterator[tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]]:
    """The batches of one epoch.

    Args:
        stream: holds what `write_batch` wrote, and `END` after every epoch.

    Raises:
        EOFError: the stream ends within an epoch.
    """
    while shapes := json.loads(stream.readline() or b"null"):
        arrays, count = {}, 0
        for name, shape in shapes.items():
            count = shape[0]
            arrays[name] = np.frombuffer(_exactly(stream, 4 * int(np.prod(shape))), np.float32).reshape(shape)
        yield arrays, np.frombuffer(_exactly(stream, 8 * count), np.int64)
    if shapes is None:
        raise EOFError("the training data ended early")


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError("the training data ended early")
    return data
