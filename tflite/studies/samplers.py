"""What quantization does to the samplers of spatial transformers, and the recipe that keeps them in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfinv.support.types import KerasModel

if TYPE_CHECKING:
    import pandas as pd

FLOAT_SAMPLER = "static_int8_float_sampler"
"""The name of the recipe."""
DISTORTED_BELOW = 20.0
"""The verdict names a sampler whose images have a signal-to-noise ratio below this, in dB: an error of 10 %."""


def samplers(model: KerasModel) -> list[str]:
    """The names of the spatial transformers of a model.

    Example:
        >>> from tfinv import models
        >>> from tfinv.tflite.studies.samplers import samplers
        >>> samplers(models.st_cnn((16, 16, 1), 3, filters=2, dense=4))
        ['transformer']

    Args:
        model: a Keras model; models inside it count.
    """
    from tfinv.layers import SpatialTransformer

    layers = model._flatten_layers(include_self=False, recursive=True)
    return [layer.name for layer in layers if isinstance(layer, SpatialTransformer)]


def sampler_sentences(layers: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The recipes in which a sampler distorts its images, by their signal-to-noise ratios, and what keeps it.

    Args:
        layers: rows of one measure, with columns `recipe`, `layer` and `sqnr_db`, see `StudyResult`.
        names: of the samplers, see `samplers`.

    Returns:
        A sentence a sampler that distorts images in a recipe, with Markdown emphasis.
    """
    sentences = []
    for name in names:
        rows = layers[layers["layer"] == name] if len(layers) else layers
        decibels = {str(recipe): float(value) for recipe, value in zip(rows["recipe"], rows["sqnr_db"], strict=True)}
        distorted = [f"{recipe} ({value:.0f} dB)" for recipe, value in decibels.items() if value < DISTORTED_BELOW]
        if not distorted:
            continue
        kept = f", with {decibels[FLOAT_SAMPLER]:.0f} dB" if decibels.get(FLOAT_SAMPLER, 0) >= DISTORTED_BELOW else ""
        sentences.append(
            f"**The sampler `{name}` distorts its images** in {', '.join(distorted)}: in int8 its positions have 256 "
            f"levels. The recipe {FLOAT_SAMPLER} keeps the sampler in float32 and quantizes the rest{kept}."
        )
    return sentences
