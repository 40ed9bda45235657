"""How each kind of Keras layer becomes steps of a fake-quantized model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tfinv.activations.layer_graph import Call, LayerGraph, kind_of
from tfinv.layers import GroupBatchNormalization, GroupPooling, P4Conv2D, P4MConv2D, SymmetricMaxPooling2D
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.tflite.convert.batch_norm_folding import channel_affine, is_last_axis_normalization
from tfinv.tflite.qat.keras_route.steps import Rewriter, Role

select_tensorflow_backend()

import keras  # noqa: E402

from tfinv.tflite.qat.keras_route import layers as fq  # noqa: E402

_L = keras.layers
_REFUSED = (
    _L.Lambda, _L.RNN, _L.Wrapper, _L.MultiHeadAttention, _L.GroupQueryAttention, _L.Attention, _L.AdditiveAttention,
    _L.Embedding, _L.Masking,
)  # fmt: skip
_WEIGHTED = {
    _L.Conv2D: fq.FakeQuantConv2D,
    _L.DepthwiseConv2D: fq.FakeQuantDepthwiseConv2D,
    _L.Conv2DTranspose: fq.FakeQuantConv2DTranspose,
    _L.Dense: fq.FakeQuantDense,
}
_GROUP_CONVOLUTIONS = {P4Conv2D: fq.FakeQuantP4Conv2D, P4MConv2D: fq.FakeQuantP4MConv2D}
_PASS = (
    _L.Dropout, _L.SpatialDropout1D, _L.SpatialDropout2D, _L.GaussianDropout, _L.GaussianNoise, _L.AlphaDropout,
    _L.ActivityRegularization, _L.Identity,
)  # fmt: skip
_SAME = (
    _L.Flatten, _L.Reshape, _L.Permute, _L.RepeatVector, _L.Concatenate, _L.Maximum, _L.Minimum, _L.Cropping1D,
    _L.Cropping2D, _L.ZeroPadding1D, _L.ZeroPadding2D, _L.GlobalMaxPooling1D, _L.GlobalMaxPooling2D, _L.CenterCrop,
)  # fmt: skip
_SAME_ROUNDED = (_L.UpSampling1D, _L.UpSampling2D, _L.Resizing)
_POOLS = {_L.MaxPooling1D: False, _L.MaxPooling2D: False, _L.AveragePooling1D: True, _L.AveragePooling2D: True,
          SymmetricMaxPooling2D: False}  # fmt: skip
_BINARY = (_L.Add, _L.Subtract, _L.Multiply)
_SAME_OPERATIONS = (
    "Reshape", "Transpose", "Concatenate", "Pad", "Squeeze", "ExpandDims", "Maximum", "Minimum", "GetItem", "Flip",
    "Repeat", "Tile", "Stack", "BroadcastTo",
)  # fmt: skip
_BINARY_OPERATIONS = ("Add", "Subtract", "Multiply")
_RELU_OPERATIONS = ("Relu", "Relu6")


def refuse_unknown(graph: LayerGraph) -> None:
    """Raise if the graph has a layer that fake quantization cannot take.

    Raises:
        ValueError: with the name and type of each such layer.
    """
    bad = [call for call in graph.calls if isinstance(call.layer, _REFUSED) or _is_channels_first(call.layer)]
    if bad:
        names = ", ".join(dict.fromkeys(f"{call.name!r} ({type(call.layer).__name__})" for call in bad))
        raise ValueError(
            f"model must consist of layers that route 'keras' can quantize (channels last; no Lambda, recurrent, "
            f"attention, wrapper or embedding layer). Received: {names}"
        )


def rewrite_call(rewriter: Rewriter, call: Call) -> None:
    """Append the steps of one call."""
    layer = call.layer
    kind = kind_of(layer)
    if kind in _WEIGHTED:
        return _weighted(rewriter, call)
    if is_identity(layer):
        return _copy(rewriter, call, Role.PASS)
    if kind in _SPECIAL:
        return _SPECIAL[kind](rewriter, call)
    if kind in _POOLS:
        return _copy(rewriter, call, Role.SAME, rounds=_POOLS[kind], fuses_relu=True)
    if kind in _SAME or kind in _SAME_ROUNDED:
        return _copy(rewriter, call, Role.SAME, rounds=kind in _SAME_ROUNDED)
    if not isinstance(layer, _L.Layer):
        return _operation(rewriter, call)
    known = kind.__module__.startswith("keras.")
    return _copy(rewriter, call, Role.COMPUTE if known else Role.UNKNOWN)


def is_identity(layer: Any) -> bool:
    """Whether a layer gives back its input at inference."""
    kind = kind_of(layer)
    random = isinstance(layer, _L.Layer) and kind.__module__.startswith("keras.") and kind.__name__.startswith("Random")
    linear = kind is _L.Activation and layer.activation is keras.activations.linear
    return kind in _PASS or random or linear


def _is_channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


def _copy(rewriter: Rewriter, call: Call, role: Role, **flags: Any) -> None:
    weights = call.layer.get_weights() if isinstance(call.layer, _L.Layer) else []
    rewriter.emit(call, rewriter.clone(call), None, role, weights=weights, **flags)


def _operation(rewriter: Rewriter, call: Call) -> None:
    """A raw operation such as `x + y` in a functional model."""
    name = type(call.layer).__name__
    if name in _RELU_OPERATIONS:
        return _copy(rewriter, call, Role.RELU)
    if name in _SAME_OPERATIONS:
        return _copy(rewriter, call, Role.SAME)
    return _copy(rewriter, call, Role.COMPUTE, fuses_relu=name in _BINARY_OPERATIONS and len(call.inputs) == 2)


def _weighted(rewriter: Rewriter, call: Call) -> None:
    layer = call.layer
    fold = rewriter.folds.get(call.output)
    if fold is not None:
        last = fold.normalizations[-1]
        make = _fake_quantized(rewriter, call, activation="linear", use_bias=False, folded=True)
        tensor = rewriter.emit(call, make, call.inputs, Role.INNER, weights=[fold.kernel])
        trainable = layer.trainable or last.layer.trainable
        rewriter.emit(
            last,
            _maker(fq.FoldedBias, trainable=trainable),
            [tensor],
            Role.COMPUTE,
            weights=[fold.bias],
            fuses_relu=True,
        )
        return
    activation, weights = layer.activation, layer.get_weights()
    if _needs_separate_bias(call):
        make = _fake_quantized(rewriter, call, activation="linear", use_bias=False)
        tensor = rewriter.emit(call, make, call.inputs, Role.COMPUTE, part="product", weights=weights[:1])
        make = _maker(fq.FakeQuantOffset, size=len(weights[1]), trainable=layer.trainable)
        part = "" if activation is keras.activations.linear else "linear"
        tensor = rewriter.emit(call, make, [tensor], Role.COMPUTE, part=part, weights=weights[1:], fuses_relu=True)
        if part:
            _activation(rewriter, call, activation, tensor)
    elif activation is keras.activations.linear:
        make = _fake_quantized(rewriter, call)
        rewriter.emit(call, make, call.inputs, Role.COMPUTE, weights=weights, fuses_relu=True)
    elif activation in (keras.activations.relu, keras.activations.relu6):
        rewriter.emit(call, _fake_quantized(rewriter, call), call.inputs, Role.COMPUTE, weights=weights)
    else:
        make = _fake_quantized(rewriter, call, activation="linear")
        tensor = rewriter.emit(call, make, call.inputs, Role.COMPUTE, part="linear", weights=weights, fuses_relu=True)
        _activation(rewriter, call, activation, tensor)


def _needs_separate_bias(call: Call) -> bool:
    """A dense layer on more than two axes: TFLite reshapes between product and bias."""
    return isinstance(call.layer, _L.Dense) and len(call.shape) > 2 and call.layer.use_bias


def _fake_quantized(rewriter: Rewriter, call: Call, *, folded: bool = False, **changes: Any) -> Callable[[str], Any]:
    def make(name: str) -> Any:
        kind: Any = kind_of(call.layer)
        options = kind.get_config(call.layer)  # a subclass may add options that the base does not know
        config = options | {"name": name, "dtype": "float32", "weight_bits": rewriter.weight_bits}
        for key in ("lora_rank", "lora_alpha", "quantization_config"):
            config.pop(key, None)
        if folded:  # a constraint on the kernel says nothing about kernel times scale
            config |= {key: None for key in config if key.endswith("_constraint")}
        return (_WEIGHTED | _GROUP_CONVOLUTIONS)[kind].from_config(config | changes)

    return make


def _maker(kind: type, **options: Any) -> Callable[[str], Any]:
    return lambda name: kind(name=name, dtype="float32", **options)


def _activation(rewriter: Rewriter, call: Call, function: Any, tensor: int) -> None:
    """Steps of an activation function that reads `tensor`; the last one carries the layer's name."""
    name = keras.activations.serialize(function) if not isinstance(function, _L.Layer) else ""
    if name in ("silu", "swish"):
        gate = rewriter.emit(call, _maker(_L.Activation, activation="sigmoid"), [tensor], Role.COMPUTE, part="sigmoid",
                             fixed=fq.FIXED_RANGES["sigmoid"])  # fmt: skip
        rewriter.emit(call, _maker(_L.Multiply), [tensor, gate], Role.COMPUTE, fuses_relu=True)
        return
    role = Role.RELU if function in (keras.activations.relu, keras.activations.relu6) else Role.COMPUTE
    fixed = fq.FIXED_RANGES.get(name) if isinstance(name, str) else None
    rewriter.emit(call, _maker(_L.Activation, activation=function), [tensor], role, fixed=fixed)


