"""Results of disjoint samples merge to what one run gives; what does not belong together is refused and named."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfinv
from tfinv.evaluation.options import as_objects

MEASURES = ("NormalizedVariance", "AnovaF", "NormalizedDistance", "PredictionConsistency", "NormalizedVarianceSE")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="logits")(x), name="small")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((30, 8, 8, 1), dtype=np.float32)


def run(model, images, first=0, measures=MEASURES, **options):
    settings = as_objects({"transformations": "rotations(4)", "keep_statistics": True, "first_sample": first} | options)
    return tfinv.evaluate(model, images, settings.pop("transformations"), measures, progress=False, **settings)


def assert_same(first: tfinv.Results, second: tfinv.Results) -> None:
    assert list(first) == list(second)
    for key, measure in first.items():
        assert list(measure) == list(second[key])
        for name, layer in measure.items():
            other = second[key][name]
            np.testing.assert_allclose(layer.values, other.values, rtol=2e-5, atol=1e-7, err_msg=f"{key} {name}")
            np.testing.assert_array_equal(layer.status, other.status)
            assert layer.note == other.note


def test_parts_merge_to_the_whole_in_any_order_and_from_files(model, images, tmp_path):
    whole = run(model, images)
    parts = [run(model, images[first:last], first) for first, last in ((0, 7), (7, 20), (20, 30))]
    for number, part in enumerate(parts):
        part.save(tmp_path / f"{number}.npz")
    loaded = [tfinv.Results.load(tmp_path / f"{number}.npz") for number in range(3)]
    merged = tfinv.merge(*loaded)
    assert_same(merged, whole)
    assert merged.metadata["samples"] == 30
    assert_same(tfinv.merge(parts[2], tfinv.merge(parts[1], parts[0])), whole)
    assert_same(tfinv.merge(*parts, measures=MEASURES), whole)


def test_a_single_part_says_something_else(model, images):
    whole, part = run(model, images), run(model, images[:7])
    with pytest.raises(AssertionError):
        assert_same(whole, part)


def test_what_does_not_belong_together_is_refused(model, images):
    def part(model, images, measures=("NormalizedVariance", "AnovaF"), **options):
        return run(model, images, measures=measures, **options)

    first = part(model, images[:10])
    half = images[10:]
    other = keras.models.clone_model(model)
    other.set_weights([2 * weight for weight in model.get_weights()])
    cases = [
        (part(model, half, transformations="rotations(5)"), r"results must share transformations .*'rotations\(5\)'"),
        (part(other, half), "results must share model"),
        (part(model, half, padding="nearest"), "results must share padding"),
        (part(model, half, layers=["conv", "logits"]), r"same layers to be merged. Received: different \['flat'\]"),
        (part(model, half, measures=MEASURES[:1]), "results must share measures"),
        (
            part(model, half, keep_statistics=False),
            r"evaluate with sampling=Sampling\(keep_statistics=True\).*results number 2 without",
        ),
        (part(model, images[:10]), "disjoint samples to be merged. Received: the same samples twice"),
    ]
    for second, match in cases:
        with pytest.raises(ValueError, match=match):
            tfinv.merge(first, second)
    with pytest.raises(ValueError, match=r"at least two to be merged. Received: 1"):
        tfinv.merge(first)
    with pytest.raises(TypeError, match=r"results must be Results. Received: str"):
        tfinv.merge(first, "other.npz")  # type: ignore[arg-type]


def test_layers_of_other_shapes_are_refused(rng):
    kept = tfinv.Sampling(keep_statistics=True)
    parts = [
        tfinv.evaluate_arrays({"dense": rng.normal(size=(6, 3, units))}, "NormalizedVariance", sampling=kept)
        for units in (4, 5)
    ]
    with pytest.raises(ValueError, match=r"layers of one shape to be merged. Received: layer 'dense' with other"):
        tfinv.merge(*parts)
