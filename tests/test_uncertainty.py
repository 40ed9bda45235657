"""Confidence intervals of layer profiles: formulas, coverage of the truth, pairing, files, bad input."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from references import layer_number, normalized_variance

import tfinv
from tfinv.engine import states as engine_states
from tfinv.engine.states import copied, leave_one_out, merged
from tfinv.evaluation.arrays import shard_indices
from tfinv.resampling.jackknife import (
    Replicates,
    corrected,
    interval,
    middle_of,
    pseudo_values,
    spread_of,
    standard_error,
)
from tfinv.resampling.shards import interval as bootstrap_interval
from tfinv.resampling.shards import shard_counts
from tfinv.results import LayerResult
from tfinv.statistics import ColumnMoments, ColumnMomentsState, Layer, RowDispersion, Statistic
from tfinv.statistics.column_moments import ShiftedMoments
from tfinv.statistics.lie_error import LocalError
from tfinv.statistics.row_dispersion import RowDispersionState
from tfinv.statistics.views import InverseWarp, Viewed
from tfinv.status import Status
from tfinv.tflite import compare
from tfinv.tflite.comparison.compare_files import renamed
from tfinv.tflite.comparison.match_files import Match
from tfinv.uncertainty import difference, paired_units

KEY = "NormalizedVariance"


def drawn(rng: np.random.Generator, samples: int, units: int = 6) -> np.ndarray:
    """Activations of random samples of one population: skewed sample effects that the units share, and noise."""
    effect = rng.lognormal(0, 0.5, (samples, 1, 1)) * np.linspace(0.5, 2, units) + rng.normal(size=(samples, 1, units))
    noise = (
        np.linspace(0.4, 1.2, 8)[:, None] * rng.normal(size=(samples, 8, units)) * rng.gamma(4, 0.25, (samples, 1, 1))
    )
    return effect + np.sin(np.arange(8))[:, None] + noise


def measured(block: np.ndarray, measures=KEY, confidence: float = 0.95, shards: int = 20, **options) -> tfinv.Results:
    return tfinv.evaluate_arrays({"layer": block}, measures, sampling=tfinv.Sampling(confidence, shards, **options))


def test_the_mean_of_numbers_has_its_textbook_interval(rng):
    values = rng.normal(size=12)
    without = [np.delete(values, position).mean() for position in range(12)]
    pseudo = pseudo_values(values.mean(), without, [1] * 12)
    np.testing.assert_allclose(pseudo, values)
    assert standard_error(pseudo, [1] * 12) == pytest.approx(values.std(ddof=1) / 12**0.5)
    low, high = interval(pseudo, [1] * 12, values.mean(), 0.9)
    assert (high - low) / 2 == pytest.approx(1.7958848 * values.std(ddof=1) / 12**0.5, rel=1e-6)


def test_uneven_shards_have_nearly_the_error_of_even_ones(rng):
    values = rng.normal(size=(400, 60))
    sizes = [2, 4] * 10
    cuts = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    estimate = values.mean(1)
    without = [np.concatenate([c for j, c in enumerate(cuts) if j != i], axis=1).mean(1) for i in range(20)]
    errors = [
        standard_error(pseudo_values(estimate[row], [values[row] for values in without], sizes), sizes)
        for row in range(400)
    ]
    assert np.mean(np.square(errors)) == pytest.approx(1 / 60, rel=0.06)


def test_states_without_each_shard_equal_gathering_the_others(rng):
    block = rng.normal(size=(17, 3, 4))
    parts = shard_indices(17, 5)

    def state(rows: np.ndarray) -> ColumnMomentsState:
        part = block[rows]
        return ColumnMomentsState(np.float64(len(part)), part.mean(0), part.var(0) * len(part))

    states = [state(part) for part in parts]
    shards = [{ColumnMoments(): part} for part in states]
    for number, left in enumerate(part[ColumnMoments()] for part in leave_one_out(shards)):
        rest = np.concatenate([part for other, part in enumerate(parts) if other != number])
        for mine, theirs in zip(left, state(rest), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    for mine, theirs in zip(merged(ColumnMoments(), states), state(np.arange(17)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    two = [part[ColumnMoments()] for part in leave_one_out(shards[:2])]
    np.testing.assert_array_equal(two[0].mean, states[1].mean)
    np.testing.assert_array_equal(two[1].mean, states[0].mean)


@pytest.mark.parametrize("statistic", [ColumnMoments(), RowDispersion(), Viewed(ColumnMoments(), InverseWarp())])
def test_states_without_a_shard_lose_no_digits_where_a_unit_varies_in_that_shard_alone(rng, statistic):
    block = 100 + rng.normal(size=(5, 6, 3, 4)) * np.array([1.0, 1e-9, 0.0, 1.0])
    block[np.arange(5) != 2, ..., 0] = 0.3  # varies in shard 2 alone
    block[2, ..., 1] += 1e6 * rng.normal(size=(6, 3))  # and nearly so

    def state(values: np.ndarray) -> Any:
        values = values.reshape(-1, 3, 4)
        if isinstance(statistic, RowDispersion):
            return RowDispersionState(np.float64(len(values)), values.std(1, ddof=1).mean(0))
        shifted = values - values[0]
        squares = np.square(shifted - shifted.mean(0)).sum(0)
        return ColumnMomentsState(np.float64(len(values)), values[0] + shifted.mean(0), squares)

    shards = [{statistic: state(values)} for values in block]
    for number, left in enumerate(leave_one_out(shards)):
        exact = merged(statistic, [shard[statistic] for place, shard in enumerate(shards) if place != number])
        spread = left[statistic][-1]
        np.testing.assert_allclose(spread, exact[-1], rtol=1e-9)
        np.testing.assert_array_equal(spread[..., 2], 0.0)
        if number == 2:
            np.testing.assert_array_equal(spread[..., :2], exact[-1][..., :2])
            assert not spread[..., 0].any()


@pytest.mark.parametrize("shape", [(3, 5, 4), (60,)])
def test_work_in_pieces_gives_the_same_states(rng, monkeypatch, shape):
    shards = []
    for number in range(4):
        values = rng.random((3, 6, *shape)).astype(np.float32)
        if number != 1:
            values[..., 2] = 0.5  # these units vary in one shard alone, and are merged anew
        moments = ShiftedMoments(np.float64(3), values[0, 0], values.mean(0) - values[0, 0], 3 * values.var(0))
        rows = RowDispersionState(np.float64(3), values.std(1, ddof=1).mean(0, dtype=np.float64))
        shards.append({ColumnMoments(): moments, RowDispersion(): rows})
    expected = [copied_states(left) for left in leave_one_out(shards)]
    whole = {statistic: merged(statistic, [shard[statistic] for shard in shards]) for statistic in shards[0]}
    monkeypatch.setattr(engine_states, "PIECE", 40)
    for statistic, state in whole.items():
        for mine, theirs in zip(merged(statistic, [s[statistic] for s in shards], shape), state, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    for left, wanted in zip(leave_one_out(shards, shape=shape), expected, strict=True):
        for statistic, state in left.items():
            for mine, theirs in zip(state, wanted[statistic], strict=True):
                np.testing.assert_array_equal(mine, theirs)


def copied_states(states: Any) -> Any:
    return {statistic: copied(state) for statistic, state in states.items()}


def test_a_statistic_that_merges_in_its_own_way_is_not_subtracted(rng):
    class Largest(RowDispersion):
        def merge(self, first: Any, second: Any) -> RowDispersionState:
            return RowDispersionState(first.count + second.count, np.maximum(first.mean, second.mean))

    states = [RowDispersionState(np.float64(2), values) for values in rng.random((4, 3))]
    rests = [left[Largest()].mean for left in leave_one_out([{Largest(): state} for state in states])]
    for number, rest in enumerate(rests):
        np.testing.assert_array_equal(rest, np.max([s.mean for p, s in enumerate(states) if p != number], axis=0))


def test_shards_are_a_partition_of_nearly_equal_sizes_and_always_the_same():
    parts = shard_indices(103, 20)
    assert sorted(np.concatenate(parts)) == list(range(103))
    assert {len(part) for part in parts} == {5, 6}
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(parts, shard_indices(103, 20), strict=True))
    assert len(shard_indices(7, 20)) == 7


def test_replicates_are_the_measure_without_each_shard(rng):
    block = drawn(rng, 50)
    results = measured(block, [KEY, "AnovaF"], shards=5)
    for key in (KEY, "AnovaF"):
        replicates = results[key].replicates
        assert replicates is not None
        blocks = [np.delete(block, part, axis=0) for part in shard_indices(50, 5)]
        rest = np.array([tfinv.evaluate_arrays({"layer": one}, key)[key]["layer"].mean for one in blocks])
        if key == "AnovaF":  # it grows with the number of samples
            rest += results[key]["layer"].mean - rest.mean()
        assert replicates.means["layer"] == pytest.approx(rest, rel=1e-9)
    plain = tfinv.evaluate_arrays({"layer": block}, KEY)
    np.testing.assert_allclose(results[KEY]["layer"].values, plain[KEY]["layer"].values, rtol=1e-12)
    assert "low" not in plain.profile()


RESAMPLED = (KEY, "AnovaF", "NormalizedDistance", "GoodfellowNormal", "TransformationVariance(statistic='variance')")


def test_resamples_are_the_measure_of_samples_that_count_several_times(rng):
    block = drawn(rng, 50).astype(np.float32)
    results = measured(block, RESAMPLED, shards=5, interval="bootstrap", resamples=50)
    parts, counts = shard_indices(50, 5), shard_counts(5, 50)
    for number in (0, 7, 49):
        chosen = np.concatenate([np.tile(part, times) for part, times in zip(parts, counts[number], strict=True)])
        # The threshold of this measure stays that of all samples.
        for key in (name for name in RESAMPLED if name != "GoodfellowNormal"):
            replicates = results[key].replicates
            assert replicates is not None
            again = tfinv.evaluate_arrays({"layer": block[chosen]}, key)[key]["layer"].mean
            assert replicates.draws["layer"][number] == pytest.approx(again, rel=1e-5), key
    assert all(np.isfinite(layer.replicates.draws["layer"]).all() for layer in results.values() if layer.replicates)


@pytest.mark.parametrize("statistic", [ColumnMoments(), RowDispersion(), LocalError()])
def test_fast_resampling_equals_merging_again_and_again(rng, statistic):
    kind = type(statistic.init(Layer("layer", (4,), 3), "float64"))
    shapes = {"count": (), "mean": (4,) if kind is not ColumnMomentsState else (3, 4), "m2": (3, 4)}
    states = [
        kind(*(10 * rng.random(shapes[name]) + (1000 if name == "mean" else 0) for name in kind._fields))
        for _ in range(6)
    ]
    counts = shard_counts(6, 20)
    fast, slow = list(statistic.resampled(states, counts)), list(Statistic.resampled(statistic, states, counts))
    assert len(fast) == len(slow) == 20
    for mine, theirs in zip(fast, slow, strict=True):
        for value, expected in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-10)


def test_resampled_means_of_what_is_zero_in_the_drawn_shards_are_exactly_zero(rng):
    """A variance that rounding turns negative would have no root, and a silent unit would seem to respond."""
    values = rng.random((6, 4))
    values[1:, 0] = 0
    states = [RowDispersionState(np.float64(10 + number), value) for number, value in enumerate(values)]
    counts = shard_counts(6, 200)
    means = np.stack([state.mean for state in RowDispersion().resampled(states, counts)])
    without = counts[:, 0] == 0
    assert without.sum() > 20
    assert (means[without, 0] == 0).all() and (means[~without, 0] > 0).all() and (means >= 0).all()


def test_the_middle_of_an_interval_is_the_estimate_without_its_bias(rng):
    """The jackknife takes off the whole bias of a variance that is divided by n, and none of a mean's."""
    values, sizes = rng.exponential(size=30), [1] * 30
    without = np.array([np.delete(values, i).var() for i in range(30)])
    pseudo = pseudo_values(values.var(), without, sizes)
    assert corrected(pseudo, sizes) == pytest.approx(values.var(ddof=1), rel=1e-12)
    low, high = interval(pseudo, sizes, values.var(), 0.95)
    assert (low + high) / 2 == pytest.approx(values.var(ddof=1), rel=1e-12)
    narrow = interval(pseudo, sizes, values.var(), 1e-6)
    assert narrow[0] == values.var() and narrow[1] > values.var()
    jumps = np.array([0.5] * 10 + [0.9] * 20)  # a bias that cannot be: without any shard the value is far lower
    pseudo = pseudo_values(2.0, jumps, sizes)
    assert middle_of(pseudo, sizes, 2.0) == 2 + standard_error(pseudo, sizes) < corrected(pseudo, sizes)
    means = pseudo_values(values.mean(), [np.delete(values, i).mean() for i in range(30)], sizes)
    assert corrected(means, sizes) == pytest.approx(values.mean(), rel=1e-12)
    assert spread_of(means, sizes, values.mean()) == pytest.approx(values.std(ddof=1) / 30**0.5, rel=1e-12)


