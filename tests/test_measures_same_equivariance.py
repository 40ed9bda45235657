"""Same-equivariance measures: against float64 loops, the golden file, and networks that are equivariant by design."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from references import layer_number, masked_variances

import tfinv
from tfinv.measures import (
    NormalizedDistanceSE,
    NormalizedVarianceSE,
    SampleDistanceSE,
    SampleVarianceSE,
    SimpleDistanceSE,
    TransformationDistanceSE,
    TransformationVarianceSE,
)
from tfinv.statistics.map_distance import map_distances
from tfinv.status import Status
from tfinv.transformations import Affine, TransformationSet, parse, rotations

GOLDEN = Path(__file__).parent / "golden_tmeasures.npz"


def smooth_images(count: int, size: tuple[int, int] = (16, 16), channels: int = 1) -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=(count, *size, channels))
    return scipy.ndimage.gaussian_filter(noise, (0, 2, 2, 0)).astype(np.float32)


def identity_model(shape: tuple[int, ...] = (16, 16, 1)) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, keras.layers.Activation("linear", name="same")(inputs))


def conv_model(kernel: np.ndarray, shape: tuple[int, ...] = (16, 16, 1)) -> keras.Model:
    inputs = keras.Input(shape)
    layer = keras.layers.Conv2D(kernel.shape[-1], kernel.shape[0], padding="same", use_bias=False, name="conv")
    flat = keras.layers.Flatten(name="flat")(layer(inputs))
    layer.set_weights([kernel])
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(flat))


def inverse_warped(images: np.ndarray, transformations: TransformationSet) -> np.ndarray:
    """`B[s, j]` of the identity network in float64 with scipy, `nan` where the source left the frame."""
    height, width = images.shape[1:3]
    out = np.full((len(images), len(transformations), height, width), np.nan)
    to_xy = np.array([[0, 1], [1, 0]])

    def sample(image, matrix, fill):
        linear, offset = to_xy @ matrix[:2, :2] @ to_xy, to_xy @ matrix[:2, 2]
        centre = np.array([(height - 1) / 2, (width - 1) / 2])
        shift = centre + offset - linear @ centre
        mode = "nearest" if np.isnan(fill) else "grid-constant"
        warped = scipy.ndimage.affine_transform(image, linear, shift, order=1, mode=mode, cval=0.0)
        grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1) @ linear.T + shift
        outside = ((grid < -1e-4) | (grid > np.array([height, width]) - 1 + 1e-4)).any(-1)
        return warped, outside

    for s, image in enumerate(images[..., 0].astype(np.float64)):
        for j, transformation in enumerate(transformations):
            forward, _ = sample(image, transformation.inverse().pixel_matrix(height, width), 0.0)
            back, outside = sample(forward, transformation.pixel_matrix(height, width), np.nan)
            out[s, j] = np.where(outside, np.nan, back)
    return out


@pytest.mark.parametrize("text", ["rotations(5)", "product(rotations(3, 30), translations(1, 0.2))"])
def test_masked_values_equal_a_float64_reference_with_scipy(text):
    images, transformations = smooth_images(6), parse(text)
    aligned = inverse_warped(images, transformations)
    seen = ~np.isnan(aligned[0])
    enough = seen.sum(0) >= 2
    with np.errstate(all="ignore"):
        rows = np.nanstd(aligned, axis=1, ddof=1).mean(0)
        columns = np.nanmean(aligned.std(axis=0, ddof=1), axis=0)
    results = tfinv.evaluate(
        identity_model(),
        images,
        transformations,
        [
            TransformationVarianceSE(),
            SampleVarianceSE(),
            NormalizedVarianceSE("std"),
            NormalizedVarianceSE("std", aggregate="mean"),
        ],
        progress=False,
    )
    np.testing.assert_array_equal(
        results[NormalizedVarianceSE("std")]["same"].status[..., 0] == Status.TOO_FEW_POSITIONS, ~enough
    )
    for key, expected in (
        ("TransformationVarianceSE", rows),
        ("SampleVarianceSE", columns),
        (NormalizedVarianceSE("std"), rows / columns),
    ):
        np.testing.assert_allclose(results[key]["same"].values[..., 0][enough], expected[enough], rtol=2e-3, atol=2e-5)
    aggregated = rows[enough].mean() / columns[enough].mean()
    value = results[NormalizedVarianceSE("std", aggregate="mean")]["same"].values
    np.testing.assert_allclose(value, [aggregated], rtol=1e-3)


@pytest.mark.parametrize("text", ["rotations(5)", "product(rotations(3, 30), translations(1, 0.2))"])
def test_pooled_values_equal_a_float64_reference_with_scipy(text):
    images, transformations = smooth_images(6), parse(text)
    aligned = inverse_warped(images, transformations)
    enough = (~np.isnan(aligned[0])).sum(0) >= 2
    rows, columns = masked_variances(aligned)
    measures = {
        TransformationVarianceSE("pooled_std"): np.sqrt(rows),
        SampleVarianceSE("pooled_std"): np.sqrt(columns),
        NormalizedVarianceSE(): np.sqrt(rows / columns),
        NormalizedVarianceSE("variance"): rows / columns,
    }
    pooled = NormalizedVarianceSE(aggregate="mean")
    results = tfinv.evaluate(identity_model(), images, transformations, [*measures, pooled], progress=False)
    for measure, expected in measures.items():
        values = results[measure]["same"].values[..., 0][enough]
        np.testing.assert_allclose(values, expected[enough], rtol=4e-3, atol=4e-5, err_msg=measure.key)
    expected = np.sqrt(rows[enough].mean() / columns[enough].mean())
    np.testing.assert_allclose(results[pooled]["same"].values, [expected], rtol=1e-3)
    number = layer_number(np.sqrt(rows / columns)[enough])
    assert results[NormalizedVarianceSE()]["same"].mean == pytest.approx(number, rel=4e-3)


def test_quarter_turns_of_a_symmetric_kernel_are_exactly_same_equivariant():
    kernel = np.array([[1, 2, 1], [2, 5, 2], [1, 2, 1]], np.float32)[..., None, None]
    results = tfinv.evaluate(
        conv_model(kernel), smooth_images(5), rotations(4), [NormalizedVarianceSE(), SimpleDistanceSE()], progress=False
    )
    assert results["NormalizedVarianceSE"]["conv"].values.max() < 1e-5
    assert results["SimpleDistanceSE"]["conv"].values.max() < 1e-5


def test_an_oriented_kernel_is_not_same_equivariant():
    kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)[..., None, None]
    results = tfinv.evaluate(
        conv_model(kernel), smooth_images(5), rotations(4), [NormalizedVarianceSE()], progress=False
    )
    assert results["NormalizedVarianceSE"]["conv"].mean > 0.5


def test_composed_anisotropic_maps_are_inverted_exactly():
    """scale, then rotate, then shift: parameter-wise inverses fail here, the matrix inverse does not."""
    hard = Affine.scale(0.9, 1.2).compose(Affine.rotation(35)).compose(Affine.translation(0.1, -0.05))
    images = smooth_images(4, (40, 30))
    images = scipy.ndimage.gaussian_filter(images, (0, 3, 3, 0))
    published, pooled = NormalizedVarianceSE("std", aggregate="mean"), NormalizedVarianceSE(aggregate="mean")
    transformations = [Affine.identity(), hard]
    results = tfinv.evaluate(identity_model((40, 30, 1)), images, transformations, [published, pooled], progress=False)
    assert results[published]["same"].values[0] < 0.02
    # The frame's own border, where interpolation reaches beyond it, weighs more among squares than among roots.
    rows, columns = masked_variances(inverse_warped(images, TransformationSet(transformations)))
    expected = np.sqrt(np.nanmean(rows) / np.nanmean(columns))
    assert results[pooled]["same"].values[0] == pytest.approx(expected, rel=2e-3) and expected < 0.05


def test_layers_without_maps_are_reported_as_not_applicable():
    kernel = np.ones((3, 3, 1, 2), np.float32)
    results = tfinv.evaluate(
        conv_model(kernel), smooth_images(3), rotations(4), [NormalizedVarianceSE()], progress=False
    )
    assert results["NormalizedVarianceSE"]["flat"].values.size == 0
    assert "no feature map" in results["NormalizedVarianceSE"]["logits"].note
    assert results["NormalizedVarianceSE"]["conv"].values.shape == (16, 16, 2)


def test_masking_removes_the_border_error_of_translations():
    images = smooth_images(6) + 1.0
    shifts = parse("translations(1, 0.25)")
    measures = [NormalizedVarianceSE(aggregate="mean", border=border) for border in ("mask", "keep")]
    results = tfinv.evaluate(identity_model(), images, shifts, measures, progress=False)
    masked, kept = (results[measure]["same"].values[0] for measure in measures)
    assert masked < 1e-5 < 0.1 < kept


def test_a_map_with_too_few_visible_positions_gets_a_status():
    far = [Affine.identity(), Affine.translation(0.98, 0.98)]
    measures = [NormalizedVarianceSE(), NormalizedVarianceSE(aggregate="mean")]
    results = tfinv.evaluate(identity_model(), smooth_images(3), far, measures, progress=False)
    assert (results["NormalizedVarianceSE"]["same"].status == Status.TOO_FEW_POSITIONS).all()
    assert results[measures[1]]["same"].status.tolist() == [Status.TOO_FEW_POSITIONS]
    assert np.isnan(results[measures[1]].profile()["mean"][0])


@pytest.mark.parametrize("normalize", [False, True])
def test_simple_distance_equals_the_golden_file(normalize):
    golden = np.load(GOLDEN)
    first, second = (np.moveaxis(golden[f"{name}/conv"], 2, -1) for name in ("input", "input_inverted"))
    seen = np.ones((first.shape[1], *first.shape[2:4]), bool)
    distances = np.asarray(map_distances(first, second, seen, normalize))
    expected = golden[f"expected/simple_same_equivariance_distance[normalize={normalize}]/conv"]
    np.testing.assert_allclose(distances.mean(axis=(0, 1)), expected, rtol=1e-5)


def test_block_size_and_order_change_nothing():
    images, measures = smooth_images(7), [NormalizedVarianceSE(aggregate="mean"), SimpleDistanceSE()]
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 4)).astype(np.float32)
    model, reference = conv_model(kernel), None
    for batch_size, order in ((7, np.arange(7)), (2, np.arange(7)), (3, np.arange(7)[::-1])):
        results = tfinv.evaluate(model, images[order], rotations(6), measures, batch_size=batch_size, progress=False)
        values = np.concatenate([results[measure]["conv"].values for measure in measures])
        reference = values if reference is None else reference
        np.testing.assert_allclose(values, reference, rtol=1e-5)


def test_a_singular_transformation_is_refused():
    flat = Affine.from_matrix([[1, 0, 0], [0, 0, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match="inverted"):
        tfinv.evaluate(identity_model(), smooth_images(3), [flat, flat], [NormalizedVarianceSE()], progress=False)


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="border must be one of 'mask', 'keep'"):
        NormalizedVarianceSE(border="crop")


def test_interpolation_floor_is_the_value_of_the_identity_network():
    kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)[..., None, None]
    images, measure = smooth_images(8), NormalizedVarianceSE(aggregate="mean")
    results = tfinv.evaluate(conv_model(kernel), images, rotations(8), [measure], progress=False)
    floor = results.metadata["interpolation_floor"][measure.key]
    alone = tfinv.evaluate(identity_model(), images, rotations(8), [measure], progress=False)
    assert list(floor) == ["conv"]
    assert floor["conv"] == pytest.approx(alone[measure]["same"].mean, rel=1e-6)
    assert 0 < floor["conv"] < 0.2 * results[measure]["conv"].mean
    plain = tfinv.evaluate(identity_model(), images, rotations(8), ["NormalizedVariance"], progress=False)
    assert plain.metadata["interpolation_floor"] == {}


def test_the_floor_of_smaller_maps_is_that_of_images_shrunk_over_whole_areas():
    inputs = keras.Input((24, 24, 1))
    model = keras.Model(inputs, keras.layers.AveragePooling2D(3, name="pool")(inputs))
    images, measure = (
        np.random.default_rng(0).random((6, 24, 24, 1), np.float32),
        NormalizedVarianceSE(aggregate="mean"),
    )
    results = tfinv.evaluate(model, images, rotations(8), [measure], progress=False)
    shrink = keras.layers.Lambda(lambda x: tf.image.resize(x, (8, 8), antialias=True), (8, 8, 1), name="small")
    shrunk = keras.Model(inputs, shrink(inputs))
    expected = tfinv.evaluate(shrunk, images, rotations(8), [measure], progress=False)[measure]["small"].mean
    assert results.metadata["interpolation_floor"][measure.key]["pool"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("per_map", [False, True])
def test_distances_equal_all_pairs_of_a_float64_reference(per_map):
    images, turns = smooth_images(6), rotations(5)
    aligned = inverse_warped(images, turns)
    shown = ~np.isnan(aligned[0]).any(axis=0)
    vectors = aligned[:, :, shown]  # (S, T, positions)
    reduce = (lambda difference: np.linalg.norm(difference, axis=-1)) if per_map else np.abs
    rows = np.mean([reduce(vectors[:, i] - vectors[:, j]) for i in range(5) for j in range(i)], axis=(0, 1))
    columns = np.mean([reduce(vectors[r] - vectors[s]) for r in range(6) for s in range(r)], axis=(0, 1))
    kinds = (TransformationDistanceSE, SampleDistanceSE, NormalizedDistanceSE)
    measures = [kind(per_map=per_map) for kind in kinds]
    results = tfinv.evaluate(identity_model(), images, turns, measures, batch_size=4, progress=False)
    for measure, expected in zip(measures, (rows, columns, rows / columns), strict=True):
        result = results[measure]["same"]
        values = result.values if per_map else result.values[..., 0][shown]
        np.testing.assert_allclose(values, np.atleast_1d(expected), rtol=3e-3, atol=3e-5, err_msg=measure.key)
        if not per_map:
            np.testing.assert_array_equal(result.status[..., 0] == Status.TOO_FEW_POSITIONS, ~shown)


def test_distances_know_exact_same_equivariance_and_too_small_frames():
    kernel = np.array([[1, 2, 1], [2, 5, 2], [1, 2, 1]], np.float32)[..., None, None]
    measure = NormalizedDistanceSE(per_map=True)
    exact = tfinv.evaluate(conv_model(kernel), smooth_images(5), rotations(4), [measure], progress=False)
    assert exact[measure]["conv"].values.max() < 1e-4
    far = [Affine.identity(), Affine.translation(0.9, 0.9)]
    hidden = tfinv.evaluate(identity_model(), smooth_images(3), far, [measure], progress=False)
    assert hidden[measure]["same"].status.tolist() == [Status.TOO_FEW_POSITIONS]
