"""Which tensor is a model's output: followed from the model and from the signature of a file, never from an order."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

import tfinv
from tfinv.activations import ActivationModel
from tfinv.activations.outputs import output_activation
from tfinv.support.quiet import quiet
from tfinv.tflite import TFLiteModel, float32, static_int8

L = keras.layers
SAMPLES = 24


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((SAMPLES, 8, 8, 3), dtype=np.float32)


def two_headed(first: str) -> keras.Model:
    """Outputs `main`, near the images, and `aux`, far from them; `first` says which comes first."""
    inputs = keras.Input((8, 8, 3))
    pooled = L.GlobalAveragePooling2D(name="gap")(L.Conv2D(4, 3, name="conv")(inputs))
    heads = {"main": L.Dense(5, name="main")(pooled)}
    heads["aux"] = L.Dense(5, name="aux")(L.Dense(6, activation="relu", name="hidden")(pooled))
    return keras.Model(inputs, [heads.pop(first), *heads.values()], name="heads")


def nested(first: str) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, two_headed(first)(inputs))


@pytest.mark.parametrize("make", [two_headed, nested])
@pytest.mark.parametrize(("first", "second"), [("main", "aux"), ("aux", "main")])
@pytest.mark.parametrize("recipe", ["float32", "static_int8"])
def test_a_file_has_the_outputs_of_its_model_in_the_models_order(make, first, second, recipe):
    keras.utils.set_random_seed(0)
    model, data = make(first), images()
    file = TFLiteModel(float32(model) if recipe == "float32" else static_int8(model, data))
    keras_source = ActivationModel(model)
    assert [output.layer.split("/")[-1] for output in keras_source.outputs] == [first, second]
    assert [output.layer.split("/")[-1] for output in file.outputs] == [first, second]
    assert file.output_layer == keras_source.output_layer == keras_source.outputs[0].layer
    outputs = file.predict(data)
    assert list(outputs) == ["output_0", "output_1"]
    for value, expected in zip(outputs.values(), model(data), strict=True):
        assert_allclose(value, expected, atol=1e-5 if recipe == "float32" else 0.05)


@pytest.mark.parametrize("first", ["main", "aux"])
def test_keras_and_file_are_judged_at_the_same_output(first):
    keras.utils.set_random_seed(0)
    model, data = nested(first), images()
    labels = np.asarray(model(data)[0]).argmax(1)  # the first output is right everywhere, the second is not
    for source in (model, TFLiteModel(float32(model))):
        results = tfinv.evaluate(source, data, "rotations(4)", ["AccuracyUnder"], labels=labels, progress=False)
        judged = {name: layer.values[2] for name, layer in results["AccuracyUnder"].items() if layer.values.size}
        assert judged == {f"heads/{first}": 1.0}  # member 2 turns by 0 degrees
        recorded = results.metadata["outputs"]
        assert [(output["layer"], output["measured"]) for output in recorded] == [
            (f"heads/{first}", True),
            (f"heads/{'aux' if first == 'main' else 'main'}", False),
        ]
        assert results.metadata["inputs"][0]["shape"] == [8, 8, 3]


def test_both_halves_of_a_split_are_followed():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    parts = keras.ops.split(L.GlobalAveragePooling2D(name="gap")(L.Conv2D(8, 3, name="conv")(inputs)), 2, axis=-1)
    data = images()
    for chosen in ([0], [1], [1, 0]):
        model = keras.Model(inputs, [parts[number] for number in chosen])
        expected = [np.asarray(value) for value in keras.tree.flatten(model(data))]
        source, file = ActivationModel(model), TFLiteModel(float32(model))
        assert [output.layer.split(":")[1] for output in source.outputs] == [str(number) for number in chosen]
        assert_allclose(source(data)[source.output_layer], expected[0], atol=1e-6)
        assert_allclose(file(data)[file.output_layer], expected[0], atol=1e-6)
        outputs = file.predict(data)
        for value, want in zip(outputs.values() if isinstance(outputs, dict) else [outputs], expected, strict=True):
            assert_allclose(value, want, atol=1e-6)


@pytest.mark.parametrize("first", ["main", "aux"])
def test_lie_derivatives_are_those_of_the_first_output(first):
    keras.utils.set_random_seed(0)
    model, data = nested(first), images()[:6]
    alone = keras.Model(model.inputs, model.outputs[0])
    whole, expected = (tfinv.lie_derivative(network, data, ["scale"], progress=False) for network in (model, alone))
    key = "LieContribution(generator='scale')"
    for name, layer in expected[key].items():
        assert_allclose(whole[key][name].values, layer.values, rtol=1e-5)
    assert f"heads/{'aux' if first == 'main' else 'main'}" not in whole[key]


def argmax_file(scores: bool) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A file that gives class numbers, behind scores or beside them, with its weights."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    kernel, dense = rng.normal(size=(3, 3, 3, 4)).astype("float32"), rng.normal(size=(4, 5)).astype("float32")

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32)])
    def function(image):
        logits = tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "VALID")), (1, 2)) @ dense
        return (tf.argmax(logits, -1), logits) if scores else tf.argmax(logits, -1)

    with quiet():
        concrete = function.get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert(), kernel, dense


@pytest.mark.parametrize("scores", [False, True])
def test_class_numbers_are_listed_and_their_scores_are_measured(scores):
    import tensorflow as tf

    content, kernel, dense = argmax_file(scores)
    model, data = TFLiteModel(content), images()
    logits = tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(data, kernel, 1, "VALID")), (1, 2)).numpy() @ dense
    assert model.outputs[0].dtype == "int64" and model.outputs[0].shape == ()
    assert len(model.outputs) == 1 + scores and model.outputs[0].layer == model.output_layer
    assert "int64" in model.skipped["arg_max"]
    assert_allclose(model(data)[model.output_layer], logits, atol=1e-5)
    results = tfinv.evaluate(model, data, "rotations(4)", ["AccuracyUnder"], labels=logits.argmax(1), progress=False)
    assert results["AccuracyUnder"][model.output_layer].values[2] == 1
    assert results.metadata["skipped_layers"] == model.skipped


def test_a_keras_models_class_numbers_are_not_measured_as_numbers():
    keras.utils.set_random_seed(0)
    model = two_headed("main")
    named = keras.Model(model.inputs, keras.ops.argmax(model.outputs[0], axis=-1))
    source, data = ActivationModel(named), images()
    assert source.output_layer == "main" and "argmax" not in source.layer_shapes
    assert "int" in source.skipped["argmax"]
    labels = np.asarray(named(data))
    results = tfinv.evaluate(named, data, "rotations(4)", ["AccuracyUnder"], labels=labels, progress=False)
    assert results["AccuracyUnder"]["main"].values[2] == 1


def test_the_activation_of_an_output_is_followed_into_nested_models():
    image = keras.Input((4, 4, 1))
    flat = L.Flatten()(image)
    logits = L.Dense(3)(flat)
    beside = L.Dense(4, "softmax")(L.Dense(4)(L.Dense(4)(flat)))
    assert output_activation(keras.Model(image, [logits, beside])) == ""
    assert output_activation(keras.Model(image, [logits, beside]), 1) == "softmax"
    inner = keras.Model(image, [logits, L.Softmax()(logits)])
    assert output_activation(keras.Model(image, inner(image)[1])) == "softmax"
    assert output_activation(keras.Model(image, inner(image)[0])) == ""
    for sigmoid in (L.Dense(1, "sigmoid"), keras.Sequential([L.Dense(1), L.Activation("sigmoid")])):
        assert output_activation(keras.Model(image, sigmoid(flat))) == "sigmoid"
    assert output_activation(keras.Model(image, keras.ops.sigmoid(L.Dense(1)(flat)))) == "sigmoid"


def test_comparison_and_study_say_which_of_several_outputs_answers():
    from tfinv.tflite import compare_files, study

    keras.utils.set_random_seed(0)
    model, data = nested("aux"), images()
    labels = np.asarray(model(data)[0]).argmax(1)
    said = "outputs heads/aux, heads/main: predictions are read from the first, heads/aux"
    options = {"measures": "NormalizedVariance", "progress": False, "sampling": tfinv.Sampling(shards=4)}
    comparison = compare_files(float32(model), static_int8(model, data), (data, labels), "rotations(4)", **options)
    assert sum(said in warning for warning in comparison.warnings) == 1
    assert comparison.models["accuracy"][0] == 1
    wanted = study(model, (data, labels), (data, labels), "rotations(4)", ["float16"], **options)
    assert sum(said in warning for warning in wanted.warnings) == 1
    assert wanted.recipes["accuracy"].tolist() == [1, 1]