def test_a_bias_that_is_taken_off_is_half_known(rng):
    values, sizes = rng.exponential(size=30), [1] * 30
    pseudo = pseudo_values(values.var(), np.array([np.delete(values, i).var() for i in range(30)]), sizes)
    bias = values.var() - values.var(ddof=1)
    spread = (standard_error(pseudo, sizes) ** 2 + bias**2 / 4) ** 0.5
    assert spread_of(pseudo, sizes, values.var()) == pytest.approx(spread, rel=1e-12)
    low, high = interval(pseudo, sizes, values.var(), 0.95)
    assert high - low == pytest.approx(2 * 2.04523 * spread, rel=1e-5)  # Student's t with 29 degrees of freedom


def test_draws_spread_at_least_as_far_as_shards_say(rng):
    draws = 3 + rng.normal(size=4000)
    plain = bootstrap_interval(draws, 3.0, 3.0, 20, 0.95)
    assert bootstrap_interval(draws, 3.0, 3.0, 20, 0.95, 0.9) == plain
    wide = bootstrap_interval(draws, 3.0, 3.0, 20, 0.95, 2.0)
    factor = 2 / (draws.std() * (20 / 19) ** 0.5)
    np.testing.assert_allclose(np.subtract(wide, 3), np.subtract(plain, 3) * factor, rtol=1e-12)


