"""A user's .npz file: ranges, shapes, labels, and every way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfinv import datasets

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (40, 6, 7), dtype=np.uint8)
LABELS = np.repeat(np.arange(4), 10).astype(np.uint8)


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("convert", [lambda x: x, lambda x: x.astype(np.int32), lambda x: x.astype(np.float64) / 255])
def test_every_range_gives_the_same_images(tmp_path: Path, convert: Any) -> None:
    dataset = datasets.load(save(tmp_path, x=convert(BYTES), y=LABELS, x_test=convert(BYTES[:8]), y_test=LABELS[:8]))
    np.testing.assert_allclose(dataset.train.x[..., 0], BYTES / 255, atol=1e-7)
    np.testing.assert_allclose(dataset.test.x[..., 0], BYTES[:8] / 255, atol=1e-7)
    assert dataset.train.y is not None
    np.testing.assert_array_equal(dataset.train.y, LABELS)
    assert (dataset.name, dataset.classes, dataset.input_shape) == ("mine", ("0", "1", "2", "3"), (6, 7, 1))


def test_floats_up_to_255_are_divided_and_that_is_noted(tmp_path: Path) -> None:
    dataset = datasets.load(save(tmp_path, x=BYTES.astype(np.float32) * 0.99, y=LABELS))
    assert dataset.train.x.max() > 0.9
    assert any("divided by 255" in note for note in dataset.notes)


def test_one_range_for_the_whole_file(tmp_path: Path) -> None:
    x_test = np.full((4, 6, 7), 0.5)  # of 255: nearly black, not half grey
    dataset = datasets.load(save(tmp_path, x=BYTES.astype(np.float64), y=LABELS, x_test=x_test, y_test=LABELS[:4]))
    np.testing.assert_allclose(dataset.test.x, 0.5 / 255, atol=1e-7)


def test_dark_integers_are_warned_about(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="never exceed 15"):
        dataset = datasets.load(save(tmp_path, x=BYTES // 17, y=LABELS))
    assert dataset.train.x.max() < 0.06


def test_masks_of_booleans(tmp_path: Path) -> None:
    dataset = datasets.load(save(tmp_path, x=BYTES > 127, y=LABELS))
    assert set(np.unique(dataset.train.x)) == {0, 1}


def test_a_fifth_is_held_out_by_the_seed(tmp_path: Path) -> None:
    path = save(tmp_path, x=BYTES, y=LABELS)
    dataset, again, other = (datasets.load(path, seed=seed) for seed in (0, 0, 1))
    assert dataset.test.y is not None
    np.testing.assert_array_equal(np.bincount(dataset.test.y), [2] * 4)
    together = np.concatenate([dataset.train.x, dataset.test.x])[..., 0]
    assert sorted(map(bytes, np.round(together * 255).astype(np.uint8))) == sorted(map(bytes, BYTES))
    assert dataset.id == again.id != other.id


def test_text_labels_class_names_and_column_labels(tmp_path: Path) -> None:
    words = np.array(["wolf", "ant"])[(LABELS % 2)]
    dataset = datasets.load(save(tmp_path, x=BYTES, y=words, x_test=BYTES[:3], y_test=words[:3]))
    assert dataset.classes == ("ant", "wolf")
    assert dataset.train.y is not None
    np.testing.assert_array_equal(dataset.train.y, 1 - LABELS % 2)
    named = datasets.load(save(tmp_path, x_train=BYTES, y_train=LABELS[:, None], classes=np.array(list("abcd"))))
    assert named.classes == ("a", "b", "c", "d")


def test_images_without_labels(tmp_path: Path) -> None:
    dataset = datasets.load(save(tmp_path, x=BYTES))
    assert (dataset.train.y, dataset.num_classes) == (None, 0)
    assert (len(dataset.train), len(dataset.test)) == (32, 8)


def test_size_channels_and_counts(tmp_path: Path) -> None:
    dataset = datasets.load(save(tmp_path, x=BYTES, y=LABELS), size=(10, 12), channels=3, max_samples=6)
    assert dataset.input_shape == (10, 12, 3)
    assert (len(dataset.train), len(dataset.test)) == (6, 6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": BYTES}, "must hold the arrays x, y.* Received: images"),
        ({"x": BYTES, "y": LABELS[:5]}, "x holds 40 images. Received: 5 labels"),
        ({"x": BYTES, "y": LABELS, "x_test": BYTES}, "must label both x and x_test, or neither"),
        ({"x": BYTES.astype(float) / 16, "y": LABELS}, "values up to 15.9.* could mean either"),
        ({"x": BYTES.astype(float) / 255 * 1.01, "y": LABELS}, "could mean either"),
        ({"x": BYTES.astype(float) * 2, "y": LABELS}, "values from 0 to 510"),
        ({"x": BYTES.astype(float) / 255 - 0.5, "y": LABELS}, "values from -0.5 to 0.5"),
        ({"x": BYTES.astype(np.int32) + 300, "y": LABELS}, "in 0..255. Received: values from 300"),
        ({"x": np.where(BYTES == 7, np.nan, 0.5), "y": LABELS}, "x must be finite. Received: NaN or infinity in image"),
        ({"x": BYTES[0], "y": LABELS}, r"x must be images .* Received: shape \(6, 7\)"),
        ({"x": BYTES[:0], "y": LABELS[:0]}, "must be images"),
        ({"x": np.zeros((4, 3, 8, 8)), "y": LABELS[:4]}, r"channels last.* Received: shape \(4, 3, 8, 8\)"),
        ({"x": BYTES.astype(str), "y": LABELS}, "numeric array of images. Received: <U"),
        ({"x": BYTES, "y": np.eye(4)[LABELS]}, r"y.argmax\(1\)"),
        ({"x": BYTES, "y": LABELS / 2}, "class numbers from 0.* Received: float64 from 0.0 to 1.5"),
        ({"x": BYTES, "y": LABELS.astype(int) - 1}, "class numbers from 0.* Received: int64 from -1 to 2"),
        ({"x": BYTES, "y": LABELS, "classes": np.array(["a"])}, "Received: 1 names, label 3"),
        ({"x": BYTES[:1], "y": LABELS[:1]}, "at least one class must have two images"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.load(save(tmp_path, **arrays))


def test_damaged_pickled_and_foreign_files(tmp_path: Path) -> None:
    good = save(tmp_path, x=BYTES, y=LABELS)
    short = tmp_path / "short.npz"
    short.write_bytes(good.read_bytes()[:500])
    text = tmp_path / "text.npz"
    text.write_text("no images")
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, x=np.array([{"a": 1}], dtype=object), y=LABELS)
    single = tmp_path / "single.npz"
    with single.open("wb") as file:
        np.save(file, BYTES)
    empty = tmp_path / "empty.npz"
    empty.touch()
    for path in (short, text, pickled, single, empty):
        with pytest.raises(ValueError, match=rf"be a readable .npz file of plain arrays .*Received: .*{path.name}"):
            datasets.load(path)
    other = tmp_path / "images.csv"
    other.touch()
    with pytest.raises(ValueError, match=r"name_or_path must be a folder or an \.npz file\. Received: .*images.csv"):
        datasets.load(other)
