"""Is what the interpreter tells true, how fast is it, how much memory does it need (beside activations)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.convert.match_keras_layers import random_inputs, sqnr
from tfinv.tflite.files.flatbuffer import Graph
from tfinv.tflite.files.interpreter import Runner
from tfinv.tflite.files.model import TFLiteModel

FLOAT_DB = 60.0
INTEGER_DB = 10.0
_CHECKED_TENSORS = 8


@dataclass(frozen=True)
class SelfCheck:
    """Whether activations read from a file can be trusted.

    Args:
        preserving: largest difference between the outputs with and without preserved tensors, in output units.
        tolerance: what that difference may be: one quantization step, or 1e-5 of the largest output.
        kernels: SQNR in dB between this model's kernels and the built-in ones, by layer, on a sample of layers.
        limit: what SQNR each layer owes.
        delegate: the kernels that were checked.
    """

    preserving: float
    tolerance: float
    kernels: dict[str, float]
    limit: float
    delegate: str

    @property
    def passed(self) -> bool:
        """Whether both comparisons hold."""
        return self.preserving <= self.tolerance and all(value >= self.limit for value in self.kernels.values())

    def summary(self) -> str:
        """One line for a report."""
        worst = min(self.kernels, key=lambda name: self.kernels[name], default=None)
        detail = f"lowest agreement with the built-in kernels {self.kernels[worst]:.0f} dB, at {worst}" if worst else ""
        state = "passed" if self.passed else "FAILED"
        return (
            f"{state}: outputs differ by {self.preserving:.2g} when tensors are preserved; {detail} ({self.delegate})"
        )


def self_check(model: TFLiteModel, images: Any = None) -> SelfCheck:
    """Compare a model's outputs with and without preserved tensors, and its activations with the built-in kernels.

    Args:
        model: the model; a sample of its selected layers, spread over its depth, is checked.
        images: `(N, H, W, C)` in [0, 1], a few; None for eight seeded random ones.

    Returns:
        The findings; `passed` says whether they are good.

    Raises:
        ValueError: images that do not fit.
    """
    inputs = random_inputs(model.graph, 8) if images is None else model.model_inputs(images)
    outputs = {str(index): index for index in model.graph.outputs}
    kept = model.runner.read(inputs, outputs)
    bare = Runner(model.graph, model.batch_size, model.runner.threads, preserve=False).read(inputs, outputs)
    preserving = max(float(np.abs(kept[name] - bare[name]).max(initial=0.0)) for name in outputs)
    names = list(model.layer_tensors)
    spread = np.unique(np.linspace(0, len(names) - 1, min(_CHECKED_TENSORS, len(names))).astype(int))
    wanted = {names[i]: model.layer_tensors[names[i]].index for i in spread}
    plain = Runner(model.graph, model.batch_size, model.runner.threads, delegate=False).read(inputs, wanted)
    own = model.runner.read(inputs, wanted)
    kernels = {name: sqnr(plain[name], own[name]) for name in wanted}
    exact = all(tensor.dtype in ("float32", "float16") for tensor in model.graph.weights().values())
    limit = FLOAT_DB if exact else INTEGER_DB
    return SelfCheck(preserving, _tolerance(model.graph, kept), kernels, limit, model.runner.delegate)


@dataclass(frozen=True)
class Latency:
    """How long one invocation takes on this machine.

    Args:
        milliseconds: median over the repeats.
        low: 10th percentile.
        high: 90th percentile.
        batch: images an invocation.
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

    Args:
        model: the file.
        batch: images an invocation.
        threads: of the interpreter; more than one is unsteady on a busy machine.
        repeats: timed invocations.
        warm_up: invocations before.
        seed: of the random images.

    Returns:
        Median and spread, with the settings that they hold for.

    Raises:
        ValueError: `repeats` below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1. Received: {repeats}")
    runner = Runner(model.graph, batch, threads, preserve=False)
    runner.feed(random_inputs(model.graph, runner.batch, seed))
    times = []
    for repeat in range(warm_up + repeats):
        start = time.perf_counter()
        runner.interpreter.invoke()
        if repeat >= warm_up:
            times.append((time.perf_counter() - start) * 1e3)
    low, median, high = np.percentile(times, [10, 50, 90])
    return Latency(float(median), float(low), float(high), runner.batch, threads, runner.delegate, repeats)


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
        batch: images an invocation.

    Returns:
        Bytes for constants, for activations alive at once, and for all activations.
    """
    graph = model.graph
    own = model.runner.batch
    shape = model.runner.shape
    size = {index: _bytes(shape(index), graph.tensors[index].dtype) * batch // own for index in graph.computed}
    last = {index: each.index for each in graph.operators for index in each.inputs if index in size}
    last.update(dict.fromkeys(graph.outputs, len(graph.operators)))
    alive, largest = set(graph.inputs), 0
    for operator in graph.operators:
        alive.update(index for index in operator.outputs if index in size)
        largest = max(largest, sum(size[index] for index in alive))
        alive = {index for index in alive if last.get(index, -1) > operator.index}
    constants = sum({tensor.buffer: tensor.nbytes for tensor in graph.tensors}.values())
    return MemoryEstimate(constants, largest, sum(size.values()))


def check_input_scale(
    model: TFLiteModel, images: Any, labels: Any, scales: Sequence[Any] = ("0..1", "0..255", "-1..1")
) -> str:
    """A warning if another input scale gives a far better accuracy: the easiest silent error of all.

    Args:
        model: the file, with the input scale in use.
        images: `(N, H, W, C)` in [0, 1], some dozen or more.
        labels: class numbers `(N,)`.
        scales: what to try instead.

    Returns:
        One sentence if the accuracy in use is within twice chance and another scale's is at least three times
        chance and twice as good; "" otherwise.

    Raises:
        ValueError: images and labels do not fit together.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(images),):
        raise ValueError(f"labels must be one class a image, {len(images)}. Received: shape {labels.shape}")

    def accuracy(candidate: TFLiteModel) -> float:
        outputs = np.asarray(candidate.predict(images))
        return float((outputs.reshape(len(labels), -1).argmax(1) == labels).mean())

    chance = 1.0 / max(2, len(np.unique(labels)))
    used = accuracy(model)
    if used > 2 * chance:
        return ""
    tried = [scale for scale in scales if scale != model.input_scale.text]
    others = {str(scale): accuracy(model.with_input_scale(scale)) for scale in tried}
    best = max(others, key=lambda scale: others[scale], default=None)
    if best is None or others[best] < max(3 * chance, 2 * used):
        return ""
    return (
        f"input scale {model.input_scale.text} looks wrong: accuracy {used:.1%}, near chance, "
        f"against {others[best]:.1%} with {best}"
    )


def _tolerance(graph: Graph, outputs: dict[str, NDArray[np.float32]]) -> float:
    steps = [float(graph.tensors[index].scales[0]) for index in graph.outputs if graph.tensors[index].is_quantized]
    largest = max(float(np.abs(value).max(initial=0.0)) for value in outputs.values())
    return max([1e-5 * max(1.0, largest), *steps])


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    width = {"float32": 4, "int32": 4, "float16": 2, "int16": 2, "int64": 8, "float64": 8}.get(dtype, 1)
    return int(np.prod(shape, dtype=np.int64)) * width
