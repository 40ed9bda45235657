"""An ONNX file as a source of activations, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.foreign import End, ForeignModel, Network, Runs
from tfinv.activations.foreign_inputs import image_input, needed, sized
from tfinv.activations.input_scale import InputScale
from tfinv.activations.layout import Layout, checked_layout, told_by_shape
from tfinv.activations.onnx_integers import (
    IntegerCode,
    dequantized_constants,
    integer_codes,
    rounded_tensors,
    scales_by_batch,
)
from tfinv.activations.source import LayerChoice
from tfinv.activations.steps import IMAGES, NetworkStep, maker
from tfinv.support.checks import path_like
from tfinv.support.faults import SHOWN, one_line
from tfinv.support.guarded import guarded
from tfinv.support.threads import worker_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

Proto = Any
"""A message of the format ONNX: a model, a graph, a node."""
_REALS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
"""Types of the runtime that hold real numbers."""
_NAMES = {"tensor(float)": "float32", "tensor(double)": "float64"}
_CHANNELS_FIRST = (
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "InstanceNormalization",
    "LRN",
    "MaxPool",
    "QLinearConv",
    "SpaceToDepth",
)
"""Operators that exist for channels first alone."""
_COPIES = ("Cast", "DequantizeLinear", "Dropout", "Identity", "QuantizeLinear", "Transpose")
_TRIED = 3
"""Images of the run that tells shapes, where the file takes any number of them."""


@guarded()
class OnnxModel(ForeignModel):
    """An `.onnx` file that gives the activations of its layers; needs `pip install 'tfinv[onnx]'`.

    The operators of one scope, such as `conv/Conv` and `conv/Relu`, make up one layer, which gives what the last of
    them gives; the others can be chosen by name. Batch normalization that an exporter has folded into a convolution is
    gone. Layers of a quantized file are the integers that the runtime computes, as the real numbers that they stand
    for: `(q - zero point) * scale`. What is only there before it is rounded is not read, so that operators between
    `DequantizeLinear` and `QuantizeLinear` are fused into integer ones as they are when the file ships. A file that
    chooses its scales as it runs (`DynamicQuantizeLinear`) is shown one image at a time.

    Example:
        >>> from tfinv.activations import OnnxModel  # doctest: +SKIP
        >>> OnnxModel("net.onnx", input_scale="-1..1").layer_shapes  # doctest: +SKIP
        {'conv': (6, 6, 4), 'pool': (4,), 'logits': (3,)}

    Args:
        path: the file.
        layers: which layers: a name, a glob such as `"conv*"`, an operator such as `"Conv"`, or several; None for all.
        input_scale: what becomes of images in [0, 1] before the model sees them, see `tfinv.tflite.TFLiteModel`.
        layout: `"nhwc"` or `"nchw"`, where the file has the channels of its images; None for what its operators tell.
        input_size: `(height, width)` of the images, where the file leaves them open.

    Raises:
        ImportError: the packages `onnx` and `onnxruntime` are not installed.
        ValueError: no such file, a damaged one, one that the runtime refuses (in its words), several inputs, an input
            that is no image of real numbers, or an unknown layer.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        layers: LayerChoice = None,
        *,
        input_scale: str | Sequence[Any] | InputScale = "0..1",
        layout: Layout | None = None,
        input_size: Sequence[int] | None = None,
    ) -> None:
        path_like("path", path)
        file = Path(path)
        model = _read(file)
        graph = model.graph
        constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self._codes = integer_codes(graph)
        self._fuses = any(node.op_type == "QuantizeLinear" for node in graph.node)
        given = [value for value in graph.input if value.name not in constants]
        self._input = given[0].name if given else ""
        shapes = [_sizes(value) for value in given]
        way_out = "hold the others in the file, such as with onnx.compose or an initializer of the same name"
        image_input([value.name for value in given], shapes, way_out)
        shape = sized(shapes[0][1:], input_size, checked_layout(layout) or told_by_shape(shapes[0][1:]), file.name)
        self._bytes = model.SerializeToString()
        tapped = [output for node in graph.node for output in node.output if output]
        session = _session(self._bytes, tapped, plain=False, fuses=False)
        self._type = session.get_inputs()[0].type
        if self._type not in _REALS:
            raise ValueError(
                f"model must take real numbers; quantize behind its input instead. Received: {file.name}, whose input "
                f"{self._input} is {self._type}"
            )
        batch = shapes[0][0] or (1 if scales_by_batch(graph) else None)
        tried = np.zeros((batch or _TRIED, *shape), _REALS[self._type])
        values = dict(zip(tapped, _outputs(session, tapped, {self._input: tried}), strict=True))
        types = {output.name: output.type for output in session.get_outputs()}
        constants |= dequantized_constants(graph, constants)
        steps, skipped, places = _steps(graph, values, types, constants, self._codes, len(tried), self._input)
        ends = [
            End(
                out.name,
                maker(steps, places, out.name, is_real=types[out.name] in _REALS or out.name in self._codes),
                np.shape(values[out.name])[1:],
                str(values[out.name].dtype),
            )
            for out in graph.output
            if out.name in values
        ]
        digest = hashlib.sha256(self._bytes).hexdigest()[:12]
        network = Network(
            f"{file.stem}-{digest}", shape, batch, steps, ends, skipped, _notes(graph), model.producer_name == "tf2onnx"
        )
        super().__init__(network, layers, input_scale, layout)

    def _prepare(self, keys: tuple[str, ...] | None) -> Runs:
        wanted = [end.name for end in self.network.ends] if keys is None else list(keys)
        session = _session(self._bytes, wanted, plain=keys is None, fuses=keys is None or self._fuses)
        kind, codes = _REALS[self._type], [self._codes.get(name) for name in wanted]

        def compute(inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
            arrays = _outputs(session, wanted, {self._input: inputs.astype(kind, copy=False)})
            return [code.decoded(array) if code else array for code, array in zip(codes, arrays, strict=True)]

        return compute


def _read(file: Path) -> Proto:
    """The model in a file, with weights that stand in files beside it."""
    onnx = needed("onnx", "onnx", "ONNX files")
    needed("onnxruntime", "onnx", "ONNX files")
    if not file.is_file():
        raise ValueError(f"path must name an existing ONNX file. Received: {str(file)!r}")
    try:
        model = onnx.load(str(file))
    except MemoryError:
        raise
    except Exception as error:  # protobuf, and what stands beside the file, raise nearly every kind
        raise ValueError(
            f"path must name a readable ONNX file. Received: {str(file)!r}: {one_line(error, SHOWN)}"
        ) from error
    if not model.graph.node:
        raise ValueError(f"path must name an ONNX file with operators. Received: {str(file)!r}, which holds none")
    return model


def _session(content: bytes, wanted: Sequence[str], *, plain: bool, fuses: bool) -> Any:
    """What runs a model: `plain` with its own outputs, otherwise with those that are wanted; fused or as it stands."""
    onnx, runtime = needed("onnx", "onnx", "ONNX files"), needed("onnxruntime", "onnx", "ONNX files")
    model = onnx.ModelProto.FromString(content)
    if not plain:
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = worker_threads() or min(4, os.cpu_count() or 1)
    if not fuses:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a dozen kinds of its own
        own = sorted({f"{node.op_type} of {node.domain}" for node in model.graph.node if _is_custom(node)})
        hint = f" (its custom operators: {', '.join(own)})" if own else ""
        raise ValueError(
            f"model must be one that ONNX Runtime runs. Received: {one_line(error, SHOWN)}{hint}"
        ) from error


def _outputs(session: Any, wanted: Sequence[str], feed: Mapping[str, Any]) -> list[NDArray[Any]]:
    try:
        return session.run(list(wanted), dict(feed))
    except Exception as error:  # the runtime has a dozen kinds of its own
        (inputs,) = feed.values()
        raise ValueError(f"model must run on inputs {inputs.shape}. Received: {one_line(error, SHOWN)}") from error


def _steps(
    graph: Proto,
    values: Mapping[str, NDArray[Any]],
    types: Mapping[str, str],
    constants: Mapping[str, tuple[int, ...]],
    codes: Mapping[str, IntegerCode],
    batch: int,
    images: str,
) -> tuple[list[NetworkStep], dict[str, str], dict[str, tuple[int, ...]]]:
    """Tensors of real numbers that depend on the images, what else does and why it is left out, what makes each."""
    rounded = rounded_tensors(graph, codes)
    steps: list[NetworkStep] = []
    skipped: dict[str, str] = {}
    places: dict[str, tuple[int, ...]] = {images: (IMAGES,)}
    for node in graph.node:
        reads = tuple(dict.fromkeys(place for name in node.input for place in places.get(name, ())))
        if not reads:
            continue
        for number, key in enumerate(node.output):
            if not key:
                continue
            if len(reads) == 1 and reads[0] != IMAGES and steps[reads[0]].key == rounded.get(key):
                places[key] = reads  # a runtime that fuses operators has the rounded numbers alone
                steps[reads[0]] = replace(steps[reads[0]], key=key, dtype=str(values[key].dtype))
                continue
            places[key] = reads
            value, path = values[key], _path(node, key, number)
            if types[key] not in _REALS and key not in codes:
                if value.ndim > 1 and value.shape[0] == batch:
                    skipped[path] = f"it holds no real numbers but {value.dtype}, such as class numbers or integers"
                continue
            if value.ndim < 2 or value.shape[0] != batch:
                skipped[path] = f"its shape {value.shape} is not one array per image of a batch of {batch}"
                continue
            places[key] = (len(steps),)
            steps.append(
                NetworkStep(
                    key,
                    path,
                    node.op_type,
                    value.shape[1:],
                    reads,
                    _kernel(node, constants),
                    "nchw" if node.op_type in _CHANNELS_FIRST else None,
                    _order(node),
                    node.op_type in _COPIES,
                    str(value.dtype) if key in codes else _NAMES.get(types[key], "float16"),
                )
            )
    return steps, skipped, places


def _path(node: Proto, key: str, number: int) -> str:
    """What to call an output of a node: old exporters name tensors by numbers, and nodes by nothing."""
    path = node.name or (f"{node.op_type}_{key}" if key.isdigit() else key.removesuffix(":0"))
    return f"{path}:{number}" if sum(map(bool, node.output)) > 1 else path


def _kernel(node: Proto, constants: Mapping[str, tuple[int, ...]]) -> int:
    """How many weights make up one activation."""
    at = 3 if node.op_type.startswith("Q") else 1
    shape = next((constants[name] for name in list(node.input)[at : at + 1] if len(constants.get(name, ())) > 1), None)
    if shape is None:
        return 0
    if node.op_type in ("MatMul", "Gemm", "QLinearMatMul", "QGemm"):
        transposed = node.op_type.endswith("Gemm") and any(a.name == "transB" and a.i for a in node.attribute)
        return int(shape[-1] if transposed else shape[-2])
    return int(np.prod(shape[1:])) if node.op_type in ("Conv", "QLinearConv") else 0


def _order(node: Proto) -> tuple[int, ...] | None:
    if node.op_type != "Transpose":
        return None
    return next((tuple(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), None)


def _sizes(value: Proto) -> list[int | None]:
    """The shape of an input; None where it is open."""
    dims = value.type.tensor_type.shape.dim
    return [int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]


def _notes(graph: Proto) -> tuple[str, ...]:
    if not scales_by_batch(graph):
        return ()
    return (
        "the file chooses the scales of its integers as it runs (DynamicQuantizeLinear), for all images of a batch "
        "together: it is shown one image at a time, so that what is measured of one does not depend on the others",
    )


def _is_custom(node: Proto) -> bool:
    return node.domain not in ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