@pytest.mark.parametrize("kind", ["jackknife", "bootstrap"])
def test_what_grows_with_the_number_of_samples_is_not_corrected(rng, kind):
    """F is proportional to the number of samples: without a shard it is smaller, and that is no bias."""
    sampling = tfinv.Sampling(0.5, 20, interval=kind, resamples=200)
    results = tfinv.evaluate_arrays({"layer": drawn(rng, 400)}, [KEY, "AnovaF", "Anova"], sampling=sampling)
    row = results["AnovaF"].profile().iloc[0]
    assert row["mean"] > 5 and (row.low + row.high) / 2 == pytest.approx(row["mean"], rel=0.05)
    replicates = results["AnovaF"].replicates
    assert replicates is not None and replicates.means["layer"].mean() == pytest.approx(row["mean"], rel=1e-12)
    assert results[KEY].replicates.means["layer"].mean() != pytest.approx(results[KEY]["layer"].mean, rel=1e-9)


def test_bootstrap_intervals_reach_as_far_as_few_shards_demand(rng):
    counts = shard_counts(20, 1000)
    assert (counts.sum(1) == 20).all()
    assert counts.mean(0) == pytest.approx(1, abs=4 * 1000**-0.5)
    np.testing.assert_array_equal(counts[:50], shard_counts(20, 50))
    values = rng.normal(size=20)
    draws = shard_counts(20, 20_000) @ values / 20
    low, high = bootstrap_interval(draws, values.mean(), values.mean(), 20, 0.95)
    reach = 2.0930 * values.std(ddof=1) / 20**0.5  # Student's t with 19 degrees of freedom
    assert high - low == pytest.approx(2 * reach, rel=0.05)
    biased = bootstrap_interval(draws - 0.4, values.mean(), values.mean(), 20, 0.95)
    assert biased == pytest.approx((low, high), abs=1e-12)
    moved = bootstrap_interval(draws, values.mean(), values.mean() - 0.1, 20, 0.95)
    assert moved == pytest.approx((low - 0.1, high - 0.1), abs=1e-12)
    assert bootstrap_interval(draws, 9.0, values.mean(), 20, 0.95) == pytest.approx((low, 9.0), abs=1e-12)
    assert all(np.isnan(bootstrap_interval([np.nan], 1.0, 1.0, 20, 0.95)))
    assert bootstrap_interval([1.0, np.inf, 1.0], 1.0, 1.0, 20, 0.95) == (1, 1)


