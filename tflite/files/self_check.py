"""Whether the activations that an interpreter gives are those that the file computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.files.flatbuffer import Graph
from tfinv.tflite.files.interpreter import Runner
from tfinv.tflite.files.kernels import BUILTIN
from tfinv.tflite.files.runners import new_runner
from tfinv.tflite.files.signals import sqnr
from tfinv.tflite.files.sized_by_data import sized_by_data

FLOAT_DB = 60.0
INTEGER_DB = 10.0
_NUMBERS = 4_000_000
"""Activations that a check computes, about: built-in kernels are slow, so large files are checked on few images."""
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


def check_runner(graph: Graph, runner: Runner, inputs: NDArray[np.float32], tensors: Mapping[str, int]) -> SelfCheck:
    """Compare outputs with and without preserved tensors, and activations with those of the built-in kernels.

    Args:
        graph: the graph of the file.
        runner: what reads its activations.
        inputs: `(N, ...)` as the model takes them before quantization.
        tensors: tensor number by layer name; a sample of them, spread over the depth of the network, is checked.

    Returns:
        The result of the check; `passed` says whether the activations can be trusted.
    """
    per_image = sum(int(np.prod(runner.shape(index)[1:])) for index in tensors.values())
    inputs = inputs[: max(1, _NUMBERS // max(1, per_image))]
    sized = sized_by_data(graph)
    outputs = {f"output {index}": index for index in graph.outputs if index not in sized}
    names = list(tensors)
    spread = np.unique(np.linspace(0, len(names) - 1, min(_CHECKED_TENSORS, len(names))).astype(int))
    checked = {names[position]: tensors[names[position]] for position in spread}
    used = {name: values.copy() for name, values in runner.read(inputs, {**outputs, **checked}).items()}
    preserved = {name: used[name] for name in outputs}
    batch = min(runner.batch, len(inputs))
    bare = new_runner(graph, batch, runner.threads, kernels=runner.kernels, preserve=False, name=runner.name).read(
        inputs, outputs
    )
    preserving = max((float(np.abs(preserved[name] - bare[name]).max(initial=0.0)) for name in outputs), default=0.0)
    built_in = new_runner(graph, batch, runner.threads, kernels=BUILTIN, name=runner.name).read(inputs, checked)
    kernels = {name: sqnr(built_in[name], used[name]) for name in checked}
    exact = all(tensor.dtype in ("float32", "float16") for tensor in graph.weights().values())
    limit = FLOAT_DB if exact else INTEGER_DB
    return SelfCheck(preserving, _tolerance(graph, preserved), kernels, limit, runner.delegate)


def _tolerance(graph: Graph, outputs: dict[str, NDArray[np.float32]]) -> float:
    steps = [float(graph.tensors[index].scales[0]) for index in graph.outputs if graph.tensors[index].is_quantized]
    largest = max((float(np.abs(value).max(initial=0.0)) for value in outputs.values()), default=0.0)
    return max([1e-5 * max(1.0, largest), *steps])
