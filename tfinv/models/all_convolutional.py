"""AllConvolutional: convolutions only, strided ones in place of pooling."""

from __future__ import annotations

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras


@guarded("name")
def all_convolutional(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 16,
    activation: str = "elu",
    batch_normalization: bool = False,
    initializer: str = "glorot_uniform",
    name: str = "all_convolutional",
) -> keras.Model:
    """Nine convolutions and a mean over space, without pooling or dense layers.

    `conv f, conv f, conv f /2, conv 2f, conv 2f, conv 2f /2, conv 2f, conv1x1 2f, conv1x1 classes, mean`, an activation
    after all but the class maps. The 1x1 convolutions are not padded, so the class maps see the image and nothing else.

    Example:
        >>> from tfinv.models import all_convolutional
        >>> all_convolutional((28, 28, 1), 10).count_params()
        38570

    Args:
        input_shape: `(H, W, C)`.
        classes: number of logits.
        filters: channels `f` of the first three convolutions.
        activation: see `Blocks`.
        batch_normalization: add batch normalization before each activation.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`; the class maps are its layer `class_maps`.

    Raises:
        ValueError: an option of the wrong kind.

    J. T. Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015.
    """
    check_counts(filters=filters)
    blocks = Blocks(activation, batch_normalization, initializer)
    image = image_input(input_shape, classes)
    f = filters
    plan = ((f, 3, 1), (f, 3, 1), (f, 3, 2), (2 * f, 3, 1), (2 * f, 3, 1), (2 * f, 3, 2), (2 * f, 3, 1), (2 * f, 1, 1))
    x = image
    for number, (width, kernel, strides) in enumerate(plan, start=1):
        x = blocks.conv(x, width, kernel, f"conv{number}", strides=strides)
        x = blocks.act(blocks.norm(x, f"bn{number}"), f"act{number}")
    x = blocks.conv(x, classes, 1, "class_maps")
    return keras.Model(image, keras.layers.GlobalAveragePooling2D(name="logits")(x), name=name)
