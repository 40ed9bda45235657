"""Activations of -1 and 1."""

from __future__ import annotations

from typing import Any

from tfinv.layers.straight_through import sign
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Tensor

select_tensorflow_backend()
import keras  # noqa: E402


@keras.saving.register_keras_serializable(package="tfinv")
class BinaryActivation(keras.layers.Layer):
    r"""1 where an activation is at least 0, otherwise -1; put it after batch normalization.

        y = \begin{cases} 1 & x \ge 0 \\ -1 & x < 0 \end{cases}

    The gradient passes straight through where `|x|` is at most 1, and is 0 elsewhere.

    Example:
        >>> import numpy as np
        >>> from tfinv.layers import BinaryActivation
        >>> BinaryActivation()(np.array([[-0.3, 0.0, 7.0]], "float32")).numpy().tolist()
        [[-1.0, 1.0, 1.0]]

    Args:
        **options: of `keras.layers.Layer`, such as `name`.

    Input and output: any shape.

    Source: Courbariaux et al. 2016, "Binarized neural networks", equations 1 and 4.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def call(self, inputs: Tensor) -> Tensor:
        return sign(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape
