"""Replicates of wide layers come from some of their units."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import tfinv
from tfinv import Sampling
from tfinv.engine import shards
from tfinv.engine.gatherer import Gatherer
from tfinv.engine.shards import ShardStates, chosen_units, held_of_some
from tfinv.engine.states import copied, widened
from tfinv.evaluation.arguments import as_measures
from tfinv.evaluation.arrays import shards_of
from tfinv.resampling.jackknife import interval_of
from tfinv.statistics import ColumnMoments, Layer, RowDispersion
from tfinv.transformations import parse

UNITS = 40


@pytest.fixture
def few_units(monkeypatch):
    monkeypatch.setattr(shards, "UNITS", UNITS)


def activations(units=(6, 6, 4), samples=30, count=4, seed=0):
    """`(S, T, *U)` with units that differ in invariance, and with something that all units of a sample share."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(samples, 1, *(1 for _ in units)))
    own = generator.normal(size=(samples, 1, *units))
    moved = generator.normal(size=(samples, count, *units)) * generator.uniform(0.1, 1, units)
    return shared + 0.5 * own + moved


def interval_at(result, layer):
    return result.replicates.interval(layer, result[layer].mean)


def normalized_variance(array):
    """The layer mean of the default, float64, from the formula: `(S, T, U)`, no dead or sparse units."""
    rows = array.var(axis=1, ddof=1).mean(axis=0)
    columns = array.var(axis=0, ddof=1).mean(axis=0)
    values = np.sort(np.sqrt(rows / columns))
    cut = int(0.05 * values.size)
    return values[cut : values.size - cut].mean()


def test_replicates_of_a_wide_layer_come_from_its_chosen_units(few_units):
    array = activations()
    flat = array.reshape(*array.shape[:2], -1)
    sampling = Sampling(0.95, shards=5)
    results = tfinv.evaluate_arrays({"layer": array}, "NormalizedVariance", sampling=sampling)["NormalizedVariance"]
    units = chosen_units(flat.shape[-1])
    whole = normalized_variance(flat)
    moved = whole - normalized_variance(flat[..., units])
    parts = shards_of(len(array), sampling)
    without = [normalized_variance(np.delete(flat, part, axis=0)[..., units]) + moved for part in parts]
    assert results["layer"].mean == pytest.approx(whole, rel=1e-9)
    np.testing.assert_allclose(results.replicates.means["layer"], without, rtol=1e-9)
    low, high = interval_of(whole, without, [len(part) for part in parts], 0.95)
    assert interval_at(results, "layer") == pytest.approx((low, high), rel=1e-9)


def test_layers_that_are_not_wide_and_measures_of_maps_use_all_units(few_units, monkeypatch):
    array = activations()
    by_map = tfinv.measures.NormalizedVariance(aggregate="mean")
    given = {"measures": [by_map], "sampling": Sampling(0.95, shards=5)}
    some = tfinv.evaluate_arrays({"layer": array}, **given)[by_map.key].replicates
    narrow = tfinv.evaluate_arrays({"layer": array[..., :1]}, "NormalizedVariance", sampling=Sampling(0.95, shards=5))
    monkeypatch.setattr(shards, "UNITS", 10**9)
    full = tfinv.evaluate_arrays({"layer": array}, **given)[by_map.key].replicates
    wide = tfinv.evaluate_arrays({"layer": array[..., :1]}, "NormalizedVariance", sampling=Sampling(0.95, shards=5))
    np.testing.assert_array_equal(some.means["layer"], full.means["layer"])
    key = "NormalizedVariance"
    np.testing.assert_array_equal(narrow[key].replicates.means["layer"], wide[key].replicates.means["layer"])


@pytest.mark.parametrize("kind", ["jackknife", "bootstrap"])
def test_intervals_are_as_wide_as_those_of_all_units(monkeypatch, kind):
    array = activations((20, 20, 8), samples=60)
    sampling = Sampling(0.95, interval=kind, resamples=200)
    widths = {}
    for units in (10**9, 1000):
        monkeypatch.setattr(shards, "UNITS", units)
        results = tfinv.evaluate_arrays({"layer": array}, "NormalizedVariance", sampling=sampling)
        low, high = interval_at(results["NormalizedVariance"], "layer")
        widths[units] = high - low
    assert widths[1000] == pytest.approx(widths[10**9], rel=0.1)


MEASURES = ("NormalizedVariance", "NormalizedVarianceSE", "AnovaF", "NormalizedVarianceSE(border='keep')")


