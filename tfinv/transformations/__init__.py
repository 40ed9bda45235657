"""Transformations as data, sets of them, the one warp operation and training augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfinv.transformations.affine import Affine
from tfinv.transformations.framing import crops, perspective
from tfinv.transformations.members import Chain
from tfinv.transformations.photometric import (
    brightness,
    contrast,
    gamma,
    gaussian_blur,
    gaussian_noise,
    jpeg,
    resize_kernels,
    resizing,
    saturation,
)
from tfinv.transformations.sets import (
    ImageFunction,
    Transformation,
    TransformationSet,
    affines,
    as_set,
    identity,
    label,
    parse,
    product,
    radian_rotations,
    register,
    rotations,
    scales,
    translations,
)
from tfinv.transformations.warp import warp

if TYPE_CHECKING:
    from tfinv.transformations.augmentation import AffineAugmentation
    from tfinv.transformations.set_augmentation import SetAugmentation

__all__ = [
    "Affine",
    "AffineAugmentation",
    "Chain",
    "ImageFunction",
    "SetAugmentation",
    "Transformation",
    "TransformationSet",
    "affines",
    "as_set",
    "brightness",
    "contrast",
    "crops",
    "gamma",
    "gaussian_blur",
    "gaussian_noise",
    "identity",
    "jpeg",
    "label",
    "parse",
    "perspective",
    "product",
    "radian_rotations",
    "register",
    "resize_kernels",
    "resizing",
    "rotations",
    "saturation",
    "scales",
    "translations",
    "warp",
]


def __getattr__(name: str) -> object:
    if name == "AffineAugmentation":  # a Keras layer: its base class costs the import of Keras
        from tfinv.transformations.augmentation import AffineAugmentation

        return AffineAugmentation
    if name == "SetAugmentation":
        from tfinv.transformations.set_augmentation import SetAugmentation

        return SetAugmentation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
