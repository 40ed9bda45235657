"""Parts of any size merge to what one evaluation gives; samples held twice or missing are refused by name."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

import tfinv
from tfinv.engine import pieces

MEASURES = ("NormalizedVariance", "NormalizedVarianceSE", "NormalizedDistance", "Goodfellow(percentile=0.1)")
SAMPLES = 41


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="logits")(x), name="small")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((SAMPLES, 8, 8, 1), dtype=np.float32)


def part_of(model, images, first, last, measures=MEASURES, labels=None, **options) -> tfinv.Results:
    sampling = tfinv.Sampling(keep_statistics=True, first_sample=first, **options)
    labels = None if labels is None else labels[first:last]
    return tfinv.evaluate(
        model, images[first:last], "rotations(4)", measures, labels=labels, sampling=sampling, progress=False
    )


def random_bounds(rng: np.random.Generator, count: int) -> list[tuple[int, int]]:
    cuts = np.sort(rng.choice(np.arange(1, SAMPLES), count - 1, replace=False)).tolist()
    return list(zip([0, *cuts], [*cuts, SAMPLES], strict=True))


def assert_close(merged: tfinv.Results, whole: tfinv.Results) -> None:
    assert list(merged) == list(whole)
    for key, measure in whole.items():
        for name, layer in measure.items():
            np.testing.assert_allclose(merged[key][name].values, layer.values, rtol=1e-6, atol=1e-9, err_msg=key)
            np.testing.assert_array_equal(merged[key][name].status, layer.status)


@pytest.mark.slow
def test_ten_unequal_parts_in_any_order_are_one_evaluation_with_intervals(model, images, tmp_path):
    whole = tfinv.evaluate(
        model, images, "rotations(4)", MEASURES, sampling=tfinv.Sampling(0.9, shards=6), progress=False
    )
    options = {"whole": SAMPLES, "confidence": 0.9, "shards": 6}
    rng = np.random.default_rng(5)
    bounds = random_bounds(rng, 10)
    assert len({last - first for first, last in bounds}) > 2
    thresholds = tfinv.merge(*(part_of(model, images, *ends, first_pass=True, **options) for ends in bounds))
    parts = []
    for number, ends in enumerate(bounds):
        part = part_of(model, images, *ends, thresholds=thresholds, **options)
        part.save(tmp_path / f"{number}.npz")
        parts.append(tfinv.Results.load(tmp_path / f"{number}.npz"))
    merged = tfinv.merge(*(parts[number] for number in rng.permutation(10)))
    assert_close(merged, whole)
    assert merged.metadata["samples"] == SAMPLES
    for column in ("low", "high"):
        np.testing.assert_allclose(merged.profile()[column], whole.profile()[column], rtol=1e-5, equal_nan=True)
    again = tfinv.merge(tfinv.merge(*parts[:4], partial=True), tfinv.merge(*parts[4:], partial=True))
    assert_close(again, whole)


def test_random_splits_merge_to_the_same_numbers():
    rng = np.random.default_rng(1)
    block = rng.normal(size=(SAMPLES, 5, 3)) + rng.normal(size=(SAMPLES, 1, 3))
    measures = ("NormalizedVariance", "AnovaF")
    whole = tfinv.evaluate_arrays({"dense": block}, measures)
    for _ in range(4):
        bounds = random_bounds(rng, int(rng.integers(2, 12)))
        parts = [
            tfinv.evaluate_arrays(
                {"dense": block[first:last]},
                measures,
                sampling=tfinv.Sampling(keep_statistics=True, first_sample=first, whole=SAMPLES),
            )
            for first, last in bounds
        ]
        assert_close(tfinv.merge(*(parts[number] for number in rng.permutation(len(parts)))), whole)


def test_one_image_has_no_values_until_it_is_merged(model, images):
    one = part_of(model, images, 0, 1, "NormalizedVariance")
    assert "1 samples are too few" in one["NormalizedVariance"]["conv"].note
    two = tfinv.merge(one, part_of(model, images, 1, 2, "NormalizedVariance"))
    whole = tfinv.evaluate(model, images[:2], "rotations(4)", "NormalizedVariance", progress=False)
    assert_close(two, whole)


def test_classes_merge(model, images):
    labels = np.arange(SAMPLES) % 3
    sampling = tfinv.Sampling(stratified=True)
    whole = tfinv.evaluate(
        model, images, "rotations(4)", "NormalizedVariance", labels=labels, sampling=sampling, progress=False
    )
    ends = ((0, 1), (1, 18), (18, SAMPLES))
    parts = [
        part_of(model, images, *bounds, "NormalizedVariance", labels, stratified=True, whole=SAMPLES) for bounds in ends
    ]
    merged = tfinv.merge(*parts)
    assert_close(merged, whole)
    for label in range(3):
        assert_close(merged.of_class(label), whole.of_class(label))


def test_samples_held_twice_or_missing_are_named(model, images):
    def part(first, last, **options):
        return part_of(model, images, first, last, "NormalizedVariance", **options)

    first, second = part(0, 10), part(10, 20)
    both = tfinv.merge(first, second)
    with pytest.raises(ValueError, match=r"the same samples twice, 10-19"):
        tfinv.merge(both, second)
    with pytest.raises(ValueError, match=r"the same samples twice, 7-9"):
        tfinv.merge(first, part(7, 12))
    shifted = tfinv.evaluate(
        model,
        images[7:12],
        "rotations(4)",
        "NormalizedVariance",
        sampling=tfinv.Sampling(keep_statistics=True),
        progress=False,
    )
    with pytest.raises(ValueError, match=r"the same samples twice"):
        tfinv.merge(first, shifted)
    known = [part(0, 10, whole=SAMPLES), part(12, SAMPLES, whole=SAMPLES)]
    with pytest.raises(ValueError, match=r"must hold all 41 samples.*without 2 of them, 10-11"):
        tfinv.merge(*known)
    assert tfinv.merge(*known, partial=True).metadata["samples"] == SAMPLES - 2
    outside = tfinv.Sampling(0.9, keep_statistics=True, first_sample=40, whole=41, shards=2)
    with pytest.raises(ValueError, match=r"whole must be at least first_sample and the number of images, 40 \+ 2"):
        tfinv.evaluate_arrays({"dense": np.zeros((2, 4, 2))}, "NormalizedVariance", sampling=outside)


def test_other_versions_are_told(model, images):
    first, second = (part_of(model, images, *ends, "NormalizedVariance") for ends in ((0, 10), (10, 20)))
    older = replace(second, metadata={**second.metadata, "versions": {**second.metadata["versions"], "keras": "3.0"}})
    with pytest.warns(UserWarning, match="different versions of keras"):
        merged = tfinv.merge(first, older)
    assert [versions["keras"] for versions in merged.metadata["versions_of_parts"]][1] == "3.0"


def test_pieces_change_nothing_but_rounding(model, images, monkeypatch):
    whole = tfinv.evaluate(model, images, "rotations(4)", MEASURES, batch_size=4, progress=False)
    monkeypatch.setattr(pieces, "SAMPLES", 8)
    in_pieces = tfinv.evaluate(model, images, "rotations(4)", MEASURES, batch_size=4, progress=False)
    assert_close(in_pieces, whole)
    different = [
        not np.array_equal(in_pieces[key][name].values, layer.values)
        for key, measure in whole.items()
        for name, layer in measure.items()
    ]
    assert any(different)  # or the samples were not cut at all
