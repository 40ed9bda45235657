"""Classifiers of one output unit: a threshold decides, 0.5 of a probability and 0 of a logit."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import tfinv
from tfinv.statistics.classification import chosen, predicted
from tfinv.tflite import TFLiteModel, compare_files, float32, qat_int8, static_int8
from tfinv.tflite.comparison.gate import check
from tfinv.training import train
from tfinv.training.accuracy import accuracy, accuracy_under

L = keras.layers
SAMPLES, CLASSES = 60, 2


def bars() -> tuple[np.ndarray, np.ndarray]:
    """Vertical bars (0) and squares (1) at random places."""
    rng = np.random.default_rng(0)
    labels = np.arange(SAMPLES) % CLASSES
    images = np.zeros((SAMPLES, 16, 16, 1), np.float32)
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(4, 12, 2)
        image[slice(row - 2, row + 2) if label else slice(None), column - 2 : column + 2] = 1
    return images, labels


def network(activation: str | None) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            L.Conv2D(4, 3, activation="relu", name="conv"),
            L.Flatten(name="flat"),
            L.Dense(1, activation=activation, name="answer"),
        ]
    )


@pytest.fixture(scope="module", params=["sigmoid", None])
def trained(request):
    images, labels = bars()
    model = network(request.param)
    result = train(model, (images, labels), epochs=12, learning_rate=1e-2, progress=False)
    return model, result, 0.5 if request.param else 0.0


def turned(model: keras.Model, images: np.ndarray, threshold: float) -> np.ndarray:
    """Classes `(S, 4)` by NumPy, under the members of rotations(4): -180, -90, 0 and 90 degrees."""
    shown = np.stack([np.rot90(images, quarter, axes=(1, 2)) for quarter in (2, 3, 0, 1)], 1)
    answers = np.asarray(model(shown.reshape(-1, *images.shape[1:])))
    return (answers.reshape(len(images), 4) > threshold).astype(int)


def test_training_learns_what_one_unit_can_say(trained):
    model, result, threshold = trained
    images, labels = bars()
    assert result.accuracy == accuracy(model, (images, labels)) > 0.9
    assert result.accuracy == (turned(model, images, threshold)[:, 2] == labels).mean()
    assert result.history["accuracy"].iloc[-1] > 0.8


def test_accuracy_and_consistency_are_those_of_numpy(trained):
    model, _, threshold = trained
    images, labels = bars()
    classes = turned(model, images, threshold)
    expected = (classes == labels[:, None]).mean(0)
    assert 0 < expected.min() < expected.max()
    assert_allclose(accuracy_under(model, images, labels, "rotations(4)"), expected)
    consistent = f"PredictionConsistency(threshold={threshold})"
    for source in (model, TFLiteModel(float32(model))):
        results = tfinv.evaluate(
            source, images, "rotations(4)", ["AccuracyUnder", consistent], labels=labels, progress=False
        )
        assert_allclose(results["AccuracyUnder"]["answer"].values, expected)
        assert_allclose(results[consistent]["answer"].values, (classes == classes[:, 2:3]).mean(0))


def test_files_are_compared_by_flips_and_accuracy(trained):
    model, _, threshold = trained
    images, labels = bars()
    files = [TFLiteModel(float32(model)), TFLiteModel(static_int8(model, images))]
    comparison = compare_files(
        *files,
        (images, labels),
        "rotations(4)",
        measures="NormalizedVariance",
        sampling=tfinv.Sampling(shards=4),
        progress=False,
    )
    first, second = ((file.predict(images)[:, 0] > threshold).astype(int) for file in files)
    assert comparison.models["accuracy"].tolist() == [(first == labels).mean(), (second == labels).mean()]
    assert comparison.models["flips"][1] == (first != second).mean()
    assert comparison.metadata["num_classes"] == 2
    gates = {text: check([text], comparison, allow_unmatched=["*"]) for text in ("accuracy<0.8", "flip_rate>=0")}
    assert {text: gate.failed for text, gate in gates.items()} == {"accuracy<0.8": False, "flip_rate>=0": True}
    assert gates["accuracy<0.8"].values == {"accuracy": comparison.models["accuracy"][1]}


def test_quantization_aware_training_takes_one_unit(trained):
    model, _, threshold = trained
    images, labels = bars()
    file = qat_int8(model, (images, labels), 1, progress=False)
    answers = TFLiteModel(file).predict(images)[:, 0]
    assert file.report.accuracy["float"] == accuracy(model, (images, labels))
    assert ((answers > threshold) == labels).mean() > 0.9
    assert file.report.agreement.classes > 0.95


def test_labels_beyond_two_classes_are_refused():
    images, labels = bars()
    with pytest.raises(ValueError, match=r"labels of data must be 0 or 1 for a model of one output.* 2"):
        accuracy(network("sigmoid"), (images, labels + 1))
    with pytest.raises(ValueError, match="labels must be classes of the model"):
        tfinv.evaluate(network("sigmoid"), images, "rotations(4)", "AccuracyUnder", labels=labels + 1, progress=False)
    with pytest.raises(ValueError, match="function that gives one number"):
        accuracy(lambda shown: np.zeros((len(shown), 1)), (images, labels))


def test_one_unit_from_elsewhere_needs_a_threshold():
    answers = np.array([[[0.2], [0.6]], [[0.7], [0.4]]])
    result = tfinv.evaluate_arrays({"p": answers}, "AccuracyUnder", labels=[0, 1])["AccuracyUnder"]["p"]
    assert result.values.size == 0 and "threshold" in result.note
    key = "AccuracyUnder(threshold=0.5)"
    assert tfinv.evaluate_arrays({"p": answers}, key, labels=[0, 1])[key]["p"].values.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("kind", [np.asarray, tf.constant])
def test_classes_and_confidences_of_one_unit(kind):
    logits = np.array([[-800.0], [-1.0], [0.5], [800.0]])
    with np.errstate(over="raise"):
        classes, certain = predicted(kind(logits), from_logits=True)
    assert_array_equal(classes, [0, 0, 1, 1])
    assert_allclose(certain, [1, 1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(-0.5)), 1])
    classes, certain = predicted(kind(np.array([[-0.01], [0.3], [0.8], [1.02]])), from_logits=False)
    assert_array_equal(classes, [0, 0, 1, 1])
    assert_allclose(certain, [1, 0.7, 0.8, 1])
    assert_array_equal(chosen(kind(np.array([[0.3], [0.8]])), 0.25), [1, 1])
