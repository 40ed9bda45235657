"""What a `.tflite` file says about itself: operators, tensors, quantization, constants."""

from __future__ import annotations

import copy
import re
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.files.tensors import FLOAT_TYPES, FileTensor, dequantize, unpack_nibbles

IDENTIFIER = b"TFL3"
COPYING_OPERATORS = ("QUANTIZE", "DEQUANTIZE")
"""Operators that change the storage type of a value, never its meaning."""
_OUTPUT_NUMBER = re.compile(
    r"(?:output|Identity|(?:Stateful)?PartitionedCall(?:_\d+)?:)_?(\d*)(?:_(?:de|re)?quant(?:ized)?)?", re.ASCII
)
"""How converters number the outputs of a model, in signatures and in the names of tensors."""
_BROKEN = (struct.error, LookupError, OverflowError, MemoryError)
"""What reading beyond the end of a flatbuffer raises, besides TypeError, AttributeError and ValueError."""


@dataclass(frozen=True)
class Operator:
    """One operator of a file, such as `CONV_2D`, with the numbers of its input and output tensors."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """The main graph of a file.

    Args:
        tensors: all tensors, by number.
        operators: in the order in which they run.
        inputs: numbers of the graph's inputs.
        outputs: numbers of the graph's outputs, in the order of the model that the file was made from: the signature
            or the names of the tensors number them, while the file may list them in any order.
        output_names: their names in the signature, or those of their tensors where there is none.
        content: the file.
    """

    tensors: tuple[FileTensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    output_names: tuple[str, ...]
    content: bytes = field(repr=False)

    @cached_property
    def histogram(self) -> dict[str, int]:
        """How often each operator occurs, most frequent first."""
        return dict(Counter(operator.name for operator in self.operators).most_common())

    @cached_property
    def producers(self) -> dict[int, Operator]:
        """The operator that computes a tensor, by tensor number."""
        return {index: operator for operator in self.operators for index in operator.outputs}

    @cached_property
    def computed(self) -> frozenset[int]:
        """Tensors that depend on the graph's inputs, the inputs included; constants and their copies do not."""
        known = set(self.inputs)
        for operator in self.operators:
            if known.intersection(operator.inputs):
                known.update(operator.outputs)
        return frozenset(known)

    @cached_property
    def activations(self) -> tuple[int, ...]:
        """Computed real tensors in the order in which they come into being, copies by (de)quantization left out."""
        return tuple(
            index
            for operator in self.operators
            if operator.name not in COPYING_OPERATORS
            for index in operator.outputs
            if index in self.computed and self.tensors[index].is_real
        )

    def source(self, index: int) -> int:
        """The tensor whose value this one copies through QUANTIZE and DEQUANTIZE; itself where it is no copy."""
        operator = self.producers.get(index)
        while operator is not None and operator.name in COPYING_OPERATORS:
            index = operator.inputs[0]
            operator = self.producers.get(index)
        return index

    def summed(self, operator: Operator) -> int:
        """How many weights make up one activation of an operator; 0 for an operator without weights."""
        if operator.name not in ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"):
            return 0
        shape = self.tensors[operator.inputs[1]].shape
        return int(np.prod(shape[1:3] if operator.name == "DEPTHWISE_CONV_2D" else shape[1:]))

    def scores(self, index: int) -> int:
        """The tensor of scores whose largest a tensor of class numbers names (ARG_MAX); its source elsewhere."""
        index = self.source(index)
        operator = self.producers.get(index)
        while operator is not None and operator.name in ("CAST", "ARG_MAX"):
            given = self.source(operator.inputs[0])
            if operator.name == "ARG_MAX":
                return given if len(self.tensors[given].shape) == 2 else index
            operator = self.producers.get(given)
        return index

    def float_operators(self) -> tuple[Operator, ...]:
        """Operators that compute in floating point: what an integer file still leaves to a float unit."""
        return tuple(
            operator
            for operator in self.operators
            if operator.name not in COPYING_OPERATORS
            and any(self.tensors[i].dtype in FLOAT_TYPES and i in self.computed for i in operator.outputs)
        )

    def weights(self) -> dict[str, FileTensor]:
        """Constant real tensors with at least one value, by name: kernels and biases."""
        return {
            tensor.name: tensor
            for tensor in self.tensors
            if tensor.nbytes and (tensor.is_real or tensor.scales.size) and tensor.index not in self.computed
        }

    def constant(self, index: int) -> NDArray[Any]:
        """A constant as the real numbers it stands for (float32), or as stored where it has no scale.

        Raises:
            ValueError: the tensor is computed, not constant, or of a type that has no NumPy form.
        """
        tensor = self.tensors[index]
        if not tensor.nbytes:
            raise ValueError(f"index must be that of a constant. Received: {index} ({tensor.name!r})")
        raw = _stored(self.content, tensor)
        if not tensor.scales.size:
            return raw.astype(np.float32) if tensor.dtype == "float16" else raw
        return dequantize(raw, tensor)