def evaluated(images=slice(None), **options):
    inputs = keras.Input((10, 10, 1))
    x = keras.layers.Conv2D(4, 3, name="conv", kernel_initializer=keras.initializers.GlorotUniform(1))(inputs)
    x = keras.layers.Dense(3, name="dense", kernel_initializer=keras.initializers.GlorotUniform(2))(
        keras.layers.Flatten(name="flat")(x)
    )
    shown = np.random.default_rng(0).random((24, 10, 10, 1), np.float32)
    return tfinv.evaluate(
        keras.Model(inputs, x, name="network"),
        shown[images],
        "rotations(4)",
        MEASURES,
        batch_size=4,
        progress=False,
        **options,
    )


def replicates(results):
    return {(key, name): by for key in results.measures for name, by in results[key].replicates.means.items()}


def test_all_ways_to_gather_give_the_same_bits(few_units, tmp_path):
    sampling = Sampling(0.95, shards=6)
    plain = evaluated(sampling=sampling)
    assert {name for _, name in replicates(plain)} == {"conv", "flat", "dense"}
    kept = evaluated(sampling=Sampling(0.95, shards=6, keep_statistics=True))
    again = evaluated(sampling=sampling, checkpoint=tmp_path / "checkpoint")
    for other in (kept, again):
        for place, means in replicates(plain).items():
            np.testing.assert_array_equal(means, replicates(other)[place], err_msg=str(place))
        for key in plain.measures:
            np.testing.assert_array_equal(plain[key]["conv"].values, other[key]["conv"].values)


def test_merged_results_have_the_replicates_of_one_run(few_units):
    plain = evaluated(sampling=Sampling(0.95, shards=6))
    part = Sampling(0.95, shards=6, keep_statistics=True, whole=24)
    second = evaluated(slice(12, 24), sampling=replace(part, first_sample=12))
    merged = tfinv.merge(evaluated(slice(12), sampling=part), second)
    for place, means in replicates(plain).items():
        np.testing.assert_allclose(means, replicates(merged)[place], rtol=1e-4, err_msg=str(place))


def test_same_equivariance_of_some_units_is_that_of_those_units(few_units):
    results = evaluated(sampling=Sampling(0.95, shards=6))
    for key in ("NormalizedVarianceSE", "NormalizedVarianceSE(border='keep')"):
        means, mean = results[key].replicates.means["conv"], results[key]["conv"].mean
        # The mean of what is left out one by one is near the number of all, and the replicates differ.
        assert abs(means.mean() - mean) < 3 * means.std() and means.std() > 0


def test_a_layer_without_values_among_the_chosen_units_says_so(few_units):
    array = activations()
    flat = array.reshape(*array.shape[:2], -1)
    flat[..., chosen_units(flat.shape[-1])] = 0
    results = tfinv.evaluate_arrays({"layer": flat}, "NormalizedVariance", sampling=Sampling(0.95, shards=5))
    result = results["NormalizedVariance"]
    assert np.isfinite(result["layer"].mean) and np.isnan(interval_at(result, "layer")).all()
    assert "no interval: none of the" in result["layer"].note


def test_what_is_held_of_shards():
    measures = as_measures(("NormalizedVariance", "Anova"))
    assert held_of_some(measures) == {RowDispersion("variance"), RowDispersion("std")}
    assert held_of_some(as_measures("NormalizedVariance")) == {
        RowDispersion("variance"),
        RowDispersion("std"),
        ColumnMoments(),
    }
    assert chosen_units(shards.UNITS) is None
    chosen = chosen_units(shards.UNITS + 1)
    assert len(np.unique(chosen)) == shards.UNITS and (np.diff(chosen) > 0).all()
    assert not ShardStates(measures).whole


def test_moments_are_merged_in_place_with_the_bits_of_the_rule(rng):
    layer = Layer("layer", (7, 5, 3), 4, parse("rotations(4)"))
    statistics = (ColumnMoments(), RowDispersion())
    gatherer = Gatherer(statistics, [layer])
    held, states = ShardStates(as_measures("NormalizedVariance(statistic='std')"), layer.shape), []
    for number, samples in enumerate((5, 1, 9)):
        gatherer.reset()
        block = rng.normal(100, 1, (samples, 4, *layer.shape)).astype(np.float32)
        gatherer.add_directly("layer", block)
        states.append({statistic: copied(state) for statistic, state in gatherer.states_of("layer").items()})
        held.add(number, gatherer.states_of("layer", transient=True), copy=True)
    for statistic in statistics:
        expected = widened(statistic, states[0][statistic])
        for shard in states[1:]:
            expected = statistic.merge(expected, widened(statistic, shard[statistic]))
        for mine, wanted in zip(held.whole[statistic], expected, strict=True):
            np.testing.assert_array_equal(mine, wanted)
