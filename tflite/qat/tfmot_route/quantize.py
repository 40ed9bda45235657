"""Quantization by tensorflow-model-optimization: configurations, ranges, weights; only in its process."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.support.types import KerasModel
from tfinv.tflite.qat.tfmot_route.rebuild import SUFFIX, own_layers, readers_of

_SAME_SCALE = (
    "Concatenate", "Maximum", "Minimum", "MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "UpSampling2D",
    "Flatten", "Reshape", "Permute", "RepeatVector", "ZeroPadding2D", "Cropping2D",
)  # fmt: skip


def quantize(model: KerasModel, spec: dict[str, Any]) -> Any:
    """The model with tfmot's wrappers, layers that tfmot does not know rounded at their output alone."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    options = _configs()
    chosen = {name: options[choice]() for name, choice in _special_configs(model, spec).items()}
    tool = tfmot.quantization.keras
    scope = {class_.__name__: class_ for class_ in (*options.values(), *own_layers().values())}

    def annotate(layer: Any) -> Any:
        return tool.quantize_annotate_layer(layer, chosen[layer.name]) if layer.name in chosen else layer

    with tool.quantize_scope(scope):
        annotated = tf_keras.models.clone_model(model, clone_function=lambda layer: annotate(_clone(layer)))
        annotated.set_weights(model.get_weights())
        try:
            return tool.quantize_apply(tool.quantize_annotate_model(annotated))
        except (RuntimeError, ValueError, AttributeError, KeyError) as error:
            raise ValueError(_refusal(error)) from error


@functools.cache
def _configs() -> dict[str, Any]:
    """How to treat a layer: round its output, nothing, or the vector of `Scale` or `Offset` with or without output."""
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_configs as configs,
    )

    class Vector(configs.Default8BitOutputQuantizeConfig):
        def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
            last_value = {"num_bits": 8, "per_axis": False, "symmetric": False, "narrow_range": False}
            return [(layer.vector, quantizers.LastValueQuantizer(**last_value))]

        def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
            (layer.vector,) = quantize_weights

    class FusedVector(Vector):
        def __init__(self, quantize_output: bool = False) -> None:
            super().__init__(quantize_output)

    return {
        "output": configs.Default8BitOutputQuantizeConfig,
        "none": configs.NoOpQuantizeConfig,
        "vector": Vector,
        "fused vector": FusedVector,
    }


def _refusal(error: Exception) -> str:
    named = re.search(r"Layer (\S+?):<class '[\w.]*?(\w+)'> is not supported", str(error))
    if named:
        return (
            f"model must consist of layers that tensorflow-model-optimization can quantize where they stand, try route "
            f"'keras'. Received: {named[1].removesuffix(SUFFIX)!r} ({named[2]})"
        )
    return f"tensorflow-model-optimization refuses the model: {' '.join(str(error).split())[:500]}"


