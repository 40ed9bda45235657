"""Option objects of `evaluate`: their defaults and limits, and the keywords that they replace."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import tfinv
from tfinv import Sampling, Warping
from tfinv.evaluation.options import as_objects

KEY = "NormalizedVariance"


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    return keras.Model(inputs, keras.layers.Dense(4, name="logits")(keras.layers.Flatten(name="flat")(x)), name="small")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((24, 8, 8, 1), dtype=np.float32)


@pytest.fixture
def activations(rng) -> dict[str, np.ndarray]:
    return {"layer": rng.normal(size=(40, 1, 5)) + rng.normal(size=(40, 6, 5))}


def test_functions_have_few_parameters():
    assert len(inspect.signature(tfinv.evaluate).parameters) == 14
    assert len(inspect.signature(tfinv.evaluate_arrays).parameters) == 6
    assert "Sampling" in tfinv.__all__ and "Warping" in tfinv.__all__


def test_defaults_add_nothing():
    assert (Sampling().parts, Sampling().draws) == (0, 0)
    assert (Sampling(0.9, 5).parts, Sampling(0.9, 5).draws) == (5, 0)
    assert (Sampling(0.9, interval="bootstrap", resamples=70).draws, Warping()) == (70, Warping("constant", "bilinear"))


@pytest.mark.parametrize(
    "options",
    [
        {"confidence": 0.9, "shards": 4},
        {"confidence": 0.9, "shards": 4, "interval": "bootstrap", "resamples": 60},
        {"stratified": True},
        {"padding": "nearest", "interpolation": "nearest", "keep_statistics": True, "first_sample": 3},
    ],
)
def test_keywords_of_before_give_the_same_numbers_and_warn_the_caller(model, images, options: dict[str, Any]):
    def run(**given: Any) -> tfinv.Results:
        labels = np.arange(24) % 2
        return tfinv.evaluate(model, images, "rotations(4)", KEY, labels=labels, progress=False, **given)

    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*deprecated as keywords of evaluate")
        now = run(**as_objects(options))
    with pytest.warns(DeprecationWarning, match=f"{', '.join(options)}: deprecated.*=tfinv") as caught:
        before = run(**options)
    ours = [warning for warning in caught if "deprecated as keywords of evaluate" in str(warning.message)]
    assert [warning.filename for warning in ours] == [__file__]
    assert now.layers == before.layers == ["conv", "flat", "logits"]
    for layer in now.layers:
        np.testing.assert_array_equal(now[KEY][layer].values, before[KEY][layer].values)
    pd.testing.assert_frame_equal(now.profile(), before.profile())
    assert ("low" in now.profile()) == ("confidence" in options)
    assert bool(now.classes) == ("stratified" in options)
    assert bool(now.statistics) == ("keep_statistics" in options)
    assert now.metadata["padding"] == options.get("padding", "constant")
    assert now.metadata["first_sample"] == options.get("first_sample", 0)


def test_arrays_take_the_same_keywords(activations):
    now = tfinv.evaluate_arrays(activations, KEY, sampling=Sampling(0.8, shards=5))
    options: dict[str, Any] = {"confidence": 0.8, "shards": 5}
    with pytest.warns(DeprecationWarning, match=r"write sampling=tfinv\.Sampling\(confidence=\.\.\.\)"):
        before = tfinv.evaluate_arrays(activations, KEY, **options)
    pd.testing.assert_frame_equal(now.profile(), before.profile())
    row = now.profile().iloc[0]
    assert row.low < row["mean"] < row.high


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"samplin": Sampling()}, TypeError, "evaluate_arrays has no argument 'samplin'. Did you mean sampling?"),
        ({"confidance": 0.9}, TypeError, r"Did you mean sampling=tfinv.Sampling\(confidence=...\)"),
        ({"padding": "nearest"}, TypeError, "evaluate_arrays has no argument 'padding'. Received: padding="),
        ({"qqq": 1}, TypeError, "no argument 'qqq'. Received: qqq="),
        ({"sampling": Sampling(0.9), "shards": 5}, TypeError, "shards belongs into sampling. Received: both"),
        ({"sampling": 0.95}, TypeError, "sampling must be a tfinv.Sampling or None. Received: 0.95"),
        ({"sampling": Sampling(stratified=True)}, ValueError, "sampling must not be stratified"),
    ],
)
def test_what_does_not_fit_is_refused(activations, options: dict[str, Any], error, match):
    with pytest.raises(error, match=match):
        tfinv.evaluate_arrays(activations, KEY, **options)


@pytest.mark.parametrize(
    ("kind", "options", "match"),
    [
        (Sampling, {"confidence": 95}, "confidence must be a number above 0 and below 1.*Received: 95"),
        (Sampling, {"confidence": True}, "confidence must be a number above 0 and below 1.*Received: True"),
        (Sampling, {"shards": 1}, "shards must be a whole number of at least 2. Received: 1"),
        (Sampling, {"interval": "bayes"}, "interval must be 'jackknife' or 'bootstrap'. Received: 'bayes'"),
        (Sampling, {"resamples": 49}, "resamples must be a whole number of at least 50. Received: 49"),
        (Sampling, {"first_sample": -1}, "first_sample must be a whole number of at least 0. Received: -1"),
        (Sampling, {"stratified": True, "confidence": 0.9}, "stratified cannot be combined with confidence"),
        (Sampling, {"whole": 3, "first_sample": 3}, "whole must be"),
        (Sampling, {"first_pass": True}, "first_pass must come with keep_statistics=True"),
        (Warping, {"padding": "wrap"}, "padding must be one of .*Received: 'wrap'"),
        (Warping, {"interpolation": "linear"}, "interpolation must be one of .*Received: 'linear'"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, match):
    with pytest.raises(ValueError, match=match):
        kind(**options)
