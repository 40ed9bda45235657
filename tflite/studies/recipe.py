"""A recipe: one way to make a `.tflite` file from a Keras model, and what it makes the file from."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfinv.evaluation.options import Warping
from tfinv.support.checks import flag, function, kind_of
from tfinv.support.types import KerasModel
from tfinv.tflite.convert.calibration import with_transformations
from tfinv.tflite.convert.match_keras_layers import layer_map
from tfinv.tflite.convert.recipes import versions
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.input_scale import InputScale
from tfinv.transformations import TransformationSet

if TYPE_CHECKING:
    from keras.layers import Layer

    from tfinv.datasets import Split

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Materials:
    """What a recipe makes a file from.

    Args:
        model: the Keras model.
        train: images in [0, 1]; training needs their labels.
        transformations: the transformations that the files will meet.
        input_scale: the map from images to model inputs.
        calibration_samples: how many images calibrate, upright or transformed.
        epochs: number of epochs of every training.
        learning_rate: learning rate of every training.
        seed: seed of everything random.
        progress: show progress bars.
        warping: padding and interpolation of transformed images.
    """

    model: KerasModel
    train: Split
    transformations: TransformationSet
    input_scale: InputScale
    calibration_samples: int = 200
    epochs: int = 1
    learning_rate: float = 1e-4
    seed: int = 0
    progress: bool = True
    warping: Warping = field(default_factory=Warping)

    @cached_property
    def upright(self) -> NDArray[np.float32]:
        """Calibration images as they are, as model inputs: float32 `(N, H, W, C)`."""
        return self.input_scale(self.calibration)

    @cached_property
    def transformed(self) -> NDArray[np.float32]:
        """The same calibration images, every image under one of the transformations."""
        versions = with_transformations(
            self.calibration, self.transformations, per_image=1, seed=self.seed, warping=self.warping
        )
        return self.input_scale(versions)

    @property
    def calibration(self) -> NDArray[np.float32]:
        """Calibration images in [0, 1], float32 `(N, H, W, C)`."""
        return self.train.subset(min(self.calibration_samples, len(self.train)), self.seed).x

    @property
    def labelled(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Model inputs float32 `(N, H, W, C)` and classes int64 `(N,)` to train on.

        Raises:
            ValueError: training images without labels.
        """
        if self.train.y is None:
            raise ValueError("train must have labels for recipes that train. Received: images without labels")
        return self.input_scale(self.train.x), self.train.y

    def augmentation(self) -> Layer:
        """A layer that transforms training images at random; outside the frame lies the value 0 of images.

        Raises:
            ValueError: transformations of values for a model that wants another scale than 0..1.
        """
        from tfinv.transformations.set_augmentation import augmentation_layer

        outside = float(np.mean(self.input_scale.offset))
        if not self.transformations.is_affine and self.input_scale.text != "0..1":
            raise ValueError(
                "recipes that train under transformations of values need a model for images in 0..1. Received: "
                f"{self.transformations.id} and the input scale {self.input_scale.text}"
            )
        return augmentation_layer(
            self.transformations,
            padding=self.warping.padding,
            interpolation=self.warping.interpolation,
            seed=self.seed,
            fill_value=outside,
        )


@dataclass(frozen=True)
class Recipe:
    """One way to make a `.tflite` file, which `study` compares with others.

    Example:
        >>> from tfinv.tflite import Recipe, static_int8
        >>> def make(materials):
        ...     return static_int8(materials.model, materials.upright, io="int8")
        >>> Recipe("integer_only", "8-bit integers, inputs and outputs too", make, calibrates=True, integer=True).name
        'integer_only'

    Args:
        name: letters, digits, `_`, `-` and `.`: the file is called `<name>.tflite`.
        words: what the recipe does, as a phrase for reports.
        make: the function from `Materials` to the file, a `Conversion` or bytes.
        trains: the recipe changes the weights by training.
        calibrates: the recipe reads calibration images.
        integer: all operators are meant to compute with integers; a study warns of those that do not.

    Raises:
        TypeError: a function that cannot be called.
        ValueError: a name that is no file name.
    """

    name: str
    words: str
    make: Callable[[Materials], Conversion | bytes]
    trains: bool = False
    calibrates: bool = False
    integer: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(f"name must be letters, digits, '_', '-' and '.' of a file name. Received: {self.name!r}")
        kind_of("words", self.words, str, "text")
        for name in ("trains", "calibrates", "integer"):
            flag(name, getattr(self, name))
        function("make", self.make, "a function from Materials to a file")

    def __call__(self, materials: Materials) -> Conversion:
        """Make the file.

        Raises:
            TypeError: `make` returned neither a `Conversion` nor bytes.
        """
        file = self.make(materials)
        if isinstance(file, Conversion):
            return file
        if not isinstance(file, bytes):
            raise TypeError(f"make of {self.name} must return a Conversion or bytes. Received: {type(file).__name__}")
        return Conversion(file, self.name, {}, layer_map(file, materials.model), "", versions())
