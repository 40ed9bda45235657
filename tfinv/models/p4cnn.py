"""P4CNN: a network that is invariant to right-angle rotations, and its plain counterpart Z2CNN."""

from __future__ import annotations

from typing import Any, Literal

from tfinv.models.blocks import Blocks, check_counts, check_dropout
from tfinv.models.group_blocks import GroupBlocks, GroupName, square_input
from tfinv.support.checks import one_of
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor

Rotations = Literal["output", "every_layer"]


@guarded("name")
def p4cnn(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 10,
    group: GroupName = "p4",
    pooling: Rotations = "output",
    batch_normalization: bool = True,
    initializer: str = "he_normal",
    name: str = "p4cnn",
) -> keras.Model:
    """Seven group convolutions; the largest value over turns and positions of each class map is the logit.

    `conv3 f, conv3 f, max pooling, 4 x conv3 f, conv4 classes`, none padded, batch normalization and ReLU after all but
    the last. Images below 28x28 pixels have room for fewer of the four convolutions.

    The logits of an image and of its turned copies are equal: up to rounding in float32, bit for bit in a
    static int8 file. With `group="p4m"` that holds for mirror images as well.

    Example:
        >>> from tfinv.models import p4cnn
        >>> p4cnn((28, 28, 1), 10, batch_normalization=False).count_params()
        24560

    Args:
        input_shape: `(H, W, C)`, square, of an even size of at least 12.
        classes: number of logits.
        filters: maps of the first six layers, each of 4 channels (`"p4m"`: 8). The published network with pooling in
            every layer has more maps, so that the number of parameters is about the same.
        group: `"p4"` for the four right-angle rotations, `"p4m"` for these and their mirror images.
        pooling: `"output"`, or `"every_layer"` for the maximum over turns after every convolution (P4CNN with rotation
            pooling in the source).
        batch_normalization: normalize after all convolutions but the last.
        initializer: a Keras initializer by name for the kernels; biases start at zero.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind, or an image that is too small, not square or of odd size.

    Source: Cohen and Welling 2016, "Group equivariant convolutional networks", section 8.1.
    """
    from tfinv.layers import SymmetricMaxPooling2D

    check_counts(filters=filters)
    one_of("pooling", pooling, Rotations)
    early = pooling == "every_layer"
    blocks = GroupBlocks(group, batch_normalization, initializer)
    image = _image(input_shape, classes)
    x = image
    for number in range(1, 3 + _after_pooling(image)):
        x = blocks.conv(x, filters, 3, f"conv{number}", lifting=early or number == 1)
        if early:
            x = blocks.pool(x, f"turns{number}")
        x = keras.layers.ReLU(name=f"act{number}")(blocks.norm(x, f"bn{number}", turns=not early))
        if number == 2:
            x = SymmetricMaxPooling2D(2, name="pool")(x)
    x = blocks.conv(x, classes, 4, "class_maps", lifting=early)
    x = keras.layers.GlobalMaxPooling2D(name="positions")(x)
    return keras.Model(image, blocks.pool(x, "logits"), name=name)


@guarded("name")
def z2cnn(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 20,
    dropout: float = 0.3,
    batch_normalization: bool = True,
    initializer: str = "he_normal",
    name: str = "z2cnn",
) -> keras.Model:
    """The plain counterpart of `p4cnn`: the same layers with ordinary convolutions of twice as many maps.

    Example:
        >>> from tfinv.models import z2cnn
        >>> z2cnn((28, 28, 1), 10, batch_normalization=False).count_params()
        21510

    Args:
        input_shape: `(H, W, C)`, square, of an even size of at least 12.
        classes: number of logits.
        filters: channels of the first six layers.
        dropout: share of activations left out in training after layers 1, 3, 4, 5 and 6; 0 for none.
        batch_normalization: normalize after all convolutions but the last.
        initializer: a Keras initializer by name for the kernels; biases start at zero.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind, or an image that is too small, not square or of odd size.

    Source: Cohen and Welling 2016, "Group equivariant convolutional networks", section 8.1.
    """
    check_counts(filters=filters)
    check_dropout(dropout)
    blocks = Blocks("relu", batch_normalization, initializer)
    image = _image(input_shape, classes)
    x = image
    for number in range(1, 3 + _after_pooling(image)):
        x = blocks.conv(x, filters, 3, f"conv{number}", padding="valid")
        x = blocks.act(blocks.norm(x, f"bn{number}"), f"act{number}")
        if number != 2 and dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout{number}")(x)
        if number == 2:
            x = keras.layers.MaxPooling2D(2, name="pool")(x)
    x = blocks.conv(x, classes, 4, "class_maps", padding="valid")
    return keras.Model(image, keras.layers.GlobalMaxPooling2D(name="logits")(x), name=name)


def _image(input_shape: Any, classes: Any) -> Tensor:
    """The input of both networks: a 4x4 convolution follows the pooling of an even size."""
    image = square_input(input_shape, classes, at_least=12)
    if image.shape[1] % 2:
        raise ValueError(f"input_shape must be square and of even size for this model. Received: {input_shape!r}")
    return image


def _after_pooling(image: Tensor) -> int:
    """How many 3x3 convolutions have room between the pooling and the 4x4 convolution, at most 4."""
    return min(4, (image.shape[1] // 2 - 2 - 4) // 2)