@pytest.mark.parametrize(("shards", "student"), [(3, 1.885618), (4, 1.637744), (20, 1.327728)])  # printed tables, 80 %
def test_draws_are_spread_by_what_resampled_shards_lack(shards: int, student: float):
    from scipy.stats import norm

    draws = 0.3 + 0.5 * norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    reach = 0.5 * (shards / (shards - 1)) ** 0.5 * student
    assert bootstrap_interval(draws, 1.7, 1.7, shards, 0.8) == pytest.approx((1.7 - reach, 1.7 + reach), rel=1e-3)


def test_bootstrap_intervals_are_repeatable_paired_and_kept_in_files(rng, tmp_path):
    before = drawn(rng, 200)
    after = before + 0.25 * rng.normal(size=before.shape)
    first, second = (measured(block, interval="bootstrap", resamples=400) for block in (before, after))
    row, plain = first.profile().iloc[0], measured(before).profile().iloc[0]
    assert row.low < row["mean"] < row.high
    assert row["mean"] == plain["mean"]
    assert row.high - row.low == pytest.approx(plain.high - plain.low, rel=0.4)
    assert (row.low, row.high) != (plain.low, plain.high)
    first.save(tmp_path / "first.npz")
    loaded = tfinv.Results.load(tmp_path / "first.npz")
    pd.testing.assert_frame_equal(loaded.profile(), first.profile())
    pd.testing.assert_frame_equal(measured(before, interval="bootstrap", resamples=400).profile(), first.profile())
    paired = difference(loaded, second).iloc[0]
    assert paired.low < paired.difference < paired.high
    assert paired.real
    widths = [result.profile().iloc[0].high - result.profile().iloc[0].low for result in (first, second)]
    assert paired.high - paired.low < 0.5 * min(widths)
    by_jackknife = difference(measured(before), second).iloc[0]
    assert by_jackknife.difference == paired.difference
    assert by_jackknife.low == difference(measured(before), measured(after)).iloc[0].low


