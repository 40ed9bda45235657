"""Size, channels and normalization against references computed in other ways."""

from __future__ import annotations

import numpy as np
import pytest

from tfinv.datasets import Dataset, Split, adapt, channel_statistics, normalize

X = np.random.default_rng(1).random((6, 12, 9, 3), dtype=np.float32)
GREY = X[..., :1]


@pytest.mark.parametrize("size", [(24, 18), (5, 4), (12, 30), (7, 9), (1, 1)])
def test_resize_equals_tensorflow_antialiased_bilinear(size: tuple[int, int]) -> None:
    import tensorflow as tf

    expected = tf.image.resize(X, size, method="bilinear", antialias=True).numpy()
    np.testing.assert_allclose(adapt(X, (*size, 3)), expected, atol=2e-6)


def test_halving_weighs_four_pixels_an_axis() -> None:
    row = np.array([0, 1, 0, 0, 0, 0, 0, 0], np.float32)
    image = np.tile(row, (8, 1))[None, :, :, None]
    # triangle of width 2: 3/8 for the near pixels, 1/8 for the far ones; at the edge renormalized by 7/8
    np.testing.assert_allclose(adapt(image, (8, 4, 1))[0, 0, :, 0], [3 / 7, 1 / 8, 0, 0], atol=1e-6)


def test_grey_is_luma_and_colour_is_repetition() -> None:
    grey = adapt(X, (12, 9, 1))
    np.testing.assert_allclose(grey[..., 0], X @ np.array([0.299, 0.587, 0.114]), atol=1e-6)
    colour = adapt(GREY, (12, 9, 3))
    for channel in range(3):
        np.testing.assert_array_equal(colour[..., channel], GREY[..., 0])
    np.testing.assert_allclose(adapt(colour, (12, 9, 1)), GREY, atol=1e-6)


def test_white_stays_in_range() -> None:
    white = Split(np.ones((2, 9, 9, 3), np.float32))
    for shape in ((9, 9, 1), (31, 17, 1), (4, 4, 3)):
        adapted = adapt(white, shape)
        np.testing.assert_allclose(adapted.x, 1, atol=1e-6)


def test_splits_and_data_sets_keep_their_labels() -> None:
    split = Split(X, np.arange(6))
    dataset = adapt(Dataset("d", tuple("abcdef"), split, split.take([3, 1]), ("a note",)), (6, 6, 1))
    assert (dataset.input_shape, dataset.name, dataset.notes) == ((6, 6, 1), "d", ("a note",))
    assert dataset.test.y is not None
    assert dataset.test.y.tolist() == [3, 1]
    np.testing.assert_array_equal(dataset.test.x, dataset.train.x[[3, 1]])


@pytest.mark.parametrize(
    ("data", "shape", "message"),
    [
        (X, (8, 8), "input_shape must be .* Received: \\(8, 8\\)"),
        (X, (8, 0, 3), "the width of input_shape must be a whole number of at least 1. Received: 0"),
        (X[0], (8, 8, 3), r"data must have the shape \(S, H, W, C\). Received: shape \(12, 9, 3\)"),
        (X[..., :2], (8, 8, 3), "from 1 to 3 or from 3 to 1. Received: from 2 to 3"),
        (np.full((1, 4, 4, 1), np.nan), (4, 4, 3), "finite"),
    ],
)
def test_what_cannot_be_adapted(data: np.ndarray, shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adapt(data, shape)


def test_statistics_are_those_of_the_training_images_in_float64() -> None:
    x = np.concatenate([X * 0.001 + 0.9, np.full((6, 12, 9, 1), 0.1, np.float32)], axis=3)
    x = np.tile(x, (500, 1, 1, 1))  # several chunks, a small deviation on a large mean
    dataset = Dataset("d", (), Split(x), Split(np.zeros_like(x[:2])))
    mean, std = channel_statistics(dataset)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std[:3], x[..., :3].astype(np.float64).std((0, 1, 2)), rtol=1e-5)
    assert std[3] == 1  # a channel without variation


def test_normalized_images() -> None:
    split = Split(X)
    statistics = channel_statistics(split)
    ready = normalize(split, statistics)
    assert ready.dtype == np.float32
    np.testing.assert_allclose(ready.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(ready.std((0, 1, 2)), 1, atol=1e-5)
    np.testing.assert_array_equal(normalize(X[:1].astype(np.float64), statistics), ready[:1])


def test_normalization_inside_a_model_is_the_same() -> None:
    import keras
    import tensorflow as tf

    statistics = channel_statistics(Split(X))
    layer = keras.layers.Normalization(mean=statistics.mean, variance=statistics.std**2)
    expected = normalize(X, statistics)
    np.testing.assert_allclose(np.asarray(layer(X)), expected, atol=1e-5)
    np.testing.assert_allclose(normalize(tf.constant(X), statistics).numpy(), expected, atol=1e-6)


def test_normalization_refusals() -> None:
    with pytest.raises(TypeError, match=r"train must be a Split or a Dataset. Received: ndarray"):
        channel_statistics(X)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"images must have 3 channels, as the statistics. Received: 1"):
        normalize(GREY, channel_statistics(Split(X)))
