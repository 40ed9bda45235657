"""Everything random in a training, from one seed: weights, dropout, augmentation, attempts."""

from __future__ import annotations

import inspect

import numpy as np

from tfinv.support.lazy import keras
from tfinv.support.types import Images


def attempt_seed(seed: int, attempt: int) -> int:
    """The seed of an attempt: `seed` itself, then seeds that no other small seed meets in its own restarts.

    Args:
        seed: at least 0.
        attempt: 0 for the first.

    Returns:
        A seed of at most 31 bits for later attempts.
    """
    return int(seed) if attempt == 0 else int(np.random.SeedSequence([seed, attempt]).generate_state(1)[0] >> 1)


def draw_new_weights(model: keras.Model, seed: int) -> None:
    """Give a model random weights as if it had just been built, batch statistics included."""
    keras.utils.set_random_seed(seed)
    model.set_weights(keras.models.clone_model(model).get_weights())


def seed_generators(layer: keras.layers.Layer, seed: int) -> None:
    """Set the random generators inside a built layer or model, each to a stream of its own."""
    generators = [variable for variable in layer.variables if variable.path.endswith("seed_generator_state")]
    for stream, state in enumerate(generators):
        state.assign([seed % 2**31, stream << 20])  # the second number counts draws


def seed_layer(layer: keras.layers.Layer, images: Images, seed: int) -> None:
    """Build an augmentation layer on some images, then set its generators; apart from those of a model of that seed."""
    options = {"training": True} if "training" in inspect.signature(layer.call).parameters else {}
    layer(images, **options)
    seed_generators(layer, seed + 1)
