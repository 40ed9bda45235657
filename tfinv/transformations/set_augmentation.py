"""A Keras layer that shows each training image under one member of any set, photometric ones included."""

from __future__ import annotations

from typing import Any

from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Tensor
from tfinv.transformations.augmentation import AffineAugmentation, Augmentation
from tfinv.transformations.members import TransformationSet
from tfinv.transformations.sets import as_set, is_built_in, parse
from tfinv.transformations.warp import warp

select_tensorflow_backend()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402


@keras.saving.register_keras_serializable(package="tfinv")
class SetAugmentation(Augmentation):
    """Draws a member of a set for each image of a batch and applies it, unless called with `training=False`.

    For sets of affine maps alone `AffineAugmentation` does the same in one operation. This layer takes every set:
    `"brightness(9, 0.3)"`, `"product(rotations(16), jpeg(4, 20))"`, or functions of images.

    Example:
        >>> import numpy as np
        >>> from tfinv.transformations import SetAugmentation
        >>> images = np.random.default_rng(0).random((4, 8, 8, 3), dtype="float32")
        >>> layer = SetAugmentation("brightness(5, 0.2)", seed=0)
        >>> layer(images).shape, bool(np.all(layer(images, training=False) == images))
        (TensorShape([4, 8, 8, 3]), True)

    Args:
        transformations: a `TransformationSet`, its id, or a sequence of transformations.
        **options: `interpolation`, `padding`, `fill_value` and `seed` as of `AffineAugmentation`, and those of
            `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: a set or a seed that does not fit.
        TypeError: something else where a set is expected.
    """

    def __init__(self, transformations: TransformationSet | str, **options: Any) -> None:
        super().__init__(**options)
        self.transformations = as_set(transformations)

    def _augment(self, images: Tensor, seed: Any) -> Tensor:
        numbers = keras.random.randint((tf.shape(images)[0],), 0, len(self.transformations), seed=seed)

        def member(image: Tensor, number: int) -> Tensor:
            chosen = TransformationSet((self.transformations[number],))
            options: dict[str, Any] = {"interpolation": self.interpolation, "padding": self.padding}
            return warp(image[None], chosen, fill_value=self.fill_value, **options)[0, 0]

        def one(pair: tuple[Tensor, Tensor]) -> Tensor:
            image, number = pair
            branches = [lambda k=k: member(image, k) for k in range(len(self.transformations))]
            return tf.switch_case(number, branches)

        shape = tf.TensorSpec(images.shape[1:], tf.float32)
        return tf.map_fn(one, (images, numbers), fn_output_signature=shape)

    def get_config(self) -> dict[str, Any]:
        """Everything that `from_config` needs; the set is written as its id.

        Raises:
            ValueError: the id does not read back as the same set, because of functions of the user's own.
        """
        text = self.transformations.id
        if not is_built_in(text) or parse(text) != self.transformations:
            raise ValueError(f"a set can be saved if tfinv's own families made it. Received: {text}")
        return super().get_config() | {"transformations": text}


def augmentation_layer(transformations: TransformationSet | str, **options: Any) -> keras.layers.Layer:
    """The layer that draws members of a set for training: `AffineAugmentation` where it can, else `SetAugmentation`.

    Args:
        transformations: see `SetAugmentation`.
        **options: of either layer.

    Returns:
        The layer.
    """
    chosen = as_set(transformations)
    return AffineAugmentation(chosen, **options) if chosen.is_affine else SetAugmentation(chosen, **options)
