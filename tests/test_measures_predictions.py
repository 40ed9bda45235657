"""Measures of the model's output: against loops over samples, and models whose behaviour is known."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from laws import assert_laws, layer_of
from references import column_dispersion, effective_invariance, row_dispersion

import tfinv
from tfinv.measures import AccuracyUnder, EffectiveInvariance, LogitVariance, PredictionConsistency
from tfinv.results import LayerResult
from tfinv.statistics import ConsistentPredictions, CorrectPredictions
from tfinv.tflite.comparison.behaviour import behaviour
from tfinv.tflite.comparison.predictions import Predictions

TOP = (AccuracyUnder(), PredictionConsistency(), EffectiveInvariance(), LogitVariance())


@pytest.fixture
def data(rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits `(40, 6, 5)`, untransformed logits and labels; later transformations disturb more."""
    images = 2 * rng.normal(size=(40, 5))
    logits = images[:, None] + np.linspace(0, 3, 6)[:, None] * rng.normal(size=(40, 6, 5))
    return logits, images, np.where(rng.random(40) < 0.7, images.argmax(axis=1), rng.integers(0, 5, 40))


def measured(logits, images, labels, measure) -> LayerResult:
    reference = None if images is None else {"logits": images}
    return tfinv.evaluate_arrays({"logits": logits}, [measure], labels=labels, reference=reference)[measure]["logits"]


def test_accuracy_equals_a_loop(data):
    logits, _, labels = data
    expected = [np.mean([logits[s, j].argmax() == labels[s] for s in range(40)]) for j in range(6)]
    result = measured(logits, None, labels, AccuracyUnder())
    np.testing.assert_allclose(result.values, expected, rtol=1e-12)
    worst = int(np.argmin(expected))
    assert result.note == f"one value per transformation; lowest {expected[worst]:.1%}, transformation {worst}"


def test_consistency_equals_a_loop_and_stands_beside_the_accuracy(data):
    logits, images, labels = data
    expected = [np.mean([logits[s, j].argmax() == images[s].argmax() for s in range(40)]) for j in range(6)]
    result = measured(logits, images, labels, PredictionConsistency())
    np.testing.assert_allclose(result.values, expected, rtol=1e-12)
    assert result.values[0] == 1 and result.values[-1] < 0.8
    before, after = (images.argmax(1) == labels).mean(), (logits.argmax(2) == labels[:, None]).mean()
    assert f"accuracy {before:.1%} untransformed, {after:.1%} under transformations" in result.note


def test_consistency_without_labels_says_what_is_missing(data):
    logits, images, _ = data
    assert "no labels" in measured(logits, images, None, PredictionConsistency()).note


def test_effective_invariance_equals_a_loop(data):
    logits, images, _ = data
    result = measured(logits, images, None, EffectiveInvariance())
    np.testing.assert_allclose(result.values, effective_invariance(logits, images), rtol=1e-10)
    assert "look like" not in result.note


def test_probabilities_are_recognised(data):
    logits, images, _ = data
    probabilities, before = (np.exp(row) / np.exp(row).sum(-1, keepdims=True) for row in (logits, images))
    right = measured(probabilities, before, None, EffectiveInvariance(from_logits=False))
    np.testing.assert_allclose(right.values, effective_invariance(logits, images), rtol=1e-10)
    assert "look like" not in right.note
    wrong = measured(probabilities, before, None, EffectiveInvariance())
    assert "look like probabilities: use EffectiveInvariance(from_logits=False)" in wrong.note
    also_wrong = measured(logits, images, None, EffectiveInvariance(from_logits=False))
    assert "look like logits: use EffectiveInvariance(from_logits=True)" in also_wrong.note


@pytest.mark.parametrize("statistic", ["variance", "std"])
def test_logit_variance_ignores_what_no_prediction_depends_on(data, rng, statistic):
    logits, _, _ = data
    centred = logits - logits.mean(axis=-1, keepdims=True)
    rows, columns = row_dispersion(centred, statistic), column_dispersion(centred, statistic)
    offset = 10 * rng.normal(size=(40, 6, 1))
    for normalize, expected in ((True, rows / columns), (False, rows)):
        measure = LogitVariance(normalize, statistic)
        np.testing.assert_allclose(measured(logits, None, None, measure).values, expected, rtol=1e-10)
        np.testing.assert_allclose(measured(logits + offset, None, None, measure).values, expected, rtol=1e-9)


