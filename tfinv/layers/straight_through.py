"""The sign of a number, with a gradient that lets binary networks train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Tensor

select_tensorflow_backend()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402


def sign(x: Tensor) -> Tensor:
    r"""1 where a number is at least 0, otherwise -1; the gradient passes straight through in `[-1, 1]`.

        y = \begin{cases} 1 & x \ge 0 \\ -1 & x < 0 \end{cases},
        \quad \frac{\partial L}{\partial x} := \frac{\partial L}{\partial y} \, [|x| \le 1]

    Example:
        >>> import numpy as np
        >>> from tfinv.layers.straight_through import sign
        >>> sign(np.array([-2.0, -0.0, 0.5], "float32")).numpy().tolist()
        [-1.0, 1.0, 1.0]

    Args:
        x: a tensor of floating point numbers.

    Returns:
        -1 and 1, of the shape and dtype of `x`.

    Source: Courbariaux et al. 2016, "Binarized neural networks", equations 1 and 4.
    """
    # A tensor: TensorFlow takes a variable for a hidden argument, which needs a gradient of its own.
    return _sign(tf.identity(x))


@tf.custom_gradient
def _sign(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    # The converter folds a choice between constants of the kernel's size into one constant, but not between numbers.
    one = tf.ones(x.shape if x.shape.is_fully_defined() else (), x.dtype)

    def gradient(upstream: Tensor) -> Tensor:
        return tf.where(tf.abs(x) <= 1, upstream, tf.zeros_like(upstream))

    return tf.where(x >= 0, one, -one), gradient


@keras.saving.register_keras_serializable(package="tfinv")
class UnitInterval(keras.constraints.Constraint):
    """Keeps weights in `[-1, 1]`: beyond it the sign has no gradient, and a weight would never come back.

    Example:
        >>> import numpy as np
        >>> from tfinv.layers.straight_through import UnitInterval
        >>> UnitInterval()(np.array([-3.0, 0.5], "float32")).numpy().tolist()
        [-1.0, 0.5]
    """

    def __call__(self, weights: Tensor) -> Any:
        return keras.ops.clip(weights, -1.0, 1.0)
