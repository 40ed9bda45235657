"""Biases that make up for the rounding of kernels."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.convert.fitting_biases import with_kernels
from tfinv.tflite.files.flatbuffer import Graph, editable, pack, read_graph, set_data
from tfinv.tflite.files.interpreter import Runner


def correct_biases(content: bytes, quantized: bytes, batches: Iterable[NDArray[np.float32]]) -> bytes:
    """The float file with biases that keep the mean of each output channel when its kernel is rounded.

        b_o += sum_i (W_oi - Q(W)_oi) E[x_i]

    `E[x_i]` is the mean of an input channel over images and positions in the float file, so a border of zeros around
    an image is neglected. Operators without a bias stay as they are. Quantize the result as the first file was.

    Args:
        content: the float file.
        quantized: what a quantizer made of it; its kernels are the `Q(W)`.
        batches: calibration images.

    Returns:
        A float file of the same names.
    """
    graph, rounded = read_graph(content), read_graph(quantized)
    pairs = [
        (operator, other)
        for operator, other in zip(with_kernels(graph), with_kernels(rounded), strict=True)
        if len(operator.inputs) == 3
    ]
    means = _channel_means(graph, {operator.inputs[0] for operator, _ in pairs}, batches)
    model = editable(content)
    for operator, other in pairs:
        error = graph.constant(operator.inputs[1]).astype(np.float64)
        error -= rounded.constant(rounded.source(other.inputs[1]))
        bias = graph.constant(operator.inputs[2]) + mean_shift(operator.name, error, means[operator.inputs[0]])
        _set_bias(model, operator.index, bias.astype(np.float32))
    return pack(model)


def _set_bias(model: Any, index: int, bias: NDArray[np.float32]) -> None:
    """Give an operator a bias of its own: layers may share one."""
    graph = model.subgraphs[0]
    operator = graph.operators[index]
    place = int(operator.inputs[2])
    tensor = graph.tensors[place]
    if sum(place in other.inputs for other in graph.operators) > 1:
        tensor = copy.copy(tensor)
        tensor.name = tensor.name + f"_corrected_{index}".encode()
        operator.inputs = [*operator.inputs[:2], len(graph.tensors), *operator.inputs[3:]]
        graph.tensors.append(tensor)
    set_data(model, tensor, bias)


def mean_shift(kind: str, error: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the error of a kernel takes from the mean of each output channel.

    Args:
        kind: name of the operator.
        error: the kernel minus its rounded form, in the layout of the file.
        means: of the input channels.
    """
    if kind == "DEPTHWISE_CONV_2D":  # (1, height, width, outputs), the outputs of an input next to each other
        outputs = error.shape[-1]
        return error.sum(axis=(0, 1, 2)) * np.repeat(means, outputs // len(means))
    flat = error.reshape(len(error), -1, error.shape[-1]).sum(axis=1)
    return flat @ means


def _channel_means(
    graph: Graph, tensors: set[int], batches: Iterable[NDArray[np.float32]]
) -> dict[int, NDArray[np.float64]]:
    """The mean of each channel of some activations over images and positions."""
    wanted = {str(index): index for index in tensors}
    sums: dict[int, NDArray[np.float64]] = {}
    counts: dict[int, int] = {}
    runner = Runner(graph)
    for batch in batches:
        for name, values in runner.read(batch, wanted).items():
            flat = np.asarray(values, np.float64).reshape(-1, values.shape[-1])
            sums[int(name)] = sums.get(int(name), 0.0) + flat.sum(axis=0)
            counts[int(name)] = counts.get(int(name), 0) + len(flat)
    return {index: total / counts[index] for index, total in sums.items()}
