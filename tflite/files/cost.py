"""How long one invocation of a file takes, and how much memory it needs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from tfinv.support.checks import kind_of, whole_number
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.files.runners import new_runner
from tfinv.tflite.files.signals import random_inputs


@dataclass(frozen=True)
class Latency:
    """How long one invocation takes on this machine.

    Args:
        milliseconds: median over the repeats.
        low: 10th percentile.
        high: 90th percentile.
        batch: images per invocation.
        threads: of the interpreter.
        delegate: which kernels ran.
        repeats: how many invocations were timed.
    """

    milliseconds: float
    low: float
    high: float
    batch: int
    threads: int
    delegate: str
    repeats: int

    def __str__(self) -> str:
        return (
            f"{self.milliseconds:.3g} ms (10 to 90 %: {self.low:.3g} to {self.high:.3g}) for {self.batch} image(s), "
            f"{self.threads} thread(s), {self.delegate}"
        )


def latency(
    model: TFLiteModel, *, batch: int = 1, threads: int = 1, repeats: int = 50, warm_up: int = 5, seed: int = 0
) -> Latency:
    """Time a file as an application would run it: without preserved tensors, input and output copies not counted.

    The time is that of the model's kernels on this machine; that of `"reference"` and `"tflm"` is no microcontroller's.

    Args:
        model: the file.
        batch: images per invocation.
        threads: of the interpreter; more than one is unsteady on a busy machine.
        repeats: timed invocations.
        warm_up: invocations before.
        seed: of the random images.

    Returns:
        Median and spread, with the settings that they hold for.

    Raises:
        TypeError: another object than a `TFLiteModel`.
        ValueError: a number out of range.
    """
    kind_of("model", model, TFLiteModel, "a TFLiteModel")
    for name, value, least in (("batch", batch, 1), ("threads", threads, 1), ("repeats", repeats, 1)):
        whole_number(name, value, least)
    whole_number("warm_up", warm_up, 0)
    whole_number("seed", seed, 0)
    runner = new_runner(model.graph, batch, threads, kernels=model.kernels, preserve=False, name=model.name)
    runner.feed(random_inputs(model.graph, runner.batch, seed))
    times = []
    for _ in range(warm_up):
        runner.invoke()
    for _ in range(repeats):
        start = time.perf_counter()
        runner.invoke_bare()
        times.append((time.perf_counter() - start) * 1e3)
    low, median, high = np.percentile(times, [10, 50, 90])
    return Latency(float(median), float(low), float(high), runner.batch, runner.threads, runner.delegate, repeats)


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory of an interpreter in bytes, from the shapes in the file; kernels' scratch buffers come on top.

    Args:
        constants: weights and other constants.
        working: the largest sum of activations that are needed at the same time, as an application needs them.
        preserved: all activations, as measuring needs them.
    """

    constants: int
    working: int
    preserved: int


def memory_estimate(model: TFLiteModel, *, batch: int = 1) -> MemoryEstimate:
    """Estimate the memory that a file needs at a batch size.

    Args:
        model: the file.
        batch: images per invocation.

    Returns:
        Bytes for constants, for activations alive at once, and for all activations.

    Raises:
        TypeError: another object than a `TFLiteModel`.
        ValueError: a batch below 1.
    """
    kind_of("model", model, TFLiteModel, "a TFLiteModel")
    whole_number("batch", batch, 1)
    graph = model.graph
    batch_read, shape = model.runner.batch, model.runner.shape
    size = {index: _bytes(shape(index), graph.tensors[index].dtype) * batch // batch_read for index in graph.computed}
    last = {index: operator.index for operator in graph.operators for index in operator.inputs if index in size}
    last.update(dict.fromkeys(graph.outputs, len(graph.operators)))
    alive, largest = set(graph.inputs), 0
    for operator in graph.operators:
        alive.update(index for index in operator.outputs if index in size)
        largest = max(largest, sum(size[index] for index in alive))
        alive = {index for index in alive if last.get(index, -1) > operator.index}
    constants = sum({tensor.buffer: tensor.nbytes for tensor in graph.tensors}.values())
    return MemoryEstimate(constants, largest, sum(size.values()))


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    width = {"float32": 4, "int32": 4, "float16": 2, "int16": 2, "int64": 8, "float64": 8}.get(dtype, 1)
    return int(np.prod(shape, dtype=np.int64)) * width
