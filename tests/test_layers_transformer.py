"""Spatial transformers and TI-pooling: gradients, values, exactness, files, and what int8 does to the sampler."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from tfinv import models, tflite
from tfinv.layers import SpatialTransformer, TIPooling
from tfinv.layers.sampler import sample
from tfinv.transformations import Affine, rotations, warp


def images(count: int = 2, size: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(3).random((count, size, size, channels), dtype=np.float32)


# --- sampler ---------------------------------------------------------------------------------------------------------


def sample_by_hand(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The double sum of the definition in float64 for one image."""
    rows, columns = np.arange(image.shape[0]), np.arange(image.shape[1])
    tent_x = np.maximum(0, 1 - np.abs(x[..., None] - columns))
    tent_y = np.maximum(0, 1 - np.abs(y[..., None] - rows))
    return np.einsum("pqn,pqm,nmc->pqc", tent_y, tent_x, image.astype(np.float64))


def positions(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions in the frame and a little outside, none near a whole number, where there is no derivative."""
    generator = np.random.default_rng(1)
    whole = generator.integers(-1, size, (2, count, 3, 4))
    return tuple((whole + generator.uniform(0.2, 0.8, whole.shape)).astype(np.float32))


def test_sampling_equals_the_definition():
    pictures, (x, y) = images(2, 6, 3), positions(2, 6)
    result = sample(pictures, x, y)
    for number in range(2):
        assert_allclose(result[number], sample_by_hand(pictures[number], x[number], y[number]), atol=1e-5)


def test_gradients_equal_finite_differences_in_both_arguments():
    pictures, (x, y) = images(1, 6, 2), positions(1, 6)
    towards = np.random.default_rng(2).normal(size=(1, 3, 4, 2))
    tensors = [tf.constant(values) for values in (pictures, x, y)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        total = tf.reduce_sum(sample(*tensors) * tf.constant(towards, tf.float32))
    gradients = tape.gradient(total, tensors)

    def value(arguments: list[np.ndarray]) -> float:
        return float((sample_by_hand(arguments[0][0], arguments[1][0], arguments[2][0]) * towards[0]).sum())

    for number, gradient in enumerate(gradients):
        expected = np.zeros(gradient.shape)
        for place in np.ndindex(*gradient.shape):
            ends = []
            for step in (-1e-4, 1e-4):
                moved = [np.array(values, np.float64) for values in (pictures, x, y)]
                moved[number][place] += step
                ends.append(value(moved))
            expected[place] = (ends[1] - ends[0]) / 2e-4
        assert np.abs(expected).max() > 0.1
        assert_allclose(gradient, expected, atol=1e-4)


def test_the_gradient_at_a_whole_position_is_the_central_difference():
    picture, x, y = images(1, 5), tf.constant([[[2.0]]]), tf.constant([[[3.0]]])
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        value = sample(picture, x, y)[0, 0, 0, 0]
    along_x, along_y = tape.gradient(value, [x, y])
    assert_allclose(along_x, [[[(picture[0, 3, 3, 0] - picture[0, 3, 1, 0]) / 2]]], rtol=1e-5)
    assert_allclose(along_y, [[[(picture[0, 4, 2, 0] - picture[0, 2, 2, 0]) / 2]]], rtol=1e-5)


# --- spatial transformer ---------------------------------------------------------------------------------------------


def test_a_transformer_warps_like_warp():
    pictures = images(3, 9)
    turn = Affine.rotation(25)
    numbers = np.array([[np.cos(np.radians(25)), np.sin(np.radians(25))]] * 3, np.float32)
    expected = warp(pictures, [turn])[:, 0]
    assert_allclose(SpatialTransformer("rotation")([pictures, 7 * numbers]), expected, atol=1e-4)  # length is no matter
    affine = np.tile(np.linalg.inv(turn.matrix)[:2].reshape(1, 6).astype(np.float32), (3, 1))
    assert_allclose(SpatialTransformer("affine")([pictures, affine]), expected, atol=1e-4)
    zoom = np.array([[0.5, 2 / 9, 0.0]] * 3, np.float32)
    both = Affine.translation(-1 / 9, 0).compose(Affine.scale(2))
    moved = SpatialTransformer("translation_scale")([pictures, zoom])
    assert_allclose(moved[:, 2:-2, 2:-2], warp(pictures, [both])[:, 0, 2:-2, 2:-2], atol=1e-4)


@pytest.mark.parametrize(
    ("parameters", "shape", "head"),
    [(32_402, (28, 28, 1), "rotation"), (32_534, (28, 28, 1), "affine"), (41_650, (32, 32, 3), "rotation")],
)
def test_localisation_networks_have_the_size_of_the_study(parameters: int, shape: tuple[int, int, int], head: str):
    model = models.st_cnn(shape, 10, head=head, filters=2, dense=2)
    where = [layer.count_params() for layer in model.layers if layer.name.startswith("where")]
    assert sum(where) == parameters


def test_a_new_network_leaves_images_as_they_are_and_learns_where_to_look(tmp_path):
    model = models.build("st_cnn", (16, 16, 1), 4, seed=0, filters=2, dense=4)
    seen = keras.Model(model.inputs[0], model.get_layer("transformer").output)
    assert_allclose(seen(images(2, 16)), images(2, 16), atol=1e-5)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images(8, 16), np.arange(8) % 4, epochs=2, verbose=0)
    assert np.abs(model.get_layer("where").kernel).max() > 0
    model.save(tmp_path / "net.keras")
    assert_array_equal(models.load(tmp_path / "net.keras")(images(2, 16)), model(images(2, 16)))


def test_bad_input_of_a_transformer_is_named():
    with pytest.raises(ValueError, match="head must be one of"):
        SpatialTransformer("shear")
    with pytest.raises(ValueError, match="2 numbers for each"):
        SpatialTransformer("rotation")([keras.Input((8, 8, 1)), keras.Input((6,))])


def sampling_network(degrees: float) -> keras.Model:
    """A transformer that turns every image by the same angle; its numbers come from the image by a dense layer."""
    image = keras.Input((28, 28, 1), name="image")
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(image)
    where = keras.layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3, seed=0), name="where")
    numbers = where(mean)
    where.bias.assign([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    return keras.Model(image, SpatialTransformer("rotation", name="transformer")([image, numbers]))


def error_of(file: tflite.Conversion, model: keras.Model, pictures: np.ndarray) -> float:
    """Error of the sampled images as a share of their standard deviation."""
    wanted = np.asarray(model(pictures))
    (given,) = list(tflite.TFLiteModel(file)(pictures).values())[-1:]
    return float(np.sqrt(np.mean((np.asarray(given).reshape(wanted.shape) - wanted) ** 2)) / wanted.std())


def test_int8_destroys_the_sampler_and_a_float_sampler_keeps_it():
    import scipy.ndimage

    model = sampling_network(20)
    pictures = scipy.ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 28, 28, 1)), (0, 2, 2, 0))
    pictures = ((pictures - pictures.min()) / np.ptp(pictures)).astype(np.float32)
    reference = tflite.float32(model)
    assert error_of(reference, model, pictures) < 1e-5
    assert error_of(tflite.static_int8(reference, pictures), model, pictures) > 0.3
    kept = tflite.static_int8(reference, pictures, float_layers=["transformer"])
    assert error_of(kept, model, pictures) < 0.02
    assert not kept.is_integer and kept.operators["FULLY_CONNECTED"] == 1
    with pytest.raises(ValueError, match="float_layers must name layers"):
        tflite.static_int8(reference, pictures, float_layers=["transform"])


# --- TI-pooling ------------------------------------------------------------------------------------------------------


def trunk(size: int = 9) -> keras.Model:
    image = keras.Input((size, size, 1))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="conv")(image)
    return keras.Model(image, keras.layers.Flatten(name="flat")(x))


@pytest.mark.parametrize("padding", ["constant", "nearest"])
def test_pooling_is_the_maximum_over_warped_images(padding: Any):
    layer, pictures = TIPooling(trunk(), "rotations(12)", padding=padding), images(3, 9)
    warped = np.asarray(warp(pictures, rotations(12), padding=padding))
    expected = np.max([layer.trunk(warped[:, j]) for j in range(12)], axis=0)
    assert_allclose(layer(pictures), expected, atol=1e-5)


@pytest.mark.parametrize("size", [8, 9])
def test_four_right_angles_are_exactly_invariant_in_keras_and_int8(size: int):
    image = keras.Input((size, size, 1))
    model = keras.Model(image, keras.layers.Dense(5)(TIPooling(trunk(size), "rotations(4)")(image)))
    pictures = images(32, size)
    file = tflite.static_int8(model, pictures)
    network = tflite.TFLiteModel(file)

    def logits(inputs: np.ndarray) -> np.ndarray:
        return list(network(np.ascontiguousarray(inputs)).values())[-1]

    for turns in (1, 2, 3):
        turned = np.rot90(pictures, turns, (1, 2))
        assert_allclose(model(turned), model(pictures), atol=1e-6)
        assert_array_equal(logits(turned), logits(pictures))
    assert np.ptp(logits(pictures), axis=0).max() > 0.1


def test_sets_that_are_no_group_are_said_so():
    assert TIPooling(trunk(), "rotations(4)").group_note == ""
    assert TIPooling(trunk(), [Affine.identity(), Affine.reflection()]).group_note == ""
    note = TIPooling(trunk(), [Affine.identity(), Affine.rotation(90)]).group_note
    assert "no group" in note and "2 members" in note
    with pytest.raises(ValueError, match="must be affine maps"):
        TIPooling(trunk(), [lambda pictures: pictures])
    with pytest.raises(TypeError, match="trunk must be a Keras model or layer"):
        TIPooling(lambda pictures: pictures)


def test_the_model_of_the_authors(tmp_path):
    options = {"initializer": "zeros", "filters": 40}
    assert models.ti_pooling_laptev((28, 28, 1), 10, **options).count_params() == 13_308_170
    model = models.build("ti_pooling_laptev", (28, 28, 1), 10, seed=0, filters=4, dense=32)
    assert model.get_layer("pad").output.shape == (None, 32, 32, 1)
    assert len(model.get_layer("pool_over_transformations").transformations) == 24
    model.save(tmp_path / "net.keras")
    assert_array_equal(models.load(tmp_path / "net.keras")(images(2, 28)), model(images(2, 28)))
    for size in (28, 27):
        options = {"filters": 4, "dense": 16, "transformations": "rotations(4)"}
        model = models.build("ti_pooling_laptev", (size, size, 1), 3, seed=0, **options)
        x = images(3, size)
        logits = np.asarray(model(x))
        assert logits.std(0).min() > 1e-5
        assert_allclose(model(np.rot90(x, axes=(1, 2))), logits, atol=1e-6)


def test_the_model_of_the_study_and_its_file(tmp_path):
    assert models.ti_pooling((28, 28, 1), 10).count_params() == 236_282
    model = models.build("ti_pooling", (12, 12, 1), 3, seed=0, filters=2, dense=4)
    assert_allclose(model(np.rot90(images(2, 12), axes=(1, 2))), model(images(2, 12)), atol=1e-6)
    model.save(tmp_path / "net.keras")
    assert_array_equal(models.load(tmp_path / "net.keras")(images(2, 12)), model(images(2, 12)))
    maps = [Affine.identity(), Affine.rotation(30)]
    odd = models.build("ti_pooling", (12, 12, 1), 3, seed=0, filters=2, dense=4, transformations=maps)
    odd.save(tmp_path / "odd.keras")
    assert_array_equal(models.load(tmp_path / "odd.keras")(images(2, 12)), odd(images(2, 12)))
