"""Input that would give numbers that mean nothing is refused, or measured right."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfinv
from tfinv.activations import ActivationModel
from tfinv.tflite import TFLiteModel, float32, static_int8
from tfinv.training import accuracy

ENDLESS = r"must be finite, such as dataset.take\(100\). Received: a tf.data.Dataset that repeats for ever"


def network(scale: float = 1.0) -> keras.Model:
    """The same weights each time."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.Rescaling(scale, name="scaled")(x)
    return keras.Model(inputs, keras.layers.Dense(3, use_bias=False, name="out")(keras.layers.Flatten(name="flat")(x)))


def images() -> np.ndarray:
    return np.random.default_rng(0).random((24, 8, 8, 1), dtype=np.float32)


def profile(model, data, **options) -> tfinv.MeasureResult:
    measure = "NormalizedVariance"
    return tfinv.evaluate(model, data, "rotations(4)", measure, progress=False, **options)[measure]


def test_images_outside_what_the_input_scale_maps_from_are_refused():
    told = (
        r"images must lie in \[0, 1\], from where the model's input scale .* maps them; divide 0..255 by 255. Received"
    )
    model, data = network(), images()
    file = TFLiteModel(float32(model))
    for source in (file, ActivationModel(model, input_scale="-1..1")):
        for wrong in (data * 255, data * 3 - 1):
            with pytest.raises(ValueError, match=told):
                profile(source, wrong)
        with pytest.raises(ValueError, match=told):
            profile(source, tf.data.Dataset.from_tensor_slices(data * 255), sampling=tfinv.Sampling(0.9))
    for wrong in (data * 255, data * 1e30):
        with pytest.raises(ValueError, match=told):
            file.with_input_scale("-1..1").predict(wrong)
    file = file.with_input_scale("-1..1")
    assert file.predict(data * 1.3 - 0.2).shape == (24, 3), "cubic interpolation leads beyond [0, 1]"
    plain = profile(model, data)["out"].values
    np.testing.assert_allclose(profile(network(1 / 255), data * 255)["out"].values, plain, rtol=1e-4)


def test_a_batch_beyond_memory_and_threads_beyond_reason_are_refused():
    file = float32(network())
    told = r"batch_size must be at most [\d,]+ here: the activations of an image take [\d,]+ bytes.*Received: 100000000"
    with pytest.raises(ValueError, match=told):
        TFLiteModel(file, batch_size=10**8)
    with pytest.raises(ValueError, match=r"num_threads must be at most 1024. Received: 1000000"):
        TFLiteModel(file, num_threads=10**6)
    np.testing.assert_allclose(
        TFLiteModel(file, batch_size=64, num_threads=2).predict(images()),
        TFLiteModel(file).predict(images()),
        atol=1e-6,
    )


def test_endless_data_is_refused_everywhere():
    endless = tf.data.Dataset.from_tensor_slices((images(), np.arange(24) % 3)).repeat()
    for data in (endless, endless.batch(4)):
        with pytest.raises(ValueError, match=f"images {ENDLESS}"):
            profile(network(), data)
        with pytest.raises(ValueError, match=f"data {ENDLESS}"):
            accuracy(network(), data)
    with pytest.raises(ValueError, match=f"calibration {ENDLESS}"):
        static_int8(network(), tf.data.Dataset.from_tensor_slices(images()).repeat())
    few = profile(network(), endless.take(24))["out"].values
    np.testing.assert_allclose(few, profile(network(), images())["out"].values, rtol=1e-6)


@pytest.mark.parametrize("size", [1e18, 1e25])
def test_activations_too_large_for_sums_of_squares_are_refused(size):
    said = r"activations must be at most 1e\+15 in size; scale what the layer gives.* Received: .* in layer 'scaled'"
    for source in (network(size), TFLiteModel(float32(network(size)))):
        with pytest.raises(ValueError, match=said):
            profile(source, images())
        assert np.isfinite(profile(source, images(), layers="conv")["conv"].mean)

    class Function:
        id, input_shape, layer_shapes = "mine", (8, 8, 1), {"scaled": (8, 8, 1)}

        def select(self, layers):
            return self

        def __call__(self, shown):
            return {"scaled": np.asarray(shown) * np.float32(size)}

    with pytest.raises(ValueError, match=said):
        profile(Function(), images())


@pytest.mark.parametrize("size", [1e14, 1e-12, 1e-15, 1e-18])
def test_other_sizes_are_measured_right_or_are_dead(size):
    usual, scaled = profile(network(), images()), profile(network(size), images())
    for layer in ("scaled", "flat", "out"):
        valid = scaled[layer].status == tfinv.Status.VALID
        assert valid.any() == (size > 1e-17)
        np.testing.assert_allclose(scaled[layer].values[valid], usual[layer].values[valid], rtol=1e-3)


def test_a_block_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"memory_budget must be at least .* or a smaller batch_size"):
        profile(network(), images(), batch_size=10**8)