def test_unknown_intervals_are_refused(rng):
    block = drawn(rng, 40)
    with pytest.raises(ValueError, match=r"interval must be 'jackknife' or 'bootstrap'. Received: 'bayes'"):
        measured(block, interval="bayes")
    with pytest.raises(ValueError, match=r"resamples must be a whole number of at least 50. Received: 10"):
        measured(block, interval="bootstrap", resamples=10)


def covered(rounds: int, seed: int, confidence: float, samples: int = 100, shards: int = 10, **options) -> float:
    truth = measured_mean(drawn(np.random.default_rng(99), 100_000))
    rng = np.random.default_rng(seed)
    hits = []
    for _ in range(rounds):
        row = measured(drawn(rng, samples), confidence=confidence, shards=shards, **options).profile().iloc[0]
        hits.append(row.low <= truth <= row.high)
    return float(np.mean(hits))


def measured_mean(block: np.ndarray) -> float:
    return layer_number(normalized_variance(block))


@pytest.mark.slow
def test_intervals_contain_the_truth_about_as_often_as_they_say():
    # Four standard errors of a share of 0.8 over 200 rounds.
    assert covered(200, 1, 0.8) == pytest.approx(0.8, abs=0.113)


@pytest.mark.long
@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize(("interval", "rounds"), [("jackknife", 1500), ("bootstrap", 500)])
def test_coverage_of_many_rounds(confidence, interval, rounds):
    error = (confidence * (1 - confidence) / rounds) ** 0.5
    share = covered(rounds, 2, confidence, samples=400, shards=20, interval=interval, resamples=500)
    print(f"{interval} at {confidence}: {share:.3f}, standard error {error:.3f}")
    # Skewed samples cost a little coverage at any sample size: 1.5 percent are granted beside three standard errors.
    assert share == pytest.approx(confidence, abs=3 * error + 0.015)


