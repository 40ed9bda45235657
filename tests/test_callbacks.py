"""The callback: profiles per epoch in history, CSV and TensorBoard, equal to `evaluate` on the trained model."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

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

    fitted(InvarianceCallback(images(), "rotations(4)", tensorboard=tmp_path), epochs=1)
    events = [
        value for file in tmp_path.iterdir() for event in summary_iterator(str(file)) for value in event.summary.value
    ]
    tags = {value.tag for value in events}
    assert {"NormalizedVariance/conv", "NormalizedVariance/logits", "NormalizedVariance"} <= tags


@pytest.mark.parametrize("option", ["every", "max_samples"])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be a whole number"):
        InvarianceCallback(images(), "rotations(4)", **{option: 0})
