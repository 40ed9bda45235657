"""ResNet: residual networks of basic or bottleneck blocks with a stem for small images."""

from __future__ import annotations

from typing import Any

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks of the four stages by depth."""
BOTTLENECKS = (50, 101)
"""The depths whose blocks are bottlenecks, of three convolutions instead of two."""
EXPANSION = 4
"""How many times as many channels leave a bottleneck block as its 3x3 convolution has."""


@guarded("name")
def resnet(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    depth: int = 18,
    filters: int = 64,
    activation: str = "elu",
    batch_normalization: bool = True,
    initializer: str = "he_normal",
    name: str = "resnet",
) -> keras.Model:
    """A 3x3 stem without pooling, four stages of blocks with `f, 2f, 4f, 8f` channels, a mean over space.

        basic:       y = act(bn(conv3(act(bn(conv3(x))))) + x)
        bottleneck:  y = act(bn(conv1(act(bn(conv3(act(bn(conv1(x)))))))) + x),   4 times as many channels leave

    `x` goes through a 1x1 convolution where its shape changes. Convolutions have no bias. Stages 2 to 4 halve the map
    in the first 3x3 convolution of their first block.

    Example:
        >>> from tfinv.models import resnet
        >>> resnet((28, 28, 1), 10, depth=18, batch_normalization=False).count_params()
        11163210

    Args:
        input_shape: `(H, W, C)`.
        classes: number of logits.
        depth: 18 or 34 for basic blocks, 50 or 101 for bottleneck blocks.
        filters: channels `f` of the stem and the first stage.
        activation: see `Blocks`.
        batch_normalization: normalize after each convolution.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an unknown depth or an option of the wrong kind.

    K. He et al., "Deep Residual Learning for Image Recognition", 2016.
    """
    check_counts(filters=filters)
    if depth not in STAGES:
        raise ValueError(f"depth must be one of {sorted(STAGES)}. Received: {depth!r}")
    blocks = Blocks(activation, batch_normalization, initializer)
    image = image_input(input_shape, classes)
    x = blocks.conv(image, filters, 3, "stem_conv", use_bias=False)
    x = blocks.act(blocks.norm(x, "stem_bn"), "stem_act")
    block = _bottleneck_block if depth in BOTTLENECKS else _basic_block
    for stage, count in enumerate(STAGES[depth], start=1):
        for number in range(1, count + 1):
            strides = 2 if number == 1 and stage > 1 else 1
            x = block(blocks, x, filters * 2 ** (stage - 1), strides, f"stage{stage}_block{number}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)


def _basic_block(blocks: Blocks, x: Tensor, filters: int, strides: int, name: str) -> Any:
    main = _three(blocks, x, filters, strides, f"{name}_conv1", f"{name}_pad")
    main = blocks.act(blocks.norm(main, f"{name}_bn1"), f"{name}_act1")
    main = blocks.conv(main, filters, 3, f"{name}_conv2", use_bias=False)
    main = blocks.norm(main, f"{name}_bn2")
    return blocks.act(_added(blocks, main, x, strides, name), f"{name}_act2")


def _bottleneck_block(blocks: Blocks, x: Tensor, filters: int, strides: int, name: str) -> Any:
    main = blocks.conv(x, filters, 1, f"{name}_conv1", use_bias=False)
    main = blocks.act(blocks.norm(main, f"{name}_bn1"), f"{name}_act1")
    main = _three(blocks, main, filters, strides, f"{name}_conv2", f"{name}_pad")
    main = blocks.act(blocks.norm(main, f"{name}_bn2"), f"{name}_act2")
    main = blocks.conv(main, EXPANSION * filters, 1, f"{name}_conv3", use_bias=False)
    main = blocks.norm(main, f"{name}_bn3")
    return blocks.act(_added(blocks, main, x, strides, name), f"{name}_act3")


def _three(blocks: Blocks, x: Tensor, filters: int, strides: int, name: str, pad: str) -> Any:
    """A 3x3 convolution; on even sizes "same" with a stride would sample one pixel off the 1x1 shortcut."""
    if strides == 1:
        return blocks.conv(x, filters, 3, name, use_bias=False)
    padded = keras.layers.ZeroPadding2D(1, name=pad)(x)
    return blocks.conv(padded, filters, 3, name, strides=strides, padding="valid", use_bias=False)


def _added(blocks: Blocks, main: Tensor, x: Tensor, strides: int, name: str) -> Any:
    """The sum of a block and its input, which a 1x1 convolution brings to the same shape."""
    filters, shortcut = main.shape[-1], x
    if strides > 1 or x.shape[-1] != filters:
        shortcut = blocks.conv(x, filters, 1, f"{name}_shortcut", strides=strides, use_bias=False)
        shortcut = blocks.norm(shortcut, f"{name}_shortcut_bn")
    return keras.layers.Add(name=f"{name}_add")([main, shortcut])