def test_the_standard_error_is_that_of_a_bootstrap_over_samples(rng):
    block = drawn(rng, 300)
    result = measured(block)[KEY]
    assert result.replicates is not None
    sizes = result.replicates.sizes
    pseudo = pseudo_values(result["layer"].mean, result.replicates.means["layer"], sizes)
    draws = [measured_mean(block[rng.integers(0, 300, 300)]) for _ in range(400)]
    # A standard error from 20 shards is itself uncertain by 1 / sqrt(2 * 19) = 16 percent.
    assert standard_error(pseudo, sizes) == pytest.approx(np.std(draws), rel=0.5)


def test_paired_differences_are_sharper_than_unpaired_ones_and_hold_in_files(rng, tmp_path):
    before = drawn(rng, 200)
    after = before + 0.25 * rng.normal(size=before.shape)
    first, second = measured(before), measured(after)
    for name, results in (("before", first), ("after", second)):
        results.save(tmp_path / f"{name}.npz")
    frame = difference(*(tfinv.Results.load(tmp_path / f"{name}.npz") for name in ("before", "after")))
    pd.testing.assert_frame_equal(frame, difference(first, second))
    row = frame.iloc[0]
    assert row.difference == pytest.approx(second[KEY]["layer"].mean - first[KEY]["layer"].mean)
    assert row.low < row.difference < row.high
    assert row.real
    widths = [result.profile().iloc[0].high - result.profile().iloc[0].low for result in (first, second)]
    assert row.high - row.low < 0.5 * min(widths)
    same = difference(first, first).iloc[0]
    assert (same.difference, same.low, same.high, same.real) == (0, 0, 0, False)
    wider = difference(first, second, confidence=0.999).iloc[0]
    assert wider.low < row.low < row.high < wider.high


def test_units_are_paired_by_their_place():
    valid, dead, sparse = Status.VALID, Status.DEAD, Status.SPARSE
    values = np.arange(1.0, 7).reshape(3, 2)
    before = LayerResult(values, np.array([[valid, valid], [dead, valid], [sparse, valid]]), trim=0.05)
    after = LayerResult(2 * values, np.array([[valid, dead], [valid, valid], [dead, sparse]]), trim=0.05)
    pairs = paired_units(before, after)
    assert (pairs.before.tolist(), pairs.after.tolist()) == ([1, 4], [2, 8])
    assert (pairs.lost, pairs.gained) == (((0, 1), (2, 1)), ((1, 0),))
    assert (pairs.means, pairs.trim) == ((2.5, 5.0), 0.05)
    many = LayerResult(np.r_[np.ones(39), 1000], np.zeros(40, np.uint8), trim=0.05)
    assert paired_units(many, many).means == (1, 1)
    with pytest.raises(ValueError, match=r"the same units. Received: units of shape \(3, 2\) and \(40,\)"):
        paired_units(before, many)


def test_a_layer_that_seems_more_invariant_because_units_fell_silent_reads_right(rng):
    """Half of the units vary as their samples do, half react to transformations alone; the latter fall silent."""
    before = rng.normal(size=(60, 1, 30)) + np.repeat([0.3, 3.0], 15) * rng.normal(size=(60, 8, 30))
    after = before.copy()
    after[..., 15:] = 0
    row = difference(measured(before), measured(after)).iloc[0]
    assert row.relative < -0.4 and row.real
    assert (row.both, row.lost, row.gained) == (15, 15, 0)
    assert row.paired_before == row.paired_after == pytest.approx(row.after)
    assert row.paired_relative == 0
    back = difference(measured(after), measured(before)).iloc[0]
    assert (back.both, back.lost, back.gained) == (15, 0, 15)
    other = tfinv.evaluate_arrays({"layer": before[..., :4]}, KEY, sampling=tfinv.Sampling(0.95))
    assert difference(measured(before), other).iloc[0][["both", "lost", "gained", "paired_relative"]].isna().all()


