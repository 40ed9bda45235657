"""Constructs of other people's models: shapes that operators compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tflite_models import decibels
from tfinv import evaluate, tflite
from tfinv.support.quiet import quiet
from tfinv.tflite.files.model import TFLiteModel

L = keras.layers
FLOORS = {"float32": 80, "float16": 40, "dynamic_int8": 25, "static_int8": 20, "weight_int4": 8}
"""Lowest agreement with Keras in dB by recipe."""


def images(count: int) -> Any:
    return np.random.default_rng(0).random((count, 8, 8, 3), dtype=np.float32)


def on_tokens() -> Any:
    """A mixer: dense layers on tokens, and across them."""
    inputs = keras.Input((8, 8, 3))
    x = L.Reshape((16, 8), name="tokens")(L.Conv2D(8, 2, strides=2, name="patch")(inputs))
    x = L.Dense(12, activation="relu", name="dense")(x)
    x = L.Permute((2, 1), name="turned")(L.Dense(8, name="narrow")(x))
    x = L.GlobalAveragePooling1D(name="average")(L.Dense(6, name="across")(x))
    return keras.Model(inputs, L.Dense(5, name="head")(x))


def on_pixels() -> Any:
    """Dense layers on the channels of every pixel, as in ConvNeXt."""
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(8, 3, padding="same", name="conv")(inputs)
    x = L.Dense(12, activation="relu", name="dense")(x)
    x = L.GlobalAveragePooling2D(name="average")(L.Dense(8, name="narrow")(x))
    return keras.Model(inputs, L.Dense(5, name="head")(x))


@pytest.mark.parametrize("build", [on_tokens, on_pixels])
def test_dense_on_more_than_vectors_by_every_recipe(build: Callable[[], Any]) -> None:
    keras.utils.set_random_seed(0)
    model = build()
    x = images(40)
    inner = np.asarray(keras.Model(model.inputs[0], model.get_layer("dense").output)(x))
    for recipe, floor in FLOORS.items():
        make = getattr(tflite, recipe)
        conversion = make(model, x) if tflite.RECIPES[recipe].calibrates else make(model)
        assert {"dense", "narrow", "head"} <= set(conversion.layers.matched), recipe
        file = TFLiteModel(conversion)
        assert decibels(np.asarray(model(x)), file.predict(x)) > floor, recipe
        activations = file(x)["dense"]
        assert activations.shape == inner.shape == (40, *file.layer_shapes["dense"])
        assert decibels(inner, activations) > floor, recipe


def test_a_foreign_file_with_dense_on_tokens_is_measured_in_full() -> None:
    keras.utils.set_random_seed(0)
    model = on_tokens()
    file = TFLiteModel(tflite.float32(model).content)
    assert file.layer_shapes["dense"] == (16, 12)
    chosen = ["dense", "head"]
    options: dict[str, Any] = {"layers": chosen, "progress": False}
    measured = evaluate(file, images(24), "rotations(4)", "NormalizedVariance", **options)["NormalizedVariance"]
    expected = evaluate(model, images(24), "rotations(4)", "NormalizedVariance", **options)["NormalizedVariance"]
    for layer in chosen:
        np.testing.assert_allclose(measured[layer].values, expected[layer].values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("way", ["where", "slice"])
def test_a_layer_whose_shape_depends_on_the_image_is_refused_by_name(way: str) -> None:
    """Where the file tells that its size is open for that reason, before it is run; otherwise with the first image."""

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32)])
    def bright_rows(image: Any) -> Any:
        bright = tf.reduce_mean(image[0], [1, 2]) > 0.5
        if way == "where":
            kept = tf.gather(image, tf.where(bright)[:, 0], axis=1)
        else:
            kept = image[:, : tf.reduce_sum(tf.cast(bright, tf.int32))]
        return tf.reduce_sum(kept, [1, 2])

    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([bright_rows.get_concrete_function()], tf.Module())
        content = converter.convert()
    file = TFLiteModel(content)
    image = np.zeros((1, 8, 8, 3), np.float32)
    image[:, :3] = 1
    if way == "where":
        (name,) = (name for name, why in file.skipped.items() if "depends on the image" in why and "WHERE" in why)
        with pytest.raises(ValueError, match=f"layer '{name}' cannot be measured: its shape depends on the image"):
            file.select(name)
    else:
        with pytest.raises(ValueError, match=r"the same for all images. Received: tensor '.*' of shape \(1, 3, 8, 3\)"):
            file(image)
    np.testing.assert_allclose(file.select(file.output_layer)(image)[file.output_layer], [[24, 24, 24]])
