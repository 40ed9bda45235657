"""What binary convolutions and binary dense layers have in common."""

from __future__ import annotations

from typing import Any

from tfinv.layers.parts import initializer_of, regularizer_of
from tfinv.layers.straight_through import UnitInterval, sign
from tfinv.support.checks import flag
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Tensor

select_tensorflow_backend()
import keras  # noqa: E402


class BinaryLayer(keras.layers.Layer):
    """A layer whose kernel is trained as real numbers in `[-1, 1]` and used as their signs.

    It is no subclass of the layer of Keras that it resembles: whatever reads the kernel of that one, such as folding of
    batch normalization, would read the real numbers here.
    """

    def __init__(self, *, use_bias: bool, kernel_initializer: Any, kernel_regularizer: Any, **options: Any) -> None:
        super().__init__(**options)
        self.use_bias = flag("use_bias", use_bias)
        self.kernel_initializer = initializer_of("kernel_initializer", kernel_initializer)
        self.kernel_regularizer = regularizer_of("kernel_regularizer", kernel_regularizer)
        self.kernel: Any = None
        self.bias: Any = None

    def add_weights(self, shape: tuple[int | None, ...], input_shape: Any) -> None:
        """Make the kernel, and the bias where there is one."""
        if None in shape:
            raise ValueError(
                f"the input of {self.name!r} must have a known number of channels. Received: {tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=UnitInterval(),
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=shape[-1:], initializer="zeros")

    def binary_kernel(self) -> Tensor:
        """The kernel that the layer computes with: -1 and 1, in the shape of `kernel`."""
        return sign(self.kernel)

    def with_bias(self, outputs: Tensor) -> Tensor:
        return outputs if self.bias is None else outputs + keras.ops.cast(self.bias, outputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