def sparse_layer(rng: np.random.Generator, samples: int, units: int = 20) -> np.ndarray:
    """Units that respond on a tenth of the samples, by an amount of their own and noise."""
    fires = rng.random((samples, 1, units)) < 0.1
    return fires * np.maximum(0, rng.exponential(size=fires.shape) + 0.5 * rng.normal(size=(samples, 8, units)))


@pytest.mark.long
@pytest.mark.parametrize(("interval", "rounds"), [("jackknife", 600), ("bootstrap", 300)])
def test_intervals_of_sparse_layers_contain_the_truth(interval, rounds):
    truth = measured_mean(sparse_layer(np.random.default_rng(98), 200_000))
    rng, hits = np.random.default_rng(8), []
    for _ in range(rounds):
        row = measured(sparse_layer(rng, 400), interval=interval, resamples=500).profile().iloc[0]
        hits.append(row.low <= truth <= row.high)
    print(f"{interval}: {np.mean(hits):.3f}")
    assert np.mean(hits) >= 0.92


@pytest.mark.long
@pytest.mark.parametrize(("interval", "rounds"), [("jackknife", 600), ("bootstrap", 300)])
def test_intervals_of_paired_changes_of_sparse_layers_contain_the_truth(interval, rounds):
    def rounded(block: np.ndarray) -> np.ndarray:
        """As four bits store it: small responses fall silent, large ones move to the next level."""
        return np.round(block / 0.75) * 0.75

    population = sparse_layer(np.random.default_rng(97), 200_000)
    truth = measured_mean(rounded(population)) - measured_mean(population)
    rng, hits = np.random.default_rng(9), []
    for _ in range(rounds):
        block = sparse_layer(rng, 400)
        pair = [measured(part, interval=interval, resamples=500) for part in (block, rounded(block))]
        row = difference(*pair).iloc[0]
        hits.append(row.low <= truth <= row.high)
    print(f"{interval}: {np.mean(hits):.3f} of {truth:+.4f}")
    assert abs(truth) > 0.005 and np.mean(hits) >= 0.92


def test_two_statistics_of_one_measure_are_not_compared(rng):
    block = drawn(rng, 40)
    before, after = measured(block, "NormalizedVariance(statistic='std')"), measured(block)
    with pytest.raises(ValueError, match=r"one measure. Received: NormalizedVariance\(statistic='std'\) and Normal"):
        difference(before, after)


def test_what_cannot_be_paired_is_refused(rng):
    block = drawn(rng, 40)
    first = measured(block)
    plain = tfinv.evaluate_arrays({"layer": block}, KEY)
    elsewhere = tfinv.evaluate_arrays({"other": block}, KEY, sampling=tfinv.Sampling(0.95))
    cases = [
        ((first, plain), {}, r"after must be evaluated with sampling=Sampling\(0\.95\)"),
        ((first, measured(block[:30])), {}, "same shards. Received: 20 shards of 40 samples and 20 of 30"),
        ((first, measured(block, shards=5)), {}, "same shards. Received: 20 shards of 40 samples and 5 of 40"),
        ((first, elsewhere), {}, "a layer in common"),
        ((measured(block, [KEY, "AnovaF"]),) * 2, {}, "measure must be one of NormalizedVariance, AnovaF"),
        ((first, first), {"confidence": 95}, "confidence must be a number above 0 and below 1. Received: 95"),
    ]
    for pair, options, match in cases:
        with pytest.raises(ValueError, match=match):
            difference(*pair, **options)
    assert difference(first, elsewhere, layers={"layer": "other"}).iloc[0].difference == 0


