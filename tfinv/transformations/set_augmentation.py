"""A Keras layer that shows each training image under one member of any set, photometric ones included."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Images, Tensor
from tfinv.transformations.augmentation import AffineAugmentation
from tfinv.transformations.members import TransformationSet
from tfinv.transformations.sets import as_set, is_built_in, parse
from tfinv.transformations.warp import Interpolation, Padding, warp

select_tensorflow_backend()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402


@keras.saving.register_keras_serializable(package="tfinv")
class SetAugmentation(keras.layers.Layer):
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
        interpolation: see `warp`.
        padding: see `warp`.
        fill_value: see `warp`.
        seed: a whole number makes the draws repeatable; None draws anew in every layer.
        **kwargs: of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: a set or a seed that does not fit.
        TypeError: something else where a set is expected.
    """

    supports_jit = False  # XLA has no kernel for the warp

    def __init__(
        self,
        transformations: TransformationSet | str,
        *,
        interpolation: Interpolation = "bilinear",
        padding: Padding = "constant",
        fill_value: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "augmentation")
        super().__init__(**kwargs)
        self.transformations = as_set(transformations)
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise ValueError(f"seed must be a whole number or None. Received: {seed!r}")
        self.interpolation: Interpolation = interpolation
        self.padding: Padding = padding
        self.fill_value = float(fill_value)
        self.seed = None if seed is None else int(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def call(self, images: Images, training: bool = True) -> Any:
        """Images `(N, H, W, C)` of any real dtype; the dtype of the result is the layer's own."""
        images = tf.convert_to_tensor(images)
        if not training:
            return tf.cast(images, self.compute_dtype)
        numbers = keras.random.randint((tf.shape(images)[0],), 0, len(self.transformations), seed=self.seed_generator)
        return tf.cast(self._augment(tf.cast(images, tf.float32), numbers), self.compute_dtype)

    def preview(self, images: Images, n: int, *, seed: int = 0) -> Any:
        """Show what training sees: `n` augmented versions of each image. Leaves the layer's own draws alone.

        Args:
            images: `(S, H, W, C)`, any real dtype.
            n: versions of each image.
            seed: of the draws.

        Returns:
            float32 tensor `(S, n, H, W, C)`.
        """
        images = tf.cast(tf.convert_to_tensor(images), tf.float32)
        samples, *shape = images.shape
        draws = keras.random.SeedGenerator(seed)
        numbers = keras.random.randint((samples * n,), 0, len(self.transformations), seed=draws)
        return tf.reshape(self._augment(tf.repeat(images, n, axis=0), numbers), [samples, n, *shape])

    def _augment(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Image `i` under member `numbers[i]`."""

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

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape does not change."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Everything that `from_config` needs; the set is written as its id.

        Raises:
            ValueError: the id does not read back as the same set, because of functions of the user's own.
        """
        text = self.transformations.id
        if not is_built_in(text) or parse(text) != self.transformations:
            raise ValueError(f"a set can be saved if tfinv's own families made it. Received: {text}")
        config = super().get_config()
        options = {key: getattr(self, key) for key in ("interpolation", "padding", "fill_value", "seed")}
        return config | {"transformations": text} | options


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
