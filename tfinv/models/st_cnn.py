"""ST-CNN: SimpleConv behind a spatial transformer that turns the image upright, if it learns to."""

from __future__ import annotations

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.models.simple_conv import simple_conv
from tfinv.support.checks import one_of
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor


@guarded("name")
def st_cnn(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    head: str = "rotation",
    filters: int = 32,
    dense: int = 64,
    activation: str = "elu",
    batch_normalization: bool = False,
    initializer: str = "glorot_uniform",
    name: str = "st_cnn",
) -> keras.Model:
    """A spatial transformer with the localisation network of the 2018 study, and `simple_conv` on what it gives.

    Localisation: `conv7 16, max pooling, ReLU, conv5 16, max pooling, ReLU, dense 32, ReLU, dense`, padded; its last
    layer starts with zero weights and the identity as biases.

    Example:
        >>> from tfinv.models import simple_conv, st_cnn
        >>> st_cnn((28, 28, 1), 10).count_params() - simple_conv((28, 28, 1), 10).count_params()
        32402

    Args:
        input_shape: `(H, W, C)`, up to about 64x64.
        classes: number of logits.
        head: `"rotation"`, `"affine"` or `"translation_scale"`, see `tfinv.layers.SpatialTransformer`.
        filters: see `simple_conv`.
        dense: see `simple_conv`.
        activation: see `Blocks`, of `simple_conv`.
        batch_normalization: see `simple_conv`.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind or an image smaller than 4x4.

    Source: Jaderberg et al. 2015, "Spatial transformer networks".
    """
    from tfinv.layers.spatial_transformer import IDENTITY, SpatialTransformer

    check_counts(filters=filters, dense=dense)
    one_of("head", head, IDENTITY)
    image = image_input(input_shape, classes, at_least=4)
    numbers = _localisation(image, IDENTITY[head], initializer)
    x = SpatialTransformer(head, name="transformer")([image, numbers])
    classifier = simple_conv(
        input_shape,
        classes,
        filters=filters,
        dense=dense,
        activation=activation,
        batch_normalization=batch_normalization,
        initializer=initializer,
    )
    for layer in classifier.layers[1:]:
        x = layer(x)
    return keras.Model(image, x, name=name)


def _localisation(image: Tensor, identity: tuple[float, ...], initializer: str) -> Tensor:
    blocks = Blocks("relu", initializer=initializer)
    x = image
    for number, kernel in enumerate((7, 5), start=1):
        x = blocks.conv(x, 16, kernel, f"where_conv{number}")
        x = keras.layers.MaxPooling2D(name=f"where_pool{number}")(x)
        x = blocks.act(x, f"where_act{number}")
    x = blocks.dense(keras.layers.Flatten(name="where_flatten")(x), 32, "where_fc1")
    x = blocks.act(x, "where_fc1_act")
    layer = keras.layers.Dense(len(identity), kernel_initializer="zeros", name="where")
    numbers = layer(x)
    assert layer.bias is not None
    layer.bias.assign(identity)
    return numbers
