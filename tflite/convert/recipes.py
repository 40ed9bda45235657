"""Post-training conversions from a Keras model to a `.tflite` file, named after the numbers that the file stores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any, get_args

import numpy as np

from tfinv.support.checks import flag
from tfinv.support.guarded import guarded
from tfinv.support.quiet import quiet
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.convert.calibration import calibration_batches, check_calibration
from tfinv.tflite.convert.calibration_bias import correct_biases
from tfinv.tflite.convert.calibration_ranges import Ranges, activation_ranges
from tfinv.tflite.convert.freezing import to_tflite
from tfinv.tflite.convert.litert_quantizer import Io, quantize_all, quantize_weights, quantizer_version
from tfinv.tflite.convert.match_keras_layers import layer_map
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.flatbuffer import read_graph

_CALIBRATION_BYTES = 256 * 2**20


def float32(model: KerasModel) -> Conversion:
    """Everything in float32: the reference that quantized files are compared with.

    Example:
        >>> import keras
        >>> from tfinv.tflite import float32
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
        >>> float32(keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))).operators
        {'CONV_2D': 1, 'MEAN': 1, 'FULLY_CONNECTED': 1}

    Args:
        model: a functional or sequential Keras 3 model, nested models included, with one input of images.

    Returns:
        The file, its layers mapped to the model's.

    Raises:
        TypeError: not such a model.
        ValueError: a layer cannot be converted (it is named).
    """
    content, log = to_tflite(model)
    return Conversion(content, "float32", {}, layer_map(content, model), log, versions())


def float16(model: KerasModel) -> Conversion:
    """Weights stored as float16, given back as float32 before use: half the size, nearly the same numbers.

    Args:
        model: see `float32`.

    Returns:
        The file.

    Raises:
        TypeError, ValueError: see `float32`.
    """
    content, log = to_tflite(model, float16=True)
    return Conversion(content, "float16", {}, layer_map(content, model), log, versions())


def dynamic_int8(model: KerasModel) -> Conversion:
    """Kernels stored as int8, one scale per channel; activations are quantized on the fly, image by image.

    Args:
        model: see `float32`; or its `float32` conversion, which saves time where several recipes are wanted.

    Returns:
        The file, with float inputs and outputs.

    Raises:
        TypeError, ValueError: see `float32`.
    """
    return _quantized(_reference(model), "dynamic_int8", {}, partial(quantize_weights, bits=8, compute="integer"))


def weight_int4(model: KerasModel, calibration: Images = None, *, ranges: Ranges | None = None) -> Conversion:
    """Kernels stored as int4, one scale per channel, and given back as float32 before use; activations are float32.

    The tool has no 4-bit depthwise convolution; those kernels stay float32 and are listed in `float_kernels`.

    Args:
        model: see `float32`; or its `float32` conversion, which saves time where several recipes are wanted.
        calibration: see `static_int8`; only for the correction of biases.
        ranges: how the ranges of kernels are set, and whether biases are corrected; None for their true ranges.

    Returns:
        The file, with float inputs and outputs.

    Raises:
        TypeError: see `float32`.
        ValueError: see `float32`; a correction of biases without calibration images, or ranges for activations.
    """
    ranges = _ranges(ranges)
    if ranges.activations != "min_max":
        raise ValueError(f"ranges must leave the activations, which are float. Received: {ranges}")
    if calibration is not None:
        check_calibration(calibration)
    if ranges.bias_correction and calibration is None:
        raise ValueError("calibration must be given to correct biases. Received: None")
    tool = partial(quantize_weights, bits=4, compute="float", algorithm=ranges.weights)
    reference = _reference(model)
    images = list(_batches(reference, calibration)) if ranges.bias_correction else []
    return _quantized(reference, "weight_int4", _recorded(ranges), _with_corrected_biases(tool, ranges, images))


@guarded()
def static_int8(
    model: KerasModel,
    calibration: Images,
    *,
    per_channel: bool = True,
    io: Io = "float32",
    equalize: bool = False,
    float_layers: Sequence[str] = (),
    ranges: Ranges | None = None,
) -> Conversion:
    """Kernels and activations as int8, computed with integers throughout; ranges from calibration images.

    Activation ranges are the true minimum and maximum over all calibration images, so two hundred representative
    images serve better than ten; use `with_transformations` where the model will meet transformed ones.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.tflite import static_int8
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
        >>> model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> images = np.random.default_rng(0).random((50, 8, 8, 1), "float32")
        >>> static_int8(model, images, io="int8").is_integer
        True

    Args:
        model: see `dynamic_int8`; with `equalize` it must be the Keras model.
        calibration: images as the model takes them: an array `(N, H, W, C)`, a `tf.data.Dataset` or a `Split`.
        per_channel: one scale for each kernel channel; False for one a kernel, as some accelerators need.
        io: type of inputs and outputs. `"float32"` (default) is a drop-in replacement of the float file;
            `"int8"` is for devices that handle no floats at all.
        equalize: first equalize channel ranges across layers (`tfinv.tflite.convert.equalization.equalize`).
        float_layers: names of Keras layers whose operators stay in float32, such as a `SpatialTransformer`.
        ranges: how ranges are set, and whether biases are corrected; None for the true minimum and maximum.

    Returns:
        The file.

    Raises:
        TypeError: see `float32`, or calibration that holds no images.
        ValueError: see `float32`; calibration without images, of another shape, or not finite; an unknown `io`; a layer
            of `float_layers` that made no operator of the file.
    """
    options: dict[str, Any] = {
        "per_channel": flag("per_channel", per_channel),
        "io": _io(io),
        "equalize": flag("equalize", equalize),
    }
    if equalize:
        if isinstance(model, Conversion):
            raise TypeError("model must be the Keras model where equalize is True. Received: a Conversion")
        from tfinv.tflite.convert.equalization import equalize as equalize_channels

        model = equalize_channels(model)
    if float_layers:
        options["float_layers"] = [float_layers] if isinstance(float_layers, str) else list(float_layers)
    ranges = _ranges(ranges)
    return _static(model, "static_int8", calibration, options | _recorded(ranges), 8, per_channel, io, ranges)


def static_int16x8(model: KerasModel, calibration: Images, *, io: Io = "float32") -> Conversion:
    """Activations as int16, kernels as int8: for layers whose activations need more than 256 levels.

    Runs on the built-in kernels, ten times slower on a server than int8.

    Args:
        model: see `dynamic_int8`.
        calibration: see `static_int8`.
        io: `"float32"`, or `"int8"` for integer inputs and outputs, which are int16 here.

    Returns:
        The file.

    Raises:
        TypeError, ValueError: see `static_int8`.
    """
    return _static(model, "static_int16x8", calibration, {"io": _io(io)}, 16, True, io)


def _reference(model: KerasModel) -> Conversion:
    """The float file that a recipe starts from."""
    if not isinstance(model, Conversion):
        return float32(model)
    if model.recipe != "float32":
        raise ValueError(
            f"model must be a Keras model or what float32 made of it. Received: a {model.recipe} conversion"
        )
    return model


def _static(
    model: KerasModel,
    recipe: str,
    calibration: Images,
    options: dict[str, Any],
    bits: int,
    per_channel: bool,
    io: Io,
    ranges: Ranges | None = None,
) -> Conversion:
    reference, ranges = _reference(model), _ranges(ranges)
    images: Any = _Counter(_batches(reference, calibration))
    given = images if ranges == Ranges() else list(images)  # other ranges read them more than once
    skip = _operators_of(options.get("float_layers", ()), reference)
    clipped = activation_ranges(reference.graph, given, ranges, bits)
    tool = partial(
        quantize_all,
        batches=given,
        activation_bits=bits,
        per_channel=per_channel,
        io=io,
        skip=skip,
        clipped=clipped,
        algorithm=ranges.weights,
    )
    result = _quantized(reference, recipe, options, _with_corrected_biases(tool, ranges, given))
    return replace(result, options={**options, "calibration_images": images.count})


def _batches(reference: Conversion, calibration: Images) -> Iterator[Any]:
    shape = reference.graph.tensors[reference.graph.inputs[0]].shape[1:]
    return calibration_batches(calibration, shape, _batch_size(reference))


def _with_corrected_biases(tool: Callable[[bytes], bytes], ranges: Ranges, images: Any) -> Callable[[bytes], bytes]:
    """A quantizer that quantizes twice, the second time with corrected biases, if that was asked for."""
    if not ranges.bias_correction:
        return tool
    return lambda content: tool(correct_biases(content, tool(content), images))


def _ranges(ranges: Any) -> Ranges:
    if ranges is not None and not isinstance(ranges, Ranges):
        raise TypeError(f"ranges must be a Ranges. Received: {ranges!r}")
    return ranges or Ranges()


def _recorded(ranges: Ranges) -> dict[str, Any]:
    return {} if ranges == Ranges() else {"ranges": ranges.to_json()}


def _operators_of(layers: Sequence[str], reference: Conversion) -> str | None:
    """A regular expression for the names of what the operators of some Keras layers give; None for no layers."""
    graph = reference.graph
    names = [graph.tensors[index].name for operator in graph.operators for index in operator.outputs]
    patterns = []
    for layer in layers:
        # Keras numbers the scopes of a model that is traced again: `transformer_1/mul`.
        patterns.append(rf"(^|.*/){re.escape(layer)}(_\d+)?/.*")
        if not any(re.match(patterns[-1], name) for name in names):
            raise ValueError(f"float_layers must name layers whose operators are in the file. Received: {layer!r}")
    return "|".join(patterns) or None


def _quantized(
    reference: Conversion, recipe: str, options: Mapping[str, Any], tool: Callable[[bytes], bytes]
) -> Conversion:
    with quiet() as log:
        content = tool(reference.content)
    layers = reference.layers.transfer(reference.graph, read_graph(content)) if reference.layers else None
    text = "\n".join(filter(None, (reference.log, log.text)))
    return Conversion(content, recipe, options, layers, text, reference.versions)


class _Counter:
    """Passes batches on and counts their images."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches, self.count = batches, 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            self.count += len(batch)
            yield batch


def _batch_size(reference: Conversion) -> int:
    """Images a calibration batch, all their activations within the budget."""
    tensors = reference.graph.tensors
    per_image = sum(abs(int(np.prod(tensors[index].shape))) * 4 for index in reference.graph.activations)
    return int(np.clip(_CALIBRATION_BYTES // max(1, per_image), 1, 256))


def _io(io: str) -> str:
    if io not in get_args(Io):
        raise ValueError(f"io must be one of {get_args(Io)}. Received: {io!r}")
    return io


def versions() -> dict[str, str]:
    """Versions of the tools that make files."""
    names = ("tensorflow", "keras", "ai-edge-litert")
    return {**{name: version(name) for name in names}, "litert-quantizer": quantizer_version()}
