"""Models of several inputs, all but the images held: the same numbers as with the values given by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import tfinv
from tfinv import models, tflite
from tfinv.tflite import TFLiteModel

AGE = np.array([3.0], np.float32)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    images, age = keras.Input((8, 8, 1), name="images"), keras.Input((1,), name="age")
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, name="conv")(images))
    x = keras.layers.Concatenate(name="both")([x, age])
    return keras.Model([images, age], keras.layers.Dense(3, name="numbers")(x))


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.random((5, 8, 8, 1)).astype(np.float32)


def test_a_keras_model_gives_what_it_gives_with_the_value_repeated(network, images):
    expected = np.asarray(network([images, np.repeat(AGE[None], 5, axis=0)]))
    fixed = models.fix_inputs(network, {"age": AGE})
    np.testing.assert_allclose(np.asarray(fixed(images)), expected, atol=1e-6)
    found = tfinv.output_change(fixed, images, "rotations(4)", "vector", progress=False, floor=False)
    turned = np.asarray(network([np.rot90(images, axes=(1, 2)), np.repeat(AGE[None], 5, axis=0)]))
    error = np.linalg.norm(turned - expected, axis=1) / np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(found.outputs[0].error_values[:, 3], error, atol=1e-5)
    other = np.asarray(models.fix_inputs(network, {"age": [[-3.0]]})(images))
    assert np.abs(other - expected).max() > 0.1
    results = tfinv.evaluate(fixed, images, "rotations(4)", "NormalizedVariance", progress=False)
    assert any(name.endswith("conv") for name in results["NormalizedVariance"])


def test_a_file_gives_what_its_keras_model_gives(network, images):
    expected = np.asarray(network([images, np.repeat(AGE[None], 5, axis=0)]))
    specs = [tf.TensorSpec((1, *tensor.shape[1:]), tf.float32, name=tensor.name) for tensor in network.inputs]
    call = tf.function(lambda images, age: network([images, age])).get_concrete_function(*specs)
    frozen = convert_variables_to_constants_v2(call)
    content = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    with pytest.raises(ValueError, match="model must have one input of images"):
        TFLiteModel(content)
    model = TFLiteModel(tflite.fix_inputs(content, {"age": AGE}))
    np.testing.assert_allclose(model.predict(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ages": [1.0]}, "Did you mean 'age'"),
        ({"age": [1.0, 2.0]}, r"'age' must have the shape \(1,\). Received: shape \(2,\)"),
        ({}, "must leave one input of images"),
        ({"images": np.zeros((8, 8, 1))}, "must leave one input of images"),
    ],
)
def test_values_that_do_not_fit_are_refused(network, values, words):
    with pytest.raises(ValueError, match=words):
        models.fix_inputs(network, values)


@pytest.mark.slow
def test_the_command_line_holds_inputs_too(network, images, tmp_path, capsys):
    from tfinv.run import main

    network.save(tmp_path / "model.keras")
    np.savez(tmp_path / "images.npz", x=images, y=np.arange(5) % 2)
    np.savez(tmp_path / "values.npz", age=AGE)

    def measure(values):
        return main(
            ["measure", "--model", str(tmp_path / "model.keras"), "--data", str(tmp_path / "images.npz"), "--quiet",
             "--transformations", "rotations(4)", "--fixed-inputs", str(tmp_path / values), "--output", "vector",
             "--out", str(tmp_path / "out")]
        )  # fmt: skip

    assert measure("values.npz") == 0 and (tmp_path / "out" / "outputs.npz").exists()
    capsys.readouterr()
    assert measure("none.npz") == 2 and "fixed-inputs must be an .npz file" in capsys.readouterr().err
