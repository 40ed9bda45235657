"""A convolution over the four right-angle rotations."""

from __future__ import annotations

from tfinv.layers.group_conv import GroupConv2D
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.transformations.groups import P4

select_tensorflow_backend()
import keras  # noqa: E402


@keras.saving.register_keras_serializable(package="tfinv")
class P4Conv2D(GroupConv2D):
    r"""A convolution whose maps turn with the image, over the four right-angle rotations.

    In a `.tflite` file the layer is one `CONV_2D`: the turned copies of the kernel are constants there. A map has
    4 channels, `c * 4 + h` for map `c` at element `h`, see `tfinv.transformations.groups.TurnGroup`.

        [f * \psi](g, p) = \sum_{q, c, h} f_c(h, q) \, \psi_c(g^{-1} h, g^{-1}(q - p))

    Example:
        >>> import numpy as np
        >>> from tfinv.layers import P4Conv2D
        >>> image = np.random.default_rng(0).random((1, 9, 9, 1), dtype="float32")
        >>> layer = P4Conv2D(5, 3, lifting=True)
        >>> layer(image).shape, layer.count_params()
        (TensorShape([1, 7, 7, 20]), 50)

    Args:
        filters: number of maps `F`; the output has `4 F` channels.
        kernel_size: rows and columns of the kernel.
        lifting: whether the input is an image, or other maps that the group does not permute. Without it the input
            must have 4 channels a map.
        strides: pixels from one window to the next.
        padding: `"valid"` or `"same"`.
        dilation_rate: distance of the pixels of a window.
        use_bias: add one number a map, the same for its 4 channels.
        exact: refuse an input on which windows do not lie symmetrically, so that a turned image would not give turned
            maps: images that are not square, and some combinations of size, kernel, strides and padding.
        kernel_initializer: of Keras, for a kernel `(k, k, C_in, F)`.
        bias_initializer: of Keras.
        kernel_regularizer: of Keras, for the base kernel.
        **options: of `keras.layers.Layer`, such as `name`.

    Input: `(N, H, W, C_in)`. Output: `(N, H', W', 4 F)`.

    Raises:
        ValueError: an option of the wrong kind, or, when the layer is built, an input of the wrong number of channels
            or, with `exact`, of the wrong size.

    Source: Cohen and Welling 2016, "Group equivariant convolutional networks", equations 10 and 11.
    """

    group = P4
