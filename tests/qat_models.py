"""Models for the tests of quantization-aware training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from shared_models import stored_model

from tfinv.activations.layer_graph import flatten
from tfinv.support.types import KerasModel
from tfinv.tflite import agreement
from tfinv.tflite.qat.integer_file import IntegerFile, to_integer_file
from tfinv.tflite.qat.keras_route.model import fake_quantized, set_ranges
from tfinv.tflite.qat.keras_route.rules import is_identity
from tfinv.tflite.qat.match_scopes import output_label

layers = keras.layers
MATCHED = [
    "relu_a", "pool_a", "relu_b", "conv_c", "relu_c", "norm_alone", "conv_elu", "concat", "pool_b", "pool_all",
    "head/relu_d", "head/logits",
]  # fmt: skip
"""Layers of `rich_model` whose output exists in an integer file."""
FUSED = {
    "conv_a": "relu_a", "norm_a": "relu_a", "depthwise": "relu_b", "norm_b": "relu_b", "add": "relu_c",
    "head/dense": "head/relu_d", "head/norm_dense": "head/relu_d",
}  # fmt: skip
"""The others, and what they are fused into."""


def rich_model() -> Any:
    """Every construction that both routes must take, in one small network."""
    keras.utils.set_random_seed(0)

    def norm(name: str) -> Any:
        return layers.BatchNormalization(momentum=0.9, name=name)

    inputs = keras.Input((16, 16, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv_a")(inputs)
    x = layers.ReLU(name="relu_a")(norm("norm_a")(x))
    x = layers.MaxPooling2D(name="pool_a")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.ReLU(6.0, name="relu_b")(norm("norm_b")(x))
    y = layers.Conv2D(16, 1, activation="relu", name="conv_c")(x)
    x = layers.ReLU(name="relu_c")(layers.Add(name="add")([x, y]))
    x = norm("norm_alone")(x)
    y = layers.Conv2D(16, 1, activation="elu", name="conv_elu")(x)
    x = layers.Concatenate(name="concat")([x, y])
    x = layers.Dropout(0.1, name="drop")(layers.AveragePooling2D(2, name="pool_b")(x))
    x = layers.GlobalAveragePooling2D(name="pool_all")(x)
    head = [keras.Input((32,)), layers.Dense(16, name="dense"), norm("norm_dense"), layers.ReLU(name="relu_d")]
    x = keras.Sequential([*head, layers.Dense(10, name="logits")], name="head")(x)
    return keras.Model(inputs, x, name="rich")


def trained_rich_model() -> KerasModel:
    """`rich_model`, trained in floating point on digits."""
    model = stored_model("rich", rich_model)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def conv(name: str, filters: int = 8, kernel_size: int = 3, **options: Any) -> Any:
    return layers.Conv2D(filters, kernel_size, padding="same", name=name, **options)


def small(body: Any) -> Any:
    """A classifier of digits around some layers, with random weights and normalizations that do something."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 16, 1), name="image")
    x = body(inputs)
    x = layers.GlobalAveragePooling2D(name="mean")(x) if len(x.shape) == 4 else x
    model = keras.Model(inputs, layers.Dense(10, name="logits")(x), name="small")
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(size=weight.shape) * 0.2)
    return model


def converted(model: Any, images: Any) -> tuple[IntegerFile, Any, Any]:
    """Fake-quantize with ranges from data, and convert."""
    fake = fake_quantized(model)
    set_ranges(fake.model, [images])
    output = output_label(flatten(model), is_identity)
    file = to_integer_file(lambda x: fake.model(x, training=False), fake.model, images, fake.steps, output, "int8")
    return file, agreement(fake.activations, file.conversion(fake.steps, output), images), fake


def twice(x: Any) -> Any:
    shared, norm = conv("shared"), layers.BatchNormalization(name="norm")
    return norm(shared(norm(shared(conv("first")(x)))))


def inner(x: Any) -> Any:
    body = [
        keras.Input((16, 16, 8)),
        conv("same_name"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
    ]
    return keras.Sequential(body, name="inner")(conv("same_name")(x))


def two_readers(x: Any) -> Any:
    x = conv("a")(x)
    return layers.Add(name="add")([layers.BatchNormalization(name="norm")(x), layers.ReLU(name="relu")(x)])


def sqnr(reference: Any, other: Any) -> float:
    reference, other = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    return float(10 * np.log10(np.sum(reference**2) / np.sum((reference - other) ** 2)))
