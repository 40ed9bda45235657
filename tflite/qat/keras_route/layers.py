"""Keras 3 layers that compute with the values of an integer file: for quantization-aware training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfinv.layers import P4Conv2D, P4MConv2D
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import KerasModel

select_tensorflow_backend()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

FIXED_RANGES: dict[str, tuple[float, float]] = {
    "sigmoid": (0.0, 255 / 256),
    "softmax": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}
"""Activations whose output scale the TFLite kernels prescribe: 1/256 and 1/128."""

_DEAD_SPAN = 1e-6
_SPAN_OF_DEAD = 1e-2  # any range represents an all-zero tensor; a tiny one would overflow the int32 bias that follows


def fake_quantize_weights(weights: Any, num_bits: int = 8, *, per_channel: bool = True) -> Any:
    """Round weights to the symmetric grid of `2^bits - 1` values that TFLite uses, ranges taken from the weights.

        w_q = s * round(w / s),   s = max|w| / (2^(bits-1) - 1)   over one output channel, or over all

    Gradients pass straight through. Works on tensors, not on symbolic Keras tensors, which lose `num_bits`.

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite.qat.keras_route.layers import fake_quantize_weights
        >>> weights = np.array([[1.0, 10.0], [0.3, 0.3]], dtype="float32")
        >>> fake_quantize_weights(weights, 2).numpy().tolist()
        [[1.0, 10.0], [0.0, 0.0]]

    Args:
        weights: float32 `(..., channels)`.
        num_bits: 2 to 8.
        per_channel: one scale for each index of the last axis; else one for all.

    Returns:
        float32 tensor of the same shape.

    Source: Krishnamoorthi, Quantizing deep convolutional networks for efficient inference (2018), section 3.
    """
    weights = tf.convert_to_tensor(weights)
    axes = list(range(weights.shape.rank - 1)) if per_channel else None
    limit = tf.stop_gradient(tf.maximum(tf.reduce_max(tf.abs(weights), axis=axes), _DEAD_SPAN))
    quantize = (
        tf.quantization.fake_quant_with_min_max_vars_per_channel
        if per_channel
        else tf.quantization.fake_quant_with_min_max_vars
    )
    return quantize(weights, -limit, limit, num_bits=num_bits, narrow_range=True)


@keras.saving.register_keras_serializable("tfinv")
class FakeQuant(keras.layers.Layer):
    """Round activations to the 8-bit grid of one range, where the TFLite file requantizes.

    Tensors that TFLite stores with the same scale, such as the inputs of a concatenation, share one layer: each is a
    *site* with a range of its own, and all are rounded by the union. Ranges come from data (`observe`), then follow
    the training batches by an exponential moving average (Jacob et al. 2018, section 3.1).

    Args:
        sites: number of places that share the range.
        momentum: of the moving average, per training step.
        fixed: `(low, high)` of a kernel that prescribes its range; nothing is observed then.
    """

    def __init__(
        self, sites: int = 1, momentum: float = 0.99, fixed: tuple[float, float] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.sites, self.momentum = sites, momentum
        self.fixed = (float(fixed[0]), float(fixed[1])) if fixed is not None else None
        self.observing = False

    def build(self, input_shape: Any) -> None:
        if self.fixed is None:
            self.lows = [self._bound(f"low_{site}") for site in range(self.sites)]
            self.highs = [self._bound(f"high_{site}") for site in range(self.sites)]
        self.built = True

    def _bound(self, name: str) -> Any:
        return self.add_weight(shape=(), initializer="zeros", trainable=False, name=name)

    def call(self, inputs: Any, site: int = 0, training: bool = False) -> Any:
        if self.observing:
            self._widen(inputs, site)
            return inputs
        if training and self.trainable and self.fixed is None:
            self._follow(inputs, site)
        low, high = self.range()
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high, num_bits=8)

    def range(self) -> tuple[Any, Any]:
        """Lower and upper end `(low <= 0, high >= 0)`, zero always inside so that padding is exact."""
        if self.fixed is not None:
            return self.fixed[0], self.fixed[1]
        low = tf.minimum(tf.reduce_min([tf.convert_to_tensor(bound) for bound in self.lows]), 0.0)
        high = tf.maximum(tf.reduce_max([tf.convert_to_tensor(bound) for bound in self.highs]), 0.0)
        return low, tf.where(high - low < _DEAD_SPAN, low + _SPAN_OF_DEAD, high)

    def _widen(self, inputs: Any, site: int) -> None:
        if self.fixed is None:
            self.lows[site].assign(tf.minimum(self.lows[site], tf.reduce_min(inputs)))
            self.highs[site].assign(tf.maximum(self.highs[site], tf.reduce_max(inputs)))

    def _follow(self, inputs: Any, site: int) -> None:
        for bound, value in ((self.lows[site], tf.reduce_min(inputs)), (self.highs[site], tf.reduce_max(inputs))):
            bound.assign(self.momentum * bound + (1.0 - self.momentum) * value)

    def compute_output_shape(self, input_shape: Any, **_: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"sites": self.sites, "momentum": self.momentum, "fixed": self.fixed}


@contextmanager
def observe(model: KerasModel) -> Iterator[None]:
    """While open, eager calls of the model let activations through and record their ranges instead of rounding."""
    layers = [layer for layer in model.layers if isinstance(layer, FakeQuant)]
    for layer in layers:
        layer.observing = True
    try:
        yield
    finally:
        for layer in layers:
            layer.observing = False


class _FakeQuantWeights:
    """Mixed into a Keras layer: `weight_bits` in its config."""

    def __init__(self, *args: Any, weight_bits: int = 8, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.weight_bits = weight_bits

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"weight_bits": self.weight_bits}  # type: ignore[misc]

    def _finish(self, outputs: Any) -> Any:
        if self.use_bias:  # type: ignore[attr-defined]
            outputs = tf.add(outputs, self.bias)  # type: ignore[attr-defined]
        return self.activation(outputs)  # type: ignore[attr-defined]


@keras.saving.register_keras_serializable("tfinv")
class FakeQuantConv2D(_FakeQuantWeights, keras.layers.Conv2D):
    """`Conv2D` with fake-quantized weights, one scale an output channel."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        kernel = fake_quantize_weights(self.kernel, self.weight_bits)
        if max(self.dilation_rate) == 1 or training:
            return self._finish(self.convolution_op(inputs, kernel))
        # Keras spells a dilated convolution as four operators, which stay in float; TensorFlow's own operator becomes
        # one of TFLite's, but has no gradient on the CPU.
        options = {"padding": self.padding.upper(), "dilations": self.dilation_rate}
        return self._finish(tf.nn.conv2d(inputs, kernel, strides=self.strides, **options))


