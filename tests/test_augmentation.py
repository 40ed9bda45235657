"""The augmentation layer: what it draws, that it applies what it draws, seeds, and the places where it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfinv import models
from tfinv.datasets import Split
from tfinv.transformations import Affine, AffineAugmentation, ImageFunction, TransformationSet, rotations, warp

RANGES: dict[str, Any] = {
    "rotation": 60,
    "scale": (0.5, 1.5),
    "translation": (-0.1, 0.3),
    "shear": 20,
    "reflection": "horizontal",
}


def images(count: int, height: int = 12, width: int = 12, channels: int = 1) -> Any:
    return np.random.default_rng(count).random((count, height, width, channels), np.float32)


def parts(coefficients: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Angle, factor, shear, offsets and mirror of maps `R Sh s F`, by a QR decomposition in float64."""
    coefficients = np.asarray(coefficients, np.float64)
    linear = coefficients[:, :, :2]
    mirrored = np.linalg.det(linear) < 0
    linear = linear * np.where(mirrored[:, None, None], [[-1.0, 1.0]], 1.0)
    q, r = np.linalg.qr(linear)
    signs = np.sign(np.diagonal(r, axis1=1, axis2=2))
    q, r = q * signs[:, None, :], r * signs[:, :, None]
    return {
        "angle": np.degrees(np.arctan2(q[:, 0, 1], q[:, 0, 0])),
        "factor": r[:, 0, 0],
        "shear": np.degrees(np.arctan2(r[:, 0, 1], r[:, 0, 0])),
        "x": coefficients[:, 0, 2] / 2,
        "y": coefficients[:, 1, 3] / 2,
        "mirrored": mirrored,
    }


def uniform(values: Any, low: float, high: float) -> bool:
    """Within the bounds, and not told apart from a uniform distribution at the level of 1 in 1000."""
    inside = values.min() >= low - 1e-3 and values.max() <= high + 1e-3
    return bool(inside and stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["constant", "nearest", "reflect"])
def test_a_set_of_one_is_the_warp_by_it(interpolation: Any, padding: Any) -> None:
    x = images(3, 9, 14, 2)
    member = Affine.rotation(33).compose(Affine.translation(0.1, -0.2))
    options = {"interpolation": interpolation, "padding": padding, "fill_value": 0.25}
    layer = AffineAugmentation([member], **options)
    np.testing.assert_array_equal(layer(x, training=True), warp(x, [member], **options)[:, 0])


def test_every_image_gets_one_member_of_the_set_and_all_are_equally_likely() -> None:
    members = rotations(8)
    layer = AffineAugmentation(members, seed=1)
    x = images(1, 7, 7).repeat(800, axis=0)
    out = np.asarray(layer(x, training=True))
    distance = np.abs(out[:, None] - np.asarray(warp(x[:1], members))).max(axis=(2, 3, 4))
    np.testing.assert_array_equal(np.sort(distance, axis=1)[:, 0], 0)
    counts = np.bincount(distance.argmin(axis=1), minlength=8)
    assert stats.chisquare(counts).pvalue > 1e-3
    drawn = layer.draw(8000)
    angles = [Affine(coefficients).degrees for coefficients in drawn]
    wanted = [member.degrees for member in members if isinstance(member, Affine)]
    counts = np.array([np.isclose(angles, angle, atol=1e-3).sum() for angle in wanted])
    assert counts.sum() == 8000 and stats.chisquare(counts).pvalue > 1e-3


def test_ranges_are_filled_evenly() -> None:
    drawn = parts(AffineAugmentation(**RANGES, seed=2).draw(4000))
    assert uniform(drawn["angle"], -60, 60)
    assert uniform(drawn["factor"], 0.5, 1.5)
    assert uniform(drawn["shear"], -20, 20)
    assert uniform(drawn["x"], -0.1, 0.3) and uniform(drawn["y"], -0.1, 0.3)
    assert stats.binomtest(int(drawn["mirrored"].sum()), 4000).pvalue > 1e-3
    correlations = np.corrcoef([drawn[name] for name in ("angle", "factor", "shear", "x", "y", "mirrored")])
    assert np.abs(correlations - np.eye(6)).max() < 0.06


def test_maps_are_mirrored_scaled_sheared_turned_and_shifted_in_this_order() -> None:
    coefficients = AffineAugmentation(**RANGES, seed=3).draw(50)
    drawn = parts(coefficients)
    for index, row in enumerate(coefficients):
        value = {name: values[index] for name, values in drawn.items()}
        steps = [Affine.reflection()] if value["mirrored"] else []
        steps += [Affine.scale(value["factor"]), Affine.shear(value["shear"]), Affine.rotation(value["angle"])]
        composed = Affine.identity()
        for step in [*steps, Affine.translation(value["x"], value["y"])]:
            composed = composed.compose(step)
        np.testing.assert_allclose(row, composed.coefficients, atol=1e-5)