def test_models_on_other_images_are_refused_and_intervals_saved(rng, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten(name="flat")(keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))
    images = rng.random((40, 8, 8, 1), dtype=np.float32)

    def run(images: np.ndarray, **options: int) -> tfinv.Results:
        measures = [KEY, "NormalizedVarianceSE"]
        return tfinv.evaluate(
            model, images, "rotations(4)", measures, sampling=tfinv.Sampling(0.9), progress=False, **options
        )

    first = run(images)
    profile = first.profile()
    applicable = profile.layer.eq("conv") | profile.measure.eq(KEY)
    assert ((profile.low < profile["mean"]) & (profile["mean"] < profile.high))[applicable].all()
    assert profile.low[~applicable].isna().all()
    first.save(tmp_path / "results.npz")
    pd.testing.assert_frame_equal(tfinv.Results.load(tmp_path / "results.npz").profile(), profile)
    assert difference(first, run(images, batch_size=1), KEY).difference.abs().max() < 1e-5
    with pytest.raises(ValueError, match="before and after must be evaluated on the same images"):
        difference(first, run(images[::-1]), KEY)


def test_a_layer_without_replicates_has_no_interval():
    assert all(np.isnan(Replicates(0.95, (1, 1)).interval("layer", 0.5)))


def several(rng: np.random.Generator, interval: str, layers: int, change: float = 0.0) -> tuple[tfinv.Results, ...]:
    """Results before and after, of layers that differ by noise and, for the first layer, by `change`."""
    arrays = [drawn(rng, 100, 3) for _ in range(layers)]
    pairs = [[array + 0.2 * rng.normal(size=array.shape) for array in arrays] for _ in range(2)]
    pairs[1][0] = pairs[1][0] + change * rng.normal(size=pairs[1][0].shape)
    sampling = tfinv.Sampling(0.95, interval=interval, resamples=400)  # type: ignore[arg-type]  # a text of the test
    return tuple(
        tfinv.evaluate_arrays({f"l{i}": a for i, a in enumerate(blocks)}, KEY, sampling=sampling) for blocks in pairs
    )


@pytest.mark.parametrize("interval", ["jackknife", "bootstrap"])
def test_every_way_to_ask_which_layer_changed_gives_one_answer(rng, interval):
    before, after = several(rng, interval, 4, change=1.0)
    frame = difference(before, after)
    assert frame.real.tolist() == [True, False, False, False]
    pd.testing.assert_frame_equal(compare(before, after), frame)
    replicates = after[KEY].replicates
    assert replicates is not None and bool(replicates.draws) == (interval == "bootstrap")
    names = {f"l{i}": f"q{i}" for i in range(4)}
    other = tfinv.results.MeasureResult(
        KEY,
        {names[name]: layer for name, layer in after[KEY].items()},
        Replicates(
            0.95,
            replicates.sizes,
            {names[name]: values for name, values in replicates.means.items()},
            {names[name]: values for name, values in replicates.draws.items()},
        ),
    )
    back = renamed(tfinv.Results({KEY: other}, after.metadata), Match(names))
    pd.testing.assert_frame_equal(difference(before, back), frame)
    alone = difference(before, after, simultaneous=False)
    by_hand = difference(before, after, simultaneous=False, confidence=1 - 0.05 / 4)
    pd.testing.assert_frame_equal(by_hand, frame)
    assert ((frame.high - frame.low) > 1.15 * (alone.high - alone.low)).all()


def test_bootstrap_intervals_reach_beyond_the_outermost_draw_where_many_layers_demand_it(rng):
    from scipy.stats import t

    draws = rng.normal(size=1000)
    low, high = bootstrap_interval(draws, 0.0, 0.0, 20, 1 - 0.05 / 100)
    exact = (20 / 19) ** 0.5 * t.ppf(1 - 0.025 / 100, 19)
    assert low < draws.min() and high > draws.max()
    assert [-low, high] == pytest.approx([exact, exact], rel=0.2)


@pytest.mark.long
@pytest.mark.parametrize("interval", ["jackknife", "bootstrap"])
def test_any_of_many_layers_is_rarely_called_real_where_nothing_differs(interval):
    rng = np.random.default_rng(7)
    alarms = [difference(*several(rng, interval, 8)).real.any() for _ in range(150)]
    print(f"{interval}: {np.mean(alarms):.3f}")
    assert np.mean(alarms) <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5
