"""Behaviour of classifiers: shares by counting, intervals by theory, collapse, no consistency without accuracy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binom

from tfinv.resampling.images import intervals
from tfinv.tflite.comparison.behaviour import angles, behaviour, identities
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.transformations import parse


def random_outputs(rng, samples=60, count=5, classes=4):
    return rng.normal(size=(samples, count, classes))


def predictions(classes, num_classes=10, columns=4):
    """A model that is sure, and says the same whatever the transformation."""
    outputs = 9.0 * np.eye(num_classes)[np.asarray(classes)]
    return Predictions.of(outputs, np.repeat(outputs[:, None], columns, axis=1))


def test_every_share_is_a_count(rng):
    outputs, reference, labels = random_outputs(rng), random_outputs(rng), rng.integers(4, size=60)
    result = behaviour(
        Predictions.of(outputs[:, 2], outputs),
        labels,
        Predictions.of(reference[:, 2], reference),
        is_identity=[False, False, True, False, False],
    )
    guess, other = outputs.argmax(-1), reference.argmax(-1)
    moved = [0, 1, 3, 4]
    assert result.accuracy.value == np.mean([guess[s, 2] == labels[s] for s in range(60)])
    flat = [(s, t) for s in range(60) for t in moved]
    assert_allclose(result.transformed_accuracy.value, np.mean([guess[s, t] == labels[s] for s, t in flat]))
    assert result.flips.value == np.mean([guess[s, 2] != other[s, 2] for s in range(60)])
    assert_allclose(result.transformed_flips.value, np.mean([guess[s, t] != other[s, t] for s, t in flat]))
    assert_allclose(result.consistency.value, np.mean([guess[s, t] == guess[s, 2] for s, t in flat]))
    assert_allclose(result.curves["accuracy"][:, 0], (guess == labels[:, None]).mean(0))
    assert_allclose(result.curves["flips"][:, 0], (guess != other).mean(0))
    assert_allclose(result.curves["consistency"][2], [1, 0.025 ** (1 / 60), 1])
    change = (guess[:, 2] == labels).mean() - (other[:, 2] == labels).mean()
    assert_allclose(result.accuracy_change.value, change, atol=1e-12)


def test_effective_invariance_is_the_papers(rng):
    outputs = random_outputs(rng)
    chances = np.exp(outputs) / np.exp(outputs).sum(-1, keepdims=True)
    total = 0.0
    for s in range(60):
        for t in range(1, 5):
            if outputs[s, t].argmax() == outputs[s, 0].argmax():
                total += math.sqrt(chances[s, 0].max() * chances[s, t].max())
    result = behaviour(Predictions.of(outputs[:, 0], outputs), is_identity=[True] + [False] * 4)
    assert_allclose(result.effective_invariance.value, total / 240, rtol=1e-6)
    softmax = behaviour(Predictions.of(chances[:, 0], chances), is_identity=[True] + [False] * 4)
    assert_allclose(softmax.effective_invariance.value, total / 240, rtol=1e-6)


def test_intervals_agree_with_the_binomial_distribution(rng):
    right = rng.random((800, 1)) < 0.7
    mean, low, high = intervals(right, resamples=4000)[0]
    expected = binom.ppf([0.025, 0.975], 800, mean) / 800
    assert_allclose([low, high], expected, atol=0.006)


def test_intervals_cover_the_truth_as_often_as_they_say(rng):
    inside = 0
    for number in range(200):
        _, low, high = intervals(rng.random((100, 1)) < 0.4, resamples=300, seed=number)[0]
        inside += low <= 0.4 <= high
    assert 0.89 <= inside / 200 <= 0.99


def test_certain_samples_leave_doubt_about_others():
    assert_allclose(intervals(np.zeros((100, 1)))[0], [0, 0, 1 - 0.025 ** (1 / 100)])
    assert_allclose(intervals(np.ones((100, 1)))[0], [1, 0.025 ** (1 / 100), 1])
    reach = 1 - 0.025 ** (1 / 100)
    assert_allclose(intervals(np.zeros((100, 1)), signed=True)[0], [0, -reach, reach])


def test_paired_differences_are_sharper_than_the_parts(rng):
    labels = rng.integers(10, size=500)
    before = np.where(rng.random(500) < 0.6, labels, (labels + 1) % 10)
    after = np.where(rng.random(500) < 0.02, (before + 3) % 10, before)
    result = behaviour(predictions(after), labels, predictions(before))
    width = result.accuracy_change.high - result.accuracy_change.low
    assert width < 0.4 * (result.accuracy.high - result.accuracy.low)
    assert result.accuracy_change.low <= result.accuracy_change.value <= result.accuracy_change.high


def test_a_consistent_but_collapsed_model_is_flagged(rng):
    labels = rng.integers(10, size=400)
    collapsed = np.where(rng.random(400) < 0.85, 3, rng.integers(10, size=400))
    result = behaviour(predictions(collapsed), labels, predictions(labels))
    assert result.consistency.value == 1.0 and result.accuracy.value < 0.2
    assert result.collapsed and result.classes_used < 4


@pytest.mark.parametrize(
    ("guesses", "labels", "collapsed"),
    [
        (lambda rng, y: y, 10, False),
        (lambda rng, y: np.where(rng.random(len(y)) < 0.5, y, 0), 10, False),
        (lambda rng, y: rng.integers(10, size=len(y)), 10, False),
        (lambda rng, y: rng.integers(2, size=len(y)), 10, True),
        (lambda rng, y: np.where(rng.random(len(y)) < 0.9, y, 1 - y), 2, False),
        (lambda rng, y: (rng.random(len(y)) < 0.03).astype(int), 2, True),
    ],
    ids=["right", "half right", "random", "two of ten", "binary", "binary collapsed"],
)
def test_collapse_is_few_classes_and_no_more_than_chance(rng, guesses, labels, collapsed):
    truth = rng.integers(labels, size=500)
    assert behaviour(predictions(guesses(rng, truth)), truth).collapsed == collapsed


def test_without_labels_there_is_no_accuracy_but_still_collapse(rng):
    truth = rng.integers(10, size=200)
    result = behaviour(predictions(np.zeros(200, int)), None, predictions(truth))
    assert math.isnan(result.accuracy.value) and result.flips.value == np.mean(truth != 0) and result.collapsed
    assert behaviour(predictions(np.zeros(50, int))).collapsed
    assert not behaviour(predictions(truth)).collapsed


def test_kappa_is_that_of_scikit_learn(rng):
    from sklearn.metrics import cohen_kappa_score

    labels, guesses = rng.integers(5, size=300), rng.integers(5, size=300)
    guesses[:120] = labels[:120]
    assert_allclose(behaviour(predictions(guesses), labels).kappa, cohen_kappa_score(labels, guesses))


def test_angles_and_identities_are_recognised():
    assert angles(parse("rotations(4)")).tolist() == [180.0, -90.0, 0.0, 90.0]
    assert np.isnan(angles(parse("scales(1, 0.5, 1.5)"))).sum() == 6
    assert identities(parse("rotations(4)")).tolist() == [False, False, True, False]
    assert identities(parse("translations(1, 0.1)")).tolist() == [True] + [False] * 8


def test_a_frame_has_one_row_a_transformation(rng):
    outputs = random_outputs(rng, count=4)
    frame = behaviour(Predictions.of(outputs[:, 2], outputs), rng.integers(4, size=60)).to_frame(parse("rotations(4)"))
    assert frame["degrees"].tolist() == [180.0, -90.0, 0.0, 90.0]
    assert (frame["accuracy_low"] <= frame["accuracy"]).all() and (frame["accuracy"] <= frame["accuracy_high"]).all()
    assert frame["flips"].isna().all()


def test_bad_input_is_named(rng):
    outputs = random_outputs(rng)
    good = Predictions.of(outputs[:, 0], outputs)
    with pytest.raises(ValueError, match=r"labels must be 60 integers.*Received: int64 of shape \(59,\)"):
        behaviour(good, np.zeros(59, int))
    with pytest.raises(ValueError, match="reference must have predictions of the shape"):
        behaviour(good, None, Predictions.of(outputs[:50, 0], outputs[:50]))
    with pytest.raises(ValueError, match=r"outputs must be \(S, K\) upright.*Received: \(60, 0\)"):
        Predictions.of(outputs[:, 0, :0], outputs[..., :0])
    with pytest.raises(ValueError, match="finite outputs"):
        Predictions.of(outputs[:, 0], np.where(outputs > 2, np.nan, outputs))