@pytest.mark.parametrize("reflection", ["horizontal", "vertical"])
def test_reflection_alone(reflection: str) -> None:
    x = images(40)
    out = np.asarray(AffineAugmentation(reflection=reflection, seed=4)(x, training=True))
    mirrored = x[:, :, ::-1] if reflection == "horizontal" else x[:, ::-1]
    same = np.isclose(out, x, atol=1e-5).all(axis=(1, 2, 3))
    flipped = np.isclose(out, mirrored, atol=1e-5).all(axis=(1, 2, 3))
    assert (same ^ flipped).all() and 8 < flipped.sum() < 32


@pytest.mark.parametrize("shape", [(12, 12), (9, 17)])
def test_what_is_drawn_is_applied(shape: tuple[int, int]) -> None:
    x = images(6, *shape, 3)
    out = AffineAugmentation(**RANGES, seed=5)(x, training=True)
    drawn = AffineAugmentation(**RANGES, seed=5).draw(6)
    for index in range(6):
        wanted = warp(x[index : index + 1], [Affine(drawn[index])])[0, 0]
        np.testing.assert_allclose(out[index], wanted, atol=2e-5)


def test_the_content_of_an_image_moves_as_drawn() -> None:
    """A bright spot right of the centre turns counter-clockwise by the drawn angle: seen without any warp of ours."""
    x = np.zeros((30, 41, 41, 1), np.float32)
    x[:, 20, 30] = 1
    out = np.asarray(AffineAugmentation(rotation=(20, 70), seed=6)(x, training=True))[..., 0]
    angles = parts(AffineAugmentation(rotation=(20, 70), seed=6).draw(30))["angle"]
    mass = out.sum(axis=(1, 2))
    row = (out.sum(axis=2) @ np.arange(41)) / mass - 20
    column = (out.sum(axis=1) @ np.arange(41)) / mass - 20
    np.testing.assert_allclose(np.degrees(np.arctan2(-row, column)), angles, atol=1.5)
    np.testing.assert_allclose(np.hypot(row, column), 10, atol=0.3)


def test_seed_repeats_the_draws_and_batches_differ() -> None:
    first, same, other = (AffineAugmentation(rotation=180, seed=seed) for seed in (7, 7, 8))
    draws = [first.draw(5), first.draw(5)]
    np.testing.assert_array_equal(draws, [same.draw(5), same.draw(5)])
    assert not np.allclose(draws[0], draws[1], atol=1e-3)
    assert not np.allclose(draws[0], other.draw(5), atol=1e-3)
    unseeded = [AffineAugmentation(rotation=180).draw(5) for _ in range(2)]
    assert not np.allclose(*unseeded, atol=1e-3)


def test_images_pass_unchanged_outside_training() -> None:
    x = images(4)
    layer = AffineAugmentation("rotations(4)", seed=0)
    model = keras.Sequential([keras.Input((12, 12, 1)), layer])
    for out in (layer(x, training=False), model(x, training=False), model.predict(x, verbose=0)):
        np.testing.assert_array_equal(out, x)
    assert not np.allclose(model(x, training=True), x, atol=1e-3)


def test_it_augments_where_layers_of_keras_do() -> None:
    x = images(4)

    def changed(layer: keras.layers.Layer) -> dict[str, bool]:
        model = keras.Sequential([keras.Input((12, 12, 1)), layer])
        dataset = tf.data.Dataset.from_tensor_slices(x).batch(4)
        calls = {
            "call": layer(x),
            "map": next(iter(dataset.map(lambda batch: layer(batch)))),
            "map, inference": next(iter(dataset.map(lambda batch: layer(batch, training=False)))),
            "training": layer(x, training=True),
            "model": model(x),
            "model, training": model(x, training=True),
            "model, inference": model(x, training=False),
            "predict": model.predict(x, verbose=0),
        }
        return {name: not np.allclose(out, x, atol=1e-3) for name, out in calls.items()}

    expected = changed(keras.layers.RandomRotation(0.5, seed=0))
    assert expected["map"] and not expected["predict"]
    assert changed(AffineAugmentation(rotation=180, seed=0)) == expected


@pytest.mark.parametrize("training", [False, True])
def test_other_dtypes_keep_their_values(training: bool) -> None:
    x = np.random.default_rng(9).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    layer = AffineAugmentation([Affine.rotation(90)])
    for given in (x, x.astype(np.float64)):
        out = layer(given, training=training)
        assert out.dtype == tf.float32
        np.testing.assert_allclose(out, np.rot90(x, axes=(1, 2)) if training else x, atol=1e-3)
    half = AffineAugmentation([Affine.rotation(90)], dtype="mixed_float16")(x, training=True)
    assert half.dtype == tf.float16
    np.testing.assert_array_equal(half, np.rot90(x, axes=(1, 2)))


