"""Sigmoid outputs of several units: what their predictions are is said, and each label can be judged by itself."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfinv
from tfinv.activations import ActivationModel
from tfinv.activations.outputs import remarks
from tfinv.tflite import TFLiteModel, compare_files, float32
from tfinv.training import accuracy

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
