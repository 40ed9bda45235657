"""Firing-rate measures: against the golden file, float64 loops, and units whose score is known."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import pytest
from laws import arrays, assert_laws, gathered
from references import goodfellow
from test_measures_variance import GOLDEN, LAYERS, channels_last, golden_input

import tfinv
from tfinv.engine.passes import ordered
from tfinv.evaluation.evaluate import PROBED
from tfinv.measures import Goodfellow, GoodfellowNormal, NormalizedVariance
from tfinv.results import LayerResult
from tfinv.statistics import ColumnMoments, LocalFiring, NormalFiring, TopValues
from tfinv.status import Status


def measured(block: np.ndarray, measure: tfinv.measures.Measure, reference: np.ndarray | None = None) -> LayerResult:
    given = None if reference is None else {"layer": reference}
    return tfinv.evaluate_arrays({"layer": block}, [measure], reference=given)[measure]["layer"]


@pytest.fixture
def data(rng) -> tuple[np.ndarray, np.ndarray]:
    """Activations `(300, 7, 3, 2, 4)` whose channels lean ever more on the transformation, and untransformed ones."""
    weight = np.array([0.0, 0.3, 1.0, 3.0])
    images = rng.normal(size=(300, 3, 2, 4))
    return images[:, None] + weight * rng.normal(size=(300, 7, 3, 2, 4)), images


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_normal_variant_equals_the_golden_file(layer, sign):
    expected = channels_last(GOLDEN[f"expected/goodfellow_normal[alpha=0.9,sign={sign}]/{layer}"])
    result = measured(golden_input(layer), GoodfellowNormal(0.9, sign))
    np.testing.assert_allclose(result.values, expected, rtol=1e-5, atol=1e-9)
    if layer == "degenerate":
        assert result.status.tolist() == [Status.DEAD, Status.VALID, Status.VALID, Status.VALID]


def test_the_normal_variant_of_the_published_vector():
    matrix = np.array(
        [[7, 4, 6], [9, 3, 1], [5, 6, 3], [8, 2, 5], [6, 7, 3], [8, 5, 4], [6, 5, 6], [10, 4, 5], [7, 1, 7], [4, 3, 3]]
    )[..., None].astype(np.float64)
    for alpha, sign, value in ((0.99, 1, 0), (0.9, 1, 4 / 3), (0.9, -1, 1)):
        assert measured(matrix, GoodfellowNormal(alpha, sign)).values[0] == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("percentile", [0.01, 0.05, 0.3])
@pytest.mark.parametrize(("sign", "top"), [(1, None), (-1, None), (1, 5)])
def test_values_equal_a_float64_reference(data, percentile, sign, top):
    block, images = data
    measure = Goodfellow(percentile, sign, top, capacity=256)
    expected = goodfellow(block, images, percentile, sign, top)
    np.testing.assert_allclose(measured(block, measure, images).values, expected, rtol=1e-9)
    single = measured(block.astype(np.float32), measure, images.astype(np.float32)).values
    np.testing.assert_allclose(single, expected, rtol=1e-5)


def test_known_scores(data):
    """Invariant units reach 1 / percentile; units of pure noise fire on favourites as often as on anything, 1."""
    block, images = data
    block[..., 3] = np.random.default_rng(5).normal(size=block[..., 3].shape)
    scores = measured(block, Goodfellow(0.05), images).values.mean(axis=(0, 1))
    assert scores[0] == pytest.approx(1 / 0.05)
    assert scores[0] > scores[1] > scores[2] > scores[3]
    assert scores[3] == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("percentile", [0.02, 0.4])
def test_laws(data, percentile):
    block, images = (array[:40].astype(np.float32) for array in data)
    thresholds = TopValues(percentile)
    assert_laws(thresholds, block, reference=images, canonical=lambda s: s._replace(levels=np.sort(s.levels)))
    given = {thresholds: arrays(gathered(thresholds, block, reference=images))}
    assert_laws(LocalFiring(percentile), block, reference=images, given=given)


def test_laws_while_images_are_dropped(rng):
    """Far more images than fit: the same subset is chosen whatever the blocks and merges."""
    images = rng.normal(size=(350, 3)).astype(np.float32)
    statistic = TopValues(0.2)

    def down_to_the_quantile(state):
        held = state.counts[state.counts <= 160].max()
        assert 80 < held < 160
        return state._replace(values=state.values[..., : int(0.2 * held) + 2], levels=0)

    assert_laws(statistic, images[:, None], reference=images, canonical=down_to_the_quantile)


def test_laws_of_the_normal_variant(rng):
    block = rng.normal(size=(9, 5, 3, 2)).astype(np.float32)
    given = {ColumnMoments(): arrays(gathered(ColumnMoments(), block))}
    assert_laws(NormalFiring(0.8), block, given=given)


@pytest.mark.parametrize("samples", [500, 3200, 20000])
def test_the_threshold_is_exact_as_long_as_promised_and_close_beyond(samples):
    """1 % of 3200 images is half the capacity; with 20000 the quantile is that of a random subset."""
    images = np.random.default_rng(4).normal(size=(samples, 50)).astype(np.float32)
    state = gathered(TopValues(), images[:, None], [3000] * 7, reference=images)
    given = {TopValues(): arrays(state)}
    firing = gathered(LocalFiring(), images[:, None], [3000] * 7, reference=images, given=given)
    rates = np.asarray(firing.fired) / samples
    if samples <= 3200:
        np.testing.assert_allclose(rates, 0.01, rtol=1e-6)
    else:
        assert abs(rates.mean() / 0.01 - 1) < 0.1
        assert 0.05 < (rates / 0.01).std() < np.sqrt(4 / 64)


def test_permuting_changes_nothing_and_positive_scaling_neither(data):
    block, images = data
    measure = Goodfellow(0.05)
    expected = measured(block, measure, images).values
    order, columns = np.random.default_rng(0).permutation(300), np.random.default_rng(1).permutation(7)
    for other, reference in (
        (block[order], images[order]),
        (block[:, columns], images),
        (3 * block + 7, 3 * images + 7),
    ):
        np.testing.assert_allclose(measured(other, measure, reference).values, expected, rtol=1e-9)
    flipped = measured(-block, Goodfellow(0.05, -1), -images).values
    np.testing.assert_allclose(flipped, expected, rtol=1e-9)


def test_sparse_saturated_and_constant_units():
    images = np.zeros((200, 3), np.float32)
    images[7, 0] = 1
    images[:, 1] = np.minimum(np.arange(200) % 10, 6)
    images[:, 2] = 3
    result = measured(np.repeat(images[:, None], 4, axis=1), Goodfellow(0.01), images)
    assert result.status.tolist() == [Status.VALID, Status.VALID, Status.DEAD]
    np.testing.assert_allclose(result.values, [200, 1 / 0.4, 1], rtol=1e-6)


def test_thresholds_take_one_cheap_pass_and_all_else_one_more():
    statistics = [statistic for measure in (NormalizedVariance(), Goodfellow()) for statistic in measure.requires]
    first, second = ordered(statistics)
    assert first == [TopValues()]
    assert set(second) == {*NormalizedVariance().requires, LocalFiring()}


class _Counted:
    """A model as an activation source that counts the images it is run on."""

    id, input_shape, layer_shapes = "counted", (6, 6, 1), {"logits": (3,)}

    def __init__(self) -> None:
        self.images = 0
        self.weights = np.random.default_rng(0).normal(size=(36, 3)).astype(np.float32)

    def select(self, layers: object) -> _Counted:
        return self

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        self.images += len(images)
        return {"logits": np.asarray(images).reshape(len(images), -1) @ self.weights}


def test_the_engine_runs_the_untransformed_images_alone_for_the_threshold():
    source = _Counted()
    images = np.random.default_rng(1).random((20, 6, 6, 1), dtype=np.float32)
    tfinv.evaluate(source, images, "rotations(5)", [Goodfellow(0.1)], progress=False)
    assert source.images <= PROBED + 20 + 20 * (5 + 1)


def test_a_model_equals_its_arrays():
    inputs = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4, name="logits")(keras.layers.Flatten(name="flat")(x)))
    images = np.random.default_rng(1).random((60, 6, 6, 1), dtype=np.float32)
    turns = tfinv.transformations.parse("rotations(4)")
    measures = [Goodfellow(0.1), GoodfellowNormal(0.9)]
    results = tfinv.evaluate(model, images, turns, measures, layers=["conv", "logits"], batch_size=7, progress=False)
    tapped = keras.Model(model.input, {"conv": model.get_layer("conv").output, "logits": model.output})
    turned = np.asarray(tfinv.transformations.warp(images, turns)).reshape(-1, 6, 6, 1)
    reference = {name: np.asarray(value) for name, value in tapped(images).items()}
    blocks = {name: np.asarray(value).reshape(60, 4, *value.shape[1:]) for name, value in tapped(turned).items()}
    expected = tfinv.evaluate_arrays(blocks, measures, reference=reference)
    for measure in measures:
        for layer in blocks:
            np.testing.assert_allclose(results[measure][layer].values, expected[measure][layer].values, rtol=1e-3)


def test_parts_merge_to_one_evaluation_in_two_rounds(data):
    block, images = data
    measures = [Goodfellow(0.1), Goodfellow(0.02, sign=-1), GoodfellowNormal(), NormalizedVariance()]
    bounds = ((0, 1), (1, 150), (150, 300))

    def rounds(**options) -> list[tfinv.Results]:
        return [
            tfinv.evaluate_arrays(
                {"layer": block[first:last]},
                measures,
                reference={"layer": images[first:last]},
                sampling=tfinv.Sampling(keep_statistics=True, first_sample=first, whole=300, **options),
            )
            for first, last in bounds
        ]

    whole = tfinv.evaluate_arrays({"layer": block}, measures, reference={"layer": images})
    with pytest.raises(ValueError, match=r"thresholds of the whole data to be merged for Goodfellow\(percentile=0.1\)"):
        tfinv.merge(*rounds())
    thresholds = tfinv.merge(*rounds(first_pass=True))
    assert not thresholds.measures
    merged = tfinv.merge(*reversed(rounds(thresholds=thresholds)))
    for key, measure in whole.items():
        np.testing.assert_allclose(merged[key]["layer"].values, measure["layer"].values, rtol=1e-6)
        assert merged[key]["layer"].note == measure["layer"].note
    without = tfinv.Sampling(keep_statistics=True, thresholds=thresholds)
    with pytest.raises(ValueError, match=r"thresholds must be merged results .* Received: results without TopValues"):
        tfinv.evaluate_arrays({"layer": block}, Goodfellow(0.3), reference={"layer": images}, sampling=without)


def test_bad_options_are_refused(data):
    block, images = data
    for percentile in (0, 1, -0.1, "1%"):
        with pytest.raises(ValueError, match="percentile must be a number above 0 and below 1"):
            Goodfellow(percentile)
    with pytest.raises(ValueError, match=r"alpha must be a number above 0 and below 1. Received: 1"):
        GoodfellowNormal(1)
    with pytest.raises(ValueError, match=r"sign must be one of 1, -1. Received: 0"):
        Goodfellow(sign=0)
    with pytest.raises(ValueError, match=r"top must be below capacity, 64. Received: 64"):
        Goodfellow(top=64)
    with pytest.raises(ValueError, match=r"capacity must be even. Received: 65"):
        Goodfellow(capacity=65)
    with pytest.raises(ValueError, match="images must be at least 2 for Goodfellow"):
        measured(block[:1], Goodfellow(), images[:1])
    with pytest.raises(ValueError, match="reference must hold the activations of the untransformed images"):
        measured(block, Goodfellow())
    with pytest.raises(ValueError, match=r"reference must have the shape \(300, 3, 2, 4\)"):
        measured(block, Goodfellow(), images[:, :2])
