"""Run a `.tflite` file by TensorFlow Lite for Microcontrollers: the only file that imports `tflite_micro`."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.support.faults import one_line
from tfinv.support.quiet import quiet
from tfinv.tflite.files.buffers import Buffers
from tfinv.tflite.files.flatbuffer import Graph, declared_outputs
from tfinv.tflite.files.interpreter import Runner, single_input
from tfinv.tflite.files.invocation import Invocation
from tfinv.tflite.files.kernels import TFLM, check_installed
from tfinv.tflite.files.tensors import quantize

_LEAST_ARENA = 64 * 2**20
"""Memory for activations. The package's default, ten times the file, is too small for small files."""


class MicroRunner(Runner):
    """One interpreter for microcontrollers; it takes as many images at once as the file declares, one where open.

    Its memory lies in one arena, where later tensors overwrite earlier ones unless all are preserved.

    Args:
        graph: the file.
        preserve: keep intermediate tensors readable.
        name: of the file, for errors.

    Raises:
        ValueError: the package is not installed, or the interpreter refuses the file.
    """

    def __init__(self, graph: Graph, *, preserve: bool = True, name: str = "model") -> None:
        check_installed(TFLM)
        self.graph, self.name, self.kernels, self.threads = graph, name, TFLM, 1
        self.input = single_input(graph)
        self.delegate = "TensorFlow Lite for Microcontrollers"
        self._lock = threading.Lock()
        self._buffers = Buffers()
        self._preserve = preserve
        # Dimensions that the file leaves open are 1 here.
        self._shapes = {tensor.index: tuple(max(1, size) for size in tensor.shape) for tensor in graph.tensors}
        self.batch = self._shapes[self.input.index][0]
        self._places = {index: place for place, index in enumerate(declared_outputs(graph.content))}
        self._input = np.zeros(self._shapes[self.input.index], self.input.dtype)
        self.interpreter = self._new()
        self.invocation = Invocation(self.interpreter, graph, name)

    def _new(self) -> Any:
        from tflite_micro import runtime  # type: ignore[import-not-found]  # an optional package

        kinds = runtime.InterpreterConfig
        sizes = (int(np.prod(shape, dtype=np.int64)) * 4 for shape in self._shapes.values())
        try:
            with quiet() as log:
                return runtime.Interpreter.from_bytes(
                    self.graph.content,
                    arena_size=max(_LEAST_ARENA, 2 * sum(sizes)),
                    intrepreter_config=kinds.kPreserveAllTensors if self._preserve else kinds.kAllocationRecording,
                )
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"TFLM refuses this model: {one_line(log.text or error)}") from None

    def feed(self, inputs: NDArray[np.float32]) -> None:
        """Write at most one batch of inputs, quantized as the input tensor requires."""
        self.invocation.check_free()
        quantize(inputs, self.input, self._input[: len(inputs)])
        self._input[len(inputs) :] = 0
        self.interpreter.set_input(self._input, 0)

    def _view(self, index: int) -> NDArray[Any]:
        """The stored values; a copy. The interpreter crashes on a number that no tensor has."""
        shape = self._shapes[index]
        if self._preserve:
            stored: NDArray[Any] = self.interpreter.GetTensor(index, 0)["tensor_data"]
        else:
            stored = self.interpreter.get_output(self._places[index])
        if stored.shape != shape:
            raise ValueError(
                f"the shape of every layer must be the same for all images. Received: tensor "
                f"{self.graph.tensors[index].name!r} of shape {stored.shape}, not {shape}; choose other layers"
            )
        return stored
