"""What runs a `.tflite` file, by the name of its kernel set."""

from __future__ import annotations

from tfinv.tflite.files.flatbuffer import Graph
from tfinv.tflite.files.interpreter import Runner
from tfinv.tflite.files.kernels import TFLM, XNNPACK
from tfinv.tflite.files.micro import MicroRunner


def new_runner(
    graph: Graph,
    batch: int | None = None,
    threads: int | None = None,
    *,
    kernels: str = XNNPACK,
    preserve: bool = True,
    name: str = "model",
) -> Runner:
    """What runs a file with one kernel set.

    Args:
        graph: the file.
        batch: images per invocation; None to choose. Microcontrollers take what the file declares.
        threads: of the interpreter; None to choose.
        kernels: the kernel set.
        preserve: keep intermediate tensors readable.
        name: of the file, for errors.

    Raises:
        ValueError: the interpreter refuses the file.
    """
    if kernels == TFLM:
        return MicroRunner(graph, preserve=preserve, name=name)
    return Runner(graph, batch, threads, preserve=preserve, kernels=kernels, name=name)
