"""Layer constructors that the networks of group convolutions share."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

from tfinv.models.blocks import (
    BATCH_NORMALIZATION_EPSILON,
    BATCH_NORMALIZATION_MOMENTUM,
    check_initializer,
    image_input,
)
from tfinv.support.checks import flag, one_of
from tfinv.support.lazy import keras
from tfinv.support.types import Tensor

GroupName = Literal["p4", "p4m"]


@dataclass(frozen=True)
class GroupBlocks:
    """The choices that all layers of one network share, with a method for each kind of layer.

    Args:
        group: `"p4"` or `"p4m"`.
        batch_normalization: whether `norm` adds a layer or passes its input on.
        initializer: a Keras initializer by name for the kernels; biases start at zero.

    Raises:
        TypeError, ValueError: an unknown group or initializer, or no truth value.
    """

    group: GroupName = "p4"
    batch_normalization: bool = True
    initializer: str = "he_normal"

    def __post_init__(self) -> None:
        one_of("group", self.group, GroupName)
        flag("batch_normalization", self.batch_normalization)
        drawn = random.getstate()
        check_initializer(self.initializer)
        random.setstate(drawn)  # what is looked up draws a seed, and a network of one seed stays what it was

    def conv(self, x: Tensor, filters: int, kernel_size: int, name: str, **options: Any) -> Any:
        """A convolution over the group; see `tfinv.layers.P4Conv2D` for the options."""
        from tfinv import layers

        convolution = {"p4": layers.P4Conv2D, "p4m": layers.P4MConv2D}[self.group]
        return convolution(filters, kernel_size, kernel_initializer=self.initializer, name=name, **options)(x)

    def norm(self, x: Tensor, name: str, *, turns: bool = True) -> Any:
        """Batch normalization, or `x` itself where the network has none.

        Args:
            x: maps.
            name: of the layer.
            turns: whether the group permutes the channels of `x`; False after pooling over the group.
        """
        from tfinv import layers

        if not self.batch_normalization:
            return x
        options: dict[str, Any] = {
            "momentum": BATCH_NORMALIZATION_MOMENTUM,
            "epsilon": BATCH_NORMALIZATION_EPSILON,
            "name": name,
        }
        if not turns:
            return keras.layers.BatchNormalization(**options)(x)
        return layers.GroupBatchNormalization(self.group, **options)(x)

    def pool(self, x: Tensor, name: str) -> Any:
        """The maximum over the group: one channel a map."""
        from tfinv import layers

        return layers.GroupPooling(self.group, name=name)(x)


def halved(x: Tensor, name: str) -> tuple[Any, int]:
    """Halve maps so that turned maps stay turned maps: by averages of 2x2 on even sizes, by strides on odd ones.

    A 3x3 or 1x1 convolution with strides of 2 samples an even size off its centre, and the result of a turned image
    would be shifted by a pixel.

    Args:
        x: maps `(N, H, H, C)`.
        name: of the pooling.

    Returns:
        What the next padded convolution takes as input, and its strides.
    """
    if x.shape[1] % 2:
        return x, 2
    return keras.layers.AveragePooling2D(2, name=name)(x), 1


def square_input(input_shape: Any, classes: Any, *, at_least: int) -> Any:
    """The input layer `image` of a network for square images.

    Raises:
        ValueError: see `image_input`, or an image that is not square.
    """
    image = image_input(input_shape, classes, at_least=at_least)
    if image.shape[1] != image.shape[2]:
        raise ValueError(f"input_shape must be square for this model. Received: {input_shape!r}")
    return image
