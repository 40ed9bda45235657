"""Paired differences of layer profiles, the words for them, and conditions on them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import tfinv
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.tflite import compare
from tfinv.tflite.comparison.behaviour import behaviour
from tfinv.tflite.comparison.conditions import METRICS, Condition, parse_condition
from tfinv.tflite.comparison.gate import check, metric_value
from tfinv.tflite.comparison.match_files import Match
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.tflite.comparison.storage import frame_from_json, frame_to_json
from tfinv.tflite.comparison.verdict import (
    accuracy_sentences,
    collapse_sentences,
    describe,
    invariance_sentence,
    rank_agreement,
)

NV = "NormalizedVariance"


def activations(rng, samples=120, units=6, noise=0.5):
    """`(S, T, U)`: a part that all transformations share, and one of each."""
    return rng.normal(size=(samples, 1, units)) + noise * rng.normal(size=(samples, 6, units))


def measured(arrays, confidence: float | None = 0.95, **options) -> Results:
    return tfinv.evaluate_arrays(arrays, NV, sampling=tfinv.Sampling(confidence), **options)


def normalized_variance(array: np.ndarray) -> float:
    """The number of a layer of fewer than 20 units, of which none is trimmed, from the formula."""
    return float(np.sqrt(array.var(axis=1, ddof=1).mean(0) / array.var(axis=0, ddof=1).mean(0)).mean())


# --- compare ---------------------------------------------------------------------------------------------------------


def test_differences_are_those_of_the_profiles(rng):
    before, after = {"a": activations(rng), "b": activations(rng)}, {}
    after = {name: block + 0.2 * rng.normal(size=block.shape) for name, block in before.items()}
    frame = compare(measured(before), measured(after))
    for row, name in zip(frame.itertuples(), "ab", strict=True):
        values = normalized_variance(before[name]), normalized_variance(after[name])
        assert_allclose([row.before, row.after], values, rtol=1e-9)
        assert_allclose(row.difference, values[1] - values[0], rtol=1e-9)
        assert_allclose(row.relative, values[1] / values[0] - 1, rtol=1e-9)
        assert row.low < row.difference < row.high and row.relative_low < row.relative < row.relative_high


def test_paired_intervals_agree_with_a_bootstrap_over_images(rng):
    before = activations(rng, samples=200)
    after = before + 0.15 * rng.normal(size=before.shape)
    row = compare(measured({"a": before}), measured({"a": after})).iloc[0]
    drawn = []
    for _ in range(400):
        chosen = rng.integers(200, size=200)
        drawn.append(normalized_variance(after[chosen]) - normalized_variance(before[chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert_allclose(row["high"] - row["low"], high - low, rtol=0.5)
    assert row["real"] and low > 0, "both see that the noise lowers invariance"
    alone = measured({"a": before}).profile()
    assert row["high"] - row["low"] < 0.7 * float((alone["high"] - alone["low"])[0]), "pairing sharpens"


def test_simultaneous_intervals_are_wider_and_find_less_in_noise(rng):
    shared = [rng.normal(size=(60, 1, 2)) for _ in range(4)]
    one, other = ({f"l{i}": s + 0.5 * rng.normal(size=(60, 4, 2)) for i, s in enumerate(shared)} for _ in range(2))
    results = measured(one), measured(other)
    wide, narrow = compare(*results), compare(*results, simultaneous=False)
    assert ((wide["high"] - wide["low"]) > 1.15 * (narrow["high"] - narrow["low"])).all()
    assert wide["real"].sum() <= narrow["real"].sum() and wide["real"].sum() == 0


def test_without_intervals_nothing_counts_as_real(rng):
    arrays = {"a": activations(rng)}
    frame = compare(measured(arrays, None), measured({"a": activations(rng, noise=3.0)}, None))
    assert frame["difference"][0] > 0.3 and not frame["real"][0] and math.isnan(frame["low"][0])


def test_layers_of_other_names_are_paired(rng):
    arrays = {"conv": activations(rng), "only": activations(rng)}
    frame = compare(measured(arrays), measured({"conv_q": arrays["conv"]}), layers={"conv": "conv_q", "gone": "x"})
    assert frame[["layer", "after_layer", "difference"]].to_numpy().tolist() == [["conv", "conv_q", 0.0]]


def test_a_layer_that_becomes_constant_has_no_value_after(rng):
    arrays = {"a": activations(rng), "b": activations(rng)}
    frame = compare(measured(arrays), measured({**arrays, "b": np.zeros_like(arrays["b"])}))
    assert math.isnan(frame["after"][1]) and not frame["real"][1] and frame["valid_after"].tolist() == [6, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rng, a: measured({"z": a}), "must share layers. Received: a, and z"),
        (lambda rng, a: measured({"a": a[:50]}), "same samples"),
        (lambda rng, a: tfinv.evaluate_arrays({"a": a}, "SampleVariance"), "must share measures"),
        (
            lambda rng, a: measured({"a": a}, metadata={"transformations": "scales(1, 0.5, 1.0)"}),
            "same transformations",
        ),
    ],
    ids=["layers", "samples", "measures", "transformations"],
)
def test_what_cannot_be_compared_is_refused(rng, change, message):
    array = activations(rng)
    with pytest.raises(ValueError, match=message):
        compare(measured({"a": array}, metadata={"transformations": "rotations(6)"}), change(rng, array))


# --- words -----------------------------------------------------------------------------------------------------------


def layers(*rows: tuple[str, float, float, float, float], measure: str = NV) -> pd.DataFrame:
    """Rows of layer, before, relative change and its interval."""
    entries = []
    for name, before, relative, low, high in rows:
        entry: dict[str, Any] = {"measure": measure, "layer": name, "before": before, "after": before * (1 + relative)}
        entry |= {"difference": before * relative, "relative": relative, "relative_low": low, "relative_high": high}
        entries.append({**entry, "real": low > 0 or high < 0})
    return pd.DataFrame(entries)


def test_no_change_is_said_with_its_bound():
    text = invariance_sentence(layers(("a", 0.5, 0.001, -0.002, 0.004), ("b", 0.5, 0.0, -0.006, 0.003)), NV)
    assert text == "**No detectable change of normalized variance**: within ±0.6 % in every layer (2 layers, 95 %)."


def test_small_real_changes_are_called_small():
    text = invariance_sentence(layers(("a", 0.5, 0.004, 0.002, 0.006), ("b", 0.5, 0.0, -0.001, 0.001)), NV)
    assert text.startswith("**Hardly any change") and "in 1 of 2 layers" in text and "+0.4 % (at `a`)" in text


def test_a_change_is_said_with_where_it_begins_and_is_largest():
    frame = layers(("a", 0.9, 0.001, 0.0005, 0.002), ("b", 0.5, 0.05, 0.03, 0.07), ("c", 0.4, 0.2, 0.15, 0.25))
    text = invariance_sentence(frame, NV, ("float", "w4"))
    assert "begins at `b` (+5.0 %)" in text and "largest at `c`: +20.0 % (+15.0 % to +25.0 %)" in text
    assert "from 0.400 to 0.480" in text and "w4 is less invariant there" in text
    assert "w4 is more invariant" in invariance_sentence(layers(("a", 0.4, -0.2, -0.3, -0.1)), NV, ("float", "w4"))


def test_without_intervals_noise_is_admitted():
    text = invariance_sentence(layers(("a", 0.5, 0.3, math.nan, math.nan)), NV)
    assert "at most +30.0 %" in text and "whether this is more than noise is inconclusive" in text


def sure(classes, num_classes=10):
    outputs = 9.0 * np.eye(num_classes)[np.asarray(classes)]
    return Predictions.of(outputs[:, 0], outputs)


def test_flips_that_upright_images_hide_stand_out(rng):
    labels = np.repeat(rng.integers(10, size=(400, 1)), 3, axis=1)
    turned = labels.copy()
    turned[:40, 1:] = (labels[:40, 1:] + 1) % 10
    before, after = sure(labels), sure(turned)
    same = [True, False, False]
    seen = [
        behaviour(prediction, labels[:, 0], r, is_identity=same) for prediction, r in ((before, None), (after, before))
    ]
    text = " ".join(accuracy_sentences(*seen, ("float", "int8")))
    assert "0.0 % (0.0 to 0.9) of upright and 10.0 %" in text and "does not show it" in text
    assert "(-10.0 points, " in text and "(accuracy 90.0 %)" in text


def test_consistency_is_never_said_without_accuracy(rng):
    classes = np.repeat(rng.integers(10, size=(50, 1)), 3, axis=1)
    seen = behaviour(sure(classes)), behaviour(sure(classes), None, sure(classes))
    text = " ".join(describe(layers(("a", 0.5, 0.0, -0.1, 0.1)), None, *seen))
    assert "consistency is not stated" in text and "leave unchanged" not in text and "Accuracy" not in text


def test_a_collapse_comes_first(rng):
    labels = np.repeat(rng.integers(10, size=(200, 1)), 3, axis=1)
    before, after = sure(labels), sure(np.full((200, 3), 4))
    seen = behaviour(before, labels[:, 0]), behaviour(after, labels[:, 0], before)
    sentences = describe(layers(("a", 0.5, 0.0, -0.1, 0.1)), None, *seen, ("float", "w4"))
    assert sentences[0].startswith("**w4 has collapsed**") and "effectively 1.0 classes" in sentences[0]
    assert collapse_sentences(seen[0], seen[0]) == []


def test_rank_agreement_is_spearmans_and_needs_a_real_change(rng):
    from scipy.stats import spearmanr

    change, noise = rng.normal(size=8) * 0.1, rng.normal(size=8) * 5 + 30
    frame = layers(*((f"l{i}", 0.5, value, value - 0.001, value + 0.001) for i, value in enumerate(change)))
    fidelity = pd.DataFrame({"layer": frame["layer"], "sqnr_db": noise})
    ranks = rank_agreement(frame, fidelity, NV)
    assert ranks is not None and ranks[1] == 8
    assert_allclose(ranks[0], spearmanr(np.abs(change), -noise).statistic)
    assert rank_agreement(frame.assign(real=False), fidelity, NV) is None
    assert rank_agreement(frame[:3], fidelity, NV) is None


# --- conditions ------------------------------------------------------------------------------------------------------


DECISIONS = pd.DataFrame(
    {
        "quantity": ["accuracy", "conv", "dense", "logits"],
        "unit": ["points", *3 * ["relative"]],
        "change": [0.0, 0.2, 0.1, 0.01],
        "low": [-0.001, 0.1, 0.05, -0.1],
        "high": [0.001, 0.3, 0.15, 0.12],
        "needed": [10.0, 20.0, 30.0, 4000.0],
        "decision": ["unchanged", "changed", "changed", "inconclusive"],
    }
)


# Of two kernel sets the file after counts alone; of outputs all but classes.
PAIRS = pd.DataFrame(
    {
        "model": ["float", "int8", "int8"],
        "first": ["xnnpack", "xnnpack", "builtin"],
        "second": ["builtin", "builtin", "reference"],
        "transformed_flips": [0.5, 0.02, 0.04],
        "max_lsb": [9.0, 3.0, 1.0],
    }
)
OUTPUTS = pd.DataFrame(
    {
        "output": ["scores", "mask", "points"],
        "kind": ["class", "mask", "landmarks"],
        "before": [0.1, 0.2, 0.3],
        "after": [0.9, 0.25, 0.31],
        "difference": [0.8, 0.05, 0.01],
        "between": [0.7, 0.12, 0.15],
    }
)


def comparison(**changes: Any) -> Any:
    """As much of a comparison as the gate looks at."""
    models = pd.DataFrame(
        {
            "model": ["float", "int8"],
            "accuracy": [0.9, 0.89],
            "transformed_accuracy": [0.6, 0.55],
            "worst_case_accuracy": [0.4, 0.37],
            "flips": [math.nan, 0.01],
            "transformed_flips": [math.nan, 0.06],
            "consistency": [0.7, 0.68],
            "kappa": [0.85, 0.84],
            "collapsed": [False, False],
            "kib": [100.0, 30.0],
            "latency_ms": [1.0, 0.5],
            "self_check": ["passed", "passed"],
        }
    )
    names = ["float"] * 2 + ["int8"] * 2
    frame = layers(("a", 0.5, 0.01, 0.0, 0.02), ("b", 0.5, -0.2, -0.3, -0.1))
    made = {
        "names": ("float", "int8"),
        "layers": frame.assign(valid_before=[8, 100], lost=[2, 10]),
        "fidelity": pd.DataFrame({"layer": ["a", "b"], "sqnr_db": [30.0, 20.0]}),
        "models": models,
        "curves": pd.DataFrame({"model": names, "accuracy": [0.9, 0.6, 0.89, 0.5]}),
        "match": Match({"a": "a", "b": "b"}),
        "answers": SimpleNamespace(decisions=DECISIONS),
        "kernels": SimpleNamespace(pairs=PAIRS, refused={"float: tflm": "no"}),
        "outputs": SimpleNamespace(summary=lambda: OUTPUTS),
    }
    return SimpleNamespace(**{**made, **changes})


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("max_profile_increase", 0.01),
        ("max_profile_change", 0.2),
        ("output_profile_increase", -0.2),
        ("lost_units", 0.25),
        ("flip_rate", 0.06),
        ("upright_flip_rate", 0.01),
        ("accuracy_drop", 0.01),
        ("transformed_accuracy_drop", 0.05),
        ("worst_accuracy_drop", 0.1),
        ("worst_case_accuracy_drop", 0.03),
        ("consistency_drop", 0.02),
        ("accuracy", 0.89),
        ("transformed_accuracy", 0.55),
        ("worst_case_accuracy", 0.37),
        ("output_error", 0.31),
        ("output_error_increase", 0.05),
        ("output_change", 0.15),
        ("min_sqnr_db", 20.0),
        ("changed", 2),
        ("inconclusive", 1),
        ("size_ratio", 0.3),
        ("kernel_flip_rate", 0.04),
        ("kernel_max_lsb", 3.0),
        ("latency_ratio", 0.5),
    ],
)
def test_metrics_are_what_they_say(metric, value):
    assert_allclose(metric_value(metric, comparison()), value, atol=1e-12)
    assert not check([Condition(metric, ">", value + 0.001)], comparison()).failed
    gate = check([Condition(metric, ">", value - 0.001)], comparison())
    assert gate.failed and gate.reason.startswith(f"{metric} is ") and "\n" not in gate.reason


def test_every_metric_is_tested():
    mark = next(marker for marker in test_metrics_are_what_they_say.pytestmark if marker.name == "parametrize")
    assert {metric for metric, _ in mark.args[1]} == set(METRICS)


@pytest.mark.parametrize(
    ("text", "limit", "holds", "not_holds"),
    [
        ("flip_rate>5%", 0.05, 0.06, 0.05),
        (" accuracy <= .5 ", 0.5, 0.5, 0.51),
        ("min_sqnr_db<1e1", 10.0, 9.0, 10.0),
        ("accuracy_drop>=-0.1", -0.1, -0.1, -0.2),
    ],
)
def test_conditions_are_read(text, limit, holds, not_holds):
    condition = parse_condition(text)
    assert condition.limit == limit and condition.holds(holds) and not condition.holds(not_holds)
    assert condition.holds(math.nan), "what is not known may be bad"


@pytest.mark.parametrize(
    "text", ["", "flip_rate", "flip_rate>", ">0.1", "flip_rate=0.1", "flip_rate>a", "flip_rate>1>2"]
)
def test_conditions_that_do_not_parse_are_refused(text):
    with pytest.raises(ValueError, match="must read like"):
        parse_condition(text)


@pytest.mark.parametrize(
    ("text", "limit", "canonical"),
    [
        ("transformed_accuracy_drop<0.5%", 0.005, "transformed_accuracy_drop<0.5pt"),
        ("accuracy_drop>0.5 points", 0.005, "accuracy_drop>0.5pt"),
        ("accuracy_drop>0.5PP", 0.005, "accuracy_drop>0.5pt"),
        ("accuracy_drop>0.02", 0.02, "accuracy_drop>2pt"),
        ("max_profile_increase>0.1", 0.1, "max_profile_increase>10%"),
        ("accuracy>0.93", 0.93, "accuracy>93%"),
        ("latency_ratio<20x", 20.0, "latency_ratio<20x"),
        ("size_ratio<40%", 0.4, "size_ratio<0.4x"),
        ("min_sqnr_db>20 dB", 20.0, "min_sqnr_db>20dB"),
        ("kernel_max_lsb>64", 64.0, "kernel_max_lsb>64"),
    ],
)
def test_numbers_have_units(text, limit, canonical):
    condition = parse_condition(text)
    assert condition.limit == limit and str(condition) == canonical and parse_condition(canonical) == condition


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("transformed_accuracy_drop<0.5", ("drop<0.5pt is 0.5 points", "drop<50pt is 50 points")),
        ("flip_rate>5", ("flip_rate>5% is 5 %", "flip_rate>500% is 500 %")),
        ("max_profile_change>0.2", ("change>0.2% is 0.2 %", "change>20% is 20 %")),
        ("accuracy_drop>=-.5", ("drop>=-.5pt is -.5 points", "drop>=-50pt is -50 points")),
        ("accuracy>90", ("accuracy>90% is 90 %",)),
        ("size_ratio<40", ("size_ratio<40% is 40 %", "size_ratio<40x is 40 times")),
    ],
)
def test_a_number_that_could_be_read_in_two_ways_is_refused_with_both(text, readings):
    with pytest.raises(ValueError, match="must have a unit") as refused:
        parse_condition(text)
    assert all(reading in str(refused.value) for reading in readings) and repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flip_rate>5pt", "flip_rate as a number with % after it"),
        ("min_sqnr_db>20%", "min_sqnr_db as a number with dB after it"),
        ("changed>1%", "changed as a number with no unit"),
        ("accuracy_drop>5dB", "accuracy_drop as a number with pt or % after it"),
    ],
)
def test_a_unit_of_something_else_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_condition(text)


def test_an_unknown_metric_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'flip_rate'"):
        parse_condition("fliprate>0.1")


def fails(reason: str, **changes: Any) -> None:
    gate = check(["flip_rate>90%"], comparison(**changes))
    assert gate.failed and reason in gate.reason, gate.reason


def changed(column: str, *values: Any) -> pd.DataFrame:
    return comparison().models.assign(**{column: list(values)})


def test_the_gate_fails_closed():
    fails("no partner for 1 layer(s) of the file before: c", match=Match({"a": "a"}, unmatched_before=("c",)))
    fails("of the file after: d", match=Match({"a": "a"}, unmatched_after=("d",)))
    lost = layers(("a", 0.5, 0.01, 0.0, 0.02), ("b", 0.5, math.nan, math.nan, math.nan))
    fails("exists no more at b", layers=lost)
    fails("int8 has collapsed", models=changed("collapsed", False, True))
    fails("float knows hardly more than chance", models=changed("kappa", 0.02, 0.02))
    fails("int8: the self-check FAILED", models=changed("self_check", "passed", "FAILED: outputs differ"))
    fails("flip_rate is not known", models=changed("transformed_flips", math.nan, math.nan))
    assert "lost_units is not known" in check(["lost_units>90%"], comparison(layers=lost)).reason
    other_units = comparison().layers.assign(lost=[2, math.nan])
    assert "lost_units is not known" in check(["lost_units>90%"], comparison(layers=other_units)).reason
    gate = check(["max_profile_increase>90%"], comparison(layers=lost))
    assert "max_profile_increase is not known" in gate.reason


def test_layers_may_be_allowed_to_be_missing():
    missing = comparison(match=Match({"a": "a"}, unmatched_before=("quant/x", "c"), unmatched_after=("d",)))
    assert not check([], missing, allow_unmatched=["quant/*", "c", "d"]).failed
    assert "1 layer(s) of the file before: c" in check([], missing, allow_unmatched=["quant/*", "d"]).reason


def test_a_measure_that_does_not_exist_on_a_layer_is_no_failure():
    frame = pd.concat([layers(("a", 0.5, 0.01, 0, 0.02)), layers(("b", math.nan, math.nan, math.nan, math.nan))])
    assert not check(["max_profile_increase>0.02"], comparison(layers=frame)).failed


# --- files -----------------------------------------------------------------------------------------------------------


def test_tables_survive_json():
    frame = pd.DataFrame(
        {
            "name": ["a", "b"],
            "x": [math.nan, -math.inf],
            "n": np.array([1, 2**40]),
            "flag": [True, False],
            "none": [None, "text"],
        }
    )
    back = frame_from_json(frame_to_json(frame))
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    assert back["n"].dtype == np.int64 and back["flag"].dtype == bool and back["x"].dtype == float


def test_results_need_no_intervals_to_be_compared():
    layer = LayerResult(np.array([0.0, 0.0]), np.zeros(2))
    results = Results({NV: MeasureResult(NV, {"a": layer})})
    assert compare(results, results)["relative"].tolist() == [0.0]
