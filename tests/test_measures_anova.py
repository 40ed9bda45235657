"""ANOVA: against the golden file, scipy's own test, and simulated error rates."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.stats
from test_measures_variance import GOLDEN, LAYERS, channels_last, golden_input

import tfinv
from tfinv.engine.passes import ordered
from tfinv.measures import Anova, AnovaF, NormalizedVariance
from tfinv.measures.anova import correct
from tfinv.results import LayerResult
from tfinv.status import Status

VECTOR = np.array(
    [[7, 4, 6], [9, 3, 1], [5, 6, 3], [8, 2, 5], [6, 7, 3], [8, 5, 4], [6, 5, 6], [10, 4, 5], [7, 1, 7], [4, 3, 3]]
)[..., None].astype(np.float64)


def measured(block: np.ndarray, measure: tfinv.measures.Measure) -> LayerResult:
    return tfinv.evaluate_arrays({"layer": block}, [measure])[measure]["layer"]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_f_equals_the_golden_file(layer, dtype):
    expected = channels_last(GOLDEN[f"expected/anova_f/{layer}"])
    result = measured(golden_input(layer).astype(dtype), AnovaF())
    dead = np.isnan(expected)
    assert (result.status[dead] == Status.DEAD).all() and (result.values[dead] == 1).all()
    np.testing.assert_allclose(result.values[~dead], expected[~dead], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("layer", LAYERS)
def test_decisions_equal_the_golden_file(layer):
    expected = channels_last(GOLDEN[f"expected/anova[alpha=0.95,bonferroni=False]/{layer}"])
    result = measured(golden_input(layer), Anova(0.95, "none"))
    np.testing.assert_array_equal(result.values, expected.astype(float))


def test_the_published_vector():
    assert measured(VECTOR, AnovaF()).values[0] == pytest.approx(8.18091010, abs=1e-8)
    assert measured(VECTOR, AnovaF()).note == "F with (2, 27) degrees of freedom"
    assert measured(VECTOR, Anova(0.99, "none")).values[0] == 1
    assert measured(VECTOR, Anova(0.999, "none")).values[0] == 0


def test_f_and_p_equal_scipy(rng):
    block = rng.normal(size=(9, 5, 3, 2, 4)) + 0.4 * rng.normal(size=(1, 5, 3, 2, 4))
    expected = scipy.stats.f_oneway(*np.moveaxis(block, 1, 0), axis=0)
    np.testing.assert_allclose(measured(block, AnovaF()).values, expected.statistic, rtol=1e-10)
    values = measured(block, Anova(correction="none", returns="p_value")).values
    np.testing.assert_allclose(values, expected.pvalue, rtol=1e-8)


def test_bonferroni_divides_the_error_rate_by_the_units(rng):
    """The quantile is 1 - (1 - confidence) / m, so noise is not called variant."""
    block = rng.normal(size=(20, 4, 1000)) + 0.5 * rng.normal(size=(1, 4, 1000))
    f = measured(block, AnovaF()).values
    critical = scipy.stats.f.ppf(1 - 0.01 / 1000, 3, 76)
    values = measured(block, Anova(0.99, "bonferroni")).values
    np.testing.assert_array_equal(values, (f > critical).astype(float))
    assert 0 < values.mean() < 1


def test_holm_equals_its_definition_step_by_step(rng):
    block = rng.normal(size=(15, 4, 60)) + 0.7 * rng.normal(size=(1, 4, 60))
    p = measured(block, Anova(correction="none", returns="p_value")).values
    rejected = np.zeros(60)
    for step, unit in enumerate(np.argsort(p)):
        if p[unit] >= 0.05 / (60 - step):
            break
        rejected[unit] = 1
    holm = measured(block, Anova(0.95, "holm")).values
    np.testing.assert_array_equal(holm, rejected)
    assert holm.sum() > measured(block, Anova(0.95, "bonferroni")).values.sum()


def test_corrected_p_values():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(correct(p, "none"), p)
    np.testing.assert_allclose(correct(p, "bonferroni"), [0.04, 0.16, 0.12, 0.02])
    np.testing.assert_allclose(correct(p, "holm"), [0.03, 0.06, 0.06, 0.02])
    assert correct(p[:0], "holm").size == 0


@pytest.mark.parametrize("correction", ["bonferroni", "holm"])
def test_the_family_wise_error_rate_holds_on_noise(correction):
    """400 layers of 30 units without any effect: at most about 5 % of the layers may show one."""
    rng = np.random.default_rng(2)
    p = measured(rng.normal(size=(6, 4, 400 * 30)), Anova(correction="none", returns="p_value")).values
    false = [(correct(layer, correction) < 0.05).any() for layer in p.reshape(400, 30)]
    assert 0.01 < np.mean(false) < 0.09


def test_decisions_follow_from_the_corrected_p_values(rng):
    block = rng.normal(size=(15, 4, 40)) + 0.6 * rng.normal(size=(1, 4, 40))
    for correction in ("bonferroni", "holm", "none"):
        p = measured(block, Anova(0.9, correction, "p_value")).values
        np.testing.assert_array_equal(measured(block, Anova(0.9, correction)).values, (p < 1 - 0.9).astype(float))


def test_degenerate_units():
    block = np.random.default_rng(0).normal(size=(9, 6, 4)).astype(np.float32)
    block[..., 0] = 0.1
    block[..., 1] = block[:1, :, 1]
    block[..., 2] = block[:, :1, 2]
    f, decision = measured(block, AnovaF()), measured(block, Anova(0.99, "bonferroni"))
    assert f.status.tolist() == [Status.DEAD, Status.SAMPLE_CONSTANT, Status.VALID, Status.VALID]
    assert f.values[0] == 1 and np.isinf(f.values[1]) and f.values[2] == 0
    assert decision.values.tolist()[:3] == [0, 1, 0]
    assert decision.status.tolist() == f.status.tolist()
    assert "3 units tested" in decision.note


def test_order_changes_nothing_and_neither_does_scale(rng):
    block = rng.normal(size=(9, 6, 5)) + rng.normal(size=(1, 6, 5))
    expected = measured(block, AnovaF()).values
    for other in (block[rng.permutation(9)], block[:, rng.permutation(6)], -4 * block + 3):
        np.testing.assert_allclose(measured(other, AnovaF()).values, expected, rtol=1e-9)


def test_no_further_pass_is_needed():
    statistics = [statistic for measure in (NormalizedVariance(), AnovaF(), Anova()) for statistic in measure.requires]
    assert ordered(statistics) == [list(NormalizedVariance().requires)]


def test_a_moved_unit_of_a_model_is_found():
    """A model that sums the left half of the image notices a shift, one that sums all of it does not."""
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten(name="flat")(inputs)
    layer = keras.layers.Dense(2, use_bias=False, name="sums")
    model = keras.Model(inputs, layer(flat))
    left = np.zeros((8, 8))
    left[:, :4] = 1
    layer.set_weights([np.stack([left.ravel(), np.ones(64)], axis=1).astype(np.float32)])
    images = np.random.default_rng(0).random((30, 8, 8, 1), dtype=np.float32)
    images[:, :, [0, 1, 6, 7]] = 0
    shifts = [tfinv.transformations.Affine.translation(tx, 0) for tx in (-0.25, 0.0, 0.25)]
    result = tfinv.evaluate(model, images, shifts, [Anova()], layers="sums", progress=False)["Anova"]["sums"]
    assert result.values.tolist() == [1, 0]


def test_bad_options_are_refused(rng):
    for confidence in (0, 1, 1.5, "0.9", True):
        with pytest.raises(ValueError, match=r"confidence must be a number above 0 and below 1. Received: "):
            Anova(confidence)
    with pytest.raises(ValueError, match=r"correction must be one of 'bonferroni', 'holm', 'none'. Received: 'sidak'"):
        Anova(correction="sidak")
    with pytest.raises(ValueError, match="transformations must be at least 2"):
        measured(rng.normal(size=(4, 1, 2)), AnovaF())
    with pytest.raises(ValueError, match="images must be at least 2"):
        measured(rng.normal(size=(1, 4, 2)), AnovaF())
