"""From a fake-quantized model, of whichever Keras, to its integer file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.support.lazy import tf
from tfinv.support.types import KerasModel
from tfinv.tflite.convert.fitting_biases import fit_biases, may_lose_biases
from tfinv.tflite.convert.freezing import convert, freeze_call
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.flatbuffer import Graph, read_graph
from tfinv.tflite.files.layer_map import LayerMap
from tfinv.tflite.files.tensor_names import short_names
from tfinv.tflite.qat.integer_kernels import use_integer_kernels
from tfinv.tflite.qat.match_scopes import Steps, match_steps

_CONVERTER_IMAGES = 100
_MOST_STEPS = 2**30
"""A bias of fewer steps leaves room for the sum that it is added to; training rounded by the scale that it has."""


@dataclass(frozen=True)
class IntegerFile:
    """An integer file, and what became of the layers.

    Args:
        content: the file.
        log: what the converter printed.
        calibrated: `OPERATOR layer` of what training did not round; its ranges come from calibration images.
        float_fallback: `OPERATOR layer` of what still computes in floating point.
    """

    content: bytes = field(repr=False)
    log: str = field(default="", repr=False)
    calibrated: tuple[str, ...] = ()
    float_fallback: tuple[str, ...] = ()

    def conversion(self, steps: Steps, output: str) -> Conversion:
        """The file with the tensors of its layers, see `match_steps`."""
        matched, inner = match_steps(read_graph(self.content), steps, output)
        return Conversion(self.content, "qat_int8", layers=LayerMap(matched, inner=inner), log=self.log)


def to_integer_file(
    call: Callable[[Any], Any], model: KerasModel, images: NDArray[np.float32], steps: Steps, output: str, io: str
) -> IntegerFile:
    """Convert a model that contains fake quantization.

    Operators that training did not round stay in floating point at first; if there are any, the file is made again
    with ranges for them from calibration images. What training rounded keeps its scales.

    Args:
        call: from images to outputs, in inference mode.
        model: the model behind `call`, for error messages.
        images: calibration images `(N, H, W, C)`; up to a hundred are used.
        steps: see `match_steps`.
        output: label of the layer that gives the model's output.
        io: `"int8"` or `"float32"`, type of inputs and outputs.

    Raises:
        ValueError: a layer cannot be converted; it is named.
    """
    images = images[:: max(1, len(images) // _CONVERTER_IMAGES)]
    file = _to_integers(call, model, images, steps, output, io)
    if not may_lose_biases(file.content):
        return file
    rounded, _ = convert(lambda: freeze_call(call, images.shape[1:]), model)
    return replace(file, content=fit_biases(rounded, file.content, most=_MOST_STEPS))


def _to_integers(
    call: Callable[[Any], Any], model: KerasModel, images: NDArray[np.float32], steps: Steps, output: str, io: str
) -> IntegerFile:
    content, log = _convert(call, model, images.shape[1:], lambda converter: _integer(converter, io))
    left = _float_layers(read_graph(content), steps, output)
    if not left:
        return IntegerFile(content, log)
    try:
        content, more = _convert(call, model, images.shape[1:], lambda converter: _calibrated(converter, io, images))
    except (ValueError, RuntimeError) as error:  # scales that contradict each other; the first file stands
        return IntegerFile(content, f"{log}\ncalibration failed: {error}".strip(), float_fallback=left)
    fallback = _float_layers(read_graph(content), steps, output)
    calibrated = tuple(name for name in left if name not in fallback)
    return IntegerFile(content, "\n".join(filter(None, (log, more))), calibrated, fallback)


def _convert(
    call: Callable[[Any], Any], model: KerasModel, shape: tuple[int, ...], configure: Callable[[Any], None]
) -> tuple[bytes, str]:
    content, log = convert(lambda: freeze_call(call, shape), model, configure)
    return use_integer_kernels(content), log


def _integer(converter: Any, io: str) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if io == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8


def _calibrated(converter: Any, io: str, images: NDArray[np.float32]) -> None:
    _integer(converter, io)
    converter.representative_dataset = lambda: ([images[i : i + 1]] for i in range(len(images)))
    builtin = tf.lite.OpsSet
    converter.target_spec.supported_ops = [builtin.TFLITE_BUILTINS_INT8, builtin.TFLITE_BUILTINS]


def _float_layers(graph: Graph, steps: Steps, output: str) -> tuple[str, ...]:
    """`OPERATOR layer` of each operator in floating point; the tensor's own name where no layer is known."""
    matched, inner = match_steps(graph, steps, output)
    names = short_names(graph)
    label = {index: inner.get(name, name) for name, index in names.items()}
    label |= {index: name for name, index in matched.items()}
    listed = [
        f"{operator.name} {label.get(operator.outputs[0], operator.name.lower())}"
        for operator in graph.float_operators()
    ]
    return tuple(dict.fromkeys(listed))
