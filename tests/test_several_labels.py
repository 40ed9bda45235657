"""Sigmoid outputs of several units: what their predictions are is said, and each label can be judged by itself."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfinv
from tfinv.activations import ActivationModel
from tfinv.activations.outputs import remarks
from tfinv.tflite import Subsets, TFLiteModel, compare_files, float32
from tfinv.training import accuracy, label_accuracy
from tfinv.transformations import as_set, warp

LABELS, SAID = 3, "the output labels has 3 sigmoid units, which may tell several labels of one image"


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten(name="flat")(keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs))
    return keras.Model(inputs, keras.layers.Dense(LABELS, activation="sigmoid", name="labels")(x))


def images() -> np.ndarray:
    return np.random.default_rng(0).random((24, 8, 8, 1), dtype=np.float32)


def test_rows_with_several_labels_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match="for several labels of one image, give the column of one label and the"):
        accuracy(network(), (images(), np.tile([1, 1, 0], (24, 1))))


def test_a_label_by_itself_has_accuracies_by_its_threshold():
    model, data = network(), images()
    outputs = np.asarray(model(data))
    for k in range(LABELS):
        single = keras.Model(model.inputs, model.outputs[0][:, k : k + 1])
        labels = np.arange(24) % 2
        expected = ((outputs[:, k] > 0.5) == labels).mean()
        assert accuracy(single, (data, labels)) == pytest.approx(expected)
        results = tfinv.evaluate(single, data, "rotations(4)", "AccuracyUnder", labels=labels, progress=False)
        upright = [layer.values[2] for layer in results["AccuracyUnder"].values() if layer.values.size]
        assert upright == [pytest.approx(expected)]


def test_comparisons_say_what_the_predictions_of_such_an_output_are():
    file = TFLiteModel(float32(network()))
    assert remarks(file.outputs) and remarks(file.outputs)[0].startswith(SAID)
    assert remarks(ActivationModel(network()).outputs)[0].startswith(SAID)
    found = compare_files(file, file, images(), "rotations(4)", measures="NormalizedVariance", progress=False)
    assert sum(text.startswith(SAID) for text in found.warnings) == 1


def answers_by_hand(model: keras.Model, data: np.ndarray) -> np.ndarray:
    """Yes or no for every label under rotations by quarter turns: bool `(S, T, K)`."""
    members = as_set("rotations(4)")
    warped = np.asarray(warp(data, members))
    return np.stack([np.asarray(model(warped[:, j])) > 0.5 for j in range(len(members))], axis=1)


def with_spread(model: keras.Model) -> keras.Model:
    """Larger weights, so that labels differ between images and turns."""
    kernel, bias = model.layers[-1].get_weights()
    scores = np.asarray(keras.Model(model.inputs, model.layers[-2].output)(images())) @ kernel
    model.layers[-1].set_weights([kernel * 20, bias - 20 * np.median(scores, axis=0)])
    return model


def test_accuracy_of_every_label_and_of_all_at_once():
    model, data = with_spread(network()), images()
    labels = np.random.default_rng(1).integers(0, 2, (24, LABELS))
    right = answers_by_hand(model, data) == labels[:, None]
    found = label_accuracy(model, (data, labels), "rotations(4)", batch_size=7)
    np.testing.assert_allclose(found.labels, right.mean(axis=0))
    np.testing.assert_allclose(found.exact, right.all(axis=-1).mean(axis=0))
    np.testing.assert_allclose(found.mean, right.mean(axis=(0, 2)))
    assert 0.1 < found.labels.min() < found.labels.max() < 0.9 and (found.exact < found.labels.min(axis=1)).all()
    logits = keras.Model(model.inputs, keras.ops.log(model.output / (1 - model.output)))
    for other in (logits, lambda x: np.asarray(logits(x))):  # the threshold of logits is 0
        np.testing.assert_allclose(label_accuracy(other, (data, labels)).labels[0], found.labels[2], atol=1e-9)
    strict = label_accuracy(model, (data, np.zeros_like(labels)), threshold=1.0)
    assert strict.exact.tolist() == [1.0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((24, 2)), r"one column for each of the model's 3 outputs. Received: shape \(24, 2\)"),
        (np.zeros(24), r"must be a matrix of 0 and 1.*Received: float64 of shape \(24,\)"),
        (np.full((24, 3), 2), "must be a matrix of 0 and 1.*Received: values from 2 to 2"),
        ([[0, 1, 0], [1]] * 12, "rows of several lengths"),
        (None, "Received: images alone"),
    ],
)
def test_labels_that_are_no_matrix_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        label_accuracy(network(), (images(), labels))


def test_labels_that_flip_are_counted_by_label_image_and_set():
    model, data = with_spread(network()), images()
    answers = answers_by_hand(model, data)
    upright = np.asarray(model(data))[:, None] > 0.5
    differs = answers != upright
    found = tfinv.output_change(model, data, "rotations(4)", "labels", progress=False)
    table = found.to_frame().set_index(["quantity", "degrees"])["mean"]
    degrees = sorted(set(table.loc["changed"].index))
    assert len(degrees) == 4
    union, both = (answers | upright).sum(-1), (answers & upright).sum(-1)
    overlap = np.where(union > 0, both / np.maximum(union, 1), 1)
    expected = {"changed": differs.mean((0, 2)), "set_changed": differs.any(-1).mean(0), "overlap": overlap.mean(0)}
    for quantity, values in expected.items():
        np.testing.assert_allclose(np.sort(table.loc[quantity].to_numpy()), np.sort(values), atol=1e-9)
    assert expected["changed"].max() > 0.1 > expected["changed"].min() == 0
    strict = tfinv.output_change(model, data, "rotations(4)", "labels(threshold=1)", progress=False).to_frame()
    assert set(strict.query("quantity == 'changed'")["mean"]) == {0.0}
    with pytest.raises(ValueError, match="threshold must be a number"):
        tfinv.outputs.kind("labels(threshold='half')")


def test_a_file_and_another_are_compared_by_all_their_labels():
    file = TFLiteModel(float32(with_spread(network())))
    found = compare_files(
        file, file, images(), "rotations(4)", measures="NormalizedVariance", subsets=Subsets(outputs="labels"),
        progress=False,
    )  # fmt: skip
    assert found.outputs is not None and not any("several labels of one image" in text for text in found.warnings)
    assert set(found.outputs.summary()["kind"]) == {"labels"}
