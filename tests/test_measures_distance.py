"""Distance measures: against the golden file, float64 loops over pairs, and the promised precision of the estimate."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from laws import assert_laws, gathered, layer_of
from references import column_distance, row_distance
from test_measures_variance import GOLDEN, LAYERS, golden_input

import tfinv
from tfinv.measures import NormalizedDistance, SampleDistance, TransformationDistance, TransformationVariance
from tfinv.results import LayerResult
from tfinv.statistics import ColumnSample, RowDistances
from tfinv.statistics.pair_distances import member_distances
from tfinv.status import Status

NAMES = {
    "transformation_distance": TransformationDistance,
    "sample_distance": SampleDistance,
    "normalized_distance": NormalizedDistance,
}


def measured(block: np.ndarray, measure: tfinv.measures.Measure) -> LayerResult:
    return tfinv.evaluate_arrays({"layer": block}, [measure])[measure]["layer"]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("per_map", [False, True])
def test_values_equal_the_golden_file(layer, name, normalize, per_map):
    expected = GOLDEN[f"expected/{name}[normalize={normalize},keep_shape={per_map}]/{layer}"]
    block = golden_input(layer)
    if block.ndim == 5 and not per_map:
        height, width, channels = block.shape[2:]
        expected = np.moveaxis(expected.reshape(channels, height, width), 0, -1)
    measure = NAMES[name](normalize=normalize, per_map=per_map)
    np.testing.assert_allclose(measured(block, measure).values, expected, rtol=1e-5, atol=1e-9)
    single = measured(block.astype(np.float32), measure).values
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-6)


def test_the_published_vector():
    matrix = np.array(
        [[7, 4, 6], [9, 3, 1], [5, 6, 3], [8, 2, 5], [6, 7, 3], [8, 5, 4], [6, 5, 6], [10, 4, 5], [7, 1, 7], [4, 3, 3]]
    )[..., None].astype(np.float64)
    for measure, value in zip(NAMES.values(), (2.8, 2.17037037, 1.29010239), strict=True):
        assert measured(matrix, measure()).values[0] == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
@pytest.mark.parametrize(("per_map", "normalize"), [(False, False), (True, False), (True, True)])
def test_values_equal_a_float64_reference(rng, metric, per_map, normalize):
    block = rng.normal(size=(6, 5, 3, 2, 4)) * rng.uniform(0.1, 5, 4) + 3 * rng.normal(size=(6, 1, 3, 2, 4))
    options = {"per_map": per_map, "normalize": normalize}
    rows, columns = row_distance(block, metric, **options), column_distance(block, metric, **options)
    values = [measured(block, measure(metric=metric, **options)).values for measure in NAMES.values()]
    for value, expected in zip(values, (rows, columns, rows / columns), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-9)


def test_squared_distances_of_units_are_twice_the_variance(rng):
    block = rng.normal(size=(6, 5, 7))
    squared = measured(block, TransformationDistance(metric="sqeuclidean")).values
    np.testing.assert_allclose(squared, 2 * measured(block, TransformationVariance("variance")).values, rtol=1e-10)


def test_gaussian_units_have_the_known_ratio_to_the_deviation():
    block = np.random.default_rng(0).normal(size=(4000, 8, 2))
    ratio = measured(block, TransformationDistance()).values / measured(block, TransformationVariance()).values
    # E|x - y| = 2 / sqrt(pi), E std = c4(8) for eight normal values.
    np.testing.assert_allclose(ratio, 2 / np.sqrt(np.pi) / 0.9650304561, rtol=0.01)


def test_aggregation_comes_before_the_quotient(rng):
    block = rng.normal(size=(5, 4, 3, 2, 2))
    rows, columns = (distance(block).max(axis=(0, 1)) for distance in (row_distance, column_distance))
    np.testing.assert_allclose(measured(block, NormalizedDistance(aggregate="max")).values, rows / columns, rtol=1e-9)


@pytest.mark.parametrize(
    "statistic", [RowDistances(), RowDistances(per_map=True), RowDistances(per_map=True, normalize=True)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_laws_of_rows(rng, statistic, dtype):
    block = (rng.normal(size=(8, 5, 3, 2, 4)) + 3 * rng.normal(size=(8, 1, 3, 2, 4))).astype(dtype)
    assert_laws(statistic, block, rtol=1e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("samples", [None, 4, 8])
def test_laws_of_columns(rng, samples):
    """Where the sample is a true subset too: which samples are drawn depends on neither blocks nor merges."""

    def by_key(state):
        order = np.argsort(state.keys, axis=1)
        rows = np.arange(len(order))[:, None]
        return state._replace(keys=state.keys[rows, order].astype(float), values=state.values[rows, order])

    block = rng.normal(size=(11, 5, 3, 2, 2)).astype(np.float32)
    assert_laws(ColumnSample(samples), block, canonical=by_key)


def test_columns_draw_different_samples_uniformly():
    """Over many seeds every sample is kept equally often, and columns agree no more than chance."""
    block = np.tile(np.arange(20.0)[:, None, None], (1, 3, 1))
    kept = np.array([np.asarray(gathered(ColumnSample(5, seed), block).values)[..., 0] for seed in range(300)])
    counts = np.bincount(kept.astype(int).ravel(), minlength=20)
    assert counts.sum() == 300 * 15
    assert abs(counts - 225).max() < 5 * np.sqrt(225)
    shared = np.mean([len(set(one[0]) & set(one[1])) for one in kept])
    assert shared == pytest.approx(5 * 5 / 20, abs=0.2)


def test_the_estimate_is_unbiased_and_its_error_is_the_one_reported():
    block = np.random.default_rng(0).gamma(2.0, size=(150, 6, 2)) * np.array([1.0, 10.0])
    block = block + np.random.default_rng(1).normal(size=(150, 1, 2))
    exact = column_distance(block)
    values, errors = [], []
    for seed in range(120):
        measure = SampleDistance(samples=12, seed=seed)
        states = {ColumnSample(12, seed): _as_arrays(gathered(ColumnSample(12, seed), block))}
        values.append(measure.compute(states).values)
        errors.append(measure.standard_error(states))
    spread = np.std(values, axis=0, ddof=1)
    np.testing.assert_allclose(np.mean(values, axis=0), exact, atol=4 * spread.max() / np.sqrt(120))
    np.testing.assert_allclose(np.mean(errors, axis=0), spread, rtol=0.25)


def test_sampling_says_so():
    block = np.random.default_rng(0).normal(size=(40, 4, 5))
    assert measured(block, SampleDistance()).note == "exact over all pairs of 40 samples"
    note = measured(block, NormalizedDistance(samples=10)).note
    assert note.startswith("between samples estimated from 10 of 40 samples a transformation, standard error")
    layer = layer_of(block)
    states = {ColumnSample(): _as_arrays(gathered(ColumnSample(), block, layer=layer))}
    assert (SampleDistance().standard_error(states) == 0).all()


def test_the_sample_fits_the_budget():
    wide, narrow = (layer_of(np.empty((1, 49, *shape))) for shape in ((28, 28, 32), (10,)))
    assert ColumnSample().size(narrow) == 512
    assert ColumnSample().size(wide) == 8
    assert ColumnSample(100).size(wide) == 100


def test_data_sorted_by_class_give_the_same_value(rng):
    """The original's defect: pairs inside a batch of one class. Here blocks and order do not matter."""
    block = rng.normal(size=(30, 3, 2)) + 10 * np.repeat(np.arange(3.0), 10)[:, None, None]
    expected = measured(block, SampleDistance()).values
    shuffled = measured(block[rng.permutation(30)], SampleDistance()).values
    np.testing.assert_allclose(shuffled, expected, rtol=1e-12)
    pieces = gathered(ColumnSample(), block, [10, 10, 10])
    values = SampleDistance().compute({ColumnSample(): _as_arrays(pieces)}).values
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("per_map", [False, True])
def test_permuting_and_scaling(rng, per_map):
    block = rng.normal(size=(9, 6, 2, 2, 3))
    for kind, power in ((TransformationDistance, 1), (SampleDistance, 1), (NormalizedDistance, 0)):
        expected = measured(block, kind(per_map=per_map)).values
        for other, factor in ((block[rng.permutation(9)], 1), (block[:, rng.permutation(6)], 1), (-3 * block + 7, 3)):
            values = measured(other, kind(per_map=per_map)).values
            np.testing.assert_allclose(values, factor**power * expected, rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"per_map": True}, {"per_map": True, "normalize": True}])