def _clone(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _special_configs(model: KerasModel, spec: dict[str, Any]) -> dict[str, str]:
    """A key of `_configs` for each layer that tfmot must be told how to treat."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )

    known = registry.Default8BitQuantizeRegistry()
    readers = readers_of(spec)
    choices: dict[str, str] = {}
    for call in spec["calls"]:
        kind = call["kind"]
        layer = model.get_layer(call["name"])
        if kind in ("AveragePooling2D", "UpSampling2D"):
            choices[call["name"]] = "none"  # TFLite gives them the scale of their input
        elif call["is_identity"]:
            choices.update({} if known.supports(layer) else {call["name"]: "none"})
        elif kind == "Activation":
            if call["config"]["activation"] not in ("linear", "relu", "swish", "gelu", "softmax", "sigmoid", "tanh"):
                choices[call["name"]] = "output"
        elif kind != "BatchNormalization" and not known.supports(layer):
            fused = [reader["kind"] for reader in readers.get(call["output"], ())] == ["ReLU"]
            if kind in ("Scale", "Offset"):
                choices[call["name"]] = "fused vector" if fused else "vector"
            else:
                choices[call["name"]] = "none" if fused and kind in ("Subtract", "Multiply") else "output"
    return choices


def set_ranges(model: KerasModel, images: NDArray[np.float32]) -> None:
    """Set every range to the minimum and maximum over data, in place of +-6, which training hardly moves."""
    with _observing() as observed:
        for start in range(0, len(images), 64):
            model(images[start : start + 64], training=False)
    for low, high, least, most in observed.values():
        low.assign(least)
        high.assign(most)


def share_scales(model: KerasModel, spec: dict[str, Any]) -> None:
    """Give tensors that TFLite stores with one scale the union of their ranges; tfmot lets each have its own."""
    group: dict[int, int] = {0: 0} | {call["output"]: call["output"] for call in spec["calls"]}

    def find(number: int) -> int:
        while group[number] != number:
            number = group[number]
        return number

    for call in spec["calls"]:
        if call["is_identity"] or call["kind"] in _SAME_SCALE:
            for number in call["inputs"]:
                group[find(number)] = find(call["output"])
    ranges: dict[int, list[tuple[Any, Any]]] = {}
    for layer, number in [(model.layers[1], 0)] + [
        (model.get_layer(f"quant_{call['name']}"), call["output"]) for call in spec["calls"]
    ]:
        ranges.setdefault(find(number), []).extend(_output_range(layer))
    for members in ranges.values():
        low, high = (
            min((float(bound) for bound, _ in members), default=0),
            max((float(bound) for _, bound in members), default=0),
        )
        for min_var, max_var in members:
            min_var.assign(low)
            max_var.assign(high)


def _output_range(layer: Any) -> list[tuple[Any, Any]]:
    """The variables that hold the range of a wrapped layer's output; none where it is not rounded."""
    variables = {variable.name.split(":")[0].split("/")[-1]: variable for variable in layer.variables}
    names = ("output", "post_activation", "quantize_layer")
    return [(variables[f"{name}_min"], variables[f"{name}_max"]) for name in names if f"{name}_min" in variables]


@contextmanager
def _observing() -> Iterator[dict[int, Any]]:
    """While open, eager calls record minima and maxima instead of rounding: `{id: [min_var, max_var, min, max]}`."""
    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops

    original = quant_ops._FakeQuantWithMinMaxVars
    ranges: dict[int, Any] = {}

    def observe(inputs: Any, min_var: Any, max_var: Any, per_channel: bool, num_bits: int, narrow_range: bool) -> Any:
        values = np.asarray(inputs)
        axes = tuple(range(values.ndim - 1)) if per_channel else None
        low, high = np.minimum(values.min(axis=axes), 0), np.maximum(values.max(axis=axes), 0)
        if narrow_range:  # weights: symmetric, of this moment
            high = np.maximum(high, -low)
            low = -high
        elif id(min_var) in ranges:
            low, high = np.minimum(low, ranges[id(min_var)][2]), np.maximum(high, ranges[id(min_var)][3])
        ranges[id(min_var)] = [min_var, max_var, low, np.where(high - low < 1e-6, low + 1e-2, high)]
        return inputs

    quant_ops._FakeQuantWithMinMaxVars = observe
    try:
        yield ranges
    finally:
        quant_ops._FakeQuantWithMinMaxVars = original


def tuned_weights(quantized: Any, spec: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """The float weights after training, named as they came."""
    tuned = {}
    for call in spec["calls"]:
        if call["weights"]:
            wrapper = quantized.get_layer(f"quant_{call['name']}")
            for key, name in zip(call["weights"], _weight_names(call), strict=True):
                tuned[key] = _variable(wrapper, name)
    return tuned


def _weight_names(call: dict[str, Any]) -> list[str]:
    config = call["config"]
    if call["kind"] in ("BatchNormalization", "LayerNormalization"):
        moving = ["moving_mean", "moving_variance"] if call["kind"] == "BatchNormalization" else []
        return ["gamma"] * config["scale"] + ["beta"] * config["center"] + moving
    if call["kind"] in ("PReLU", "Scale", "Offset"):
        return ["alpha" if call["kind"] == "PReLU" else "vector"]
    kernel = "depthwise_kernel" if call["kind"] == "DepthwiseConv2D" else "kernel"
    return [kernel] + ["bias"] * config["use_bias"]


def _variable(wrapper: Any, name: str) -> NDArray[np.float32]:
    """A weight of the layer inside a wrapper, which replaces kernels by their rounded form."""
    for variable, _, _ in wrapper._weight_vars:
        if variable.name.split(":")[0].split("/")[-1] == name:
            return variable.numpy()
    return getattr(wrapper.layer, name).numpy()
