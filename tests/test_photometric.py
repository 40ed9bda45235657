"""Families that change values or the frame: against NumPy, SciPy and Pillow, and through every way that takes a set."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

import tfinv
from tfinv.measures import NormalizedVariance, NormalizedVarianceSE
from tfinv.transformations import (
    Affine,
    Chain,
    ImageFunction,
    SetAugmentation,
    TransformationSet,
    brightness,
    contrast,
    crops,
    gamma,
    gaussian_blur,
    gaussian_noise,
    jpeg,
    parse,
    perspective,
    product,
    resize_kernels,
    resizing,
    rotations,
    saturation,
    warp,
)
from tfinv.transformations.framing import homography

IMAGES = np.random.default_rng(3).random((3, 12, 16, 3), dtype=np.float32)
TEXTS = [
    "brightness(5, 0.3)",
    "contrast(3, 0.5, 2.0)",
    "gamma(4, 0.5, 2.0)",
    "saturation(3, 0.0, 2.0)",
    "gaussian_blur(3, 1.5)",
    "gaussian_noise(3, 0.1)",
    "gaussian_noise(3, 0.1, 7)",
    "jpeg(3, 20)",
    "resizing(3, 0.5)",
    "resizing(3, 0.5, 'area')",
    "resize_kernels(0.5)",
    "crops(3, 0.5)",
    "perspective(5, 40.0)",
    "perspective(2, 40.0, 'horizontal')",
    "product(rotations(4), brightness(3, 0.2))",
]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_parse_back(text: str) -> None:
    made = parse(text)
    assert made.id == text
    assert parse(made.id) == made
    assert np.isfinite(warp(IMAGES, made)).all()


def test_brightness_contrast_and_gamma_are_their_formulas() -> None:
    x = IMAGES.astype(np.float64)
    assert_allclose(warp(IMAGES, brightness(3, 0.4))[:, 0], np.clip(x - 0.4, 0, 1), atol=1e-6)
    mean = x.mean(axis=(1, 2), keepdims=True)
    assert_allclose(warp(IMAGES, contrast(3, 0.5, 2.0))[:, 2], np.clip(mean + 2 * (x - mean), 0, 1), atol=1e-5)
    assert_allclose(warp(IMAGES, gamma(3, 0.5, 2.0))[:, 0], np.sqrt(x), atol=1e-6)


def test_the_neutral_amount_is_the_identity() -> None:
    for made, place in (
        (brightness(3, 0.4), 1),
        (contrast(3, 0.5, 2.0), 1),
        (gamma(5, 0.25, 4.0), 2),
        (saturation(3, 0.0, 2.0), 1),
        (gaussian_blur(3, 1.0), 0),
        (gaussian_noise(3, 0.1), 0),
        (resizing(3, 0.5), 0),
        (crops(3, 0.5), 0),
        (perspective(3, 30), 1),
    ):
        assert made[place] == Affine.identity(), made.id
        assert_allclose(warp(IMAGES, made)[:, place], IMAGES, atol=1e-6)


def test_saturation_is_that_of_the_hsv_model() -> None:
    import colorsys

    turned = np.asarray(warp(IMAGES, saturation(3, 0.0, 1.8)))
    for number, factor in ((0, 0.0), (2, 1.8)):
        for pixel, result in zip(IMAGES[0].reshape(-1, 3)[:40], turned[0, number].reshape(-1, 3)[:40], strict=True):
            hue, strength, value = colorsys.rgb_to_hsv(*map(float, pixel))
            assert_allclose(result, colorsys.hsv_to_rgb(hue, min(1.0, strength * factor), value), atol=1e-5)


def test_blur_is_that_of_scipy() -> None:
    expected = ndimage.gaussian_filter(IMAGES.astype(np.float64), (0, 1.5, 1.5, 0), mode="nearest", truncate=4.0)
    assert_allclose(warp(IMAGES, gaussian_blur(2, 1.5))[:, 1], expected, atol=1e-6)


def test_noise_is_of_the_image_and_not_of_its_place_in_a_batch() -> None:
    grey = np.full((2, 64, 64, 1), 0.5, np.float32)
    grey[1] += 0.01
    noisy = np.asarray(warp(grey, gaussian_noise(3, 0.1)))
    assert_array_equal(noisy[1], np.asarray(warp(grey[1:], gaussian_noise(3, 0.1)))[0])
    added = noisy - grey[:, None]
    assert_allclose(added[:, 2].std(axis=(1, 2, 3)), 0.1, rtol=0.05)
    assert_allclose(added[:, 1].std(axis=(1, 2, 3)), 0.05, rtol=0.05)
    assert abs(np.corrcoef(added[0, 2].ravel(), added[1, 2].ravel())[0, 1]) < 0.06
    assert abs(np.corrcoef(added[0, 1].ravel(), added[0, 2].ravel())[0, 1]) < 0.06
    assert abs(added[0, 2] - np.asarray(warp(grey, gaussian_noise(3, 0.1, 1)))[0, 2] + 0.5).max() > 0.1


def test_jpeg_is_that_of_pillow() -> None:
    from PIL import Image

    smooth = ndimage.zoom(IMAGES[:1, ..., :1], (1, 4, 4, 1), order=3).clip(0, 1).astype(np.float32)
    compressed = np.asarray(warp(smooth, jpeg(3, 20)))[0]
    for number, quality in enumerate((100, 60, 20)):
        file = io.BytesIO()
        Image.fromarray(np.uint8(smooth[0, ..., 0] * 255.5)).save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file), np.float32) / 255
        assert np.abs(compressed[number, ..., 0] - expected).max() < 2.5 / 255
    errors = np.abs(compressed - smooth).mean(axis=(1, 2, 3))
    assert errors[0] < errors[1] < errors[2]


def test_resizing_by_area_averages_blocks() -> None:
    blocks = IMAGES.astype(np.float64).reshape(3, 6, 2, 8, 2, 3).mean(axis=(2, 4))
    expected = blocks.repeat(2, axis=1).repeat(2, axis=2)
    assert_allclose(warp(IMAGES, resizing(2, 0.5, "area"))[:, 1], expected, atol=1e-6)
    assert_allclose(warp(IMAGES, resize_kernels(0.5))[:, 3], expected, atol=1e-6)


def test_a_crop_is_the_middle_enlarged() -> None:
    assert crops(2, 0.5)[1] == Affine.scale(2.0)
    assert crops(3, 0.5).amounts == (1.0, 0.75, 0.5)


@pytest.mark.parametrize("axis", ["vertical", "horizontal"])
def test_perspective_is_a_pinhole_camera(axis: str) -> None:
    """A line of points at known places is where the pinhole camera shows it; nearer halves are larger."""
    image = np.zeros((1, 33, 33, 1), np.float32)
    image[0, 6:11, 6:11] = 1
    tilted = np.asarray(warp(image, perspective(3, 30, axis)))[0, 2, ..., 0].astype(np.float64)
    rows, columns = np.indices(tilted.shape)
    seen = np.array([(tilted * columns).sum(), (tilted * rows).sum()]) / tilted.sum() - 16
    offsets = np.arange(-10, -5)
    points = np.stack(np.meshgrid(offsets, offsets), -1).reshape(-1, 2).astype(float)
    moving = points[:, 0 if axis == "vertical" else 1]
    depth = 33 + moving * np.sin(np.pi / 6)
    shrunk = points * np.where(np.arange(2) == (0 if axis == "vertical" else 1), np.cos(np.pi / 6), 1.0)
    expected = (shrunk * 33 / depth[:, None] * (1 / depth**3)[:, None]).sum(0) / (1 / depth**3).sum()
    assert_allclose(seen, expected, atol=0.12)
    assert_allclose(homography(0, 33), 33 * np.eye(3))


def test_a_product_does_one_after_the_other() -> None:
    made = product(rotations(4), brightness(2, 0.25))
    assert len(made) == 8
    assert isinstance(made[0], Chain) and isinstance(made[4], ImageFunction)
    assert made.positions == tuple(affine for affine in rotations(4) for _ in range(2))
    square = IMAGES[:, :, :12]
    expected = np.clip(np.asarray(warp(square, rotations(4)))[:, 1] + 0.25, 0, 1)
    assert_allclose(warp(square, made)[:, 3], expected, atol=1e-6)
    assert made.labels[3] == "-90°, brightness +0.25"
    nested = product(made, smaller := parse("scales(1, 0.5, 1.0)"))
    assert len(nested) == 8 * len(smaller)


def test_same_equivariance_leaves_positions_where_values_alone_change() -> None:
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same", name="conv")(inputs))
    images = np.random.default_rng(0).random((16, 8, 8, 1), dtype=np.float32)
    found = tfinv.evaluate(model, images, brightness(5, 0.1), [NormalizedVariance(), NormalizedVarianceSE()])
    plain, aligned = (found[key]["conv"].values for key in found)
    assert_allclose(aligned, plain, rtol=1e-4)
    moved = tfinv.evaluate(model, images, perspective(3, 30), [NormalizedVarianceSE()])
    assert "conv" not in moved[next(iter(moved))] or np.isnan(moved[next(iter(moved))]["conv"].values).all()


def test_the_layer_draws_members_and_is_saved(tmp_path) -> None:
    layer = SetAugmentation("brightness(3, 0.25)", seed=5)
    grey = np.full((60, 4, 4, 1), 0.5, np.float32)
    levels, counts = np.unique(np.round(layer(grey)[:, 0, 0, 0], 4), return_counts=True)
    assert_allclose(levels, [0.25, 0.5, 0.75])
    assert counts.min() >= 8
    assert_array_equal(layer(grey, training=False), grey)
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Flatten()(layer(inputs)))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[1].transformations == layer.transformations
    with pytest.raises(ValueError, match="families"):
        SetAugmentation(TransformationSet((np.abs,))).get_config()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: brightness(0, 0.1), "n must"),
        (lambda: brightness(3, 2.0), r"limit must be in \(0, 1\]. Received: 2.0"),
        (lambda: contrast(3, 1.5, 2.0), "low and high must satisfy"),
        (lambda: saturation(2, 2.0, 1.0), "high must be in"),
        (lambda: jpeg(3, 0), "low must"),
        (lambda: resizing(3, 0.5, "cubic"), "kernel must be one of"),
        (lambda: crops(3, 1.0), "low must be in"),
        (lambda: perspective(3, 90), "max_degrees must be in"),
        (lambda: perspective(3, 10, "both"), "axis must be"),
        (lambda: gaussian_noise(3, 0.1, -1), "seed must"),
        (lambda: warp(IMAGES[..., :2], jpeg(2, 20)), "1 or 3 channels"),
        (lambda: warp(IMAGES[..., :1], saturation(2, 0.0, 2.0)), "3 channels"),
        (lambda: TransformationSet((Affine.identity(),), amounts=(1.0, 2.0)), "amounts must hold 1"),
    ],
)
def test_wrong_arguments_are_said(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