@pytest.mark.parametrize("statistic", [CorrectPredictions(), ConsistentPredictions(), ConsistentPredictions(False)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_laws(data, statistic, dtype):
    logits, images, labels = data
    options = {"labels": labels} if statistic.needs_labels else {"labels": labels, "reference": images.astype(dtype)}
    layer = layer_of(logits, is_output=True)
    assert_laws(statistic, logits.astype(dtype), layer=layer, **options)


def test_permuting_samples_changes_nothing_and_transformations_only_their_order(data, rng):
    logits, images, labels = data
    order, columns = rng.permutation(40), rng.permutation(6)
    for measure in TOP:
        expected = measured(logits, images, labels, measure).values
        values = measured(logits[order], images[order], labels[order], measure).values
        np.testing.assert_allclose(values, expected, rtol=1e-10)
        values = measured(logits[:, columns], images, labels, measure).values
        by_transformation = expected if isinstance(measure, LogitVariance) else expected[columns]
        np.testing.assert_allclose(values, by_transformation, rtol=1e-10)


def test_a_transformation_that_does_nothing_and_a_constant_model(data):
    _, images, labels = data
    still = np.repeat(images[:, None], 3, axis=1)
    assert measured(still, images, labels, PredictionConsistency()).values.tolist() == [1, 1, 1]
    assert (measured(still, images, None, LogitVariance()).values == 0).all()
    certainty = measured(1000 * still, 1000 * images, None, EffectiveInvariance()).values
    np.testing.assert_allclose(certainty, 1, rtol=1e-6)
    constant = np.tile([0.0, 9.0, 0.0, 0.0, 0.0], (40, 3, 1))
    result = measured(constant, constant[:, 0], labels, PredictionConsistency())
    assert result.values.tolist() == [1, 1, 1]
    assert f"accuracy {(labels == 1).mean():.1%} untransformed" in result.note


@pytest.fixture(scope="module")
def bright_side() -> keras.Model:
    """Says 0 where the left half of an image is brighter, else 1; a hidden layer of two units comes before."""
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Dense(2, use_bias=False, name="hidden")
    logits = keras.layers.Dense(2, use_bias=False, name="logits")
    model = keras.Model(inputs, logits(hidden(keras.layers.Flatten(name="flat")(inputs))))
    left = np.zeros((8, 8), np.float32)
    left[:, :4] = 1
    hidden.set_weights([np.stack([left.ravel(), 1 - left.ravel()], axis=1)])
    logits.set_weights([np.array([[0, 1], [1, 0]], np.float32)[::-1]])
    return model


@pytest.fixture(scope="module")
def side_images() -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).random((30, 8, 8, 1), dtype=np.float32)
    return images, np.where(images[:, :, :4].sum((1, 2, 3)) > images[:, :, 4:].sum((1, 2, 3)), 0, 1)


def test_a_model_that_a_half_turn_reverses(bright_side, side_images):
    images, labels = side_images
    turns = [tfinv.transformations.Affine.rotation(angle) for angle in (0, 180)]
    results = tfinv.evaluate(bright_side, images, turns, list(TOP), labels=labels, batch_size=7, progress=False)
    assert results["AccuracyUnder"]["logits"].values.tolist() == [1, 0]
    assert results["PredictionConsistency"]["logits"].values.tolist() == [1, 0]
    assert results["EffectiveInvariance"]["logits"].values[1] == 0
    assert "accuracy 100.0% untransformed, 50.0% under" in results["PredictionConsistency"]["logits"].note


def test_other_layers_are_not_applicable_in_words(bright_side, side_images):
    images, labels = side_images
    results = tfinv.evaluate(bright_side, images, "rotations(2)", list(TOP), labels=labels, progress=False)
    for measure in TOP:
        hidden = results[measure]["hidden"]
        assert hidden.values.size == 0 and hidden.note == "it is not the model's output"


def test_a_hidden_layer_chosen_alone_is_not_taken_for_the_output(bright_side, side_images):
    images, labels = side_images
    results = tfinv.evaluate(
        bright_side, images, "rotations(2)", [AccuracyUnder()], labels=labels, layers="hidden", progress=False
    )
    assert results["AccuracyUnder"]["hidden"].note == "it is not the model's output"


def test_outputs_without_classes_are_not_applicable():
    block = np.random.default_rng(0).normal(size=(4, 3, 1))
    result = measured(block, None, [0, 0, 0, 0], AccuracyUnder())
    assert result.note == "an output of one unit needs the threshold above which it says class 1"


def test_missing_labels_and_labels_that_are_no_class_are_refused(data):
    logits, images, labels = data
    with pytest.raises(ValueError, match="labels must be given for AccuracyUnder"):
        measured(logits, images, None, AccuracyUnder())
    with pytest.raises(ValueError, match=r"labels must be classes of the model, from 0 on. Received: 2 of 40"):
        measured(logits, images, np.r_[5, -2, labels[2:]], AccuracyUnder())
    with pytest.raises(ValueError, match="reference must hold"):
        measured(logits, None, labels, PredictionConsistency())
    with pytest.raises(TypeError, match=r"from_logits must be True or False. Received: 'yes'"):
        EffectiveInvariance("yes")
    with pytest.raises(ValueError, match="statistic must be one of"):
        LogitVariance(statistic="mad")
    with pytest.raises(ValueError, match="transformations must be at least 2 for LogitVariance"):
        measured(logits[:, :1], None, None, LogitVariance())


def test_measures_and_the_behaviour_of_files_are_one_computation(data):
    logits, images, labels = data
    behaved = behaviour(Predictions.of(images, logits, from_logits=True), labels)
    for measure, curve, rtol in (
        (AccuracyUnder(), "accuracy", 1e-12),
        (PredictionConsistency(), "consistency", 1e-12),
        (EffectiveInvariance(), "effective_invariance", 1e-6),  # Predictions keep confidences as float32
    ):
        values = measured(logits, None if curve == "accuracy" else images, labels, measure).values
        np.testing.assert_allclose(behaved.curves[curve][:, 0], values, rtol=rtol, err_msg=curve)
