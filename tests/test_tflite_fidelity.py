"""Fidelity of activations: every number against float64 NumPy, limits of integers, merging, bad values."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from tfinv.activations import ActivationModel
from tfinv.engine.batches import ImageBatches
from tfinv.evaluation import Warping
from tfinv.tflite import TFLiteModel, float32, static_int8
from tfinv.tflite.comparison.fidelity import COLUMNS, Fidelity, FidelityRecorder
from tfinv.tflite.comparison.limits import Limits
from tfinv.tflite.comparison.observing import Observer
from tfinv.tflite.comparison.paired_run import PairedRun
from tfinv.tflite.files.tensors import FileTensor
from tfinv.transformations import rotations


@pytest.fixture
def pair(rng):
    before = rng.normal(size=(7, 40, 31, 5)).astype(np.float32) * 3 + 1
    return before, before + rng.normal(size=before.shape).astype(np.float32) * 0.1


def tensor(dtype: str = "int8", scale: float = 0.05, zero: int = -10, scales: int = 1) -> FileTensor:
    return FileTensor(0, "t", (1, 4), dtype, np.full(scales, scale, np.float32), np.full(scales, zero), 0, 0, 0)


def test_numbers_are_those_of_float64(pair):
    before, after = (array.astype(np.float64) for array in pair)
    values = Fidelity().update(*pair).values()
    noise = np.square(after - before)
    assert_allclose(values["sqnr_db"], 10 * np.log10(np.square(before).sum() / noise.sum()), atol=1e-4)
    assert_allclose(values["effective_bits"], (values["sqnr_db"] - 1.76) / 6.02, rtol=1e-12)
    cosine = (before * after).sum() / np.sqrt(np.square(before).sum() * np.square(after).sum())
    assert_allclose(values["cosine"], cosine, rtol=1e-6)
    assert_allclose(values["mse"], noise.mean(), rtol=1e-5)
    assert_allclose(values["max_error"], np.abs(after - before).max(), rtol=1e-6)
    ranges = [before.min(), before.max(), after.min(), after.max()]
    assert [values[f"range_{s}_{e}"] for s in ("before", "after") for e in ("min", "max")] == ranges
    assert math.isnan(values["saturated"]) and math.isnan(values["clipped"])


def test_blocks_and_merging_change_nothing(pair):
    whole = Fidelity().update(*pair)
    by_block, parts = Fidelity(), []
    for start in (0, 1, 4):
        block = [array[start : {0: 1, 1: 4, 4: 7}[start]] for array in pair]
        by_block = by_block.update(*block)
        parts.append(Fidelity().update(*block))
    merged = parts[2].merge(parts[0]).merge(parts[1]).merge(Fidelity())
    for name in COLUMNS:
        assert_allclose([by_block.values()[name], merged.values()[name]], whole.values()[name], rtol=1e-6)


def test_long_sums_keep_their_precision(rng):
    before = (1000 + rng.normal(size=2**21)).astype(np.float32)
    after = before + np.float32(0.5)
    assert_allclose(Fidelity().update(before, after).values()["mse"], 0.25, rtol=1e-6)
    expected = 10 * np.log10(np.square(before, dtype=np.float64).mean() / 0.25)
    assert_allclose(Fidelity().update(before, after).values()["sqnr_db"], expected, atol=1e-5)


def test_equal_and_silent_activations():
    ones, zeros = np.ones(5, np.float32), np.zeros(5, np.float32)
    assert Fidelity().update(ones, ones).values()["sqnr_db"] == math.inf
    assert Fidelity().update(ones, ones).values()["cosine"] == 1.0
    assert Fidelity().update(zeros, ones).values()["sqnr_db"] == -math.inf
    assert math.isnan(Fidelity().update(zeros, ones).values()["cosine"])
    assert all(math.isnan(value) for value in Fidelity().values().values())


def test_limits_are_what_integers_stand_for():
    limits = Limits.of(tensor(scale=0.5, zero=3))
    assert limits == Limits((-128 - 3) * 0.5, (127 - 3) * 0.5, 0.5)
    assert Limits.of(tensor(dtype="float32", scales=0)) is None
    assert Limits.of(tensor(dtype="uint8", zero=0, scale=0.1)).low == 0.0


def test_saturated_and_clipped_values_are_counted():
    limits = Limits(low=-1.0, high=2.0, step=0.1)
    before = np.array([-1.2, -1.04, -1.0, 0.0, 2.04, 2.06, 5.0, 1.0], np.float32)
    after = np.clip(before, -1.0, 2.0)
    values = Fidelity(limits=limits).update(before, after).values()
    assert values["saturated"] == 6 / 8, "all values at a limit"
    assert values["clipped"] == 3 / 8, "those that a step could not hold"


def test_a_rectifiers_zero_is_not_saturation():
    limits = Limits(low=0.0, high=2.0, step=0.1)
    before = np.array([0.0, 0.0, 0.0, 1.0], np.float32)
    assert Fidelity(limits=limits).update(before, before).values()["saturated"] == 0.0


def test_a_recorder_follows_the_pairs():
    recorder = FidelityRecorder({"conv": "conv_q", "logits": "out"}, {"conv_q": tensor(scale=1.0, zero=0)})
    before = {"conv": np.full((2, 3), 200.0, np.float32), "logits": np.ones((2, 2), np.float32)}
    after = {"conv_q": np.full((2, 3), 127.0, np.float32), "out": np.ones((2, 2), np.float32) * 2}
    recorder.update(before, after)
    frame = recorder.to_frame()
    assert frame["layer"].tolist() == ["conv", "logits"] and frame["after_layer"].tolist() == ["conv_q", "out"]
    assert frame["clipped"][0] == 1.0 and np.isnan(frame["clipped"][1])
    assert frame["max_error"].tolist() == [73.0, 1.0]
    with pytest.raises(ValueError, match=r"layer 'conv'.*finite"):
        recorder.update({**before, "conv": np.full((2, 3), np.nan, np.float32)}, after)


def test_activations_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shape of before, \(2,\). Received: \(3,\)"):
        Fidelity().update(np.ones(2), np.ones(3))


def test_layers_that_do_not_fit_together_are_compared_one_after_the_other_with_the_same_bits():
    inputs = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(8, 3, activation="relu", name="first")(inputs)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="second")(x)
    x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
    network = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
    images = np.random.default_rng(0).random((40, 16, 16, 1), dtype=np.float32)
    before, after = TFLiteModel(float32(network)), TFLiteModel(static_int8(network, images))
    pairs = {"after": {name: name for name in before.layer_shapes}}
    keras_model = ActivationModel(network, list(before.layer_shapes))

    def run(reference: Any, budget: int | None) -> tuple[Any, Any, int, int]:
        observers = {"before": Observer(reference), "after": Observer(after)}
        batches = ImageBatches(images, 32)
        made = PairedRun(observers, "before", pairs, rotations(8), batches, Warping(), budget)
        tracemalloc.start()
        made.run(40, progress=False)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return made.recorders["after"].to_frame(), observers["after"].predictions(), len(made._groups), peak

    block = 32 * 8 * 14 * 14 * 8 * 4  # activations of the first layer
    for reference in (before, keras_model):
        whole, predicted, groups, most = run(reference, None)
        some, same, parted, least = run(reference, 7 * block)
        assert groups == 1 and parted > 1
        pd.testing.assert_frame_equal(some, whole, check_exact=True)
        assert same is not None and np.array_equal(same.confidence, predicted.confidence)
        assert reference is keras_model or least < most - block  # TensorFlow's own memory is not counted
    with pytest.raises(ValueError, match=r"memory_budget must be at least .* for layer 'first' alone"):
        run(before, block)
