"""MobileNetSmall: a few depthwise-separable convolutions for small images."""

from __future__ import annotations

from typing import Any

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor

WIDTHS_AND_STRIDES = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2))


@guarded("name")
def mobilenet_small(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 16,
    activation: str = "relu6",
    batch_normalization: bool = True,
    initializer: str = "he_normal",
    name: str = "mobilenet_small",
) -> keras.Model:
    """A 3x3 stem, six depthwise-separable blocks, a mean over space.

        block:  act(bn(conv1x1(act(bn(depthwise3x3(x))))))

    Widths are `f` in the stem, then `2f, 4f /2, 4f, 8f /2, 8f, 16f /2`. A convolution followed by batch normalization
    has no bias.

    Example:
        >>> from tfinv.models import mobilenet_small
        >>> mobilenet_small((32, 32, 3), 10).output_shape
        (None, 10)

    Args:
        input_shape: `(H, W, C)`.
        classes: number of logits.
        filters: channels `f` of the stem.
        activation: see `Blocks`.
        batch_normalization: normalize after each convolution.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind.

    A. G. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017.
    """
    check_counts(filters=filters)
    blocks = Blocks(activation, batch_normalization, initializer)
    image = image_input(input_shape, classes)

    def normalized(x: Tensor, block: str) -> Any:
        return blocks.act(blocks.norm(x, f"{block}_bn"), f"{block}_act")

    bias = not batch_normalization
    x = normalized(blocks.conv(image, filters, 3, "stem_conv", use_bias=bias), "stem")
    for number, (width, strides) in enumerate(WIDTHS_AND_STRIDES, start=1):
        x = normalized(blocks.depthwise(x, 3, f"dw{number}_conv", strides=strides, use_bias=bias), f"dw{number}")
        x = normalized(blocks.conv(x, width * filters, 1, f"pw{number}_conv", use_bias=bias), f"pw{number}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)
