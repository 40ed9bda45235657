"""The ways of quantizing that a study compares, by names that say how each file is made (convert -> study)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.convert import recipes as convert
from tfinv.tflite.convert.calibration import with_transformations
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.input_scale import InputScale
from tfinv.transformations import TransformationSet

if TYPE_CHECKING:
    from tfinv.datasets import Split

REFERENCE = "float32"


@dataclass(frozen=True)
class Materials:
    """What files are made from.

    Args:
        model: the Keras model.
        train: images in [0, 1]; training needs their labels.
        transformations: what the files will meet.
        input_scale: from images to model inputs.
        calibration_samples: how many images calibrate, upright or transformed.
        epochs: of every training.
        learning_rate: of every training.
        seed: of everything random.
        progress: show progress bars.
    """

    model: Any
    train: Split
    transformations: TransformationSet
    input_scale: InputScale
    calibration_samples: int
    epochs: int
    learning_rate: float
    seed: int
    progress: bool

    @cached_property
    def upright(self) -> NDArray[np.float32]:
        """Calibration images as they are, in model inputs."""
        return self.input_scale(self._chosen)

    @cached_property
    def transformed(self) -> NDArray[np.float32]:
        """As many calibration images, the same ones, each under one of the transformations."""
        return self.input_scale(with_transformations(self._chosen, self.transformations, per_image=1, seed=self.seed))

    @property
    def _chosen(self) -> NDArray[np.float32]:
        return self.train.subset(min(self.calibration_samples, len(self.train)), self.seed).x

    @property
    def labelled(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Model inputs and classes to train on.

        Raises:
            ValueError: training images without labels.
        """
        if self.train.y is None:
            raise ValueError("train must have labels for recipes that train. Received: images without labels")
        return self.input_scale(self.train.x), self.train.y

    def augmentation(self) -> Any:
        """Training images under the transformations; what comes in from outside the frame is a 0 of the images."""
        from tfinv.transformations import AffineAugmentation

        outside = float(np.mean(self.input_scale.offset))
        return AffineAugmentation(self.transformations, seed=self.seed, fill_value=outside)


def _tuned(materials: Materials, augmented: bool) -> Conversion:
    """The float model trained on like in quantization-aware training, but without rounding: its fair comparison."""
    import keras

    from tfinv.training.train import train

    copy = keras.models.clone_model(materials.model)
    copy.set_weights(materials.model.get_weights())
    train(
        copy,
        materials.labelled,
        epochs=materials.epochs,
        batch_size=32,
        learning_rate=materials.learning_rate,
        augmentation=materials.augmentation() if augmented else None,
        seed=materials.seed,
        progress=materials.progress,
    )
    return convert.float32(copy)


def _qat(materials: Materials, augmented: bool, bits: int = 8, route: Any = "keras") -> Conversion:
    from tfinv.tflite.qat.train import qat_int8

    return qat_int8(
        materials.model,
        materials.labelled,
        materials.epochs,
        route=route,
        learning_rate=materials.learning_rate,
        augmentation=materials.augmentation() if augmented else None,
        seed=materials.seed,
        weight_bits=bits,
        progress=materials.progress,
    )


RECIPES: Mapping[str, tuple[str, Callable[[Materials], Conversion]]] = {
    "float32": ("everything in floating point: the reference", lambda m: convert.float32(m.model)),
    "float16": ("weights in 16-bit floating point", lambda m: convert.float16(m.model)),
    "dynamic_int8": ("8-bit weights, activations quantized on the fly", lambda m: convert.dynamic_int8(m.model)),
    "static_int8": (
        "8-bit weights and activations, calibrated on upright images",
        lambda m: convert.static_int8(m.model, m.upright),
    ),
    "static_int8_transformed": (
        "8-bit weights and activations, calibrated on as many transformed images",
        lambda m: convert.static_int8(m.model, m.transformed),
    ),
    "static_int8_per_tensor": (
        "static_int8 with one scale a kernel instead of one a channel",
        lambda m: convert.static_int8(m.model, m.upright, per_channel=False),
    ),
    "static_int8_equalized": (
        "static_int8 after balancing channel ranges between layers",
        lambda m: convert.static_int8(m.model, m.upright, equalize=True),
    ),
    "static_int8_per_tensor_equalized": (
        "one scale a kernel after balancing channel ranges",
        lambda m: convert.static_int8(m.model, m.upright, per_channel=False, equalize=True),
    ),
    "static_int16x8": (
        "8-bit weights, 16-bit activations, calibrated on upright images",
        lambda m: convert.static_int16x8(m.model, m.upright),
    ),
    "weight_int4": ("4-bit weights, activations in floating point", lambda m: convert.weight_int4(m.model)),
    "qat_int8": ("trained on with 8-bit rounding, then static int8", lambda m: _qat(m, False)),
    "qat_int8_augmented": (
        "trained on with 8-bit rounding on transformed images, then static int8",
        lambda m: _qat(m, True),
    ),
    "qat_int8_tfmot": (
        "the same as qat_int8 by tensorflow-model-optimization",
        lambda m: _qat(m, False, route="tfmot"),
    ),
    "qat_int8_tfmot_augmented": (
        "the same as qat_int8_augmented by tensorflow-model-optimization",
        lambda m: _qat(m, True, route="tfmot"),
    ),
    "qat_int4": (
        "trained on with 4-bit weights and 8-bit activations",
        lambda m: _qat(m, False, bits=4),
    ),
    "qat_int4_augmented": (
        "trained on with 4-bit weights on transformed images",
        lambda m: _qat(m, True, bits=4),
    ),
    "float32_tuned": ("trained on without rounding: what training alone does", lambda m: _tuned(m, False)),
    "float32_tuned_augmented": ("trained on without rounding on transformed images", lambda m: _tuned(m, True)),
}
"""What a recipe does, in words, and the function that does it, by name."""
TRAINED = frozenset(name for name in RECIPES if name.startswith("qat") or "tuned" in name)
"""Recipes that change the weights by training."""
CALIBRATED = frozenset(name for name in RECIPES if name.startswith("static"))
"""Recipes that read calibration images."""


def choose(recipes: str | Sequence[str]) -> tuple[str, ...]:
    """Names of recipes, the reference first.

    Example:
        >>> from tfinv.tflite.studies.recipes import choose
        >>> choose(["weight_int4"])
        ('float32', 'weight_int4')

    Args:
        recipes: `"all"`, one name, or several.

    Raises:
        ValueError: an unknown name (the known ones are listed), or none.
    """
    names = [recipes] if isinstance(recipes, str) else list(recipes)
    if names == ["all"]:
        return tuple(RECIPES)
    unknown = [name for name in names if name not in RECIPES]
    if unknown or not names:
        received = ", ".join(repr(name) for name in unknown) or "none"
        raise ValueError(f"recipes must be 'all' or names among {', '.join(RECIPES)}. Received: {received}")
    return tuple(dict.fromkeys((REFERENCE, *names)))