def _activation_layer(rewriter: Rewriter, call: Call) -> None:
    _activation(rewriter, call, call.layer.activation, call.inputs[0])


def _relu(rewriter: Rewriter, call: Call) -> None:
    layer = call.layer
    plain = layer.max_value in (None, 6) and not layer.negative_slope and not layer.threshold
    _copy(rewriter, call, Role.RELU if plain else Role.COMPUTE)


def _softmax(rewriter: Rewriter, call: Call) -> None:
    _copy(rewriter, call, Role.COMPUTE, fixed=fq.FIXED_RANGES["softmax"])


def _merge(rewriter: Rewriter, call: Call) -> None:
    """Add, Subtract, Multiply: TFLite takes two operands at a time."""
    tensors = list(call.inputs)
    if len(tensors) == 2:
        return _copy(rewriter, call, Role.COMPUTE, fuses_relu=True)
    total = _chain(rewriter, call, tensors[:-1], kind_of(call.layer))
    rewriter.emit(call, _maker(kind_of(call.layer)), [total, tensors[-1]], Role.COMPUTE, fuses_relu=True)


def _chain(rewriter: Rewriter, call: Call, tensors: list[int], kind: type) -> int:
    total = tensors[0]
    for position, tensor in enumerate(tensors[1:], start=2):
        total = rewriter.emit(call, _maker(kind), [total, tensor], Role.COMPUTE, part=f"first{position}")
    return total


