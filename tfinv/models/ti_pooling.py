"""TI-pooling networks: the convolutions of SimpleConv on every transformation of the image, then the maximum."""

from __future__ import annotations

from typing import Any

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.models.simple_conv import simple_conv
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras


@guarded("name")
def ti_pooling(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    transformations: Any = "rotations(4)",
    filters: int = 16,
    dense: int = 64,
    activation: str = "elu",
    batch_normalization: bool = False,
    initializer: str = "glorot_uniform",
    name: str = "ti_pooling",
) -> keras.Model:
    """The convolutions of `simple_conv` with shared weights on every transformation, maximum, two dense layers.

    Exactly invariant to the four right-angle turns of a square image with `"rotations(4)"`; see
    `tfinv.layers.TIPooling` for other sets.

    Example:
        >>> from tfinv.models import ti_pooling
        >>> ti_pooling((28, 28, 1), 10).count_params()
        236282

    Args:
        input_shape: `(H, W, C)`.
        classes: number of logits.
        transformations: a set of affine maps, or its id.
        filters: see `simple_conv`.
        dense: width of the hidden dense layer.
        activation: see `Blocks`.
        batch_normalization: normalize after each convolution.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind, an image smaller than 4x4, or transformations that are no affine maps.

    Source: Laptev et al. 2016, "TI-pooling"; the variant of the 2021 study, which pools after the convolutions.
    """
    from tfinv.layers.ti_pooling import TIPooling

    check_counts(filters=filters, dense=dense)
    blocks = Blocks(activation, batch_normalization, initializer)
    image = image_input(input_shape, classes, at_least=4)
    whole = simple_conv(
        input_shape,
        classes,
        filters=filters,
        dense=dense,
        activation=activation,
        batch_normalization=batch_normalization,
        initializer=initializer,
    )
    trunk = keras.Model(whole.inputs, whole.get_layer("flatten").output, name="trunk")
    x = TIPooling(trunk, transformations, name="pool_over_transformations")(image)
    x = blocks.act(blocks.dense(x, dense, "fc1"), "fc1_act")
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)
