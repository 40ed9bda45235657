"""A dense layer with weights of -1 and 1."""

from __future__ import annotations

from typing import Any

from tfinv.layers.binary_layer import BinaryLayer
from tfinv.support.checks import whole_number
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Tensor

select_tensorflow_backend()
import keras  # noqa: E402


@keras.saving.register_keras_serializable(package="tfinv")
class BinaryDense(BinaryLayer):
    r"""A dense layer whose weights are the signs of what is trained.

        y = x \, \mathrm{sign}(w),   \quad \frac{\partial L}{\partial w} := \frac{\partial L}{\partial \mathrm{sign}(w)}
        \, [|w| \le 1],   \quad w \leftarrow \mathrm{clip}(w, -1, 1) \text{ after each step}

    Batch normalization belongs after it: outputs grow with the number of inputs. For binary inputs put
    `BinaryActivation` before it. In a `.tflite` file the layer is a `FULLY_CONNECTED` whose constants are -1 and 1.

    Example:
        >>> import numpy as np
        >>> from tfinv.layers import BinaryDense
        >>> BinaryDense(2, kernel_initializer="ones")(np.array([[0.5, -2.0, 1.0]], "float32")).numpy().tolist()
        [[-0.5, -0.5]]

    Args:
        units: number of outputs `U`.
        use_bias: add one real number a unit.
        kernel_initializer: of Keras, for the real kernel `(C, U)`.
        kernel_regularizer: of Keras, for the real kernel.
        **options: of `keras.layers.Layer`, such as `name`.

    Input: `(N, ..., C)`. Output: `(N, ..., U)`.

    Raises:
        ValueError: an option of the wrong kind, or an input without a known number of channels.

    Source: Courbariaux et al. 2016, "Binarized neural networks: training deep neural networks with weights and
    activations constrained to +1 or -1", section 1.
    """

    def __init__(
        self,
        units: int,
        *,
        use_bias: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            use_bias=use_bias, kernel_initializer=kernel_initializer, kernel_regularizer=kernel_regularizer, **options
        )
        self.units = whole_number("units", units, 1)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def build(self, input_shape: Any) -> None:
        self.add_weights((input_shape[-1], self.units), input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        return self.with_bias(keras.ops.matmul(inputs, keras.ops.cast(self.binary_kernel(), inputs.dtype)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
