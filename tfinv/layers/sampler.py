"""A bilinear sampler with gradients with respect to the images and to the positions."""

from __future__ import annotations

from tfinv.support.lazy import keras
from tfinv.support.types import Tensor


def sample(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    r"""Images at positions between pixels; zero outside the frame.

        V_p = \sum_{n, m} U_{n m} \max(0, 1 - |x_p - m|) \max(0, 1 - |y_p - n|)

    The weights are computed for all rows and columns, without an index: `keras.ops.image.affine_transform` has no
    gradient with respect to the transformation, and indices lose their meaning in int8. At whole positions, where the
    sum has a kink, the gradient is the central difference of the neighbours. Meant for images up to about 64x64.

    Example:
        >>> import numpy as np
        >>> from tfinv.layers.sampler import sample
        >>> image = np.arange(4, dtype="float32").reshape(1, 2, 2, 1)
        >>> sample(image, np.array([[[0.5]]], "float32"), np.array([[[1.0]]], "float32")).numpy().tolist()
        [[[[2.5]]]]

    Args:
        images: `(N, H, W, C)`.
        x: `(N, H', W')`, columns in pixels from the centre of the first pixel.
        y: rows, the same shape.

    Returns:
        `(N, H', W', C)`.

    Source: Jaderberg et al. 2015, "Spatial transformer networks", equation 5.
    """
    height, width, channels = images.shape[1:]
    out_height, out_width = x.shape[1:]
    points = out_height * out_width

    def tents(positions: Tensor, size: int) -> Tensor:
        places = keras.ops.reshape(keras.ops.arange(size, dtype=positions.dtype), (1, 1, size))
        weight = 1.0 - keras.ops.abs(keras.ops.reshape(positions, (-1, points, 1)) - places)
        # relu, but with the slope 1/2 at 0: at whole positions, where training starts, relu would stop every gradient.
        return 0.5 * (weight + keras.ops.abs(weight))

    columns = keras.ops.reshape(keras.ops.transpose(images, (0, 2, 1, 3)), (-1, width, height * channels))
    along_x = keras.ops.reshape(keras.ops.matmul(tents(x, width), columns), (-1, points, height, channels))
    weights = keras.ops.reshape(tents(y, height), (-1, points, height, 1))
    return keras.ops.reshape(keras.ops.sum(along_x * weights, axis=2), (-1, out_height, out_width, channels))
