"""Worst cases over the members of a set: counts by loops, intervals by the formula and by simulation, the behaviour."""

from __future__ import annotations

import numpy as np
import pytest
from laws import assert_laws, layer_of
from numpy.testing import assert_allclose
from scipy.stats import binomtest

import tfinv
from tfinv.measures import AccuracyAtLeast, AccuracyUnder, ConsistencyAll, WorstCaseAccuracy
from tfinv.resampling.shares import paired_interval, wilson
from tfinv.statistics import RightCounts, SameAnswers
from tfinv.tflite.comparison.behaviour import behaviour
from tfinv.tflite.comparison.predictions import Predictions


@pytest.fixture
def data(rng) -> tuple[np.ndarray, np.ndarray]:
    """Logits `(50, 6, 4)` and labels; transformations disturb more or less."""
    images = 3 * rng.normal(size=(50, 4))
    logits = images[:, None] + np.linspace(0, 2, 6)[:, None] * rng.normal(size=(50, 6, 4))
    return logits, np.where(rng.random(50) < 0.8, images.argmax(axis=1), rng.integers(0, 4, 50))


def measured(logits, labels, measure):
    return tfinv.evaluate_arrays({"logits": logits}, [measure], labels=labels)[measure]["logits"]


def right_counts(logits, labels) -> list[int]:
    return [sum(int(logits[s, j].argmax() == labels[s]) for j in range(6)) for s in range(50)]


def test_worst_case_accuracy_counts_samples_that_are_always_right(data):
    logits, labels = data
    counts = right_counts(logits, labels)
    always = sum(count == 6 for count in counts)
    result = measured(logits, labels, WorstCaseAccuracy())
    assert result.values.shape == (1,) and 0.2 < result.values[0] < 0.8
    assert_allclose(result.values[0], always / 50, rtol=1e-12)
    bounds = binomtest(always, 50).proportion_ci(0.95, method="wilson")
    assert result.note == (
        f"right under all 6: {always / 50:.1%} ({bounds.low:.1%} to {bounds.high:.1%}, 95 %); "
        f"mean accuracy {np.mean(counts) / 6:.1%}"
    )
    each = measured(logits, labels, AccuracyUnder()).values
    assert result.values[0] < each.min()


def test_accuracy_at_least_k_joins_worst_case_and_mean(data):
    logits, labels = data
    counts = np.array(right_counts(logits, labels))
    values = measured(logits, labels, AccuracyAtLeast()).values
    assert_allclose(values, [np.mean(counts >= k) for k in range(1, 7)], rtol=1e-12)
    assert values[-1] == measured(logits, labels, WorstCaseAccuracy()).values[0]
    assert_allclose(values.mean(), measured(logits, labels, AccuracyUnder()).values.mean(), rtol=1e-12)


def test_consistency_all_needs_no_labels(data):
    logits, _ = data
    expected = np.mean([len({logits[s, j].argmax() for j in range(6)}) == 1 for s in range(50)])
    result = measured(logits, None, ConsistencyAll())
    assert_allclose(result.values, [expected], rtol=1e-12)
    bounds = binomtest(round(50 * expected), 50).proportion_ci(0.95, method="wilson")
    assert result.note == f"one answer under all: {expected:.1%} ({bounds.low:.1%} to {bounds.high:.1%}, 95 %)"


def test_one_output_unit_and_labels_that_are_no_class(rng):
    outputs = rng.random((30, 4, 1))
    labels = np.where(outputs[:, :, 0].mean(1) > 0.5, 1, 0)
    expected = np.mean([all((outputs[s, j, 0] > 0.4) == labels[s] for j in range(4)) for s in range(30)])
    assert_allclose(measured(outputs, labels, WorstCaseAccuracy(threshold=0.4)).values, [expected])
    with pytest.raises(ValueError, match=r"labels must be classes of the model, from 0 on. Received: 1 of 30"):
        measured(outputs, np.r_[7, labels[1:]], WorstCaseAccuracy(threshold=0.4))
    with pytest.raises(TypeError, match=r"threshold must be a number or None. Received: 'high'"):
        ConsistencyAll("high")  # type: ignore[arg-type]


