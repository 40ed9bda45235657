"""Let an operator with an integer kernel run as integer where the converter left it in float."""

from __future__ import annotations

from typing import Any

from tfinv.support.types import KerasModel
from tfinv.tflite.files.flatbuffer import editable, pack, read_graph

_INTEGER_KERNELS = ("ELU",)
"""Operators that LiteRT runs on int8 (by a table of 256 values) but that no converter quantizes."""


def use_integer_kernels(content: bytes) -> bytes:
    """Replace `DEQUANTIZE, ELU, QUANTIZE` by one integer `ELU`: the same numbers, no float operator.

    TensorFlow's converter surrounds ELU by conversions to float and back, although the runtime has an int8 kernel.
    The kernel rounds exactly as the three operators do, so the outputs stay bit-equal. A file without such a
    sandwich is given back unchanged.

    Args:
        content: a quantized `.tflite` file.

    Returns:
        The file, with fewer operators.

    Raises:
        ValueError: not an intact TFLite file.
    """
    graph = read_graph(content)
    if not any(operator.name in _INTEGER_KERNELS for operator in graph.float_operators()):
        return content
    from ai_edge_litert import schema_py_generated as schema

    model = editable(content)
    names = [operator.name for operator in graph.operators]
    kept = _rewire(model.subgraphs[0], names, schema.TensorType.INT8)
    if len(kept) == len(names):
        return content
    model.subgraphs[0].operators = kept
    _drop_unused_tensors(model)
    return pack(model)


def _rewire(graph: Any, names: list[str], int8: int) -> list[Any]:
    """Connect the operator to the integers on both sides; return the operators that remain."""
    operators = list(graph.operators)
    producer = {int(tensor): i for i, operator in enumerate(operators) for tensor in operator.outputs}
    readers: dict[int, list[int]] = {}
    for i, operator in enumerate(operators):
        for tensor in operator.inputs:
            readers.setdefault(int(tensor), []).append(i)
    outputs = {int(tensor) for tensor in graph.outputs}
    dropped: set[int] = set()
    for i, name in enumerate(names):
        if name not in _INTEGER_KERNELS:
            continue
        source, result = int(operators[i].inputs[0]), int(operators[i].outputs[0])
        before, after = producer.get(source), readers.get(result, [])
        if before is None or names[before] != "DEQUANTIZE" or len(after) != 1 or names[after[0]] != "QUANTIZE":
            continue
        integers = int(operators[before].inputs[0]), int(operators[after[0]].outputs[0])
        if result in outputs or any(graph.tensors[index].type != int8 for index in integers):
            continue
        operators[i].inputs, operators[i].outputs = [integers[0]], [integers[1]]
        graph.tensors[integers[1]].name = graph.tensors[result].name  # that of the layer, not of its quantizer
        dropped.add(after[0])
        if readers[source] == [i] and source not in outputs:
            dropped.add(before)
        else:
            readers[source].remove(i)
    return [operator for i, operator in enumerate(operators) if i not in dropped]


def _drop_unused_tensors(model: KerasModel) -> None:
    graph = model.subgraphs[0]
    used = {int(t) for operator in graph.operators for t in (*operator.inputs, *operator.outputs) if t >= 0}
    used |= {int(t) for t in (*graph.inputs, *graph.outputs)}
    new = {old: position for position, old in enumerate(sorted(used))}
    new[-1] = -1
    graph.tensors = [graph.tensors[old] for old in sorted(used)]
    for operator in graph.operators:
        operator.inputs = [new[int(t)] for t in operator.inputs]
        operator.outputs = [new[int(t)] for t in operator.outputs]
    graph.inputs = [new[int(t)] for t in graph.inputs]
    graph.outputs = [new[int(t)] for t in graph.outputs]
    for signature in model.signatureDefs or []:
        for argument in (*signature.inputs, *signature.outputs):
            argument.tensorIndex = new[int(argument.tensorIndex)]