def test_transformations_that_do_nothing_give_exactly_zero(rng, options):
    block = np.repeat(rng.normal(size=(9, 1, 4, 4, 3)), 6, axis=1).astype(np.float32) + 100
    assert (measured(block, TransformationDistance(**options)).values == 0).all()
    assert (measured(block, NormalizedDistance(**options)).values == 0).all()


def test_equal_maps_among_different_ones_are_at_distance_zero(rng):
    """The Gram matrix alone would give sqrt(rounding error)."""
    maps = rng.normal(size=(3, 1, 5, 5, 2)).astype(np.float32)
    others = np.concatenate([maps, maps, maps + 1], axis=1)
    values = measured(others, TransformationDistance(per_map=True)).values
    np.testing.assert_allclose(values, 5 * 2 / 3, rtol=1e-6)
    members = member_distances(others[0].astype(np.float64), "euclidean", True)
    np.testing.assert_allclose(members, np.array([[2.5] * 2, [2.5] * 2, [5] * 2]), rtol=1e-6)


def test_dead_maps_have_a_status_instead_of_nan(rng):
    block = rng.normal(size=(9, 6, 3, 3, 4)).astype(np.float32)
    block[..., 0] = 0
    block[..., 1] = block[:1, ..., 1]
    block[:4, ..., 2] = 0
    options = {"per_map": True, "normalize": True}
    rows, quotient = (measured(block, measure(**options)) for measure in (TransformationDistance, NormalizedDistance))
    assert rows.status.tolist() == [Status.DEAD, Status.VALID, Status.VALID, Status.VALID]
    assert quotient.status.tolist() == [Status.DEAD, Status.SAMPLE_CONSTANT, Status.VALID, Status.VALID]
    assert np.isfinite(rows.values).all() and quotient.values[0] == 1


