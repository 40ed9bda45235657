"""Run a `.tflite` file and read its tensors: the only file that imports the LiteRT interpreter."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.source import ImageError
from tfinv.support.faults import one_line
from tfinv.support.quiet import quiet
from tfinv.tflite.files.buffers import Buffers
from tfinv.tflite.files.flatbuffer import Graph
from tfinv.tflite.files.invocation import Invocation, reason, run
from tfinv.tflite.files.kernels import BUILTIN, REFERENCE, XNNPACK
from tfinv.tflite.files.sized_by_data import SIZING
from tfinv.tflite.files.tensors import FileTensor, dequantize, quantize

_BATCH_BYTES = 256 * 2**20
"""Activations of one batch, all layers together, may take this much memory in the interpreter."""


class Runner:
    """One interpreter at a fixed batch size, all tensors preserved.

    Args:
        graph: the file.
        batch: images per invocation; None to choose.
        threads: of the interpreter; None to choose.
        preserve: keep intermediate tensors readable.
        kernels: the kernel set: `"xnnpack"`, `"builtin"` or `"reference"`, see `tfinv.tflite.files.kernels`.
        name: of the file, for errors.
    """

    def __init__(
        self,
        graph: Graph,
        batch: int | None = None,
        threads: int | None = None,
        *,
        preserve: bool = True,
        kernels: str = XNNPACK,
        name: str = "model",
    ) -> None:
        self.graph, self.name, self.kernels = graph, name, kernels
        self.threads = threads or min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
        self.input = single_input(graph)
        self._options: dict[str, Any] = {"preserve": preserve, "kernels": kernels}
        self._lock = threading.Lock()
        self._buffers = Buffers()
        self.interpreter, self.batch = self._build(batch or _affordable_batch(graph))
        details = self.interpreter.get_tensor_details()
        self._shapes = {tensor["index"]: tuple(map(int, tensor["shape"])) for tensor in details}
        self.delegate = describe_kernels(self.interpreter, kernels, preserve=preserve)
        self.invocation = Invocation(self.interpreter, graph, name)

    def _build(self, batch: int) -> tuple[Any, int]:
        declared = max(1, self.input.shape[0])
        interpreter = new_interpreter(self.graph.content, self.threads, **self._options)
        if batch == declared or any(operator.name in SIZING for operator in self.graph.operators):
            self._allocate(interpreter)
            return interpreter, declared
        try:
            interpreter.resize_tensor_input(self.input.index, [batch, *self.input.shape[1:]])
            with quiet():
                interpreter.allocate_tensors()
            outputs = interpreter.get_output_details()
            if all(len(output["shape"]) and output["shape"][0] == batch for output in outputs):
                self._allocate(interpreter)
                return interpreter, batch
        except (RuntimeError, ValueError):
            pass  # a graph with a fixed batch, such as one with a RESHAPE to constant sizes
        interpreter = new_interpreter(self.graph.content, self.threads, **self._options)
        self._allocate(interpreter)
        return interpreter, declared

    def _allocate(self, interpreter: Any) -> None:
        """Allocate all tensors; where operators compute shapes, run once, because only that gives tensors theirs."""
        try:
            with quiet():
                interpreter.allocate_tensors()
                if _computes_shapes(self.graph):
                    interpreter.tensor(self.input.index)()[...] = 0
                    Invocation(interpreter, self.graph, self.name)()
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"the interpreter refuses this model: {one_line(error)}") from None

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of a tensor at this batch size, as it is after a run."""
        return self._shapes[index]

    def read(self, inputs: NDArray[np.float32], wanted: Mapping[str, int]) -> dict[str, NDArray[np.float32]]:
        """Run the model on all inputs and read some tensors.

        Args:
            inputs: float32 `(N, H, W, C)` as the model expects them, before quantization.
            wanted: tensor number by name.

        Returns:
            `{name: float32 (N, *U)}`.
        """
        count = len(inputs)
        results = {name: self._buffers.array(name, (count, *self.shape(i)[1:])) for name, i in wanted.items()}
        with self._lock:
            for start in range(0, count, self.batch):
                stop = min(start + self.batch, count)
                self._run(inputs, start, stop)
                for name, index in wanted.items():
                    self._fetch(index, results[name][start:stop])
        return results

    @contextmanager
    def invoked(self, inputs: NDArray[np.float32]) -> Iterator[Callable[[int], NDArray[Any]]]:
        """Run the model on at most one batch; within the context tensors can be looked at where they are.

        Args:
            inputs: as for `read`.

        Yields:
            A function from a tensor's number to its stored values, a view that must be gone before the next run.
        """
        with self._lock:
            self._run(inputs, 0, len(inputs))
            yield self._view

    def invoke_once(self) -> None:
        """Run the model on zeros."""
        self._run(np.zeros((self.batch, *self.shape(self.input.index)[1:]), np.float32), 0, self.batch)

    def _run(self, inputs: NDArray[np.float32], start: int, stop: int) -> None:
        """One invocation on some of the inputs; an error tells the first of them that it is about."""
        self.feed(inputs[start:stop])
        try:
            self.invoke()
        except RuntimeError as error:
            text = f"the file {self.name} cannot be run: {reason(self.graph, error)}"
            for position in range(start, stop):
                self.feed(inputs[position : position + 1])
                try:
                    self.invoke()
                except RuntimeError:
                    raise ImageError(text, position) from None
            raise ValueError(f"{text}, on images {start} to {stop - 1} of those given together") from None

    def invoke(self) -> None:
        """Run the model on what it was fed."""
        self.invocation()

    def invoke_bare(self) -> None:
        """The same in this thread and without a limit of time, for timing."""
        run(self.interpreter)

    @property
    def is_left(self) -> bool:
        """Whether a run is still going on that nobody waits for."""
        return self.invocation.is_left

    def feed(self, inputs: NDArray[np.float32]) -> None:
        """Write at most one batch of inputs, quantized as the input tensor requires."""
        self.invocation.check_free()
        target = self.interpreter.tensor(self.input.index)()
        quantize(inputs, self.input, target[: len(inputs)])
        target[len(inputs) :] = 0  # the rest of a last, short batch

    def _view(self, index: int) -> NDArray[Any]:
        """The stored values, not copied as `get_tensor` would; they must be gone before the next run."""
        stored: NDArray[Any] = self.interpreter.tensor(index)()
        if stored.shape != self._shapes[index]:
            raise ValueError(
                f"the shape of every layer must be the same for all images. Received: tensor "
                f"{self.graph.tensors[index].name!r} of shape {stored.shape}, earlier {self._shapes[index]}; "
                "choose other layers"
            )
        return stored

    def _fetch(self, index: int, out: NDArray[np.float32]) -> None:
        stored = self._view(index)[: len(out)]
        tensor = self.graph.tensors[index]
        if tensor.is_quantized:
            dequantize(stored, tensor, out)
        else:
            out[...] = stored


