"""Option objects of comparisons and studies: few parameters, and the keywords that they replace."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tflite_models import digits, plain_network, trained

from tfinv import Sampling, Warping, evaluate
from tfinv.datasets import Split
from tfinv.tflite import (
    Output,
    Quantizing,
    Subsets,
    TFLiteModel,
    compare_files,
    dynamic_int8,
    float32,
    measure_models,
    sensitivity,
    study,
    with_transformations,
)
from tfinv.tflite.files.input_scale import input_scale
from tfinv.tflite.studies.recipe import Materials
from tfinv.transformations import parse

NV, SET = "NormalizedVariance", "rotations(3)"


@pytest.fixture(scope="module")
def files():
    model = trained(plain_network)
    return float32(model), dynamic_int8(model)


def test_functions_have_few_parameters():
    for function, count in ((study, 14), (compare_files, 14), (measure_models, 14), (sensitivity, 14)):
        assert len(inspect.signature(function).parameters) == count, function.__name__


def test_keywords_of_before_mean_the_same_and_warn(files):
    images, labels = digits()
    data = Split(images[1400:1460], labels[1400:1460])
    old: dict[str, Any] = {
        "max_samples": 50, "measured_samples": 24, "fidelity_samples": 10, "confidence": 0.9, "shards": 4,
        "padding": "nearest", "interpolation": "nearest",
    }  # fmt: skip
    with pytest.warns(DeprecationWarning, match=r"max_samples, .* write subsets=tfinv\.tflite\.Subsets\(") as caught:
        before = compare_files(*files, data, SET, measures=NV, progress=False, **old)
    assert sum("deprecated as keywords of compare_files" in str(warning.message) for warning in caught) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*deprecated as keywords")
        now = compare_files(
            *files, data, SET, measures=NV, progress=False, subsets=Subsets(50, 24, 10), sampling=Sampling(0.9, 4),
            warping=Warping("nearest", "nearest"),
        )  # fmt: skip
    pd.testing.assert_frame_equal(before.layers, now.layers)
    pd.testing.assert_frame_equal(before.curves, now.curves)
    kept = ("samples", "measured_samples", "fidelity_samples", "confidence", "interval", "padding", "interpolation")
    values = [50, 24, 10, 0.9, "jackknife", "nearest", "nearest"]
    assert [now.metadata[name] for name in kept] == [before.metadata[name] for name in kept] == values
    assert now.before[NV].replicates is not None and len(now.before[NV].replicates.sizes) == 4


def test_a_keyword_changes_the_default_of_its_object_alone(files):
    images = digits()[0][:20]
    model, old = TFLiteModel(files[0]), {"shards": 5}
    with pytest.warns(DeprecationWarning, match=r"shards: .* write sampling=tfinv\.Sampling\(shards=\.\.\.\)"):
        results = measure_models({"a": model}, images, SET, NV, progress=False, **old)["a"].results
    replicates = results[NV].replicates
    assert replicates is not None and replicates.confidence == 0.95 and len(replicates.sizes) == 5


def test_models_are_measured_on_the_subset_asked_for(files):
    images = Split(digits()[0][:20], digits()[1][:20])
    models, pairs = {"a": TFLiteModel(files[0]), "b": TFLiteModel(files[1])}, {"b": {"logits": "logits"}}
    options: dict[str, Any] = {"pairs": pairs, "batch_size": 4, "progress": False, "sampling": None}
    few = Subsets(measured_samples=12, fidelity_samples=5, memory_budget="1GB")
    now = measure_models(models, images, SET, NV, subsets=few, **options)["b"]
    some = images.subset(12, seed=0)
    old: dict[str, Any] = {"fidelity_samples": 5, "memory_budget": "1GB"}
    with pytest.warns(DeprecationWarning, match=r"write subsets=tfinv\.tflite\.Subsets\(fidelity_samples=\.\.\.\)"):
        before = measure_models(models, images, SET, NV, measured=some, **old, **options)["b"]
    assert now.results.metadata["samples"] == before.results.metadata["samples"] == 12
    np.testing.assert_array_equal(now.results[NV]["logits"].values, before.results[NV]["logits"].values)
    assert now.fidelity is not None and before.fidelity is not None
    pd.testing.assert_frame_equal(now.fidelity, before.fidelity)
    every = measure_models(models, images, SET, NV, subsets=Subsets(measured_samples=None), **options)["b"]
    assert every.results.metadata["samples"] == 20 and every.fidelity is not None
    assert not every.fidelity.equals(now.fidelity), "activations of 20 images instead of 5 are compared"
    with pytest.raises(ValueError, match=r"subsets of measure_models must not set layers\. Received: layers='logits'"):
        measure_models(models, images, SET, NV, subsets=Subsets(layers="logits"), **options)


def test_the_scale_of_the_second_file_is_that_of_its_model(files):
    images = Split(digits()[0][:20], digits()[1][:20])
    options: dict[str, Any] = {"measures": NV, "progress": False, "sampling": None}
    now = compare_files(files[0], TFLiteModel(files[1], input_scale="-1..1"), images, SET, **options)
    old: dict[str, Any] = {"after_input_scale": "-1..1"}
    with pytest.warns(DeprecationWarning, match=r"write after=tfinv\.tflite\.TFLiteModel\(after, input_scale="):
        before = compare_files(*files, images, SET, **options, **old)
    np.testing.assert_array_equal(now.layers["after"], before.layers["after"])
    plain = compare_files(*files, images, SET, **options)
    assert not np.array_equal(plain.layers["after"], before.layers["after"]), "the scale has no effect"


def test_a_study_takes_the_keywords_of_before(tmp_path):
    images, labels = digits()
    train, test = Split(images[:40], labels[:40]), Split(images[1400:1440], labels[1400:1440])
    old: dict[str, Any] = {"measured_samples": 20, "calibration_samples": 10, "files": tmp_path / "a"}
    with pytest.warns(DeprecationWarning, match=r"calibration_samples.*quantizing=tfinv\.tflite\.Quantizing\("):
        before = study(trained(plain_network), train, test, SET, ["static_int8"], measures=NV, progress=False, **old)
    objects: dict[str, Any] = {
        "subsets": Subsets(measured_samples=20), "quantizing": Quantizing(10), "output": Output(tmp_path / "b"),
    }  # fmt: skip
    now = study(trained(plain_network), train, test, SET, ["static_int8"], measures=NV, progress=False, **objects)
    pd.testing.assert_frame_equal(before.layers, now.layers)
    assert before.metadata["measured_samples"] == now.metadata["measured_samples"] == 20
    contents = [(tmp_path / name / "static_int8.tflite").read_bytes() for name in "ab"]
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"subset": Subsets()}, TypeError, "Did you mean subsets?"),
        ({"measured_sample": 3}, TypeError, r"Did you mean subsets=tfinv.tflite.Subsets\(measured_samples=...\)"),
        ({"subsets": 50}, TypeError, "subsets must be a tfinv.tflite.Subsets or None. Received: 50"),
        ({"subsets": Subsets(), "max_samples": 5}, TypeError, "max_samples belongs into subsets. Received: both"),
        ({"sampling": Sampling(stratified=True)}, ValueError, "must not set stratified. Received: stratified=True"),
        ({"sampling": Sampling(0.9, first_sample=3)}, ValueError, "must not set first_sample"),
    ],
)
def test_what_does_not_fit_is_refused(files, options: dict[str, Any], error, match):
    with pytest.raises(error, match=match):
        compare_files(*files, digits()[0][:10], SET, progress=False, **options)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Subsets(max_samples=1), "max_samples must be a whole number of at least 2. Received: 1"),
        (lambda: Subsets(fidelity_samples=0), "fidelity_samples must be a whole number of at least 1. Received: 0"),
        (lambda: Quantizing(0), "calibration_samples must be a whole number of at least 1. Received: 0"),
        (lambda: Quantizing(epochs=0), "epochs must be a whole number of at least 1. Received: 0"),
        (lambda: Quantizing(learning_rate=0.0), "learning_rate must be above 0. Received: 0.0"),
    ],
)
def test_options_out_of_range_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_without_intervals_nothing_is_called_real(files):
    images = digits()[0][:30]
    comparison = compare_files(*files, images, SET, measures=NV, sampling=None, progress=False)
    assert not comparison.layers["real"].any() and comparison.layers["low"].isna().all()
    assert "no intervals were asked for" in comparison.verdict[0]


def test_transformed_calibration_images_are_warped_as_asked():
    images = np.random.default_rng(0).random((4, 8, 8, 1), dtype=np.float32)
    reflected = Warping("reflect")
    turned = with_transformations(images, "rotations(3)", warping=reflected)
    means = [float(with_transformations(np.ones_like(images), "rotations(3)", warping=how).min()) for how in
             (reflected, None)]  # fmt: skip
    assert means[0] == pytest.approx(1.0, abs=1e-5) and means[1] == 0.0
    model: Any = None
    materials = Materials(model, Split(images), parse("rotations(3)"), input_scale("0..1"), 4, warping=reflected)
    assert materials.augmentation().get_config()["padding"] == "reflect"
    assert materials.transformed.shape == images.shape
    matches = np.abs(materials.transformed[:, None] - turned).max(axis=(2, 3, 4)).min(axis=1)
    np.testing.assert_allclose(matches, 0, atol=1e-6)


def test_warping_reaches_the_measured_images(files):
    images = digits()[0][:20]
    warping = Warping("reflect")
    measured = measure_models({"a": TFLiteModel(files[0])}, images, SET, NV, warping=warping, progress=False)["a"]
    alone = evaluate(TFLiteModel(files[0]), images, SET, NV, warping=warping, progress=False)
    np.testing.assert_allclose(measured.results[NV]["logits"].values, alone[NV]["logits"].values, rtol=1e-6)
    assert measured.results.metadata["padding"] == "reflect"


def test_a_scale_that_a_model_contradicts_is_refused(files):
    model = TFLiteModel(files[0], input_scale="0..1")
    wanted = r"input_scale must be None where before is a TFLiteModel, whose own is 0\.\.1"
    with pytest.raises(ValueError, match=wanted):
        compare_files(model, files[1], digits()[0][:8], SET, input_scale="0..255", progress=False)
