"""FFNet: dense layers only, the baseline without any built-in translation structure."""

from __future__ import annotations

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras


@guarded("name")
def ffnet(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    hidden: tuple[int, ...] = (64, 32),
    activation: str = "elu",
    batch_normalization: bool = False,
    initializer: str = "glorot_uniform",
    name: str = "ffnet",
) -> keras.Model:
    """Flatten, hidden dense layers with an activation each, logits.

    Example:
        >>> from tfinv.models import ffnet
        >>> ffnet((28, 28, 1), 10).count_params()
        52650

    Args:
        input_shape: `(H, W, C)`.
        classes: number of logits.
        hidden: units of the hidden layers, in order.
        activation: see `Blocks`.
        batch_normalization: normalize before each activation.
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind.
    """
    if not isinstance(hidden, (tuple, list)):
        raise ValueError(f"hidden must be a tuple of unit counts such as (64, 32). Received: {hidden!r}")
    check_counts(**{f"hidden[{index}]": units for index, units in enumerate(hidden)})
    blocks = Blocks(activation, batch_normalization, initializer)
    image = image_input(input_shape, classes)
    x = keras.layers.Flatten(name="flatten")(image)
    for number, units in enumerate(hidden, start=1):
        x = blocks.norm(blocks.dense(x, units, f"fc{number}"), f"bn{number}")
        x = blocks.act(x, f"act{number}")
    return keras.Model(image, blocks.dense(x, classes, "logits"), name=name)