def read_graph(content: bytes) -> Graph:
    """Read the main graph of a `.tflite` file.

    Example:
        >>> from tfinv.tflite.files.flatbuffer import read_graph
        >>> read_graph(b"not a model, but long enough to hold a header")
        Traceback (most recent call last):
        ...
        ValueError: content must be a TFLite model (identifier TFL3). Received: 45 bytes that begin with b'not a mo'

    Args:
        content: the whole file.

    Returns:
        The graph, without a copy of the constants.

    Raises:
        ValueError: not a TFLite file, or a truncated or corrupt one.
        TypeError: `content` is not bytes.
    """
    content = check_identifier(content)
    from ai_edge_litert import schema_py_generated as schema  # here, so that the module starts without it

    try:
        return _read(schema, content)
    except (*_BROKEN, TypeError, AttributeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"content must be an intact TFLite model; it is truncated or corrupt: {reason}") from None


def check_identifier(content: Any) -> bytes:
    """The content as bytes, if it begins as a TFLite file does.

    Raises:
        TypeError: not bytes.
        ValueError: another file type, or too short to be one.
    """
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"content must be the bytes of a .tflite file. Received: {type(content).__name__}")
    content = bytes(content)
    if len(content) < 32 or content[4:8] != IDENTIFIER:
        raise ValueError(
            "content must be a TFLite model (identifier TFL3). "
            f"Received: {len(content)} bytes that begin with {content[:8]!r}"
        )
    return content


def editable(content: bytes) -> Any:
    """The model of a file as an object of the schema (`schema.ModelT`), to change it; `pack` makes the file again."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(content, 0)


def pack(model: Any) -> bytes:
    """The file of a model that was changed as an object of the schema (`schema.ModelT`)."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def set_data(model: Any, tensor: Any, values: NDArray[Any]) -> None:
    """Give a tensor of an `editable` model other numbers; others that share its buffer keep theirs."""
    if sum(other.buffer == tensor.buffer for other in model.subgraphs[0].tensors) > 1:
        buffer = copy.copy(model.buffers[0])
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)


def declared_outputs(content: bytes) -> tuple[int, ...]:
    """The numbers of the output tensors in the order of the file, which the model's order may not be."""
    from ai_edge_litert import schema_py_generated as schema

    return _integers(schema.Model.GetRootAs(content, 0).Subgraphs(0).OutputsAsNumpy())


def _read(schema: Any, content: bytes) -> Graph:
    model = schema.Model.GetRootAs(content, 0)
    if not 1 <= model.SubgraphsLength() <= len(content):
        raise ValueError("it holds no graph")
    graph = model.Subgraphs(0)
    operator_names = _operator_names(schema, model)
    type_names = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    if max(graph.TensorsLength(), graph.OperatorsLength()) > len(content):
        raise ValueError("a length field exceeds the file")
    tensors = tuple(_tensor(model, graph.Tensors(i), i, type_names, content) for i in range(graph.TensorsLength()))
    operators = tuple(_operator(graph.Operators(i), i, operator_names) for i in range(graph.OperatorsLength()))
    inputs, outputs = _integers(graph.InputsAsNumpy()), _integers(graph.OutputsAsNumpy())
    used = [*inputs, *outputs, *(index for operator in operators for index in (*operator.inputs, *operator.outputs))]
    if any(not 0 <= index < len(tensors) for index in used):
        raise ValueError("an operator names a tensor that does not exist")
    signature = _signature_outputs(model)
    named = [(signature.get(index, tensors[index].name), tensors[index].name, index) for index in outputs]
    named = _in_model_order(named)
    names = tuple(name for name, _, _ in named)
    return Graph(tensors, operators, inputs, tuple(index for _, _, index in named), names, content)


