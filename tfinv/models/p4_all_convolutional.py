"""P4 All-CNN: AllConvolutional made of group convolutions."""

from __future__ import annotations

from tfinv.models.blocks import check_counts
from tfinv.models.group_blocks import GroupBlocks, GroupName, halved, square_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras


@guarded("name")
def p4_all_convolutional(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 8,
    group: GroupName = "p4",
    batch_normalization: bool = False,
    initializer: str = "he_normal",
    name: str = "p4_all_convolutional",
) -> keras.Model:
    """The layers of `all_convolutional` as group convolutions; its logits do not change when the image is turned.

    `conv f, conv f, conv f /2, conv 2f, conv 2f, conv 2f /2, conv 2f, conv1x1 2f, conv1x1 classes, mean over positions,
    maximum over turns`, all padded, ReLU after all convolutions but the last. Maps of an even size are halved by
    averages of 2x2 before the convolution instead of by its strides, which would break the equivariance.

    Half as many maps as the plain network has channels make the same number of parameters.

    Example:
        >>> from tfinv.models import p4_all_convolutional
        >>> p4_all_convolutional((32, 32, 3), 10, filters=48).count_params()
        1369738

    Args:
        input_shape: `(H, W, C)`, square, at least 4x4.
        classes: number of logits.
        filters: maps `f` of the first three layers, each of 4 channels (`"p4m"`: 8).
        group: `"p4"` for the four right-angle rotations, `"p4m"` for these and their mirror images.
        batch_normalization: normalize after all convolutions but the last.
        initializer: a Keras initializer by name for the kernels; biases start at zero.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`; the class maps are its layer `class_maps`.

    Raises:
        ValueError: an option of the wrong kind, or an image that is too small or not square.

    Source: Cohen and Welling 2016, "Group equivariant convolutional networks", section 8.2.
    """
    check_counts(filters=filters)
    blocks = GroupBlocks(group, batch_normalization, initializer)
    image = square_input(input_shape, classes, at_least=4)
    f = filters
    plan = ((f, 3, 1), (f, 3, 1), (f, 3, 2), (2 * f, 3, 1), (2 * f, 3, 1), (2 * f, 3, 2), (2 * f, 3, 1), (2 * f, 1, 1))
    x = image
    for number, (width, kernel, strides) in enumerate(plan, start=1):
        if strides == 2:
            x, strides = halved(x, f"halve{number}")
        x = blocks.conv(x, width, kernel, f"conv{number}", lifting=number == 1, strides=strides, padding="same")
        x = keras.layers.ReLU(name=f"act{number}")(blocks.norm(x, f"bn{number}"))
    x = keras.layers.GlobalAveragePooling2D(name="positions")(blocks.conv(x, classes, 1, "class_maps"))
    return keras.Model(image, blocks.pool(x, "logits"), name=name)
