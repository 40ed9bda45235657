"""Activations of a `.tflite` model where its interpreter left them, several interpreters side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.layout import TO_LAST
from tfinv.statistics.compiled.stored import Stored
from tfinv.tflite.files.interpreter import Runner
from tfinv.tflite.files.tensors import FileTensor, dequantize

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class StreamWorker:
    """One interpreter of a model; see `tfinv.engine.streams.Worker`.

    Args:
        runner: the interpreter.
        prepare: from images to model inputs.
        tensors: by layer name.
        first: numbers of those that are feature maps with their channels first.
    """

    def __init__(
        self,
        runner: Runner,
        prepare: Callable[[Any], NDArray[np.float32]],
        tensors: Mapping[str, FileTensor],
        first: Collection[int] = (),
    ) -> None:
        self._runner, self._prepare, self._tensors, self._first = runner, prepare, tensors, first

    @contextmanager
    def run(self, images: NDArray[np.float32]) -> Iterator[Mapping[str, Stored]]:
        """Activations of images in [0, 1], at most a batch of the interpreter, valid within the context."""
        inputs = self._prepare(images)
        with self._runner.invoked(inputs) as view:
            stored = {
                name: _stored(view(tensor.index)[: len(inputs)], tensor, tensor.index in self._first)
                for name, tensor in self._tensors.items()
            }
            yield stored
            stored.clear()  # the interpreter refuses to run while a view of its memory is alive

    def stop(self) -> None:
        """Leave a run that another thread waits for."""
        self._runner.invocation.stop()


def _stored(values: NDArray[Any], tensor: FileTensor, is_first: bool) -> Stored:
    if tensor.is_quantized and tensor.scales.size > 1:
        values = dequantize(values, tensor)
    if is_first:
        values = np.ascontiguousarray(values.transpose(TO_LAST))
    if not tensor.is_quantized or tensor.scales.size > 1:
        return Stored(values)
    return Stored(values, float(tensor.scales[0]), float(tensor.zero_points[0]))