def _average(rewriter: Rewriter, call: Call) -> None:
    total = _chain(rewriter, call, list(call.inputs), _L.Add)
    make = _maker(fq.FakeQuantScale, size=1, trainable=False)
    rewriter.emit(call, make, [total], Role.COMPUTE, weights=[[1 / len(call.inputs)]], fuses_relu=True)


def _normalization(rewriter: Rewriter, call: Call) -> None:
    """A batch normalization that nothing folds: a product and a sum, each requantized."""
    if not is_last_axis_normalization(call):
        return _copy(rewriter, call, Role.COMPUTE)
    scale, offset = channel_affine(call.layer)
    _scale_and_offset(rewriter, call, scale, offset, trainable=call.layer.trainable)


def _rescaling(rewriter: Rewriter, call: Call) -> None:
    scale, offset = (np.atleast_1d(np.asarray(part, np.float64)) for part in (call.layer.scale, call.layer.offset))
    if scale.ndim > 1 or offset.ndim > 1:
        return _copy(rewriter, call, Role.COMPUTE)
    _scale_and_offset(rewriter, call, scale, offset, trainable=False)


def _scale_and_offset(rewriter: Rewriter, call: Call, scale: Any, offset: Any, *, trainable: bool) -> None:
    make_scale = _maker(fq.FakeQuantScale, size=len(scale), trainable=trainable)
    if not trainable and not np.any(offset):
        rewriter.emit(call, make_scale, call.inputs, Role.COMPUTE, weights=[scale], fuses_relu=True)
        return
    tensor = rewriter.emit(call, make_scale, call.inputs, Role.COMPUTE, part="scale", weights=[scale])
    make = _maker(fq.FakeQuantOffset, size=len(offset), trainable=trainable)
    rewriter.emit(call, make, [tensor], Role.COMPUTE, weights=[offset], fuses_relu=True)


