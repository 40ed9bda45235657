"""The network that only resizes images: what same-equivariance measures give for it is the warp's own error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfinv.support.lazy import keras
from tfinv.support.types import KerasModel

if TYPE_CHECKING:
    from tfinv.results import Results
    from tfinv.statistics import Layer

SAMPLES = 64
"""The floor hardly depends on the images, so a few are enough."""


def map_sizes(layers: Sequence[Layer]) -> dict[str, tuple[int, int]]:
    """`(H', W')` of the layers that form feature maps of more than one position, by name."""
    spatial = (layer for layer in layers if layer.is_spatial and min(layer.shape[:2]) > 1)
    return {layer.name: (layer.shape[0], layer.shape[1]) for layer in spatial}


def identity_network(image_shape: tuple[int, ...], sizes: Mapping[str, tuple[int, int]]) -> KerasModel:
    """A network that does nothing but bring images to the resolution of every layer.

    Args:
        image_shape: `(H, W, C)`.
        sizes: see `map_sizes`; at least one.
    """
    inputs = keras.Input(image_shape)
    outputs = []
    for height, width in dict.fromkeys(sizes.values()):
        name = _name(height, width)
        if (height, width) == tuple(image_shape[:2]):
            outputs.append(keras.layers.Identity(name=name)(inputs))
        else:
            outputs.append(keras.layers.Resizing(height, width, antialias=True, name=name)(inputs))
    return keras.Model(inputs, outputs)


def floors(results: Results, sizes: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, float]]:
    """The floor of every layer: a layer whose value is as low may be perfectly same-equivariant.

    Interpolating there and back costs that much by itself.

    Args:
        results: of the `identity_network`.
        sizes: see `map_sizes`.

    Returns:
        By measure key and layer name the mean over units.
    """
    by_measure = {}
    for key, measure in results.items():
        means = {layer: measure[_name(*size)].mean for layer, size in sizes.items()}
        by_measure[key] = {layer: mean for layer, mean in means.items() if np.isfinite(mean)}
    return by_measure


def _name(height: int, width: int) -> str:
    return f"images_{height}x{width}"
