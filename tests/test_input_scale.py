"""Input scales: what a model tells of its own, what contradicts it, and Keras' own preprocessing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tfinv
from tfinv import datasets
from tfinv.activations import ActivationModel
from tfinv.activations.input_scale import application_scale, input_scale, told_by_first_layer
from tfinv.commands.answers import check_answers
from tfinv.run import main
from tfinv.tflite import TFLiteModel, static_int8
from tfinv.tflite.files.checks import scale_warnings
from tfinv.tflite.files.flatbuffer import read_graph
from tfinv.tflite.files.input_scale import input_range, mismatch, saturated, told_by_file

pytestmark = pytest.mark.usefixtures("undrawn")

DATA = os.environ.get("TFINV_DATA")
real = pytest.mark.skipif(not DATA, reason="TFINV_DATA is not set")
MODELS = Path(DATA or ".") / "models"
RNG = np.random.default_rng(0)


def small(first: list[keras.layers.Layer], classes: int = 3) -> keras.Model:
    keras.utils.set_random_seed(3)
    x = images = keras.Input((8, 8, 3))
    for layer in (*first, keras.layers.Conv2D(4, 3, activation="relu", name="conv")):
        x = layer(x)
    x = keras.layers.Dense(classes, name="out")(keras.layers.GlobalAveragePooling2D(name="gap")(x))
    return keras.Model(images, x)


def converted(low: float, high: float) -> TFLiteModel:
    """An integer file whose float input was calibrated on values from `low` to `high`."""
    images = RNG.random((30, 8, 8, 3), dtype=np.float32) * (high - low) + low
    images[0, 0, 0], images[0, 0, 1] = low, high
    return TFLiteModel(static_int8(small([]), images), probe=False)


@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2", "DenseNet121", "EfficientNetB0", "VGG16", "NASNetMobile"])
def test_networks_of_keras_get_their_own_preprocessing(name):
    pixels = RNG.random((2, 5, 4, 3), dtype=np.float32)
    scale = input_scale(f"keras.applications.{name}")
    preprocess = sys.modules[getattr(keras.applications, name).__module__].preprocess_input
    np.testing.assert_allclose(scale(pixels), preprocess(pixels * 255), atol=2e-3)
    low, high = scale.range
    assert low == pytest.approx(scale(np.zeros((1, 1, 1, 3), np.float32)).min())
    assert high == pytest.approx(scale(np.ones((1, 1, 1, 3), np.float32)).max())


def test_unknown_networks_are_refused_with_a_hint():
    with pytest.raises(ValueError, match=r"Did you mean 'ResNet50'\? Received: 'keras.applications.Resnet50'"):
        application_scale("keras.applications.Resnet50")


def test_a_first_layer_that_rescales_tells_the_scale():
    assert told_by_first_layer(small([keras.layers.Rescaling(1 / 255)])).text == "0..255"
    assert told_by_first_layer(small([keras.layers.Rescaling(1 / 127.5, offset=-1)])).text == "0..255"
    assert told_by_first_layer(small([keras.layers.Rescaling(2.0, offset=-1)])) is None
    assert told_by_first_layer(small([])) is None


@pytest.mark.parametrize("scale", ["0..255", "-1..1", (0.5, 0.25), ([0.1, 0.2, 0.3], [1.0, 2.0, 4.0])])
def test_a_keras_model_sees_scaled_images(scale):
    model, images = small([]), RNG.random((6, 8, 8, 3), dtype=np.float32)
    source = ActivationModel(model, ["conv"], input_scale=scale)
    wanted = keras.Model(model.inputs[0], model.get_layer("conv").output)(input_scale(scale)(images))
    np.testing.assert_allclose(np.asarray(source(images)["conv"]), np.asarray(wanted), rtol=1e-5, atol=1e-4)
    outputs = np.asarray(model(input_scale(scale)(images)))
    np.testing.assert_allclose(source.predict(images), outputs, rtol=1e-5, atol=1e-4)
    both = [source.select(["conv"]), ActivationModel(model).with_input_scale(scale)]
    for other in both:
        np.testing.assert_array_equal(np.asarray(other(images)["conv"]), np.asarray(source(images)["conv"]))


def test_evaluate_records_the_scale_and_gives_what_scaled_images_give():
    model, images = small([]), RNG.random((12, 8, 8, 3), dtype=np.float32)
    source = ActivationModel(model, input_scale="0..255")
    for layers in (None, ["conv"]):
        results = tfinv.evaluate(source, images, "rotations(4)", "NormalizedVariance", layers=layers, progress=False)
        wanted = tfinv.evaluate(
            model, images * 255, "rotations(4)", "NormalizedVariance", layers=layers, progress=False
        )
        assert results.metadata["input_scale"] == "0..255" and "input_scale" not in wanted.metadata
        (one,), (other,) = results.values(), wanted.values()
        np.testing.assert_allclose(one["conv"].values, other["conv"].values, rtol=1e-4)


def test_derivatives_go_through_the_scale():
    model, images = small([]), RNG.random((6, 8, 8, 3), dtype=np.float32)
    gain = 3.0
    scaled = tfinv.lie_derivative(ActivationModel(model, input_scale=(0.0, 1 / gain)), images, progress=False)
    plain = tfinv.lie_derivative(model, images * gain, progress=False)
    for key, measure in plain.items():
        for name, layer in measure.items():
            np.testing.assert_allclose(scaled[key][name].values, layer.values, rtol=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0, 1, "0..1"),
        (0, 255, "0..255"),
        (-1, 1, "-1..1"),
        (0, 0.6, "0..1"),  # dark calibration images
        (-1.04, 1.03, "-1..1"),
        (-2.1, 2.6, "-2.1..2.6"),
    ],
)
def test_integers_tell_the_scale(low, high, text):
    model = converted(low, high)
    ends = input_range(model.graph)
    assert ends == pytest.approx((low, high), abs=(high - low) / 200)
    assert model.scale_from == "the file"
    if text == "-2.1..2.6":
        assert model.input_scale.range == pytest.approx(ends)
    else:
        assert model.input_scale.text == text
    assert mismatch(model.input_scale, model.graph) == ""


def test_scales_that_integers_contradict_are_said():
    model = converted(0, 255)
    images = RNG.random((10, 8, 8, 3), dtype=np.float32)
    assert scale_warnings(model, images) == []
    (text,) = scale_warnings(model.with_input_scale("0..1"), images)
    assert text == (
        "input scale 0..1 feeds values from 0 to 1, but the integers of the input stand for 0 to 255, as with 0..255"
    )
    narrow = converted(0, 1)
    contradiction, cut = scale_warnings(narrow.with_input_scale("-1..1"), images)
    assert "stand for 0 to 1" in contradiction
    below = float((images * 2 - 1 < -1.5 / 255).mean())
    assert saturated(input_scale("-1..1"), narrow.graph, images) == pytest.approx(below, abs=0.01)
    assert cut.startswith(f"{below:.0%} of the pixels of the first 10 images lie beyond")


def test_floats_tell_nothing():
    from tfinv.tflite import float32

    model = TFLiteModel(float32(small([])), probe=False)
    assert input_range(model.graph) is None and model.scale_from == "default" and model.input_scale.text == "0..1"
    assert TFLiteModel(float32(small([])), input_scale="0..1", probe=False).scale_from == "given"


@real
@pytest.mark.parametrize(
    ("file", "ends"),
    [
        ("coral/mobilenet_v1_0.25_128_quant.tflite", (-1.0, 0.9921875)),
        ("vww_mobilenet_v1/int8.tflite", (0.0, 1.0)),
        ("ic_resnet8/int8.tflite", (0.0, 255.0)),
    ],
)
def test_real_files_get_their_bytes_as_they_are(file, ends):
    graph = read_graph((MODELS / file).read_bytes())
    scale, tensor = told_by_file(graph), graph.tensors[graph.inputs[0]]
    assert scale.range == pytest.approx(ends, abs=1e-5)
    bytes_in = np.arange(256)
    values = scale((bytes_in / 255).astype(np.float32).reshape(1, 16, 16, 1)).ravel()
    stored = np.round(values / tensor.scales[0] + tensor.zero_points[0])
    assert np.array_equal(stored - np.iinfo(tensor.dtype).min, bytes_in), "what the file stores is the image's byte"


@pytest.mark.slow
@real
def test_resnet_on_cifar_is_right_without_an_option_and_warns_with_a_wrong_one():
    test = datasets.load("cifar10", max_samples=200).test
    right = TFLiteModel(MODELS / "ic_resnet8" / "int8.tflite", probe=False)
    facts, warnings = check_answers(right, test)
    assert 0.65 < facts["accuracy"] < 0.85 and facts["answered"] == 200 and warnings == []
    facts, warnings = check_answers(right.with_input_scale("0..1"), test)
    assert facts["accuracy"] < 0.2 and facts["kappa"] < 0.1
    assert "is near chance" in warnings[-2] and "looks wrong" in warnings[-1] and "with 0..255" in warnings[-1]


def test_collapse_and_chance_are_told_apart():
    model, labels = small([], classes=3), np.arange(60) % 3
    split = datasets.Split(RNG.random((60, 8, 8, 3), dtype=np.float32), labels)
    model.get_layer("out").set_weights([np.zeros((4, 3)), np.array([0.0, 5.0, 0.0])])
    facts, warnings = check_answers(ActivationModel(model), split)
    assert facts["accuracy"] == pytest.approx(1 / 3)
    assert warnings == [
        "the model answers class 1 for 100% of 60 images: it tells nothing apart",
        "accuracy 33.3% on 60 images is near chance: what is measured is not what the network has learned",
        "a wrong input scale or wrong labels look like this",
    ]
    answers = np.asarray(small([])(split.x)).argmax(1)
    assert check_answers(ActivationModel(small([])), datasets.Split(split.x, answers))[1] == []
    assert check_answers(ActivationModel(model), datasets.Split(split.x)) == ({}, [])


def test_measure_scales_images_for_keras_models(tmp_path, capsys):
    """The same as the sub-model by hand on images of 0..255, and what the first layer tells is the default."""
    model = small([keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")])
    model.save(tmp_path / "m.keras")
    images = RNG.integers(0, 256, (20, 8, 8, 3)).astype(np.uint8)
    np.savez(tmp_path / "d.npz", x=images, y=np.arange(20) % 3)
    rotated = np.stack([np.rot90(images, k, axes=(1, 2)) for k in range(4)], 1).astype("float32")
    conv = keras.Model(model.inputs[0], model.get_layer("conv").output)
    a = np.asarray(conv(rotated.reshape(-1, 8, 8, 3))).reshape(20, 4, 6, 6, 4).astype("float64")
    t, s = a.std(1, ddof=1).mean(0), a.std(0, ddof=1).mean(0)
    wanted = float((t[s > 0] / s[s > 0]).mean())
    base = ["measure", "--model", str(tmp_path / "m.keras"), "--data", str(tmp_path / "d.npz"), "--quiet"]
    base += ["--transformations", "rotations(4)", "--measures", "NormalizedVariance(statistic='std')", "--out"]
    for name, options in {"given": ["--input-scale", "0..255"], "told": [], "wrong": ["--input-scale", "0..1"]}.items():
        assert main([*base, str(tmp_path / name), *options]) == 0
        results = tfinv.Results.load(tmp_path / name / "results.npz")
        (measure,) = results.values()
        mean = float(measure["conv"].values[measure["conv"].status == 0].mean())
        assert (mean == pytest.approx(wanted, rel=1e-3)) == (name != "wrong")
        assert results.metadata["input_scale"] == ("0..1" if name == "wrong" else "0..255")
    assert "input scale 0..255 (told by its first layer)" in capsys.readouterr().out
