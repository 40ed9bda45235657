"""BinaryNet: a small network whose inner layers have weights and inputs of -1 and 1."""

from __future__ import annotations

from typing import Any

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor


@guarded("name")
def binary_net(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 32,
    dense: int = 128,
    initializer: str = "glorot_uniform",
    name: str = "binary_net",
) -> keras.Model:
    """Four convolutions, a hidden dense layer and logits; all but the first and the last layer are binary.

    `conv3 f, [sign, binary conv3 f, max pooling], [sign, binary conv3 2f], [sign, binary conv3 2f, max pooling],
    sign, flatten, binary dense d, sign, logits`, with batch normalization after every layer but the last one.

    Example:
        >>> from tfinv.models import binary_net
        >>> binary_net((28, 28, 1), 10).count_params()
        468810

    Args:
        input_shape: `(H, W, C)`, at least 4x4.
        classes: number of logits.
        filters: channels `f` of the first two convolutions.
        dense: units `d` of the hidden dense layer.
        initializer: see `Blocks`, of the first and the last layer.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind or an image smaller than 4x4.

    Source: Courbariaux et al. 2016, "Binarized neural networks", for the layers; the network is this project's.
    """
    from tfinv.layers import BinaryActivation, BinaryConv2D, BinaryDense

    check_counts(filters=filters, dense=dense)
    blocks = Blocks("relu", batch_normalization=True, initializer=initializer)
    image = image_input(input_shape, classes, at_least=4)

    def signs(x: Tensor, number: int) -> Any:
        return BinaryActivation(name=f"sign{number}")(blocks.norm(x, f"bn{number}"))

    x = signs(blocks.conv(image, filters, 3, "conv1"), 1)
    for number, width in ((2, filters), (3, 2 * filters), (4, 2 * filters)):
        x = BinaryConv2D(width, 3, padding="same", name=f"conv{number}")(x)
        if number != 3:
            x = keras.layers.MaxPooling2D(name=f"pool{number // 2}")(x)
        x = signs(x, number)
    x = keras.layers.Flatten(name="flatten")(x)
    x = signs(BinaryDense(dense, name="fc1")(x), 5)
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)