def test_the_way_of_other_devices_gives_the_same(rng, monkeypatch):
    block = rng.normal(size=(5, 7, 3, 2, 2))
    expected = measured(block, TransformationDistance()).values
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])
    np.testing.assert_allclose(measured(block, TransformationDistance()).values, expected, rtol=1e-12)


def test_precision_in_float32_far_from_zero():
    rng = np.random.default_rng(3)
    block = (1000 + rng.normal(size=(20, 16, 4, 4, 3))).astype(np.float32)
    exact = block.astype(np.float64)
    for per_map in (False, True):
        values = measured(block, TransformationDistance(per_map=per_map)).values
        np.testing.assert_allclose(values, row_distance(exact, per_map=per_map), rtol=1e-5)


def test_bad_options_are_refused(rng):
    with pytest.raises(ValueError, match=r"metric must be one of 'euclidean', 'sqeuclidean'. Received: 'cosine'"):
        TransformationDistance(metric="cosine")
    for samples in (3, 2.5, True):
        with pytest.raises(ValueError, match="samples must be a whole number of at least 4"):
            SampleDistance(samples=samples)
    with pytest.raises(ValueError, match=r"seed must be a whole number of at least 0. Received: -1"):
        NormalizedDistance(seed=-1)
    with pytest.raises(ValueError, match="transformations must be at least 2"):
        measured(rng.normal(size=(4, 1, 2)), TransformationDistance())
    with pytest.raises(ValueError, match="images must be at least 2"):
        measured(rng.normal(size=(1, 4, 2)), SampleDistance())


def _as_arrays(state):
    return type(state)(*(np.asarray(field) for field in state))
