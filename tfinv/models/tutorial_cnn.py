"""TutorialCNN: the two-convolution network of framework tutorials, for which reference profiles exist."""

from __future__ import annotations

from typing import Any

from tfinv.models.blocks import Blocks, check_counts, image_input
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras


@guarded("name")
def tutorial_cnn(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int = 32,
    dense: int = 128,
    activation: str = "relu",
    batch_normalization: bool = False,
    kernel_size: int = 3,
    dilation: int = 1,
    normalization: tuple[float, float] | None = None,
    initializer: str = "glorot_uniform",
    name: str = "tutorial_cnn",
) -> keras.Model:
    """`conv f, act, pool, conv 2f, act, pool, flatten, dense d, act, logits`.

    Example:
        >>> from tfinv.models import tutorial_cnn
        >>> tutorial_cnn((28, 28, 1), 10).count_params()
        421642

    Args:
        input_shape: `(H, W, C)`, at least 4x4.
        classes: number of logits.
        filters: channels `f` of the first convolution.
        dense: units `d` of the hidden dense layer.
        activation: see `Blocks`.
        batch_normalization: normalize after each convolution.
        kernel_size: side of both kernels, odd or even.
        dilation: dilation of the first convolution.
        normalization: mean and standard deviation of the training images' pixels; a first layer `normalize` subtracts
            the one and divides by the other. Of all MNIST (0.1307, 0.3081).
        initializer: see `Blocks`.
        name: the model's name.

    Returns:
        A functional model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an option of the wrong kind or an image smaller than 4x4.
    """
    check_counts(filters=filters, dense=dense, kernel_size=kernel_size, dilation=dilation)
    blocks = Blocks(activation, batch_normalization, initializer)
    image = image_input(input_shape, classes, at_least=4)
    x = image
    if normalization is not None:
        mean, deviation = check_normalization(normalization)
        x = keras.layers.Rescaling(1 / deviation, -mean / deviation, name="normalize")(x)
    for number, width in enumerate((filters, 2 * filters), start=1):
        spread = dilation if number == 1 else 1
        x = blocks.norm(blocks.conv(x, width, kernel_size, f"conv{number}", dilation=spread), f"bn{number}")
        x = keras.layers.MaxPooling2D(name=f"pool{number}")(blocks.act(x, f"act{number}"))
    x = blocks.dense(keras.layers.Flatten(name="flatten")(x), dense, "fc1")
    return keras.Model(image, blocks.dense(blocks.act(x, "fc1_act"), classes, "logits"), name=name)


def check_normalization(value: Any) -> tuple[float, float]:
    """A mean and a positive standard deviation.

    Raises:
        ValueError: anything else.
    """
    numbers = tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(numbers) != 2 or not all(isinstance(number, (int, float)) for number in numbers) or numbers[1] <= 0:
        raise ValueError(f"normalization must be (mean, standard deviation), the latter positive. Received: {value!r}")
    return float(numbers[0]), float(numbers[1])
