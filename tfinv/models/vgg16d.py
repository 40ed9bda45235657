"""VGG16D: the VGG configuration D without its fifth block, for small images."""

from __future__ import annotations

from tfinv.models.blocks import Blocks, check_activation, check_counts, check_dropout, image_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras

CONVOLUTIONS = (2, 2, 3, 3)


@guarded("name")
def vgg16d(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 16,
    dense: int = 64,
    activation: str = "elu",
    dense_activation: str = "relu",
    batch_normalization: bool = False,
    dropout: float = 0.5,
    initializer: str = "glorot_uniform",
    name: str = "vgg16d",
) -> keras.Model:
    """Four blocks of 2, 2, 3, 3 convolutions with `f, 2f, 4f, 8f` channels, each pooled, and three dense layers.

    Batch normalization stands after the activation, as in the network whose results this is compared with.

    Example:
        >>> from tfinv.models import vgg16d
        >>> vgg16d((28, 28, 1), 10).count_params()
        490810

    Args:
        input_shape: `(H, W, C)`, at least 16x16.
        classes: number of logits.
        filters: channels `f` of the first block.
        dense: units of the two hidden dense layers.
        activation: after convolutions, see `Blocks`.
        dense_activation: after dense layers, see `Blocks`.
        batch_normalization: add batch normalization to the convolutions.
        dropout: rate before each hidden dense layer, 0 up to 1.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind or an image smaller than 16x16.

    K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015.
    """
    check_counts(filters=filters, dense=dense)
    check_dropout(dropout)
    blocks = Blocks(activation, batch_normalization, initializer)
    check_activation("dense_activation", dense_activation)
    dense_blocks = Blocks(dense_activation, False, initializer)
    image = image_input(input_shape, classes, at_least=16)
    x = image
    for block, convolutions in enumerate(CONVOLUTIONS, start=1):
        for number in range(1, convolutions + 1):
            x = blocks.conv(x, filters * 2 ** (block - 1), 3, f"block{block}_conv{number}")
            x = blocks.act(x, f"block{block}_act{number}")
            x = blocks.norm(x, f"block{block}_bn{number}")
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = keras.layers.Dropout(dropout, name=f"dropout{number}")(x)
        x = dense_blocks.act(dense_blocks.dense(x, dense, f"fc{number}"), f"fc{number}_act")
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)
