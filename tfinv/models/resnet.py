"""ResNet: residual networks of basic blocks with a stem for small images."""

from __future__ import annotations

from typing import Any

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


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
    """A 3x3 stem without pooling, four stages of basic blocks with `f, 2f, 4f, 8f` channels, a mean over space.

        block:  y = act(bn(conv(act(bn(conv(x))))) + x),    x through a 1x1 convolution where its shape changes

    Convolutions have no bias. Stages 2 to 4 halve the map in their first block.

    Example:
        >>> from tfinv.models import resnet
        >>> resnet((28, 28, 1), 10, depth=18, batch_normalization=False).count_params()
        11163210

    Args:
        input_shape: `(H, W, C)`.
        classes: number of logits.
        depth: 18 or 34.
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
    for stage, count in enumerate(STAGES[depth], start=1):
        for block in range(1, count + 1):
            strides = 2 if block == 1 and stage > 1 else 1
            x = _basic_block(blocks, x, filters * 2 ** (stage - 1), strides, f"stage{stage}_block{block}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)


def _basic_block(blocks: Blocks, x: Tensor, filters: int, strides: int, name: str) -> Any:
    padding, main, shortcut = "same", x, x
    if strides > 1:
        # "same" with a stride samples one pixel off the 1x1 shortcut on even sizes; symmetric padding does not.
        padding, main = "valid", keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    main = blocks.conv(main, filters, 3, f"{name}_conv1", strides=strides, padding=padding, use_bias=False)
    main = blocks.act(blocks.norm(main, f"{name}_bn1"), f"{name}_act1")
    main = blocks.conv(main, filters, 3, f"{name}_conv2", use_bias=False)
    main = blocks.norm(main, f"{name}_bn2")
    if strides > 1 or x.shape[-1] != filters:
        shortcut = blocks.conv(x, filters, 1, f"{name}_shortcut", strides=strides, use_bias=False)
        shortcut = blocks.norm(shortcut, f"{name}_shortcut_bn")
    x = keras.layers.Add(name=f"{name}_add")([main, shortcut])
    return blocks.act(x, f"{name}_act2")
