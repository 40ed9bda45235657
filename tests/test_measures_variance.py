"""Variance measures: against the golden file, float64 loops, and the laws of the statistics behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from laws import assert_laws, gathered
from references import column_dispersion, normalized_variance, row_dispersion

import tfinv
from tfinv.measures import NormalizedVariance, SampleVariance, TransformationVariance
from tfinv.statistics import ColumnMoments, RowDispersion
from tfinv.status import Status

GOLDEN = np.load(Path(__file__).parent / "golden_tmeasures.npz")
LAYERS = ("conv", "relu", "dense", "degenerate")
PUBLISHED = (TransformationVariance(), SampleVariance(), NormalizedVariance("std"))
MEASURES = (*PUBLISHED, NormalizedVariance())


def golden_input(layer: str) -> np.ndarray:
    values = GOLDEN[f"input/{layer}"]
    return np.moveaxis(values, 2, -1) if values.ndim == 5 else values


def channels_last(values: np.ndarray) -> np.ndarray:
    return np.moveaxis(values, 0, -1) if values.ndim == 3 else values


def measured(block: np.ndarray, measure: tfinv.measures.Measure) -> np.ndarray:
    return tfinv.evaluate_arrays({"layer": block}, [measure])[measure]["layer"].values


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("measure", "name"),
    [
        (TransformationVariance(), "transformation_variance"),
        (SampleVariance(), "sample_variance"),
        (NormalizedVariance("std"), "normalized_variance"),
        (NormalizedVariance("std", aggregate="mean"), "normalized_variance_mean_maps"),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_equal_the_golden_file(measure, name, layer, dtype):
    expected = channels_last(GOLDEN[f"expected/{name}/{layer}"])
    values = measured(golden_input(layer).astype(dtype), measure)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7)


def test_the_published_vector():
    matrix = np.array(
        [[7, 4, 6], [9, 3, 1], [5, 6, 3], [8, 2, 5], [6, 7, 3], [8, 5, 4], [6, 5, 6], [10, 4, 5], [7, 1, 7], [4, 3, 3]]
    )[..., None].astype(np.float64)
    expected = (2.22150669, 1.82675532, 1.21609428)
    for measure, value in zip(PUBLISHED, expected, strict=True):
        assert measured(matrix, measure)[0] == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("statistic", ["std", "variance"])
def test_values_equal_a_float64_reference(rng, statistic):
    block = rng.normal(size=(11, 6, 4, 3, 2)) * rng.uniform(0.1, 5, 2) + rng.normal(size=(11, 1, 4, 3, 2))
    rows, columns = row_dispersion(block, statistic), column_dispersion(block, statistic)
    np.testing.assert_allclose(measured(block, TransformationVariance(statistic)), rows, rtol=1e-12)
    np.testing.assert_allclose(measured(block, SampleVariance(statistic)), columns, rtol=1e-12)
    np.testing.assert_allclose(measured(block, NormalizedVariance(statistic)), rows / columns, rtol=1e-12)


def test_pooled_deviations_equal_a_float64_reference(rng):
    block = rng.normal(size=(11, 6, 4, 3, 2)) * rng.uniform(0.1, 5, 2) + rng.normal(size=(11, 1, 4, 3, 2))
    rows, columns = row_dispersion(block, "variance"), column_dispersion(block, "variance")
    for measure, expected in (
        (TransformationVariance("pooled_std"), np.sqrt(rows)),
        (SampleVariance("pooled_std"), np.sqrt(columns)),
        (NormalizedVariance(), normalized_variance(block)),
    ):
        np.testing.assert_allclose(measured(block, measure), expected, rtol=1e-12)


@pytest.mark.parametrize("how", ["mean", "max", "sum"])
def test_maps_are_aggregated_before_the_quotient(rng, how):
    block = rng.normal(size=(7, 5, 3, 4, 2))
    reduce = {"mean": np.mean, "max": np.max, "sum": np.sum}[how]
    rows, columns = (reduce(f(block), axis=(0, 1)) for f in (row_dispersion, column_dispersion))
    np.testing.assert_allclose(measured(block, NormalizedVariance("std", how)), rows / columns, rtol=1e-12)
    rows, columns = (reduce(f(block, "variance"), axis=(0, 1)) for f in (row_dispersion, column_dispersion))
    np.testing.assert_allclose(measured(block, NormalizedVariance(aggregate=how)), np.sqrt(rows / columns), rtol=1e-12)


@pytest.mark.parametrize("statistic", [RowDispersion("std"), RowDispersion("variance"), ColumnMoments()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_laws(rng, statistic, dtype):
    block = (rng.normal(size=(8, 5, 3, 2, 4)) + 10 * rng.normal(size=(8, 1, 3, 2, 4))).astype(dtype)
    assert_laws(statistic, block, rtol=1e-4 if dtype == "float32" else 1e-10)


def test_float32_stays_precise_far_from_zero():
    """|mean| / std = 1000 over a million values: sums of squares would have lost every digit."""
    rng = np.random.default_rng(1)
    block = (1000 + rng.normal(size=(125_000, 8, 3))).astype(np.float32)
    sizes = [500] * 250
    state = gathered(ColumnMoments(), block, sizes)
    exact = block.astype(np.float64)
    np.testing.assert_allclose(np.asarray(state.m2), exact.var(axis=0) * len(exact), rtol=1e-5)
    rows = gathered(RowDispersion(), block, sizes)
    np.testing.assert_allclose(np.asarray(rows.mean), exact.std(axis=1, ddof=1).mean(axis=0), rtol=1e-5)


def test_permuting_samples_or_transformations_changes_nothing(rng):
    block = rng.normal(size=(9, 6, 5))
    for measure in MEASURES:
        expected = measured(block, measure)
        np.testing.assert_allclose(measured(block[rng.permutation(9)], measure), expected, rtol=1e-12)
        np.testing.assert_allclose(measured(block[:, rng.permutation(6)], measure), expected, rtol=1e-12)


def test_scaling_activations_scales_dispersions_and_keeps_the_quotient(rng):
    block = rng.normal(size=(9, 6, 5))
    for measure, power in zip(MEASURES, (1, 1, 0, 0), strict=True):
        np.testing.assert_allclose(measured(-3 * block + 7, measure), 3**power * measured(block, measure), rtol=1e-10)


def test_transformations_that_do_nothing_give_exactly_zero(rng):
    block = np.repeat(rng.normal(size=(9, 1, 4, 4, 3)), 6, axis=1).astype(np.float32)
    assert (measured(block, TransformationVariance()) == 0).all()
    assert (measured(block, NormalizedVariance()) == 0).all()


def test_degenerate_units_have_a_status(rng):
    block = rng.normal(size=(9, 6, 3)).astype(np.float32)
    block[..., 0] = 0.1
    block[..., 1] = block[:1, :, 1]
    result = tfinv.evaluate_arrays({"layer": block}, [NormalizedVariance()])["NormalizedVariance"]["layer"]
    assert result.status.tolist() == [Status.DEAD, Status.SAMPLE_CONSTANT, Status.VALID]
    assert result.values[0] == 1 and np.isinf(result.values[1])


def test_a_single_transformation_or_sample_is_refused(rng):
    block = rng.normal(size=(4, 1, 2))
    with pytest.raises(ValueError, match="transformations must be at least 2 for NormalizedVariance"):
        measured(block, NormalizedVariance())
    with pytest.raises(ValueError, match="images must be at least 2 for SampleVariance"):
        measured(block[:1], SampleVariance())


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match=r"statistic must be one of 'pooled_std', 'std', 'variance'. Received: 'var'"):
        TransformationVariance("var")
    with pytest.raises(ValueError, match="aggregate must be one of"):
        NormalizedVariance(aggregate="median")
