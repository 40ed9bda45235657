"""SimpleConv: five convolutions and two dense layers, the study's standard network."""

from __future__ import annotations

from typing import Any

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor


@guarded("name", "max_pooling")
def simple_conv(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 32,
    dense: int = 64,
    activation: str = "elu",
    batch_normalization: bool = False,
    kernel_size: int = 3,
    dilation: int = 1,
    max_pooling: bool = True,
    initializer: str = "glorot_uniform",
    name: str = "simple_conv",
) -> keras.Model:
    """Two blocks of two convolutions with a pooling each, a fifth convolution, two dense layers.

    `[conv f, act] x2, pool, [conv 2f, act] x2, pool, conv 4f, act, flatten, dense d, act, logits`. With batch
    normalization a layer follows each convolution and the first dense layer, before the activation. The fifth
    convolution is always 3x3 and undilated. With even kernels `"same"` padding adds one more row below and right.

    Example:
        >>> from tfinv.models import simple_conv
        >>> simple_conv((28, 28, 1), 10).count_params()
        540970

    Args:
        input_shape: `(H, W, C)`, at least 4x4.
        classes: number of logits.
        filters: channels `f` of the first block.
        dense: units `d` of the first dense layer.
        activation: see `Blocks`.
        batch_normalization: add batch normalization.
        kernel_size: side of the first four kernels, odd or even.
        dilation: dilation of the first four convolutions.
        max_pooling: 2x2 max pooling; False for a 3x3 convolution with stride 2 in its place, without activation.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind or an image smaller than 4x4.

    F. Quiroga et al., "Revisiting Data Augmentation for Rotational Invariance in Convolutional Neural Networks", 2018.
    """
    check_counts(filters=filters, dense=dense, kernel_size=kernel_size, dilation=dilation)
    blocks = Blocks(activation, batch_normalization, initializer)
    image = image_input(input_shape, classes, at_least=4)

    def unit(x: Tensor, width: int, number: int, kernel: int, spread: int) -> Any:
        x = blocks.conv(x, width, kernel, f"conv{number}", dilation=spread)
        return blocks.act(blocks.norm(x, f"bn{number}"), f"act{number}")

    x = image
    for number, width in enumerate((filters, 2 * filters), start=1):
        x = unit(x, width, 2 * number - 1, kernel_size, dilation)
        x = unit(x, width, 2 * number, kernel_size, dilation)
        if max_pooling:
            x = keras.layers.MaxPooling2D(name=f"pool{number}")(x)
        else:
            x = blocks.conv(x, width, 3, f"pool{number}", strides=2)
    x = unit(x, 4 * filters, 5, 3, 1)
    x = blocks.dense(keras.layers.Flatten(name="flatten")(x), dense, "fc1")
    x = blocks.act(blocks.norm(x, "fc1_bn"), "fc1_act")
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)
