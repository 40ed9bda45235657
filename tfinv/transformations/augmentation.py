"""A Keras layer that shows training each image under a random affine map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from tfinv.support.checks import finite, whole_number
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Images, Tensor
from tfinv.transformations.affine import Affine, sampling_matrices
from tfinv.transformations.draws import MapRanges, backward_matrices
from tfinv.transformations.members import TransformationSet
from tfinv.transformations.sets import as_set, is_built_in, parse
from tfinv.transformations.warp import Interpolation, Padding, warp_each

select_tensorflow_backend()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

Range = float | Sequence[float] | None


class Augmentation(keras.layers.Layer):
    """What the layers that transform training images at random share: how they warp, their seed, and when they act.

    Args:
        interpolation: see `warp`.
        padding: see `warp`.
        fill_value: see `warp`.
        seed: a whole number makes the draws repeatable; None draws anew in every layer.
        **kwargs: of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: a bad option.
    """

    supports_jit = False  # XLA has no kernel for the warp

    def __init__(
        self,
        *,
        interpolation: Interpolation = "bilinear",
        padding: Padding = "constant",
        fill_value: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "augmentation")
        super().__init__(**kwargs)
        if interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation must be one of {get_args(Interpolation)}. Received: {interpolation!r}")
        if padding not in get_args(Padding):
            raise ValueError(f"padding must be one of {get_args(Padding)}. Received: {padding!r}")
        self.interpolation: Interpolation = interpolation
        self.padding: Padding = padding
        self.fill_value = finite("fill_value", fill_value)
        self.seed = None if seed is None else whole_number("seed", seed, 0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def build(self, input_shape: Any) -> None:
        """Refuse shapes that a warp cannot work on; the layer has no weights."""
        _check_images(tf.TensorShape(input_shape))
        self.built = True

    def call(self, images: Images, training: bool = True) -> Any:
        """Images `(N, H, W, C)` of any real dtype; the values keep their range, the dtype is the layer's own."""
        images = tf.convert_to_tensor(images)
        _check_images(images.shape)
        if not training:
            return tf.cast(images, self.compute_dtype)
        return tf.cast(self._augment(tf.cast(images, tf.float32), self.seed_generator), self.compute_dtype)

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
        _check_images(images.shape)
        samples, *shape = images.shape
        augmented = self._augment(tf.repeat(images, n, axis=0), keras.random.SeedGenerator(seed))
        return tf.reshape(augmented, [samples, n, *shape])

    def _augment(self, images: Tensor, seed: Any) -> Tensor:
        """Float32 images, each transformed by a draw of its own."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape does not change."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """How images are warped, and the seed."""
        options = {key: getattr(self, key) for key in ("interpolation", "padding", "fill_value", "seed")}
        return super().get_config() | options


@keras.saving.register_keras_serializable(package="tfinv")
class AffineAugmentation(Augmentation):
    """Draws an affine map for each image of a batch and applies it, unless called with `training=False`.

    Two ways to say which maps: a finite set, of which each image gets a member, all equally likely; or ranges, from
    which reflection, scale, shear, rotation and translation are drawn uniformly and applied in that order.

    The layer works inside a model, in `dataset.map(lambda x, y: (layer(x), y))`, and with
    `Split.as_dataset(augmentation=layer)`. As with Keras' own augmentation layers, `predict`, `evaluate` and
    `model(images, training=False)` pass images through unchanged, and a call that says nothing of training augments.
    Two layers of equal seed draw the same maps in the same order. In a parallel `map` batches would
    race for the next draw.

    Example:
        >>> import numpy as np
        >>> from tfinv.transformations import AffineAugmentation
        >>> images = np.random.default_rng(0).random((4, 16, 16, 1), dtype="float32")
        >>> layer = AffineAugmentation("rotations(16)", seed=0)
        >>> layer(images).shape, bool(np.all(layer(images, training=False) == images))
        (TensorShape([4, 16, 16, 1]), True)
        >>> AffineAugmentation(rotation=180, scale=(0.8, 1.2), seed=0).preview(images, 3).shape
        TensorShape([4, 3, 16, 16, 1])

    Args:
        transformations: a `TransformationSet` of affine maps, its id such as `"rotations(16)"`, or a sequence of
            `Affine`; None where ranges are given.
        rotation: degrees, a number `m` for `[-m, m]` or `(low, high)`; positive turns counter-clockwise.
        scale: factors `(low, high)` of both axes, positive; above 1 magnifies.
        translation: fractions of width and of height, drawn each for itself, `m` for `[-m, m]` or `(low, high)`.
        shear: degrees within (-90, 90) by which vertical lines lean, `m` for `[-m, m]` or `(low, high)`.
        reflection: `"horizontal"` or `"vertical"` mirrors half of the images; None none.
        interpolation: see `warp`.
        padding: see `warp`.
        fill_value: see `warp`.
        seed: a whole number makes the draws repeatable; None draws anew in every layer.
        **kwargs: of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: both a set and ranges or neither, a set with functions or singular maps, a bad range or option.
        TypeError: something else where a set or number is expected.
    """

    def __init__(
        self,
        transformations: TransformationSet | str | Sequence[Affine] | None = None,
        *,
        rotation: Range = None,
        scale: Sequence[float] | None = None,
        translation: Range = None,
        shear: Range = None,
        reflection: str | None = None,
        interpolation: Interpolation = "bilinear",
        padding: Padding = "constant",
        fill_value: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(interpolation=interpolation, padding=padding, fill_value=fill_value, seed=seed, **kwargs)
        self.ranges = MapRanges.of(rotation, scale, translation, shear, reflection)
        self.transformations = None if transformations is None else _affine_set(transformations)
        if (self.transformations is None) == (self.ranges == MapRanges()):
            raise ValueError(
                "transformations must be a set, or rotation, scale, translation, shear or reflection must be given, "
                f"not both. Received: transformations={transformations!r} and {self.ranges}"
            )

    def draw(self, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Draw the maps of the next `count` images, as training would, and show them.

        Args:
            count: how many.

        Returns:
            float32 `(count, 2, 4)`: what `Affine` takes as coefficients.
        """
        return np.asarray(self._coefficients(count, self.seed_generator))

    def _augment(self, images: Images, seed: Any) -> Any:
        count, (height, width) = tf.shape(images)[0], images.shape[1:3]
        if self.transformations is None:
            matrices = backward_matrices(self._coefficients(count, seed), height, width)
        else:
            members = sampling_matrices(_maps(self.transformations), height, width).astype(np.float32)
            matrices = tf.gather(members, self._members(count, seed))
        warped = warp_each(
            images,
            matrices,
            interpolation=self.interpolation,
            padding=self.padding,
            fill_value=self.fill_value,
        )
        return tf.ensure_shape(warped, images.shape)

    def _coefficients(self, count: Any, seed: Any) -> Any:
        if self.transformations is None:
            return self.ranges.draw(count, seed)
        members = np.array([transformation.coefficients for transformation in _maps(self.transformations)], np.float32)
        return tf.gather(members, self._members(count, seed))

    def _members(self, count: Any, seed: Any) -> Any:
        assert self.transformations is not None
        return keras.random.randint((count,), 0, len(self.transformations), seed=seed)

    def get_config(self) -> dict[str, Any]:
        """Everything that `from_config` needs; a set is written as its text."""
        config = super().get_config()
        config["transformations"] = None if self.transformations is None else _text(self.transformations)
        return config | self.ranges.as_dict()


def _affine_set(transformations: Any) -> TransformationSet:
    result = as_set(transformations)
    for member in result:
        if not isinstance(member, Affine):
            raise ValueError(f"transformations must be affine maps, to be drawn for each image. Received: {result.id}")
        if not member.is_invertible:
            raise ValueError(f"transformations must be maps that can be inverted. Received: {member}")
    return result


def _maps(transformations: TransformationSet) -> list[Affine]:
    return [transformation for transformation in transformations if isinstance(transformation, Affine)]


def _text(transformations: TransformationSet) -> str:
    """The id where it reads back as the same set everywhere, otherwise the coefficients of the maps."""
    try:
        if is_built_in(transformations.id) and parse(transformations.id).members == transformations.members:
            return transformations.id
    except ValueError:
        pass
    return TransformationSet(transformations.members).id


def _check_images(shape: Any) -> None:
    if shape.rank != 4 or None in shape[1:]:
        raise ValueError(
            f"images must have the shape (N, H, W, C), of which only N may be unknown. Received: shape {shape}"
        )
