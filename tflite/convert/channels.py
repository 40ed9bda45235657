"""Keras models that have the channels of their images first, as models that take them last."""

from __future__ import annotations

from tfinv.activations.layout import input_layout
from tfinv.support.lazy import keras
from tfinv.support.types import KerasModel


def with_channels_last(model: KerasModel) -> KerasModel:
    """The same layers and weights behind a layer that moves channels from the end to the front.

    Example:
        >>> import keras
        >>> from tfinv.tflite.convert.channels import with_channels_last
        >>> conv = keras.layers.Conv2D(4, 3, data_format="channels_first")
        >>> with_channels_last(keras.Sequential([keras.Input((3, 16, 20)), conv])).input_shape
        (None, 16, 20, 3)

    Args:
        model: a functional or sequential model with one input of images.

    Returns:
        The model itself where it takes channels last. Otherwise a new one that shares its layers, which stand below
        the name of the model, such as `functional/conv`.
    """
    if input_layout(model) == "nhwc":
        return model
    channels, height, width = model.inputs[0].shape[1:]
    images = keras.Input((height, width, channels), name="images")
    return keras.Model(images, model(keras.layers.Permute((3, 1, 2), name="channels_to_front")(images)))
