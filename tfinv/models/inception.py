"""A small Inception network: blocks of four branches of different kernel sizes, concatenated."""

from __future__ import annotations

from typing import Any, NamedTuple

from tfinv.models.blocks import Blocks, image_input
from tfinv.support.checks import whole_number
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor


class InceptionWidths(NamedTuple):
    """Channels of the convolutions of an Inception block, as in table 1 of the source.

    Args:
        one: of the branch that is one 1x1 convolution.
        three_reduced: of the 1x1 convolution before the 3x3 one.
        three: of the 3x3 convolution.
        five_reduced: of the 1x1 convolution before the 5x5 one.
        five: of the 5x5 convolution.
        pooled: of the 1x1 convolution after the pooling.
    """

    one: int
    three_reduced: int
    three: int
    five_reduced: int
    five: int
    pooled: int


def inception_block(blocks: Blocks, x: Tensor, widths: InceptionWidths, name: str) -> Any:
    """Four branches on the same maps, concatenated; the size of the maps stays.

        y = [conv1(x), \\; conv3(conv1(x)), \\; conv5(conv1(x)), \\; conv1(pool3(x))]

    Batch normalization, where the model has it, and an activation follow every convolution. In a static int8 file the
    concatenation has one scale, so the branch with the smallest values loses bits.

    Example:
        >>> import keras
        >>> from tfinv.models.blocks import Blocks
        >>> from tfinv.models.inception import InceptionWidths, inception_block
        >>> x = keras.Input((28, 28, 192))
        >>> y = inception_block(Blocks("relu"), x, InceptionWidths(64, 96, 128, 16, 32, 32), "block3a")
        >>> y.shape, keras.Model(x, y).count_params()
        ((None, 28, 28, 256), 163696)

    Args:
        blocks: what the layers of the model share.
        x: maps `(N, H, W, C)`.
        widths: channels of the six convolutions.
        name: the first part of the names of all layers of the block.

    Returns:
        Maps `(N, H, W, one + three + five + pooled)`.

    Source: Szegedy et al. 2015, "Going deeper with convolutions", figure 2b.
    """

    def unit(maps: Tensor, width: int, kernel: int, label: str) -> Any:
        maps = blocks.conv(maps, width, kernel, f"{name}_{label}_conv")
        return blocks.act(blocks.norm(maps, f"{name}_{label}_bn"), f"{name}_{label}_act")

    pooled = keras.layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    branches = [
        unit(x, widths.one, 1, "one"),
        unit(unit(x, widths.three_reduced, 1, "three_reduced"), widths.three, 3, "three"),
        unit(unit(x, widths.five_reduced, 1, "five_reduced"), widths.five, 5, "five"),
        unit(pooled, widths.pooled, 1, "pooled"),
    ]
    return keras.layers.Concatenate(name=f"{name}_concat")(branches)


@guarded("name")
def inception(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 8,
    activation: str = "elu",
    batch_normalization: bool = False,
    initializer: str = "glorot_uniform",
    name: str = "inception",
) -> keras.Model:
    """A 3x3 stem and four Inception blocks, a max pooling in the middle, a mean over space.

    `conv3 4f, block f, block f, max pooling, block 2f, block 2f, mean, logits`. A block of `f` has the proportions of
    the first block of GoogLeNet, whose `f` is 32: `2f`; `3f` before `4f`; `f / 2` before `f`; `f`; together `8f` maps.

    Example:
        >>> from tfinv.models import inception
        >>> inception((32, 32, 3), 16).count_params()
        105592

    Args:
        input_shape: `(H, W, C)`, at least 2x2.
        classes: number of logits.
        filters: channels `f` of the branch with pooling of the first block, at least 2.
        activation: see `Blocks`.
        batch_normalization: normalize after each convolution.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind or an image smaller than 2x2.

    Source: Szegedy et al. 2015, "Going deeper with convolutions", for the block; the network is this project's.
    """
    whole_number("filters", filters, 2)
    blocks = Blocks(activation, batch_normalization, initializer)
    image = image_input(input_shape, classes, at_least=2)
    x = blocks.conv(image, 4 * filters, 3, "stem_conv")
    x = blocks.act(blocks.norm(x, "stem_bn"), "stem_act")
    for number, f in enumerate((filters, filters, 2 * filters, 2 * filters), start=1):
        if number == 3:
            x = keras.layers.MaxPooling2D(name="pool")(x)
        x = inception_block(blocks, x, InceptionWidths(2 * f, 3 * f, 4 * f, f // 2, f, f), f"block{number}")
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)