def _signature_outputs(model: Any) -> dict[int, str]:
    """The name that the signature of the main graph gives each output, by number of the tensor."""
    signatures = (model.SignatureDefs(i) for i in range(model.SignatureDefsLength()))
    for signature in signatures:
        if signature.SubgraphIndex() == 0:
            outputs = [signature.Outputs(i) for i in range(signature.OutputsLength())]
            return {int(output.TensorIndex()): (output.Name() or b"").decode() for output in outputs}
    return {}


def _in_model_order(outputs: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """Outputs (name in the signature, name of the tensor, number) by their number in these names, if all have one."""
    for names in ([output[0] for output in outputs], [output[1] for output in outputs]):
        numbers = [_OUTPUT_NUMBER.fullmatch(name) for name in names]
        if all(numbers):
            order = [int(number[1] or 0) for number in numbers if number]
            if len(set(order)) == len(order):
                return [outputs[position] for position in sorted(range(len(order)), key=order.__getitem__)]
    return outputs


def _operator_names(schema: Any, model: Any) -> list[str]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    result = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        builtin = names.get(number, f"BUILTIN_{number}")  # of a newer version of the format: the interpreter judges
        custom = code.CustomCode()
        result.append(f"CUSTOM({custom.decode()})" if builtin == "CUSTOM" and custom else builtin)
    return result


def _operator(raw: Any, index: int, names: list[str]) -> Operator:
    inputs = tuple(index for index in _integers(raw.InputsAsNumpy()) if index >= 0)  # -1 stands for an absent input
    return Operator(index, names[raw.OpcodeIndex()], inputs, _integers(raw.OutputsAsNumpy()))


def _tensor(model: Any, raw: Any, index: int, types: Mapping[int, str], content: bytes) -> FileTensor:
    shape = _integers(raw.ShapeSignatureAsNumpy()) or _integers(raw.ShapeAsNumpy())
    quantization = raw.Quantization()
    scales = quantization.ScaleAsNumpy() if quantization is not None else 0
    zeros = quantization.ZeroPointAsNumpy() if quantization is not None else 0
    scales = np.array(scales, np.float32) if isinstance(scales, np.ndarray) else np.empty(0, np.float32)
    zeros = np.array(zeros, np.int64) if isinstance(zeros, np.ndarray) else np.zeros(scales.size, np.int64)
    if zeros.size != scales.size:
        zeros = np.resize(zeros, scales.size) if zeros.size else np.zeros(scales.size, np.int64)
    axis = quantization.QuantizedDimension() if quantization is not None else 0
    buffer = model.Buffers(raw.Buffer())
    nbytes = int(buffer.Size()) or int(buffer.DataLength())
    if nbytes > len(content):
        raise ValueError(f"tensor {index} is larger than the file")
    name = (raw.Name() or b"").decode()
    return FileTensor(index, name, shape, types[raw.Type()], scales, zeros, axis, raw.Buffer(), nbytes)


def _integers(array: Any) -> tuple[int, ...]:
    return tuple(int(element) for element in array) if isinstance(array, np.ndarray) else ()


def _stored(content: bytes, tensor: FileTensor) -> NDArray[Any]:
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.Model.GetRootAs(content, 0).Buffers(tensor.buffer)
    if buffer.Size():  # constants of large files lie behind the flatbuffer
        raw = np.frombuffer(content, np.uint8, buffer.Size(), buffer.Offset())
    else:
        raw = np.asarray(buffer.DataAsNumpy())
    if tensor.dtype in ("int4", "uint4"):
        raw = unpack_nibbles(raw, int(np.prod(tensor.shape)), signed=tensor.dtype == "int4")
        return raw.reshape(tensor.shape)
    try:
        return raw.view(np.dtype(tensor.dtype)).reshape(tensor.shape)
    except TypeError:
        raise ValueError(f"constants of type {tensor.dtype} cannot be read. Received: {tensor.name!r}") from None
