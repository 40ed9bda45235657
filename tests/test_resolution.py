"""Variation by rounding alone makes a unit dead, and a small real signal does not."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfinv
from tfinv.activations import ActivationModel
from tfinv.measures import AnovaF, GoodfellowNormal, NormalizedDistance, NormalizedVariance
from tfinv.statistics.resolution import Computed, Resolution, relative_resolution, resolutions
from tfinv.status import Status

MEASURES = [NormalizedVariance(), NormalizedVariance("std"), NormalizedDistance(), AnovaF()]


def statuses(block: np.ndarray, measure) -> np.ndarray:
    return tfinv.evaluate_arrays({"layer": block}, measure)[measure.key]["layer"].status


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.key)
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_float32_noise_is_dead_and_a_small_signal_is_not(rng, measure, size):
    noise = size * (1 + 1e-7 * rng.normal(size=(40, 8, 30)))
    signal = size * (1 + 1e-4 * rng.normal(size=(40, 8, 30)))
    block = np.concatenate([noise, signal], axis=2).astype(np.float32)
    status = statuses(block, measure)
    assert (status[:30] == Status.DEAD).all() and (status[30:] == Status.VALID).all()


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.key)
@pytest.mark.parametrize("exponent", [-80, -58, -52, -40, 40, 48])
def test_sizes_that_float32_cannot_square_are_dead_and_all_others_exact(rng, measure, exponent):
    block = (1 + 0.3 * rng.normal(size=(40, 8, 30))).astype(np.float32)
    expected = tfinv.evaluate_arrays({"layer": block.astype(np.float64)}, measure)[measure.key]["layer"].values
    scaled = np.ldexp(block, exponent)
    assert (statuses(scaled.astype(np.float64), measure) == Status.VALID).all()
    result = tfinv.evaluate_arrays({"layer": scaled}, measure)[measure.key]["layer"]
    if exponent < -55:
        assert (result.status == Status.DEAD).all()
    else:
        assert (result.status == Status.VALID).all()
        np.testing.assert_allclose(result.values, expected, rtol=1e-4)


@pytest.mark.parametrize("size", [1e18, 1e30])
def test_sizes_whose_squares_overflow_are_refused(rng, size):
    block = size * (1 + 0.3 * rng.normal(size=(40, 8, 3)))
    with pytest.raises(ValueError, match=r"at most 1e\+15 in size, or float64.*in layer 'layer'"):
        statuses(block.astype(np.float32), NormalizedVariance())
    assert (statuses(block, NormalizedVariance()) == Status.VALID).all()


def test_values_of_dead_units_are_those_of_constant_ones(rng):
    block = (3 + 3e-7 * rng.normal(size=(40, 8, 5))).astype(np.float32)
    results = tfinv.evaluate_arrays({"layer": block}, [*MEASURES, GoodfellowNormal()])
    for measure in MEASURES:
        assert (results[measure.key]["layer"].values == 1).all()
    assert (results[GoodfellowNormal().key]["layer"].status == Status.DEAD).all()


def test_moving_with_transformations_alone_is_no_rounding(rng):
    block = 1 + 1e-7 * rng.normal(size=(40, 8, 5)) + 0.1 * np.arange(8)[:, None]
    result = tfinv.evaluate_arrays({"layer": block.astype(np.float32)}, NormalizedVariance())["NormalizedVariance"]
    assert (result["layer"].status == Status.SAMPLE_CONSTANT).all() and np.isinf(result["layer"].values).all()


def test_float64_resolves_what_float32_does_not(rng):
    block = 1 + 1e-7 * rng.normal(size=(40, 8, 5))
    assert (statuses(block, NormalizedVariance()) == Status.VALID).all()
    assert (statuses(block.astype(np.float32), NormalizedVariance()) == Status.DEAD).all()
    assert (statuses(1 + 1e-16 * rng.normal(size=(40, 8, 5)), NormalizedVariance()) == Status.DEAD).all()


def test_integers_are_exact():
    block = np.full((40, 8, 2), 2**20)
    block[0, 0] += 1
    assert (statuses(block.astype(np.int32), NormalizedVariance("std")) == Status.VALID).all()


def test_intervals_and_merged_parts_agree_with_the_whole(rng):
    noise = 1 + 1e-7 * rng.normal(size=(40, 6, 3))
    block = np.concatenate([noise, rng.normal(size=(40, 6, 3))], axis=2).astype(np.float32)
    key = NormalizedVariance().key
    sampling = tfinv.Sampling(0.95, keep_statistics=True)
    whole = tfinv.evaluate_arrays({"layer": block}, key, sampling=sampling)[key]
    assert (whole["layer"].status == [1, 1, 1, 0, 0, 0]).all()
    # Without any of the shards the dead units stay out of the layer's mean: 1 among values of about 1 would hide there.
    without = whole.replicates.means["layer"]
    alone = tfinv.evaluate_arrays({"layer": block[:, :, 3:]}, key, sampling=sampling)[key].replicates.means["layer"]
    np.testing.assert_allclose(without, alone, rtol=1e-6)
    parts = [
        tfinv.evaluate_arrays({"layer": part}, key, sampling=tfinv.Sampling(keep_statistics=True))
        for part in (block[:25], block[25:])
    ]
    np.testing.assert_array_equal(tfinv.merge(*parts)[key]["layer"].status, whole["layer"].status)


def rounding_model(dtype: str = "float32") -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 1))
    maps = keras.layers.Conv2D(8, 3, padding="same", name="conv", dtype=dtype)(inputs)
    normalized = keras.layers.GroupNormalization(groups=8, name="normalized", dtype=dtype)(maps)
    mean = keras.layers.GlobalAveragePooling2D(name="mean", dtype=dtype)(normalized)
    keras_mean = keras.layers.ReLU(name="after_mean", dtype=dtype)(mean)
    live = keras.layers.GlobalAveragePooling2D(name="live", dtype=dtype)(keras.layers.ReLU(dtype=dtype)(normalized))
    unit = keras.layers.UnitNormalization(name="unit", dtype=dtype)(live)
    length = keras.ops.sqrt(keras.ops.sum(unit * unit, axis=-1, keepdims=True))
    shares = keras.layers.Dense(10, activation="softmax", name="shares", dtype=dtype)(live)
    total = keras.ops.sum(shares, axis=-1, keepdims=True)
    joined = keras.layers.Concatenate(name="joined", dtype="float32")([length, total])
    return keras.Model(inputs, [keras_mean, joined])


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_rounding_of_a_network_is_dead(rng, dtype):
    model = rounding_model(dtype)
    images = rng.random((24, 16, 16, 1), dtype="float32")
    results = tfinv.evaluate(model, images, "rotations(8)", NormalizedVariance(), progress=False)["NormalizedVariance"]
    for name in ("mean", "after_mean", "joined"):
        assert (results[name].status == Status.DEAD).all(), (name, results[name])
    for name in ("conv", "normalized", *(("live", "shares") if dtype == "float32" else ())):
        assert (results[name].status != Status.DEAD).mean() > 0.9, name


def test_float32_keras_and_tflite_agree(rng):
    model = rounding_model()
    images = rng.random((24, 16, 16, 1), dtype="float32")
    file = tfinv.tflite.TFLiteModel(tfinv.tflite.float32(model))
    key = NormalizedVariance().key
    both = [tfinv.evaluate(source, images, "rotations(8)", key, progress=False)[key] for source in (model, file)]
    shared = [name for name in both[0] if name in both[1]]
    assert {"joined", "live", "conv"} <= set(shared)
    # Rounding of two programs has nothing in common, so what follows the mean goes by the file's own name there.
    after_mean = [
        name for name, operator in file.layer_ops.items() if operator == "RELU" and both[1][name].values.ndim < 2
    ]
    assert len(after_mean) == 1 and (both[1][after_mean[0]].status == Status.DEAD).all()
    assert (both[0]["mean"].status == Status.DEAD).all() and (both[0]["after_mean"].status == Status.DEAD).all()
    for name in shared:
        keras_units, file_units = both[0][name], both[1][name]
        np.testing.assert_array_equal(keras_units.status, file_units.status, err_msg=name)
        valid = keras_units.status == Status.VALID
        np.testing.assert_allclose(keras_units.values[valid], file_units.values[valid], rtol=1e-3, err_msg=name)


def test_a_mean_of_numbers_that_cancel_has_their_resolution():
    wide = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    wide -= wide.mean(axis=(1, 2), keepdims=True)
    mean = wide.mean(axis=(1, 2))
    known = resolutions(
        [
            Computed("maps", wide, "float32", (), 9),
            Computed("mean", mean, "float32", (0,)),
            Computed("relu", np.maximum(mean, 0), "float32", (1,)),
            Computed("stored", np.round(wide), "int8", (0,)),
        ]
    )
    assert known["maps"] == Resolution(5 * 2**-23)
    assert known["mean"].relative == 10 * 2**-23 and known["mean"].absolute == pytest.approx(10 * 2**-23, rel=0.2)
    assert known["relu"].absolute >= known["mean"].absolute
    assert known["stored"] == Resolution()


def test_what_comes_from_a_coarser_type_has_its_resolution():
    values = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    known = resolutions([Computed("half", values, "float16", (), 4), Computed("wide", values, "float32", (0,), 4)])
    assert (
        known["wide"].relative == known["half"].relative == relative_resolution("float16", 4) == 2 * 2**-10 + 2 * 2**-23
    )


def test_the_model_tells_its_resolution(rng):
    known = ActivationModel(rounding_model()).resolutions(rng.random((2, 16, 16, 1), dtype="float32"))
    assert known["conv"] == Resolution(5 * 2**-23)
    assert known["mean"].relative == 18 * 2**-23 and known["mean"].absolute > 0
