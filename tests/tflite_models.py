"""Small networks, trained on digits, that the tests of conversion and measurement share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared_models import stored_model

CLASSES = 10


@functools.cache
def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scikit-learn's handwritten digits as `(1797, 16, 16, 1)` in [0, 1], shuffled, and their classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    images = (data.images[order] / 16).astype(np.float32)[..., None].repeat(2, axis=1).repeat(2, axis=2)
    images.setflags(write=False)
    return images, data.target[order]


def residual_network() -> Any:
    """Convolution, batch normalization, ReLU, a depthwise branch with ReLU6, addition, pooling, dense layers."""
    import keras

    layers = keras.layers
    inputs = keras.Input((16, 16, 1), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(inputs)
    x = layers.BatchNormalization(momentum=0.8, name="stem_norm")(x)
    x = layers.ReLU(name="stem_relu")(x)
    x = shortcut = layers.MaxPooling2D(name="pool")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.BatchNormalization(momentum=0.8, name="depthwise_norm")(x)
    x = layers.ReLU(max_value=6.0, name="depthwise_relu")(x)
    x = layers.Conv2D(8, 1, name="point")(x)
    x = layers.BatchNormalization(momentum=0.8, name="point_norm")(x)
    x = layers.Add(name="sum")([x, shortcut])
    x = layers.ReLU(name="sum_relu")(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="wide")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    x = layers.Dropout(0.1, name="dropout")(x)
    x = layers.Dense(32, name="hidden")(x)
    x = layers.ReLU(name="hidden_relu")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x), name="residual")


def plain_network() -> Any:
    """A chain of convolution, depthwise convolution, convolution and dense layers with plain ReLU between."""
    import keras

    layers = keras.layers
    inputs = keras.Input((16, 16, 1), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="first")(inputs)
    x = layers.BatchNormalization(momentum=0.8, name="first_norm")(x)
    x = layers.ReLU(name="first_relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.BatchNormalization(momentum=0.8, center=False, scale=False, name="depthwise_norm")(x)
    x = layers.ReLU(name="depthwise_relu")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="second")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x), name="plain")


@functools.cache
def trained(build: Callable[[], Any], name: str = "") -> Any:
    """The network with its stored weights, once per process; do not change them.

    Args:
        build: `residual_network` or `plain_network`.
        name: where its weights are stored, if not under its own name.
    """
    model = stored_model(name or build.__name__.removesuffix("_network"), build)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def decibels(reference: Any, other: Any) -> float:
    """SQNR: `10 log10(sum(x^2) / sum((x - y)^2))`, in float64."""
    reference, other = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    noise = ((reference - other) ** 2).sum()
    return float("inf") if noise == 0 else float(10 * np.log10((reference**2).sum() / noise))
