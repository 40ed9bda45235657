"""From a Keras 3 model to a float `.tflite` file, by a frozen concrete function."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tfinv.support.faults import layer_called, told
from tfinv.support.lazy import keras, tf
from tfinv.support.quiet import quiet
from tfinv.support.types import KerasModel

CONVERTS = "model must be one that TFLite can hold"
"""What is expected of every model that is converted."""


def freeze(model: KerasModel) -> Any:
    """A concrete function of a model with its weights as constants, for images `(None, H, W, C)`, float32.

    Handing the Keras model itself to the converter gives a file that fails at its first invocation, or takes several
    times as long.

    Args:
        model: a Keras 3 model with one input of a fixed image size, computing in float32.

    Raises:
        TypeError: not a Keras 3 model.
        ValueError: several inputs, an open image size, or a model that computes in float16.
    """
    return freeze_call(lambda image: model(image, training=False), _image_shape(model))


def freeze_call(call: Callable[[Any], Any], input_shape: tuple[int, ...]) -> Any:
    """A concrete function of images `(None, *input_shape)`, float32, with all variables as constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    specification = tf.TensorSpec((None, *input_shape), tf.float32, name="image")
    traced = tf.function(call, autograph=False).get_concrete_function(specification)
    frozen = convert_variables_to_constants_v2(traced)
    # A custom gradient (swish has one) keeps the converter from giving the file a signature.
    for operation in frozen.graph.get_operations():
        if "_gradient_op_type" in operation.node_def.attr:
            operation._clear_attr("_gradient_op_type")
    return frozen


def to_tflite(model: KerasModel, *, float16: bool = False) -> tuple[bytes, str]:
    """Convert a Keras 3 model to a `.tflite` file in floating point.

    Args:
        model: see `freeze`.
        float16: store the weights as float16.

    Returns:
        The file, and what the converter printed.

    Raises:
        TypeError: not a Keras 3 model.
        ValueError: the model, or one of its layers, cannot be converted; the layer is named.
    """
    return convert(lambda: freeze(model), model, _store_float16 if float16 else None)


def convert(
    freezing: Callable[[], Any], model: KerasModel, configure: Callable[[Any], None] | None = None
) -> tuple[bytes, str]:
    """Convert a concrete function to a `.tflite` file.

    Args:
        freezing: makes the function, see `freeze_call`.
        model: the Keras model behind it, for the names in error messages.
        configure: sets options of the `tf.lite.TFLiteConverter`.

    Returns:
        The file, and what the converter printed.

    Raises:
        ValueError: the function cannot be converted; the layer is named.
    """
    from tensorflow.lite.python.convert_phase import ConverterError

    with quiet() as log:
        with told(CONVERTS, model):
            function = freezing()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
        if configure is not None:
            configure(converter)
        content, failure = b"", ""
        with told(CONVERTS, model):
            try:
                content = bytes(converter.convert())
            except ConverterError as error:
                failure = str(error)
    if failure:
        raise ValueError(_explain(failure, function, model))
    return content, log.text


def _store_float16(converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _image_shape(model: KerasModel) -> tuple[int, ...]:
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras 3 model. Received: {type(model).__module__}.{type(model).__name__}")
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or ()]
    if len(shapes) != 1 or len(shapes[0]) != 4 or None in shapes[0][1:]:
        raise ValueError(
            "model must be functional or sequential, built, with one input of images (N, H, W, C) of a fixed size. "
            f"Received: {type(model).__name__} {model.name!r} with inputs {shapes or 'unknown'}"
        )
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if layer.compute_dtype not in ("float32", None) and layer.weights:
            raise ValueError(
                "model must compute in float32: build it without mixed precision and copy the weights. "
                f"Received: layer {layer.name!r} ({type(layer).__name__}) computing in {layer.compute_dtype}"
            )
    return shapes[0][1:]


def _explain(failure: str, function: Any, model: KerasModel) -> str:
    """One line that names the layers behind the operations that TFLite does not have."""
    kinds = sorted(set(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", failure)))
    named = []
    for operation in function.graph.get_operations():
        if operation.type in kinds:
            layer = layer_called(operation.name, model)
            if layer and layer not in named:
                named.append(layer)
    what = ", ".join(named) or "a layer"
    if kinds:
        return f"{what} cannot be converted: TFLite has no operator for {', '.join(kinds)}"
    lines = [line.strip() for line in failure.splitlines() if "error:" in line] or failure.strip().splitlines()
    places = (layer_called(operation, model) for operation in re.findall(r'"([^"@:]+/[^"@:]+)', lines[0]))
    what = next((place for place in places if place), "model")
    reason = re.sub(r"^\S*\s*error: loc\(.*?\)+: ", "", lines[0])
    return f"{what} cannot be converted: {' '.join(reason.split())[:400]}"
