"""Scales of kernel channels under which the bias still fits into integers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.files.flatbuffer import Graph, Operator, editable, pack, read_graph, set_data
from tfinv.tflite.files.tensors import FileTensor

KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Operators of a kernel and perhaps a bias."""
STEPS = 2**24
"""A bias is at most so many of its steps; that of an ordinary channel is some thousands."""
_PLACES = {**dict.fromkeys(KERNELS, (0, 1, 2)), "TRANSPOSE_CONV": (2, 1, 3)}
"""By operator the positions of the input, the kernel and the bias among its inputs."""
_SMALL = 2.0**-14
"""A bias that is lost under a larger scale is `2^17` steps of its input: no layer has one."""


def may_lose_biases(quantized: bytes) -> bool:
    """Whether a kernel of a quantized file has a channel of so small a scale that its bias may be lost.

    Args:
        quantized: a `.tflite` file.
    """
    graph = read_graph(quantized)
    kernels = (graph.tensors[operator.inputs[_PLACES[operator.name][1]]] for operator in with_kernels(graph, _PLACES))
    return any((kernel.scales < _SMALL).any() for kernel in kernels if kernel.is_quantized)


def fit_biases(content: bytes, quantized: bytes, most: int = STEPS) -> bytes:
    r"""The quantized file with biases that the quantizer lost because a channel of their kernel is zero or nearly so.

    The step of a bias is that of the input times that of the channel, which a kernel of zeros makes so small that the
    bias leaves the integers and the output of the channel is 0 instead of its bias. The step of such a channel becomes

        s_w = |b| / (2^{24} s_x),

    which rounds its bias by 2^{-25} and its kernel to at most a few steps.

    Args:
        content: the float file, or the same with fake quantization.
        quantized: what the quantizer made of it.
        most: channels whose bias is at most so many steps stay as they are.
    """
    before, after = read_graph(content), read_graph(quantized)
    calls: dict[int, list[_Call]] = {}
    for operator, other in zip(with_kernels(before, _PLACES), with_kernels(after, _PLACES), strict=True):
        _, kernel_place, bias_place = places = _PLACES[operator.name]
        if any(len(one.inputs) <= bias_place or one.inputs[bias_place] < 0 for one in (operator, other)):
            continue
        source, kernel, bias = (after.tensors[other.inputs[place]] for place in places)
        stored = before.tensors[operator.inputs[bias_place]].nbytes and kernel.nbytes
        if stored and all(tensor.is_quantized for tensor in (source, kernel)) and bias.scales.size:
            real = before.constant(operator.inputs[bias_place]).astype(np.float64)
            call = _Call(operator.inputs[kernel_place], other.inputs[bias_place], real, float(source.scales[0]))
            calls.setdefault(other.inputs[kernel_place], []).append(call)
    model = None
    for index, users in calls.items():
        kernel = after.tensors[index]
        least = np.max([np.abs(call.bias) / (STEPS * call.step) for call in users], axis=0)
        if kernel.scales.size == 1:
            least = least.max(keepdims=True)
        raised = least * (STEPS / most) > kernel.scales
        if not raised.any():
            continue
        model = editable(quantized) if model is None else model
        scales = np.where(raised, least, kernel.scales).astype(np.float32)
        rounded = after.constant(index)
        real = before.constant(users[0].kernel) if before.tensors[users[0].kernel].nbytes else rounded
        _write(model, index, _levels(real, rounded, kernel, scales), scales)
        for call in users:
            steps = call.step * scales.astype(np.float64)
            _write(model, call.place, np.rint(call.bias / steps).astype(after.tensors[call.place].dtype), steps)
    return quantized if model is None else pack(model)


class _Call(NamedTuple):
    """One use of a kernel.

    Args:
        kernel: tensor of the kernel in the float file.
        place: tensor of the bias in the quantized file.
        bias: `(C,)` real numbers.
        step: of the input.
    """

    kernel: int
    place: int
    bias: NDArray[np.float64]
    step: float


def _levels(
    real: NDArray[np.float32], rounded: NDArray[np.float32], kernel: FileTensor, scales: NDArray[np.float32]
) -> NDArray[np.int8]:
    """The integers of a kernel: those that it has, and new ones for channels whose scale was raised."""
    along = [1] * real.ndim
    along[kernel.axis] = scales.size
    old, new = (array.astype(np.float64).reshape(along) for array in (kernel.scales, scales))
    levels = np.where(new > old, real / new, rounded / old)
    most = 7 if kernel.dtype == "int4" else 127
    whole = np.clip(np.rint(levels), -most, most).astype(np.int8)
    if kernel.dtype != "int4":
        return whole
    pairs = np.append(whole.reshape(-1), np.zeros(whole.size % 2, np.int8)).reshape(-1, 2) & 0xF
    return (pairs[:, 0] | (pairs[:, 1] << 4)).astype(np.int8)


def _write(model: Any, index: int, values: NDArray[Any], scales: NDArray[np.floating]) -> None:
    """Give a tensor of the file other numbers and scales."""
    tensor = model.subgraphs[0].tensors[index]
    set_data(model, tensor, values)
    tensor.quantization.scale = scales.astype(np.float32)


def with_kernels(graph: Graph, names: Collection[str] = KERNELS) -> list[Operator]:
    """The operators of these names, in the order in which they run."""
    return [operator for operator in graph.operators if operator.name in names]