@keras.saving.register_keras_serializable("tfinv")
class FakeQuantDepthwiseConv2D(_FakeQuantWeights, keras.layers.DepthwiseConv2D):
    """`DepthwiseConv2D` with fake-quantized weights, one scale an output channel."""

    def call(self, inputs: Any) -> Any:
        height, width, channels, multiplier = self.kernel.shape
        # TFLite keeps one axis of channels; only in this shape does the converter recognise the scales
        flat = tf.reshape(self.kernel, (height, width, channels * multiplier))
        kernel = tf.reshape(fake_quantize_weights(flat, self.weight_bits), self.kernel.shape)
        return self._finish(
            keras.ops.depthwise_conv(
                inputs, kernel, strides=self.strides, padding=self.padding, dilation_rate=self.dilation_rate
            )
        )


@keras.saving.register_keras_serializable("tfinv")
class FakeQuantConv2DTranspose(_FakeQuantWeights, keras.layers.Conv2DTranspose):
    """`Conv2DTranspose` with fake-quantized weights, one scale for the layer: the converter takes no other."""

    def call(self, inputs: Any) -> Any:
        kernel = fake_quantize_weights(self.kernel, self.weight_bits, per_channel=False)
        outputs = keras.ops.conv_transpose(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
        )
        return self._finish(outputs)


@keras.saving.register_keras_serializable("tfinv")
class FakeQuantDense(_FakeQuantWeights, keras.layers.Dense):
    """`Dense` with fake-quantized weights, one scale for the layer: the converter takes no other."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        kernel = fake_quantize_weights(self.kernel, self.weight_bits, per_channel=False)
        return self._finish(keras.ops.matmul(inputs, kernel))


@keras.saving.register_keras_serializable("tfinv")
class FakeQuantP4Conv2D(_FakeQuantWeights, P4Conv2D):
    """`P4Conv2D` with fake-quantized turned kernels, one scale a map: turned copies have the same largest weight."""

    def bank(self) -> Any:
        return fake_quantize_weights(super().bank(), self.weight_bits)


@keras.saving.register_keras_serializable("tfinv")
class FakeQuantP4MConv2D(_FakeQuantWeights, P4MConv2D):
    """`P4MConv2D` with fake-quantized turned kernels, one scale a map."""

    def bank(self) -> Any:
        return fake_quantize_weights(super().bank(), self.weight_bits)


@keras.saving.register_keras_serializable("tfinv")
class FoldedBias(keras.layers.Layer):
    """What is left of a batch normalization folded into the layer before it: a bias, int32 in the file."""

    def build(self, input_shape: Any) -> None:
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")
        self.built = True

    def call(self, inputs: Any) -> Any:
        return tf.add(inputs, self.bias)


@keras.saving.register_keras_serializable("tfinv")
class FakeQuantScale(keras.layers.Layer):
    """Multiply by a fake-quantized vector or number: first half of a normalization that nothing folds.

    Args:
        size: length of the vector, or 1 for one number.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape: Any) -> None:
        self.vector = self.add_weight(shape=(self.size,), initializer="ones", name="vector")
        self.built = True

    def call(self, inputs: Any) -> Any:
        return tf.multiply(inputs, self.quantized_vector())

    def quantized_vector(self) -> Any:
        """The constant as the file will hold it: 8 bits over its own range, zero included."""
        low = tf.stop_gradient(tf.minimum(tf.reduce_min(self.vector), 0.0))
        high = tf.stop_gradient(tf.maximum(tf.reduce_max(self.vector), 0.0))
        high = tf.where(high - low < _DEAD_SPAN, low + _SPAN_OF_DEAD, high)
        return tf.quantization.fake_quant_with_min_max_vars(self.vector, low, high, num_bits=8)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"size": self.size}


@keras.saving.register_keras_serializable("tfinv")
class FakeQuantOffset(FakeQuantScale):
    """Add a fake-quantized vector or number: second half of a normalization that nothing folds."""

    def call(self, inputs: Any) -> Any:
        return tf.add(inputs, self.quantized_vector())
