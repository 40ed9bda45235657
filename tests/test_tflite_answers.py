"""Flips by kind and class, calibration: against loops, scipy and the published formulas; in a comparison and report."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.stats import binomtest
from tflite_models import digits, residual_network, trained

from tfinv.tflite import Comparison, TFLiteModel, compare_files, float32, static_int8
from tfinv.tflite.comparison.confidence import (
    Scores,
    as_logits,
    calibration_table,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from tfinv.tflite.comparison.flips import flip_kinds, flipped_rows, flips_by_class, flips_by_transformation, mcnemar
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.tflite.files.interpreter import Runner
from tfinv.transformations import parse, warp

SAMPLES, SET = 80, "rotations(4)"


@pytest.fixture(scope="module")
def two():
    """Predictions of two models of 4 classes and labels, 90 images under 5 transformations; the second is worse."""
    rng = np.random.default_rng(3)
    labels = rng.integers(4, size=90)
    first = rng.normal(size=(90, 5, 4)) + 2 * np.eye(4)[labels][:, None]
    second = first + 0.5 * rng.normal(size=first.shape)
    second[labels == 2] -= 2 * np.eye(4)[2]
    return [Predictions.of(outputs[:, 0], outputs) for outputs in (first, second)], labels


def test_flips_by_transformation_are_counts_with_wilsons_intervals(two):
    (before, after), labels = two
    frame = flips_by_transformation(before, after, labels, list("abcde"))
    for t, row in enumerate(frame.itertuples()):
        counts = {"harmful": 0, "beneficial": 0, "neutral": 0}
        for s in range(90):
            old, new = before.transformed[s, t], after.transformed[s, t]
            if old != new:
                kind = "harmful" if old == labels[s] else "beneficial" if new == labels[s] else "neutral"
                counts[kind] += 1
        for kind, count in counts.items():
            bounds = binomtest(count, 90).proportion_ci(0.95, method="wilson")
            values = [getattr(row, f"{kind}{end}") for end in ("", "_low", "_high")]
            assert_allclose(values, [count / 90, bounds.low, bounds.high], atol=1e-12)
        assert_allclose(row.flips, sum(counts.values()) / 90)
    assert frame["harmful"].min() > frame["beneficial"].max() > 0


def test_the_class_that_pays_is_found_and_no_other(two):
    (before, after), labels = two
    moved = np.array([False, True, True, True, True])
    frame = flips_by_class(before, after, labels, moved).set_index("class_number")
    p_values = {}
    for number in range(4):
        worse = better = 0
        for s in np.flatnonzero(labels == number):
            right = [sum(int(p.transformed[s, t] == number) for t in (1, 2, 3, 4)) for p in (before, after)]
            worse, better = worse + (right[1] < right[0]), better + (right[1] > right[0])
        assert frame.loc[number, ["worse", "better"]].tolist() == [worse, better]
        p_values[number] = binomtest(worse, worse + better, 0.5).pvalue
        assert_allclose(frame.loc[number, "p_value"], p_values[number], rtol=1e-9)
    stepped = 0.0
    for rank, number in enumerate(sorted(p_values, key=p_values.__getitem__)):
        stepped = max(stepped, min(1.0, (4 - rank) * p_values[number]))
        assert_allclose(frame.loc[number, "p_holm"], stepped, rtol=1e-9)
    assert frame.index[frame["pays"]].tolist() == [2]
    right = (after.transformed[labels == 2][:, moved] == 2).mean() - (
        before.transformed[labels == 2][:, moved] == 2
    ).mean()
    assert_allclose(frame.loc[2, "change"], right, atol=1e-12)
    assert frame.loc[2, "low"] < right < frame.loc[2, "high"] < 0


def test_one_transformation_is_mcnemars_test_itself():
    assert mcnemar(0, 0) == 1
    for worse, better in ((7, 1), (3, 3), (0, 4)):
        assert_allclose(mcnemar(worse, better), binomtest(worse, worse + better, 0.5).pvalue)


def test_clustered_answers_do_not_count_as_independent_ones():
    """Where nothing differs on average, a class is called paying in at most about 5 % of draws, whatever T is."""
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(300):
        side = rng.random((60, 1)) < 0.5  # an image is worse or better under all 16 transformations alike
        flips = rng.random((60, 1)) < 0.3
        before = np.where(flips & ~side, 1, 0) * np.ones((1, 16), int)
        after = np.where(flips & side, 1, 0) * np.ones((1, 16), int)
        answers = [Predictions(c[:, 0], np.ones(60, "f4"), c, np.ones((60, 16), "f4"), 2) for c in (before, after)]
        false += bool(flips_by_class(*answers, np.zeros(60, int), np.ones(16, bool))["p_holm"][0] < 0.05)
    assert false <= 20, "of 300, where 15 are expected at most"


def test_calibration_is_the_published_formulas(rng):
    logits, labels = 3 * rng.normal(size=(200, 5)), rng.integers(5, size=200)
    chances = np.exp(logits / 1.7) / np.exp(logits / 1.7).sum(1, keepdims=True)
    expected = [-np.log(chances[i, labels[i]]) for i in range(200)]
    assert_allclose(negative_log_likelihood(logits, labels, 1.7), expected, rtol=1e-10)
    error = 0.0
    for number in range(15):
        members = [i for i in range(200) if number / 15 < chances[i].max() <= (number + 1) / 15]
        if members:
            accuracy = np.mean([chances[i].argmax() == labels[i] for i in members])
            error += len(members) / 200 * abs(accuracy - np.mean([chances[i].max() for i in members]))
    assert_allclose(expected_calibration_error(logits, labels, 1.7), error, rtol=1e-10)


def test_a_fitted_temperature_undoes_the_scaling_of_logits(rng):
    logits = 2 * rng.normal(size=(20000, 4))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(4, p=row) for row in chances])
    assert_allclose(fit_temperature(3 * logits, labels), 3.0, rtol=0.05)
    free = minimize(lambda t: negative_log_likelihood(3 * logits, labels, t[0]).mean(), [2.0], bounds=[(0.1, 10)]).x[0]
    assert_allclose(fit_temperature(3 * logits, labels), free, rtol=1e-3)
    scores = Scores(np.arange(20000), (3 * logits).astype("f4"), np.stack([3 * logits, 9 * logits], 1).astype("f4"))
    table = calibration_table({"m": scores}, labels, ["same", "surer"], np.array([False, True]))
    assert table["number"].tolist() == [-1, 0, 1]
    assert_allclose(table["temperature_upright"], 3, rtol=0.05)
    assert_allclose(table["temperature_transformed"], 9, rtol=0.05)
    assert table["ece"][0] > 0.1 and table["ece_upright_fit"][0] < 0.02
    assert table["ece_upright_fit"][2] > 0.1 and table["ece_transformed_fit"][2] < 0.02
    assert table["nll_transformed_fit"][2] < table["nll_upright_fit"][2] < table["nll"][2]


def test_probabilities_and_single_units_become_logits():
    chances = np.array([[0.2, 0.8], [0.0, 1.0]])
    assert_allclose(as_logits(chances, False, 1 / 256), np.log([[0.2, 0.8], [1 / 512, 1.0]]), rtol=1e-6)
    assert_allclose(np.diff(as_logits(np.array([[0.7]]), False))[0], np.log(0.7 / 0.3), rtol=1e-6)
    assert_allclose(np.diff(as_logits(np.array([[-1.5]]), True))[0], -1.5)


@pytest.fixture(scope="module")
def comparison():
    images, classes = digits()
    files = float32(trained(residual_network)), static_int8(trained(residual_network), images[:150])
    data = images[1400 : 1400 + SAMPLES], classes[1400 : 1400 + SAMPLES]
    return compare_files(*files, data, SET, measures="NormalizedVariance", progress=False), files, data


def test_answers_are_computed_from_what_was_asked_already(comparison, monkeypatch):
    """With labels, interpreters are fed exactly as many images as without: the check of the input scale aside."""
    _, files, (images, classes) = comparison
    monkeypatch.setattr("tfinv.tflite.comparison.compare_files.check_input_scale", lambda *_: "")
    feed, fed = Runner.feed, []

    def counting(runner: Runner, inputs: np.ndarray) -> None:
        fed.append(len(inputs))
        feed(runner, inputs)

    monkeypatch.setattr(Runner, "feed", counting)
    counts = {}
    for name, data in (("with", (images[:20], classes[:20])), ("without", images[:20])):
        fed.clear()
        found = compare_files(*files, data, "rotations(2)", measures="NormalizedVariance", progress=False)
        counts[name] = sum(fed)
        assert len(found.answers.calibration) == (6 if name == "with" else 0)
    assert counts["with"] == counts["without"] > 2 * 2 * 2 * 20


def test_a_comparison_holds_the_answers_of_both_files(comparison, tmp_path):
    found, files, (images, classes) = comparison
    turned = np.asarray(warp(images, parse(SET))).reshape(-1, 16, 16, 1)
    outputs = [TFLiteModel(file).predict(turned).reshape(SAMPLES, 4, 10) for file in files]
    guess = [values.argmax(-1) for values in outputs]
    kinds = flip_kinds(guess[0], guess[1], classes)
    assert_allclose(found.answers.flips["harmful"], (kinds == 1).mean(0))
    rows = found.flipped()
    assert len(rows) == (kinds > 0).sum() and (guess[1][rows["image"], rows["number"]] == rows["after"]).all()
    assert (rows["kind"] == "harmful").sum() == (kinds == 1).sum()
    worst = found.models["worst_case_accuracy"]
    assert_allclose(worst, [(answers == classes[:, None]).all(1).mean() for answers in guess])
    table = found.answers.calibration.set_index(["model", "number"])
    for name, logits in zip(found.names, outputs, strict=True):
        for number in range(4):
            expected = negative_log_likelihood(logits[:, number], classes).mean()
            assert_allclose(table.loc[(name, number), "nll"], expected, rtol=1e-4)
    assert_allclose(table.loc[(found.names[0], -1), "ece"], expected_calibration_error(outputs[0][:, 2], classes))
    found.save(tmp_path / "c.npz")
    loaded = Comparison.load(tmp_path / "c.npz")
    for name, frame in found.answers.to_frames().items():
        assert loaded.answers.to_frames()[name].equals(frame), name
    assert (loaded.answers.pictures == found.answers.pictures).all() and len(found.answers.pictures)
    assert loaded.flipped().equals(rows)
    image, number = found.answers.shown[0]
    assert_allclose(
        found.answers.pictures[0, 1] / 255, turned.reshape(SAMPLES, 4, 16, 16, 1)[image, number], atol=0.003
    )


def test_the_report_shows_what_changed(comparison, tmp_path):
    found, _, _ = comparison
    page = found.report(tmp_path).read_text()
    for heading in (
        "Right under how many transformations",
        "Which answers changed",
        "How far confidence can be trusted",
    ):
        assert heading in page, heading
    lines = (tmp_path / "flipped.csv").read_text().splitlines()
    assert len(lines) == len(found.flipped()) + 1 and lines[0].startswith("image,label,number,transformation,before")
    assert any(text.startswith("Right under every transformation: ") for text in found.verdict)
    assert any("from right to wrong" in text for text in found.verdict)


def test_without_labels_flips_are_listed_and_nothing_is_called_harmful(comparison):
    found, files, (images, _) = comparison
    rows = flipped_rows(*found.predictions.values(), None, ["a", "b", "c", "d"])
    assert set(rows["kind"]) == {"unknown"} and "label" not in rows
    unlabelled = compare_files(*files, images[:20], SET, measures="NormalizedVariance", progress=False)
    assert unlabelled.answers.flips.empty and unlabelled.answers.labels is None
