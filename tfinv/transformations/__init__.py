"""Transformations as data, sets of them, the one warp operation and training augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfinv.transformations.affine import Affine
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

__all__ = [
    "Affine",
    "AffineAugmentation",
    "ImageFunction",
    "Transformation",
    "TransformationSet",
    "affines",
    "as_set",
    "identity",
    "label",
    "parse",
    "product",
    "radian_rotations",
    "register",
    "rotations",
    "scales",
    "translations",
    "warp",
]


def __getattr__(name: str) -> object:
    if name == "AffineAugmentation":  # a Keras layer: its base class costs the import of Keras
        from tfinv.transformations.augmentation import AffineAugmentation

        return AffineAugmentation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
