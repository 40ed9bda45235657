"""Layer constructors that share a model's activation, normalization and initialization."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tfinv.support.checks import flag, is_number, whole_number
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor

TORCH = "torch"
BATCH_NORMALIZATION_MOMENTUM = 0.9  # Keras' default of 0.99 needs 500 steps and more to follow small data sets
BATCH_NORMALIZATION_EPSILON = 1e-5


@dataclass(frozen=True)
class Blocks:
    """The choices that all layers of one model share, with a method for each kind of layer.

    Args:
        activation: a Keras activation by name (`"elu"` has alpha 1), or `"prelu"`, one learned slope a layer that
            starts at 0.25.
        batch_normalization: whether `norm` adds a layer or passes its input on.
        initializer: a Keras initializer by name for the kernels, with biases zero, or `"torch"`: kernels and biases
            uniform in `+-1/sqrt(fan_in)`, PyTorch's default.

    Raises:
        ValueError: an unknown activation or initializer.
    """

    activation: str = "elu"
    batch_normalization: bool = False
    initializer: str = "glorot_uniform"

    def __post_init__(self) -> None:
        flag("batch_normalization", self.batch_normalization)
        check_activation("activation", self.activation)
        if self.initializer != TORCH:
            check_initializer(self.initializer, f", or '{TORCH}'")

    def conv(
        self,
        x: Tensor,
        filters: int,
        kernel_size: int,
        name: str,
        *,
        strides: int = 1,
        dilation: int = 1,
        padding: str = "same",
        use_bias: bool = True,
    ) -> Any:
        """A 2-D convolution that keeps the size of its input, divided by `strides`."""
        layer = keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            dilation_rate=dilation,
            padding=padding,
            use_bias=use_bias,
            name=name,
            **self._initializers(kernel_size * kernel_size * x.shape[-1]),
        )
        return layer(x)

    def depthwise(self, x: Tensor, kernel_size: int, name: str, *, strides: int = 1, use_bias: bool = True) -> Any:
        """A convolution of each channel on its own."""
        options = self._initializers(kernel_size * kernel_size)
        kernel = keras.initializers.get(options["kernel_initializer"])
        if isinstance(kernel, keras.initializers.VarianceScaling):
            # Keras counts all channels as inputs of each output, which makes the signal vanish layer by layer.
            channels = x.shape[-1]
            counted_too_often = {"fan_in": channels, "fan_avg": (channels + 1) / 2, "fan_out": 1}[kernel.mode]
            kernel = keras.initializers.VarianceScaling(
                kernel.scale * counted_too_often, kernel.mode, kernel.distribution
            )
        layer = keras.layers.DepthwiseConv2D(
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=use_bias,
            depthwise_initializer=kernel,
            bias_initializer=options["bias_initializer"],
            name=name,
        )
        return layer(x)

    def dense(self, x: Tensor, units: int, name: str) -> Any:
        """A fully connected layer without activation."""
        return keras.layers.Dense(units, name=name, **self._initializers(x.shape[-1]))(x)

    def act(self, x: Tensor, name: str) -> Any:
        """The model's activation as a layer of its own, so that it can be measured."""
        if self.activation == "prelu":
            shared = list(range(1, len(x.shape)))
            return keras.layers.PReLU(
                alpha_initializer=keras.initializers.Constant(0.25), shared_axes=shared, name=name
            )(x)
        return keras.layers.Activation(self.activation, name=name)(x)

    def norm(self, x: Tensor, name: str) -> Any:
        """Batch normalization, or `x` itself where the model has none."""
        if not self.batch_normalization:
            return x
        layer = keras.layers.BatchNormalization(
            momentum=BATCH_NORMALIZATION_MOMENTUM, epsilon=BATCH_NORMALIZATION_EPSILON, name=name
        )
        return layer(x)

    def _initializers(self, fan_in: int) -> dict[str, Any]:
        if self.initializer != TORCH:
            return {"kernel_initializer": self.initializer, "bias_initializer": "zeros"}
        bound = 1 / math.sqrt(fan_in)
        return {  # an initializer object draws the same values each time, so each variable gets its own
            "kernel_initializer": keras.initializers.RandomUniform(-bound, bound),
            "bias_initializer": keras.initializers.RandomUniform(-bound, bound),
        }


def image_input(input_shape: Any, classes: Any, *, at_least: int = 1) -> Any:
    """The input layer `image` of a model, after a look at its shape and the number of classes.

    Args:
        input_shape: `(H, W, C)`, three whole numbers of at least 1.
        classes: number of logits, at least 1.
        at_least: smallest height and width that the model's poolings leave something of.

    Returns:
        A symbolic float32 tensor `(None, H, W, C)`.

    Raises:
        ValueError: not such numbers, or an image that is too small.
    """
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
    if len(shape) != 3 or not all(_is_count(size) for size in shape):
        raise ValueError(f"input_shape must be (height, width, channels), whole numbers. Received: {input_shape!r}")
    whole_number("classes", classes, 1)
    if min(shape[:2]) < at_least:
        raise ValueError(
            f"input_shape must be at least {at_least}x{at_least} for this model. Received: {input_shape!r}"
        )
    return keras.Input(tuple(int(size) for size in shape), name="image")


def check_counts(**counts: Any) -> None:
    """Refuse options that are not whole numbers of at least 1.

    Raises:
        ValueError: with the option's name and value.
    """
    for name, value in counts.items():
        whole_number(name, value, 1)


def check_dropout(dropout: Any) -> None:
    """Refuse what is no share of activations to leave out.

    Raises:
        ValueError: not a number of at least 0 and below 1.
    """
    if not is_number(dropout) or not 0 <= dropout < 1:
        raise ValueError(f"dropout must be a number of at least 0 and below 1. Received: {dropout!r}")


def _is_count(value: Any) -> bool:
    return not isinstance(value, bool) and hasattr(value, "__index__") and int(value) >= 1


def check_activation(argument: str, name: Any) -> None:
    """Refuse what is no name of an activation.

    Raises:
        ValueError: `name` is neither known to Keras nor `"prelu"`.
    """
    if name != "prelu":
        _get(keras.activations, argument, name, "activations", ", or 'prelu'")


def check_initializer(name: Any, other: str = "") -> None:
    """Refuse what is no name of an initializer.

    Raises:
        ValueError: Keras does not know it.
    """
    _get(keras.initializers, "initializer", name, "initializers", other)


def _get(module: Any, argument: str, name: Any, kind: str, other: str) -> None:
    try:
        known = isinstance(name, str) and module.get(name)
    except (ValueError, TypeError):
        known = None
    if not known:
        raise ValueError(f"{argument} must be a name that keras.{kind} knows{other}. Received: {name!r}")
