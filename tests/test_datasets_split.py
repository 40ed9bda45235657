"""Split and Dataset: what they accept, subsets, the tf.data pipeline, the content id."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tfinv.datasets import Dataset, Split

RNG = np.random.default_rng(0)
X = RNG.random((50, 4, 5, 3), dtype=np.float32)
Y = np.repeat(np.arange(5), 10)
SPLIT = Split(X, Y)


def collect(dataset: object, passes: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of whole passes."""
    epochs = []
    for _ in range(passes):
        batches = list(dataset.as_numpy_iterator())  # type: ignore[attr-defined]
        epochs.append((np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])))
    return epochs


def test_the_module_does_not_import_tensorflow() -> None:
    code = "import sys, tfinv.datasets as d; d.load; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_arrays_are_converted_and_cannot_be_written() -> None:
    arrays: Any = (X.astype(np.float64), Y.astype(np.uint8))
    split = Split(*arrays)
    assert (split.x.dtype, split.y.dtype if split.y is not None else None) == (np.float32, np.int64)
    with pytest.raises(ValueError, match="read-only"):
        split.x[0] = 0
    X[0, 0, 0, 0] = X[0, 0, 0, 0]  # the caller's own array stays writable


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.zeros((2, 4, 4, 1), np.uint8), None, TypeError, r"divide 0..255 by 255. Received: uint8"),
        (np.zeros((2, 4, 4)), None, ValueError, r"\(S, H, W, C\), at least one. Received: shape \(2, 4, 4\)"),
        (np.zeros((0, 4, 4, 1)), None, ValueError, "at least one"),
        (np.full((1, 4, 4, 1), 1.5), None, ValueError, r"in \[0, 1\]. Received: values from 1.5 to 1.5"),
        (np.full((1, 4, 4, 1), -0.5), None, ValueError, r"values from -0.5"),
        (np.zeros((2, 4, 4, 1)), [0, 1, 2], ValueError, r"one label for each of the 2 images. Received: shape \(3,\)"),
        (np.zeros((2, 4, 4, 1)), [0.0, 1.0], TypeError, "integer class numbers. Received: float64"),
        (np.zeros((2, 4, 4, 1)), [0, -1], ValueError, "from 0. Received: -1"),
    ],
)
def test_bad_arrays_are_refused(x: np.ndarray, y: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Split(x, y)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_images_are_named(value: float) -> None:
    x = np.zeros((5, 4, 4, 1), np.float32)
    x[3, 1, 1, 0] = value
    with pytest.raises(ValueError, match=r"x must be finite. Received: NaN or infinity in image 3"):
        Split(x)


def test_subset_keeps_images_with_their_labels() -> None:
    few = SPLIT.subset(13, seed=2)
    assert len(few) == 13
    assert few.y is not None
    for image, label in zip(few.x, few.y, strict=True):
        (position,) = np.flatnonzero((image == X).all(axis=(1, 2, 3)))
        assert Y[position] == label
    assert set(np.bincount(few.y)) == {2, 3}
    np.testing.assert_array_equal(few.x, SPLIT.subset(13, seed=2).x)


def test_pipeline_yields_everything_in_order() -> None:
    dataset = SPLIT.as_dataset(16)
    assert [len(x) for x, _ in dataset] == [16, 16, 16, 2]
    ((x, y),) = collect(dataset)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    assert tuple(dataset.element_spec[0].shape) == (None, 4, 5, 3)
    images = SPLIT.as_dataset(50, labels=False)
    np.testing.assert_array_equal(next(images.as_numpy_iterator()), X)


def test_shuffling_keeps_pairs_and_follows_the_seed() -> None:
    (first, second), (again, _) = (collect(SPLIT.as_dataset(8, shuffle=True, seed=5), passes=2) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0], collect(SPLIT.as_dataset(8, shuffle=True, seed=6))[0][0])
    position = [int(np.flatnonzero((image == X).all(axis=(1, 2, 3)))[0]) for image in first[0]]
    assert sorted(position) == list(range(50))
    np.testing.assert_array_equal(first[1], Y[position])


def test_repeated_passes_hold_every_image_once() -> None:
    dataset = SPLIT.as_dataset(20, shuffle=True, seed=0, repeat=True)
    assert int(dataset.cardinality()) == -1  # infinite
    labels = [y for _, y in dataset.take(6).as_numpy_iterator()]
    assert [len(label) for label in labels] == [20, 20, 10] * 2
    for pass_ in (labels[:3], labels[3:]):
        np.testing.assert_array_equal(np.bincount(np.concatenate(pass_)), [10] * 5)


def test_augmentation_runs_in_training_mode_and_is_repeatable() -> None:
    import keras

    def augmented() -> np.ndarray:
        layer = keras.layers.RandomTranslation(0.4, 0.4, seed=1)
        return collect(SPLIT.as_dataset(2, augmentation=layer))[0][0]

    first = augmented()
    assert first.dtype == np.float32
    assert not np.allclose(first, X)  # outside training the layer would do nothing
    for _ in range(3):
        np.testing.assert_array_equal(first, augmented())


def test_augmentation_may_be_any_function_of_images() -> None:
    dataset = SPLIT.as_dataset(16, augmentation=lambda images: 1 - images)
    np.testing.assert_array_equal(collect(dataset)[0][0], 1 - X)


def test_a_model_trains_on_the_pipeline() -> None:
    import keras

    model = keras.Sequential([keras.layers.Flatten(name="flat"), keras.layers.Dense(5, name="logits")])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(
        SPLIT.as_dataset(10, shuffle=True, seed=0, repeat=True), epochs=8, steps_per_epoch=20, shuffle=False, verbose=0
    )
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_pipeline_refusals() -> None:
    with pytest.raises(ValueError, match=r"batch_size must be a whole number of at least 1. Received: 0"):
        SPLIT.as_dataset(0)
    with pytest.raises(ValueError, match="labels must be False for a split without labels"):
        Split(X).as_dataset()


def test_dataset_checks_its_parts() -> None:
    with pytest.raises(ValueError, match=r"images of one shape. Received: \(4, 5, 3\) and \(4, 5, 1\)"):
        Dataset("d", tuple("abcde"), SPLIT, Split(X[..., :1], Y))
    with pytest.raises(ValueError, match="both have labels"):
        Dataset("d", tuple("abcde"), SPLIT, Split(X))
    with pytest.raises(ValueError, match=r"classes must name every label. Received: label 4 and 4 names"):
        Dataset("d", tuple("abcd"), SPLIT, SPLIT)


def test_id_follows_the_content() -> None:
    dataset = Dataset("d", tuple("abcde"), SPLIT, SPLIT.subset(10, 0))
    assert dataset.id.startswith("d-4x5x3-50+10-")
    assert dataset.id == Dataset("d", tuple("abcde"), Split(X, Y), SPLIT.subset(10, 0)).id
    changed = X.copy()
    changed[7, 0, 0, 0] += 1e-6 if changed[7, 0, 0, 0] < 0.5 else -1e-6
    others = [
        Dataset("d", tuple("abcde"), Split(changed, Y), dataset.test),
        Dataset("d", tuple("abcde"), Split(X, Y[::-1]), dataset.test),
        Dataset("d", tuple("abcdf"), SPLIT, dataset.test),
        Dataset("d", tuple("abcde"), SPLIT, SPLIT.subset(10, 1)),
    ]
    assert len({dataset.id, *(other.id for other in others)}) == 5
    assert (dataset.input_shape, dataset.num_classes) == ((4, 5, 3), 5)
