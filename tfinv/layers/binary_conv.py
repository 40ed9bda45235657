"""A convolution with weights of -1 and 1."""

from __future__ import annotations

from typing import Any

from tfinv.layers.binary_layer import BinaryLayer
from tfinv.support.checks import one_of, whole_number
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Tensor

select_tensorflow_backend()
import keras  # noqa: E402


@keras.saving.register_keras_serializable(package="tfinv")
class BinaryConv2D(BinaryLayer):
    r"""A convolution whose weights are the signs of what is trained.

        y = x * \mathrm{sign}(w),   \quad \frac{\partial L}{\partial w} := \frac{\partial L}{\partial \mathrm{sign}(w)}
        \, [|w| \le 1],   \quad w \leftarrow \mathrm{clip}(w, -1, 1) \text{ after each step}

    Batch normalization belongs after it: outputs grow with the number of inputs. For binary inputs put
    `BinaryActivation` before it. In a `.tflite` file the layer is a `CONV_2D` whose constants are -1 and 1.

    Example:
        >>> import numpy as np
        >>> from tfinv.layers import BinaryConv2D
        >>> layer = BinaryConv2D(4, 3)
        >>> layer(np.ones((1, 5, 5, 2), "float32")).shape, sorted(set(layer.binary_kernel().numpy().ravel().tolist()))
        (TensorShape([1, 3, 3, 4]), [-1.0, 1.0])

    Args:
        filters: number of maps `F`.
        kernel_size: rows and columns of the kernel.
        strides: pixels from one window to the next.
        padding: `"valid"` or `"same"`; padded pixels are 0.
        use_bias: add one real number a map.
        kernel_initializer: of Keras, for the real kernel `(k, k, C, F)`.
        kernel_regularizer: of Keras, for the real kernel.
        **options: of `keras.layers.Layer`, such as `name`.

    Input: `(N, H, W, C)`. Output: `(N, H', W', F)`.

    Raises:
        ValueError: an option of the wrong kind, or an input without a known number of channels.

    Source: Courbariaux et al. 2016, "Binarized neural networks: training deep neural networks with weights and
    activations constrained to +1 or -1", section 1.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        *,
        strides: int = 1,
        padding: str = "valid",
        use_bias: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            use_bias=use_bias, kernel_initializer=kernel_initializer, kernel_regularizer=kernel_regularizer, **options
        )
        self.filters = whole_number("filters", filters, 1)
        self.kernel_size = whole_number("kernel_size", kernel_size, 1)
        self.strides = whole_number("strides", strides, 1)
        one_of("padding", padding, ("valid", "same"))
        self.padding = padding
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Any) -> None:
        self.add_weights((self.kernel_size, self.kernel_size, input_shape[-1], self.filters), input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        kernel = keras.ops.cast(self.binary_kernel(), inputs.dtype)
        return self.with_bias(
            keras.ops.conv(inputs, kernel, strides=self.strides, padding=self.padding, data_format="channels_last")
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
        }
