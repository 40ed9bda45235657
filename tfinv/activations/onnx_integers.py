"""Integers of a quantized ONNX file: which real numbers they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OnnxGraph = Any
"""A `GraphProto` of the package `onnx`."""
_SCALE_AT = {
    "QuantizeLinear": 1,
    "QLinearConcat": 0,
    "QLinearAveragePool": 3,
    "QLinearGlobalAveragePool": 3,
    "QLinearLeakyRelu": 3,
    "QLinearReduceMean": 3,
    "QLinearSigmoid": 3,
    "QLinearSoftmax": 3,
    "QLinearAdd": 6,
    "QLinearConv": 6,
    "QLinearMatMul": 6,
    "QLinearMul": 6,
    "QGemm": 7,
    "QLinearWhere": 7,
}
"""By operator which of its inputs is the scale of what it gives; the zero point follows."""
_KEEP_CODE = (
    "DepthToSpace",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
"""Operators that move integers and leave their meaning."""


class IntegerCode(NamedTuple):
    """What the integers of a tensor stand for: `(q - zero) * scale`.

    Args:
        scale: float32.
        zero: the integer that stands for 0.
    """

    scale: np.float32
    zero: int

    def decoded(self, integers: NDArray[Any]) -> NDArray[np.float32]:
        """The real numbers, computed in float32 as the operator `DequantizeLinear` does."""
        return (integers.astype(np.int32) - self.zero).astype(np.float32) * self.scale


def integer_codes(graph: OnnxGraph) -> dict[str, IntegerCode]:
    """By integer tensor what it stands for; tensors whose scale the file does not tell are left out.

    Args:
        graph: of the file.
    """
    held = _constants(graph)
    codes: dict[str, IntegerCode] = {}
    for node in graph.node:
        outputs = [name for name in node.output if name]
        if node.op_type in _KEEP_CODE and node.input and node.input[0] in codes:
            codes |= dict.fromkeys(outputs, codes[node.input[0]])
        at = _SCALE_AT.get(node.op_type)
        if at is None or len(node.input) <= at:
            continue
        scale = held.get(node.input[at])
        zero = held.get(node.input[at + 1], np.zeros(())) if len(node.input) > at + 1 else np.zeros(())
        if scale is not None and scale.size == 1 and zero.size == 1:
            codes[outputs[0]] = IntegerCode(np.float32(scale.item()), int(zero.item()))
    return codes


def rounded_tensors(graph: OnnxGraph, codes: Mapping[str, IntegerCode]) -> dict[str, str]:
    """By integer tensor the real one that it is made of, where nothing else reads the real one.

    A runtime that fuses operators into integer ones never has the real one.

    Args:
        graph: of the file.
        codes: of `integer_codes`.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(output.name for output in graph.output)
    return {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.output[0] in codes and readers[node.input[0]] == 1
    }


def dequantized_constants(graph: OnnxGraph, constants: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes of weights that are stored as integers, by the real tensor that is made of them."""
    return {
        node.output[0]: constants[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }


def scales_by_batch(graph: OnnxGraph) -> bool:
    """Whether the file chooses scales while it runs, for all images of a batch together."""
    return any(node.op_type == "DynamicQuantizeLinear" for node in graph.node)


def _constants(graph: OnnxGraph) -> dict[str, NDArray[Any]]:
    from onnx import numpy_helper

    found = {tensor.name: tensor for tensor in graph.initializer}
    found |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    small = {name: tensor for name, tensor in found.items() if np.prod(tensor.dims) <= 1}
    return {name: numpy_helper.to_array(tensor) for name, tensor in small.items()}
