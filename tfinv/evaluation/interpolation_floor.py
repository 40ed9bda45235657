"""What same-equivariance measures give for the identity network: the warp's own error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.lazy import keras

if TYPE_CHECKING:
    from tfinv.evaluation.options import Warping
    from tfinv.measures import Measure
    from tfinv.statistics import Layer

SAMPLES = 64
"""The floor hardly depends on the images, so a few are enough."""


def interpolation_floor(
    images: Any,
    transformations: Any,
    measures: Sequence[Measure],
    layers: Sequence[Layer],
    warping: Warping,
) -> dict[str, dict[str, float]]:
    """Layer means of same-equivariance measures for a network that only brings images to each layer's resolution.

    A layer cannot be told from a perfectly same-equivariant one when its value is as low as its floor: interpolating
    there and back costs that much by itself.

    Args:
        images: array `(S, H, W, C)`, a few images.
        transformations: the set.
        measures: the measures evaluated; those without a floor are passed over.
        layers: the layers evaluated.
        warping: of the evaluation.

    Returns:
        By measure key and layer name the mean over units; empty where no measure has a floor.
    """
    from tfinv.evaluation.evaluate import evaluate

    chosen = [each for each in measures if getattr(each, "has_interpolation_floor", False)]
    spatial = {layer.name: layer.shape[:2] for layer in layers if layer.is_spatial and min(layer.shape[:2]) > 1}
    if not chosen or not spatial:
        return {}
    inputs = keras.Input(images.shape[1:])
    outputs = []
    for height, width in dict.fromkeys(spatial.values()):
        name = _name(height, width)
        if (height, width) == tuple(images.shape[1:3]):
            outputs.append(keras.layers.Identity(name=name)(inputs))
        else:
            outputs.append(keras.layers.Resizing(height, width, antialias=True, name=name)(inputs))
    model = keras.Model(inputs, outputs)
    # An evaluation that is told its floor does not ask for one.
    own = {"interpolation_floor": {}}
    results = evaluate(model, images, transformations, chosen, progress=False, metadata=own, warping=warping)
    floors = {}
    for key, measure in results.items():
        means = {layer: measure[_name(*size)].mean for layer, size in spatial.items()}
        floors[key] = {layer: mean for layer, mean in means.items() if np.isfinite(mean)}
    return floors


def _name(height: int, width: int) -> str:
    return f"images_{height}x{width}"