def _separable(rewriter: Rewriter, call: Call) -> None:
    """A depthwise and a pointwise convolution, as TFLite has them."""
    layer = call.layer
    depthwise, pointwise, *bias = layer.get_weights()
    common = {"weight_bits": rewriter.weight_bits, "trainable": layer.trainable}
    make = _maker(fq.FakeQuantDepthwiseConv2D, kernel_size=layer.kernel_size, strides=layer.strides,
                  padding=layer.padding, dilation_rate=layer.dilation_rate, depth_multiplier=layer.depth_multiplier,
                  use_bias=False, **common)  # fmt: skip
    tensor = rewriter.emit(call, make, call.inputs, Role.COMPUTE, part="depthwise", weights=[depthwise])
    fusable = layer.activation in (keras.activations.linear, keras.activations.relu, keras.activations.relu6)
    make = _maker(fq.FakeQuantConv2D, filters=layer.filters, kernel_size=1, use_bias=layer.use_bias,
                  activation=layer.activation if fusable else None, **common)  # fmt: skip
    linear = layer.activation is keras.activations.linear
    tensor = rewriter.emit(call, make, [tensor], Role.COMPUTE, part="" if fusable else "linear",
                           weights=[pointwise, *bias], fuses_relu=linear)  # fmt: skip
    if not fusable:
        _activation(rewriter, call, layer.activation, tensor)


def _group_convolution(rewriter: Rewriter, call: Call) -> None:
    """A convolution over a group; the file folds a normalization that follows, so nothing is rounded in between.

    Folding scales all weights of a kernel alike, which changes nothing about how they are rounded.
    """
    role = Role.INNER if _folds_into(rewriter, call) else Role.COMPUTE
    make = _fake_quantized(rewriter, call)
    rewriter.emit(call, make, call.inputs, role, weights=call.layer.get_weights(), fuses_relu=role is Role.COMPUTE)


def _folds_into(rewriter: Rewriter, call: Call) -> bool:
    readers = rewriter.graph.readers()[call.output]
    return len(readers) == 1 and kind_of(readers[0].layer) is GroupBatchNormalization


def _group_normalization(rewriter: Rewriter, call: Call) -> None:
    """One scale and offset a map: part of the convolution before it, if the only reader of it; else unknown."""
    before = [other for other in rewriter.graph.calls if other.output in call.inputs]
    folded = all(kind_of(other.layer) in _GROUP_CONVOLUTIONS and _folds_into(rewriter, other) for other in before)
    _copy(rewriter, call, Role.COMPUTE if before and folded else Role.UNKNOWN, fuses_relu=bool(before) and folded)


def _group_pooling(rewriter: Rewriter, call: Call) -> None:
    _copy(rewriter, call, Role.SAME if call.layer.statistic == "max" else Role.UNKNOWN)


_SPECIAL: dict[type, Callable[[Rewriter, Call], None]] = {
    _L.Activation: _activation_layer,
    _L.ReLU: _relu,
    _L.Softmax: _softmax,
    _L.Average: _average,
    _L.BatchNormalization: _normalization,
    _L.Rescaling: _rescaling,
    _L.SeparableConv2D: _separable,
    P4Conv2D: _group_convolution,
    P4MConv2D: _group_convolution,
    GroupBatchNormalization: _group_normalization,
    GroupPooling: _group_pooling,
    **dict.fromkeys(_BINARY, _merge),
}
