"""Models by the path of their file: the same numbers as the opened model, and one set of errors for all functions."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

import tfinv
from tfinv import models, tflite
from tfinv.activations import OnnxModel, SavedModel
from tfinv.models.opening import file_kind, open_file
from tfinv.run import main
from tfinv.tflite import TFLiteModel, measure_models

pytestmark = pytest.mark.usefixtures("undrawn")

IMAGES = np.random.default_rng(0).random((9, 10, 10, 1), "float32")
LABELS = np.arange(9) % 3
SET = "rotations(4)"
MEASURE = "NormalizedVariance"
HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((10, 10, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(keras.layers.Flatten(name="flat")(x)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One network as a Keras file, a `.tflite` file and a SavedModel."""
    folder, model = tmp_path_factory.mktemp("models"), network()
    model.save(folder / "net.keras")
    tflite.float32(model).save(folder / "net.tflite")
    model.export(str(folder / "saved"), verbose=False)
    return folder


def onnx_file(path: Path) -> Path:
    """One convolution, whose weights are those of the network."""
    import onnx
    from onnx import helper, numpy_helper

    kernel, bias = network().get_layer("conv").get_weights()
    weights = [numpy_helper.from_array(kernel.transpose(3, 2, 0, 1).copy(), "w"), numpy_helper.from_array(bias, "b")]
    ends = [helper.make_tensor_value_info("x", 1, ["N", 1, 10, 10]), helper.make_tensor_value_info("y", 1, None)]
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="conv")
    graph = helper.make_graph([node], "net", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def means(model, images=IMAGES) -> dict[str, float]:
    found = tfinv.evaluate(model, images, SET, MEASURE, progress=False)[MEASURE]
    return {name: layer.mean for name, layer in found.items()}


def test_a_path_is_measured_as_the_model_in_it(folder):
    expected = means(network())
    for name in ("net.keras", "net.tflite", "saved"):
        assert means(str(folder / name)) == means(folder / name) == means(open_file(folder / name))
        found = means(folder / name)
        for layer in expected:
            assert found[layer] == pytest.approx(expected[layer], abs=1e-5), (name, layer)
    assert isinstance(open_file(folder / "net.tflite"), TFLiteModel)
    assert isinstance(open_file(folder / "saved"), SavedModel)


@pytest.mark.skipif(not HAS_ONNX, reason="onnx and onnxruntime are not installed")
def test_an_onnx_file_is_measured_by_its_path(tmp_path):
    path = onnx_file(tmp_path / "net.onnx")
    inputs = keras.Input((10, 10, 1))
    layer = keras.layers.Conv2D(4, 3, name="conv")
    plain = keras.Model(inputs, layer(inputs))
    layer.set_weights(network().get_layer("conv").get_weights())
    assert isinstance(open_file(str(path)), OnnxModel)
    assert means(path)["conv"] == pytest.approx(means(plain)["conv"], abs=1e-5)


def test_other_functions_take_paths(folder):
    search = {"labels": LABELS, "budget": 12, "progress": False}
    ranges = {"rotation": 45}
    expected = tfinv.worst_case(network(), IMAGES, ranges, **search)
    for name in ("net.keras", "net.tflite", "saved"):
        found = tfinv.worst_case(folder / name, IMAGES, ranges, **search)
        assert (found.right == expected.right).all() and (found.upright == expected.upright).all()
        errors = tfinv.output_change(str(folder / name), IMAGES, SET, "vector", progress=False).outputs[0]
        of_keras = tfinv.output_change(network(), IMAGES, SET, "vector", progress=False).outputs[0]
        np.testing.assert_allclose(errors.error_values, of_keras.error_values, atol=1e-4)
    by_path = {"tflite": folder / "net.tflite", "saved": str(folder / "saved")}
    measured = measure_models(by_path, IMAGES, SET, MEASURE, sampling=None, progress=False)
    for name, model in by_path.items():
        assert {layer: one.mean for layer, one in measured[name].results[MEASURE].items()} == means(model)
    between = tfinv.outputs.compare_outputs(
        folder / "net.tflite", folder / "saved", IMAGES, SET, "vector", progress=False
    )
    assert between.summary()["between"].max() < 1e-4
    derivative = tfinv.lie_derivative(folder / "net.keras", IMAGES, ["rotation"], contributions=False, progress=False)
    assert list(derivative["LieDerivative"])[-1] == "logits"


def test_a_study_takes_the_path_of_a_keras_file(folder):
    found = tflite.study(
        folder / "net.keras", IMAGES, (IMAGES, LABELS), SET, "float16", measures=MEASURE, progress=False
    )
    assert found.recipes["recipe"].tolist() == ["float32", "float16"]
    frame = tflite.sensitivity(str(folder / "net.keras"), IMAGES, SET, scheme="weight_int8", progress=False)
    assert sorted(frame["layer"]) == ["conv", "logits"]
    for function in (tflite.study, tflite.choose_bits):
        options = {"keep": "flip_rate<90%"} if function is tflite.choose_bits else {}
        with pytest.raises(ValueError, match=r"model must be a Keras model. Received: .*net.tflite', a .tflite file"):
            function(folder / "net.tflite", IMAGES, (IMAGES, LABELS), SET, **options)


def test_what_no_model_is_in_is_refused_by_all_in_the_same_words(folder, tmp_path, capsys):
    text = tmp_path / "net.txt"
    text.write_text("no model")
    for path, words in {
        text: "model must be a .keras, .h5, .hdf5, .tflite or .onnx file, or the folder of a SavedModel",
        tmp_path / "nothing": "which does not exist",
        tmp_path / "net.pt": "a PyTorch file may run any Python",
        tmp_path / "missing.keras": "which does not exist",
    }.items():
        for function in (
            lambda path=path: means(path),
            lambda path=path: tfinv.worst_case(path, IMAGES, {"rotation": 5}, labels=LABELS, progress=False),
            lambda path=path: tfinv.output_change(path, IMAGES, SET, "vector", progress=False),
            lambda path=path: measure_models({"a": path}, IMAGES, SET, MEASURE, progress=False),
        ):
            with pytest.raises(ValueError, match=words.replace(".", r"\.")):
                function()
        assert main(["measure", "--model", str(path), "--data", "digits", "--out", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err


def test_kinds_of_files(folder):
    kinds = {"a.KERAS": "keras", "b.h5": "keras", "c.TFLite": "tflite", "d.onnx": "onnx", "e.pt": "pytorch", "f": None}
    assert {name: file_kind(name) for name in kinds} == kinds
    assert file_kind(folder) == "saved_model" and "open_file" in models.__all__
