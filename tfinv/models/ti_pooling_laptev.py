"""The TI-pooling network of its authors: a wide dense layer belongs to what every transformation runs through."""

from __future__ import annotations

from typing import Any

from tfinv.models.blocks import Blocks, check_counts, check_dropout, image_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor


@guarded("name")
def ti_pooling_laptev(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    transformations: Any = "rotations(24)",
    filters: int = 40,
    dense: int = 5120,
    dropout: float = 0.5,
    activation: str = "relu",
    initializer: str = "torch",
    name: str = "ti_pooling_laptev",
) -> keras.Model:
    """Three convolutions and a dense layer with shared weights on every transformation, maximum, logits.

    `pad, then on each transformation: [conv3 f, act, max pooling], [conv3 2f, ...], [conv3 4f, ...], flatten, dense d,
    act; maximum, dropout, logits`. The frame is padded to a multiple of 8, MNIST to 32x32. `ti_pooling` is the variant
    of the 2021 study, with the maximum before the dense layers; it has a fiftieth of the parameters.

    Trained in the source with Adam at 1e-4 and batches of 64. Exactly invariant to the four right-angle turns of a
    square image with `"rotations(4)"`; with the 24 rotations of the source up to interpolation.

    Example:
        >>> from tfinv.models import ti_pooling_laptev
        >>> ti_pooling_laptev((28, 28, 1), 10).count_params()
        13308170

    Args:
        input_shape: `(H, W, C)`, at least 8x8.
        classes: number of logits.
        transformations: a set of affine maps, or its id.
        filters: channels `f` of the first convolution.
        dense: units `d` of the dense layer in front of the maximum.
        dropout: share of features left out in training, after the maximum; 0 for none.
        activation: see `Blocks`.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind, an image smaller than 8x8, or transformations that are no affine maps.

    Source: Laptev et al. 2016, "TI-pooling: transformation-invariant pooling for feature learning", section 4.
    """
    from tfinv.layers.ti_pooling import TIPooling

    check_counts(filters=filters, dense=dense)
    check_dropout(dropout)
    blocks = Blocks(activation, initializer=initializer)
    image = image_input(input_shape, classes, at_least=8)
    # The same on opposite sides, so that a turned image gives the turned frame.
    frame = tuple((-size % 8 // 2,) * 2 for size in image.shape[1:3])
    x = keras.layers.ZeroPadding2D(frame, name="pad")(image) if any(side for side, _ in frame) else image
    x = TIPooling(_trunk(x, blocks, filters, dense), transformations, name="pool_over_transformations")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)


def _trunk(x: Tensor, blocks: Blocks, filters: int, dense: int) -> Any:
    inputs = x = keras.Input(x.shape[1:], name="transformed")
    for number in (1, 2, 3):
        x = blocks.act(blocks.conv(x, filters * 2 ** (number - 1), 3, f"conv{number}"), f"act{number}")
        x = keras.layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = blocks.dense(keras.layers.Flatten(name="flatten")(x), dense, "fc1")
    return keras.Model(inputs, blocks.act(x, "fc1_act"), name="trunk")
