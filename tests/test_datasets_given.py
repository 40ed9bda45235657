"""Images and labels of every kind that users give, read in one place and refused in one way."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfinv
from tfinv.datasets import Split
from tfinv.datasets.as_split import as_split
from tfinv.datasets.given import as_array, as_labels, first, in_memory, unpack
from tfinv.engine.batches import ImageBatches

X = np.random.default_rng(0).random((7, 4, 5, 3), np.float32)
Y = np.array([0, 1, 2, 3, 1, 0, 2])


def dataset(labels: Any = Y, batch: int | None = 3) -> tf.data.Dataset:
    made = tf.data.Dataset.from_tensor_slices((X, labels))
    return made if batch is None else made.batch(batch)


KINDS = {
    "split": lambda: Split(X, Y),
    "pair": lambda: (X, Y),
    "list": lambda: [X, Y],
    "dataset of batches": dataset,
    "dataset of images": lambda: dataset(batch=None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_images_and_labels(kind):
    x, y = in_memory(KINDS[kind](), "data")
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    split = as_split(KINDS[kind](), (4, 5, 3), None, 0)
    np.testing.assert_array_equal(split.x, X)
    assert split.y is not None
    np.testing.assert_array_equal(split.y, Y)
    batches = list(ImageBatches(KINDS[kind](), 4))
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in batches]), X)
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), Y)


def test_images_alone_have_no_labels():
    assert unpack(X)[1] is None and unpack(Split(X))[1] is None and unpack(list(X[:2]))[1] is None
    assert not ImageBatches(X, 4).has_labels


@pytest.mark.parametrize(("count", "left"), [(3, 3), (10, 7), (None, 7)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_images_keep_their_kind(kind, count, left):
    given = KINDS[kind]()
    if kind == "dataset of batches":
        given = given.unbatch()
    some = first(given, count)
    assert hasattr(some, "x") == hasattr(given, "x") and hasattr(some, "element_spec") == hasattr(given, "element_spec")
    x, y = in_memory(some, "data")
    np.testing.assert_array_equal(x, X[:left])
    np.testing.assert_array_equal(y, Y[:left])


@pytest.mark.parametrize(
    "labels", [Y, Y.astype(np.uint8), Y[:, None], Y[:, None].astype(np.float32), np.eye(4, dtype=np.float32)[Y]]
)
def test_labels_as_keras_loaders_give_them(labels):
    np.testing.assert_array_equal(as_labels(labels, 7), Y)
    assert as_labels(labels, 7).dtype == np.int64
    model = keras.Sequential([keras.Input(X.shape[1:]), keras.layers.Flatten(), keras.layers.Dense(4, name="logits")])
    expected = (np.asarray(model(X)).argmax(1) == Y).mean()
    for images in ((X, labels), dataset(labels)):
        results = tfinv.evaluate(model, images, "rotations(1)", ["AccuracyUnder"], progress=False)
        np.testing.assert_allclose(results["AccuracyUnder"]["logits"].values, [expected], rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (Y[:5], r"labels must be 7 integers, one per image. Received: int64 of shape \(5,\)"),
        (Y + 0.5, "labels must be 7 integers, one per image. Received: float64"),
        (Y[:, None] + 0.5, "labels must be 7 integers"),
        (
            np.full((7, 4), 2.0),
            r"or rows of 0 and 1, one per image. Received: rows of shape \(7, 4\) with values from 2",
        ),
        (np.full(7, "cat"), "labels must be 7 integers, one per image. Received: <U3"),
        (None, "labels must be 7 integers"),
    ],
)
def test_other_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        as_labels(labels, 7)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, number):
        return X, Y


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (X[0], ValueError, r"images must have the shape \(S, H, W, C\). Received: shape \(4, 5, 3\)"),
        (X[:0], ValueError, "images must hold at least one image"),
        ([X[0], X[0, :2]], ValueError, "images of several shapes"),
        (np.full((2, 4, 4, 1), "a"), TypeError, "numeric array"),
        (None, TypeError, r"images must be a numeric array \(S, H, W, C\). Received: NoneType"),
        (Batches(), TypeError, "Received: the PyDataset Batches"),
    ],
)
def test_other_images_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        as_array(images)


def test_data_sets_that_are_no_pairs_or_never_end_are_refused():
    with pytest.raises(ValueError, match="data must be finite"):
        in_memory(dataset().repeat(), "data")
    with pytest.raises(ValueError, match="at least one image"):
        in_memory(dataset().take(0), "data")
    with pytest.raises(TypeError, match="dataset of pairs"):
        in_memory(tf.data.Dataset.from_tensor_slices(X), "data")