def new_interpreter(content: bytes, threads: int, *, preserve: bool, kernels: str) -> Any:
    """A LiteRT interpreter, not yet allocated.

    Raises:
        ValueError: the interpreter refuses the file.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolvers = {
        XNNPACK: OpResolverType.BUILTIN,
        BUILTIN: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        REFERENCE: OpResolverType.BUILTIN_REF,
    }
    try:
        with quiet():
            return Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=resolvers[kernels],
                experimental_preserve_all_tensors=preserve,
            )
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the interpreter refuses this model: {one_line(error)}") from None


def describe_kernels(interpreter: Any, kernels: str, *, preserve: bool) -> str:
    """What runs: `"XNNPACK (9 of 11 operators)"`, `"XNNPACK"`, `"built-in kernels"` or `"reference kernels"`."""
    if kernels == REFERENCE:
        return "reference kernels"
    operators = interpreter._get_ops_details()
    delegated = {int(i) for operator in operators if operator["op_name"] == "DELEGATE" for i in operator["outputs"]}
    if not delegated:
        return "built-in kernels"
    if not preserve:  # one delegate may hide many operators
        return "XNNPACK"
    listed = [operator for operator in operators if operator["op_name"] != "DELEGATE"]
    taken = sum(any(int(i) in delegated for i in operator["outputs"]) for operator in listed)
    return f"XNNPACK ({taken} of {len(listed)} operators)"


def _computes_shapes(graph: Graph) -> bool:
    """Whether operators take computed integers, which may be shapes: such tensors have no shape before a run."""
    return any(
        index in graph.computed and not graph.tensors[index].is_real
        for operator in graph.operators
        for index in operator.inputs
    )


def single_input(graph: Graph) -> FileTensor:
    """The tensor that takes the images.

    Raises:
        ValueError: several inputs, or one that takes no images of a fixed size.
    """
    if len(graph.inputs) != 1 or len(graph.tensors[graph.inputs[0]].shape) != 4:
        shapes = [graph.tensors[index].shape for index in graph.inputs]
        flat = len(shapes) == 1 and len(shapes[0]) == 2
        hint = ": it takes features, not images; measure the network that makes them, or both as one" if flat else ""
        raise ValueError(f"model must have one input of images (N, H, W, C). Received: input shapes {shapes}{hint}")
    tensor = graph.tensors[graph.inputs[0]]
    if min(tensor.shape[1:]) < 1:
        raise ValueError(f"model must have a fixed height, width and channel count. Received: {tensor.shape}")
    return tensor


def _affordable_batch(graph: Graph) -> int:
    """32 images, or fewer where their activations would not fit the budget."""
    sizes = (abs(int(np.prod(graph.tensors[index].shape))) * 4 for index in graph.activations)
    return int(np.clip(_BATCH_BYTES // max(1, sum(sizes)), 1, 32))