def test_a_pipeline_draws_what_direct_calls_draw() -> None:
    x = images(10)
    layer = AffineAugmentation(rotation=180, seed=10)
    wanted = [np.asarray(layer(x[start : start + 4], training=True)) for start in (0, 4, 8, 0, 4, 8)]
    for dataset, passes in (
        (tf.data.Dataset.from_tensor_slices(x).batch(4), 2),
        (Split(x, np.zeros(10, np.int64)).as_dataset(4, labels=False), 2),
    ):
        fresh = AffineAugmentation(rotation=180, seed=10)
        mapped = dataset.map(lambda batch, fresh=fresh: fresh(batch, training=True))
        got = [batch for _ in range(passes) for batch in mapped.as_numpy_iterator()]
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
    split = Split(x, np.zeros(10, np.int64))
    augmented = split.as_dataset(4, augmentation=AffineAugmentation(rotation=180, seed=10), labels=False)
    for one, other in zip(augmented.as_numpy_iterator(), wanted, strict=False):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_works_inside_a_model_that_is_fitted_and_saved(tmp_path: Path) -> None:
    x, y = images(32), np.arange(32) % 2
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            AffineAugmentation(**RANGES, seed=11),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(2, name="logits"),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = model.get_weights()[0]
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    assert not np.array_equal(before, model.get_weights()[0])
    model.save(tmp_path / "augmented.keras")
    loaded = models.load(tmp_path / "augmented.keras")
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))
    repeated = AffineAugmentation(**RANGES, seed=11)(x, training=True)
    np.testing.assert_allclose(loaded.layers[0](x, training=True), repeated, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        AffineAugmentation("rotations(8)", seed=1, interpolation="nearest", padding="reflect", name="turn"),
        AffineAugmentation([Affine.rotation(10), Affine.shear(5)], seed=2, fill_value=1.0),
        AffineAugmentation(TransformationSet((Affine.rotation(10), Affine.scale(2)), "my set"), seed=3),
        AffineAugmentation(**RANGES, seed=4),
    ],
)
def test_configuration_gives_back_the_same_layer(layer: AffineAugmentation) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config() and again.name == layer.name
    x = images(6)
    np.testing.assert_array_equal(again(x, training=True), layer(x, training=True))


def test_preview_shows_versions_of_each_image_and_leaves_the_draws_alone() -> None:
    x = images(3, 10, 14, 2)
    layer, twin = (AffineAugmentation(**RANGES, seed=12) for _ in range(2))
    shown = np.asarray(layer.preview(x, 5, seed=13))
    assert shown.shape == (3, 5, 10, 14, 2)
    drawn = AffineAugmentation(**RANGES, seed=13).draw(15).reshape(3, 5, 2, 4)
    wanted = warp(x[1:2], [Affine(drawn[1, 4])])[0, 0]
    np.testing.assert_allclose(shown[1, 4], wanted, atol=2e-5)
    np.testing.assert_array_equal(layer.draw(4), twin.draw(4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "transformations must be a set, or rotation"),
        ({"transformations": "rotations(4)", "rotation": 10}, "not both"),
        ({"transformations": "rotation(4)"}, "rotations"),
        ({"transformations": [ImageFunction(lambda x: x, "same")]}, "must be affine maps.*same"),
        ({"transformations": [Affine(((1, 0, 0, 0), (0, 0, 0, 0)))]}, "can be inverted"),
        ({"rotation": (10, -10)}, r"rotation must be a pair \(low, high\).*\(10, -10\)"),
        ({"rotation": -5}, "rotation must be a largest amount.* -5"),
        ({"rotation": (1, 2, 3)}, r"rotation must be a number or a pair.*\(1, 2, 3\)"),
        ({"rotation": float("nan")}, "rotation must be finite"),
        ({"scale": (0, 2)}, r"scale must be a pair of positive factors.*\(0, 2\)"),
        ({"shear": 90}, r"shear must be degrees within \(-90, 90\).* 90"),
        ({"reflection": "both"}, "reflection must be one of.*'both'"),
        ({"rotation": 5, "interpolation": "linear"}, "interpolation must be one of.*'linear'"),
        ({"rotation": 5, "padding": "zeros"}, "padding must be one of.*'zeros'"),
        ({"rotation": 5, "seed": 1.5}, "seed must be a whole number of at least 0.* 1.5"),
    ],
)
def test_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AffineAugmentation(**arguments)


def test_refuses_what_is_no_number_or_no_batch_of_images() -> None:
    with pytest.raises(TypeError, match=r"rotation must be a number.*'ten'"):
        AffineAugmentation(rotation="ten")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"scale must be a pair of factors.* 2"):
        AffineAugmentation(scale=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"images must have the shape \(N, H, W, C\).*\(12, 12, 1\)"):
        AffineAugmentation(rotation=5)(images(1)[0], training=True)
    with pytest.raises(ValueError, match="only N may be unknown"):
        AffineAugmentation(rotation=5)(keras.Input((None, None, 1)))