@pytest.mark.parametrize("statistic", [RightCounts(), SameAnswers()])
def test_the_statistics_obey_the_laws(data, statistic):
    logits, labels = data
    layer = layer_of(logits, is_output=True)
    assert_laws(statistic, logits, labels=labels if isinstance(statistic, RightCounts) else None, layer=layer)


def test_wilson_is_scipys_and_paired_intervals_follow_the_formula(rng):
    for successes, samples, confidence in ((0, 8, 0.95), (8, 8, 0.9), (49, 300, 0.95), (1, 1000, 0.99)):
        bounds = binomtest(successes, samples).proportion_ci(confidence, method="wilson")
        assert_allclose(wilson(successes, samples, confidence), (bounds.low, bounds.high), atol=1e-12)
    assert np.isnan(wilson(0, 0)).all() and np.isnan(paired_interval(np.zeros(0))).all()
    plus, minus, samples = 9, 4, 60
    changes = rng.permutation(np.r_[np.ones(plus), -np.ones(minus), np.zeros(samples - plus - minus)])
    n, b, c = samples + 2, plus + 0.5, minus + 0.5
    reach = 1.959964 * np.sqrt(b + c - (b - c) ** 2 / n) / n
    assert_allclose(paired_interval(changes), ((b - c) / n - reach, (b - c) / n + reach), rtol=1e-6)


def test_intervals_hold_what_they_promise(rng):
    """Coverage of nominal 95 % over 4000 draws, near 0 too; its standard error is 0.35 points."""
    for samples, share in ((40, 0.05), (200, 0.5)):
        bounds = np.array([wilson(k, samples) for k in range(samples + 1)])[rng.binomial(samples, share, 4000)]
        assert np.mean((bounds[:, 0] <= share) & (share <= bounds[:, 1])) > 0.935
    draws = rng.choice([-1, 0, 1], p=[0.03, 0.9, 0.07], size=(4000, 100))
    bounds = np.array([paired_interval(row) for row in draws])
    assert np.mean((bounds[:, 0] <= 0.04) & (bounds[:, 1] >= 0.04)) > 0.94


def test_behaviour_holds_worst_cases_with_intervals(data, rng):
    logits, labels = data
    other = logits + 0.8 * rng.normal(size=logits.shape)
    first, second = (Predictions.of(outputs[:, 0], outputs) for outputs in (logits, other))
    found = behaviour(second, labels, first, is_identity=[True] + 5 * [False])
    always, before = (np.array(right_counts(outputs, labels)) == 6 for outputs in (other, logits))
    bounds = binomtest(int(always.sum()), 50).proportion_ci(0.95, method="wilson")
    worst = found.worst_case_accuracy
    assert_allclose((worst.value, worst.low, worst.high), (always.mean(), bounds.low, bounds.high))
    same = np.mean([len(set(row)) == 1 for row in other.argmax(-1)])
    assert_allclose(found.consistency_all.value, same)
    change = always.astype(float) - before
    assert_allclose(found.worst_case_accuracy_change.value, change.mean(), atol=1e-12)
    assert_allclose(
        (found.worst_case_accuracy_change.low, found.worst_case_accuracy_change.high), paired_interval(change)
    )
    counts = np.array(right_counts(other, labels))
    assert_allclose(found.at_least[:, 0], [(counts >= k).mean() for k in range(1, 7)])
    for k, low, high in zip(range(1, 7), *found.at_least[:, 1:].T, strict=True):
        bounds = binomtest(int((counts >= k).sum()), 50).proportion_ci(0.95, method="wilson")
        assert_allclose((low, high), (bounds.low, bounds.high))
    unlabelled = behaviour(second)
    assert np.isnan(unlabelled.worst_case_accuracy.value) and np.isnan(unlabelled.at_least).all()
    assert_allclose(unlabelled.consistency_all.value, same)
