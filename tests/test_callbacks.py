"""The callback: profiles per epoch in history, CSV and TensorBoard, equal to `evaluate` on the trained model."""

from __future__ import annotations

import io

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from PIL import Image

import tfinv
from tfinv.callbacks import InvarianceCallback


def fitted(callback: InvarianceCallback, epochs: int = 3):
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    x, y = generator.random((24, 8, 8, 1), dtype=np.float32), np.arange(24) % 3
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(keras.layers.Flatten(name="flat")(hidden)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, model.fit(x, y, epochs=epochs, verbose=0, callbacks=[callback]).history


def images(count: int = 10) -> np.ndarray:
    return np.random.default_rng(1).random((count, 8, 8, 1), dtype=np.float32)


def test_last_profile_equals_evaluate_on_the_trained_model(tmp_path):
    callback = InvarianceCallback(images(), "rotations(4)", max_samples=6, before=True, csv=tmp_path / "profile.csv")
    model, history = fitted(callback)
    expected = tfinv.evaluate(model, images()[:6], "rotations(4)", "NormalizedVariance", progress=False).profile()
    assert_allclose(callback.profiles[-1]["mean"], expected["mean"], rtol=1e-6)
    assert_allclose(history["NormalizedVariance/logits"][-1], expected["mean"].iloc[-1], rtol=1e-6)
    frame = pd.read_csv(tmp_path / "profile.csv")
    assert sorted(set(frame["epoch"])) == [0, 1, 2, 3]
    assert frame["mean"].notna().all() and callback.seconds > 0


def test_measuring_every_second_epoch_repeats_the_last_value():
    callback = InvarianceCallback(images(), "rotations(4)", every=2, before=True)
    _, history = fitted(callback, epochs=4)
    values = history["NormalizedVariance/logits"]
    assert len(callback.profiles) == 3
    assert values[1] == values[2] != values[3] and values[0] != values[1]


def test_tensorboard_gets_scalars_and_a_heat_map(tmp_path):
    from tensorflow.python.summary.summary_iterator import summary_iterator

    callback = InvarianceCallback(images(), "rotations(4)", tensorboard=tmp_path)
    fitted(callback, epochs=1)
    events = {
        value.tag: tf.make_ndarray(value.tensor)
        for file in tmp_path.iterdir()
        for event in summary_iterator(str(file))
        for value in event.summary.value
    }
    profile = callback.profiles[-1].set_index("layer")["mean"]
    for layer in ("conv", "flat", "logits"):
        assert float(events[f"NormalizedVariance/{layer}"]) == pytest.approx(profile[layer], rel=1e-6)
    width, height, picture = events["NormalizedVariance"]
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (int(width), int(height)) and image.convert("L").getextrema()[0] < 128


def test_max_samples_bounds_what_is_measured():
    class Counting(keras.layers.Layer):
        seen = 0

        def call(self, x):
            return tf.py_function(self.count, [x], tf.float32)

        def count(self, x):
            Counting.seen += len(x)
            return x

        def compute_output_shape(self, shape):
            return shape

    inputs = keras.Input((8, 8, 1))
    x = keras.ops.reshape(Counting(name="count")(inputs), (-1, 8, 8, 1))
    model = keras.Model(inputs, keras.layers.Flatten(name="flat")(x))
    for images_given in (images(40), tf.data.Dataset.from_tensor_slices(images(40)).batch(7).unbatch()):
        Counting.seen = 0
        callback = InvarianceCallback(images_given, "rotations(4)", max_samples=6)
        callback.set_model(model)
        callback.on_epoch_end(0, {})
        assert 6 * 4 <= Counting.seen <= 6 * 4 + 8, "six images, four rotations, and a trial to learn the shapes"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"images": np.full((4, 8, 8, 1), np.nan)}, "images must be finite. Received: NaN or infinity in image 0"),
        ({"images": images(1)}, "images must be at least 2"),
        ({"transformations": "rotations(1)"}, "transformations must"),
        ({"measures": "AccuracyUnder"}, "labels must be given for AccuracyUnder"),
        ({"measures": "NoMeasure"}, "measure must be"),
        ({"layers": 5}, "layers must be names, globs or layer types. Received: 5"),
    ],
)
def test_what_can_never_be_measured_is_refused_when_the_callback_is_made(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        InvarianceCallback(**{"images": images(), "transformations": "rotations(4)", **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": "cnv"}, "layers must .*'cnv'"),
        ({"images": np.zeros((6, 9, 9, 1), np.float32)}, r"images must fit the model's input .*\(9, 9, 1\)"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_before_its_first_step(options, words):
    callback = InvarianceCallback(**{"images": images(), "transformations": "rotations(4)", **options})
    steps = []
    callback.on_train_batch_begin = lambda batch, logs=None: steps.append(batch)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=words):
        fitted(callback)
    assert not steps


@pytest.mark.parametrize("option", ["every", "max_samples"])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be a whole number"):
        InvarianceCallback(images(), "rotations(4)", **{option: 0})
