"""The Keras 3 layers that route `tfmot` can rebuild in tf_keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfinv.activations.layer_graph import LayerGraph, kind_of
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.tflite.convert.batch_norm_folding import is_last_axis_normalization

select_tensorflow_backend()

import keras  # noqa: E402

_CONV = ("strides", "padding", "dilation_rate", "use_bias")
_POOL = ("pool_size", "strides", "padding")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "Conv2D": ("filters", "kernel_size", "groups", *_CONV),
    "DepthwiseConv2D": ("kernel_size", "depth_multiplier", *_CONV),
    "Conv2DTranspose": ("filters", "kernel_size", "output_padding", *_CONV),
    "Dense": ("units", "use_bias"),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "Rescaling": (),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "LeakyReLU": ("negative_slope",),
    "ELU": ("alpha",),
    "PReLU": ("shared_axes",),
    "Softmax": ("axis",),
    "Activation": (),
    "MaxPooling2D": _POOL,
    "AveragePooling2D": _POOL,
    "GlobalAveragePooling2D": ("keepdims",),
    "GlobalMaxPooling2D": ("keepdims",),
    "UpSampling2D": ("size", "interpolation"),
    "ZeroPadding2D": ("padding",),
    "Cropping2D": ("cropping",),
    "Flatten": (),
    "Reshape": ("target_shape",),
    "Permute": ("dims",),
    "RepeatVector": ("n",),
    "Concatenate": ("axis",),
    "Add": (),
    "Subtract": (),
    "Multiply": (),
    "Average": (),
    "Maximum": (),
    "Minimum": (),
    "Dropout": ("rate",),
    "SpatialDropout2D": ("rate",),
    "GaussianNoise": ("stddev",),
    "GaussianDropout": ("rate",),
    "Identity": (),
}
"""The layers that route `tfmot` takes, with the options that tf_keras needs to compute the same."""

RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}
"""Options that tf_keras calls otherwise."""
ACTIVATIONS = {
    name: name
    for name in (
        "linear",
        "relu",
        "elu",
        "selu",
        "sigmoid",
        "tanh",
        "softmax",
        "softplus",
        "softsign",
        "gelu",
        "exponential",
    )
} | {"silu": "swish"}
"""Activation functions, with their names in tf_keras; `relu6` becomes a layer."""
FUSED = ("linear", "relu")
"""Activations that tfmot rounds correctly inside a layer; others become a layer of their own."""


def refuse_unknown(graph: LayerGraph) -> None:
    """Raise if the graph has a layer that the route cannot take.

    Raises:
        ValueError: with the name and type of each such layer.
    """
    bad: dict[str, None] = {}
    for call in graph.calls:
        kind = kind_of(call.layer).__name__
        known = kind_of(call.layer).__module__.startswith("keras.") and isinstance(call.layer, keras.layers.Layer)
        if not known or kind not in (*FIELDS, "SeparableConv2D", "ActivityRegularization"):
            bad[f"{call.name!r} ({kind})"] = None
        elif activation_name(getattr(call.layer, "activation", None)) not in (*ACTIVATIONS, "relu6"):
            bad[f"{call.name!r} ({kind} with activation {activation_name(call.layer.activation)!r})"] = None
        elif getattr(call.layer, "data_format", None) == "channels_first":
            bad[f"{call.name!r} ({kind}, channels first)"] = None
        elif kind == "BatchNormalization" and not is_last_axis_normalization(call):
            bad[f"{call.name!r} ({kind} of another axis than the last)"] = None
        elif kind == "Rescaling" and max(np.ndim(call.layer.scale), np.ndim(call.layer.offset)) > 1:
            bad[f"{call.name!r} ({kind} by a matrix)"] = None
    if bad:
        raise ValueError(
            "model must consist of layers that route 'tfmot' can rebuild in tf_keras: "
            f"{', '.join((*FIELDS, 'SeparableConv2D'))}; raw operations such as x + y must be layers, try route "
            f"'keras'. Received: {', '.join(bad)}"
        )


def activation_name(activation: Callable[..., Any] | None) -> str:
    """The Keras name of an activation function; `"linear"` for None."""
    if activation is None:
        return "linear"
    name = keras.activations.serialize(activation)
    return name if isinstance(name, str) else getattr(activation, "__name__", type(activation).__name__)


def plain(value: Any) -> Any:
    """A configuration value as JSON can hold it."""
    if isinstance(value, (tuple, list)):
        return [plain(element) for element in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
