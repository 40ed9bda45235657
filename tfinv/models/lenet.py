"""LeNet: the network of 1998, with ReLU and max pooling as it is used today."""

from __future__ import annotations

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras


@guarded("name")
def lenet(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: tuple[int, int] = (6, 16),
    dense: tuple[int, int] = (120, 84),
    activation: str = "relu",
    batch_normalization: bool = False,
    initializer: str = "glorot_uniform",
    name: str = "lenet",
) -> keras.Model:
    """`conv f1, act, pool, conv f2, act, pool, flatten, dense d1, act, dense d2, act, logits`.

    Kernels are 5x5 without padding. Every map of the second convolution sees all maps of the first, which was a table
    of connections in 1998.

    Example:
        >>> from tfinv.models import lenet
        >>> lenet((32, 32, 1), 10).count_params()
        61706

    Args:
        input_shape: `(H, W, C)`, at least 16x16.
        classes: number of logits.
        filters: channels of the two convolutions.
        dense: units of the two hidden dense layers.
        activation: see `Blocks`.
        batch_normalization: normalize after each convolution.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind or an image smaller than 16x16.

    Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    for option, values in (("filters", filters), ("dense", dense)):
        if not isinstance(values, (tuple, list)) or len(values) != 2:
            raise ValueError(f"{option} must be two whole numbers. Received: {values!r}")
        check_counts(**{option: values[0]})
        check_counts(**{option: values[1]})
    blocks = Blocks(activation, batch_normalization, initializer)
    x = image = image_input(input_shape, classes, at_least=16)
    for number, width in enumerate(filters, start=1):
        x = blocks.norm(blocks.conv(x, width, 5, f"conv{number}", padding="valid"), f"bn{number}")
        x = keras.layers.MaxPooling2D(name=f"pool{number}")(blocks.act(x, f"act{number}"))
    x = keras.layers.Flatten(name="flatten")(x)
    for number, units in enumerate(dense, start=1):
        x = blocks.act(blocks.dense(x, units, f"fc{number}"), f"fc{number}_act")
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)
