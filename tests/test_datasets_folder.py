"""Folders of class folders: real image files of all kinds, orientations and defects."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfinv import datasets

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def write(path: Path, colour: tuple[int, ...] | int = RED, size: tuple[int, int] = (12, 8), mode: str = "RGB") -> Path:
    """Write an image of one colour; `size` is width, height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def three_classes(root: Path, count: int = 5) -> Path:
    for name, colour in (("apple", RED), ("leaf", GREEN), ("sky", BLUE)):
        for k in range(count):
            write(root / name / f"{k}.png", colour)
    return root


def test_labels_follow_the_folder_names(tmp_path: Path) -> None:
    dataset = datasets.load(three_classes(tmp_path / "colours"))
    assert (dataset.name, dataset.classes) == ("colours", ("apple", "leaf", "sky"))
    assert dataset.input_shape == (8, 12, 3)
    for split, count in ((dataset.train, 4), (dataset.test, 1)):
        assert split.y is not None
        np.testing.assert_array_equal(np.bincount(split.y), [count] * 3)
        for image, label in zip(split.x, split.y, strict=True):
            np.testing.assert_array_equal(image, np.broadcast_to(np.eye(3)[label], (8, 12, 3)))


def test_numbered_folders_are_ordered_as_numbers(tmp_path: Path) -> None:
    for name in ("2", "10", "1"):
        write(tmp_path / name / "a.png")
        write(tmp_path / name / "b.JPG")
    assert datasets.load(tmp_path).classes == ("1", "2", "10")


def test_train_and_test_folders_are_used(tmp_path: Path) -> None:
    three_classes(tmp_path / "train", 3)
    write(tmp_path / "test" / "leaf" / "a.png", (0, 102, 0))
    write(tmp_path / "test" / "moss" / "a.png", (0, 51, 0))
    dataset = datasets.load(tmp_path)
    assert dataset.classes == ("apple", "leaf", "moss", "sky")
    assert (len(dataset.train), len(dataset.test)) == (9, 2)
    assert dataset.test.y is not None
    by_label = {int(y): float(x[0, 0, 1]) for x, y in zip(dataset.test.x, dataset.test.y, strict=True)}
    assert by_label == pytest.approx({1: 0.4, 2: 0.2})


def test_single_image_classes_are_trained_on(tmp_path: Path) -> None:
    three_classes(tmp_path, 4)
    write(tmp_path / "rare" / "only.png")
    dataset = datasets.load(tmp_path)
    assert dataset.num_classes == 4
    assert dataset.train.y is not None
    assert dataset.test.y is not None
    rare = dataset.classes.index("rare")
    assert (dataset.train.y == rare).sum() == 1
    assert rare not in dataset.test.y


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_come_out_upright(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = RED, GREEN, BLUE
    # how a camera stores the scene, so that the viewer's correction restores it (EXIF 2.3, tag 0x0112)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for k in range(2):
        path = tmp_path / "photos" / f"{k}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(stored)).save(path, quality=95, subsampling=0, exif=exif)
    image = datasets.load(tmp_path).train.x[0]
    assert image.shape == (32, 48, 3)
    for (row, column), colour in {(8, 12): RED, (8, 36): GREEN, (24, 12): BLUE, (24, 36): (0, 0, 0)}.items():
        np.testing.assert_allclose(image[row, column], np.array(colour) / 255, atol=0.05)


def test_mixed_sizes_take_the_most_common_and_say_so(tmp_path: Path) -> None:
    three_classes(tmp_path, 2)
    write(tmp_path / "sky" / "tall.png", BLUE, (8, 12))
    write(tmp_path / "sky" / "large.png", BLUE, (24, 16))
    dataset = datasets.load(tmp_path)
    assert dataset.input_shape == (8, 12, 3)
    assert "2 of 8 images were resized to 8x12, 1 of them stretched" in dataset.notes
    assert datasets.load(tmp_path, size=20).input_shape == (20, 20, 3)


def test_resized_values(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 256, 17, dtype=np.uint8), (4, 1))  # 16 columns
    for k in range(2):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.fromarray(ramp).save(tmp_path / "a" / f"{k}.png")
    expected = datasets.adapt((ramp / 255)[None, ..., None], (2, 8, 1))[0]
    dataset = datasets.load(tmp_path, size=(2, 8))
    assert dataset.input_shape == (2, 8, 1)  # grey files stay grey
    np.testing.assert_allclose(dataset.train.x[0], expected, atol=1e-6)
    np.testing.assert_allclose(expected[0, 1:-1, 0], np.arange(2.5, 14, 2)[:6] / 15, atol=1e-6)


def test_modes(tmp_path: Path) -> None:
    rgb = write(tmp_path / "rgb" / "a.png", (10, 200, 30))
    for name, mode, colour, expected in [
        ("grey", "L", 51, (0.2, 0.2, 0.2)),
        ("alpha", "RGBA", (255, 255, 255, 51), (0.2, 0.2, 0.2)),
        ("grey_alpha", "LA", (255, 51), (0.2, 0.2, 0.2)),
        ("sixteen", "I;16", 13107, (0.2, 0.2, 0.2)),
        ("bits", "1", 1, (1, 1, 1)),
    ]:
        for k in range(2):
            write(tmp_path / name / f"{k}.png", colour, mode=mode)
        dataset = datasets.load(tmp_path, channels=3)
        label = dataset.classes.index(name)
        assert dataset.train.y is not None
        image = dataset.train.x[dataset.train.y == label][0]
        np.testing.assert_allclose(image, np.broadcast_to(expected, image.shape), atol=1e-6, err_msg=name)
    palette = tmp_path / "palette" / "a.png"
    palette.parent.mkdir()
    Image.open(rgb).quantize(4).save(palette)
    dataset = datasets.load(tmp_path, channels=1)
    assert dataset.train.y is not None
    image = dataset.train.x[dataset.train.y == dataset.classes.index("palette")][0]
    np.testing.assert_allclose(image, (0.299 * 10 + 0.587 * 200 + 0.114 * 30) / 255, atol=1e-5)


def test_damaged_files_are_named_and_left_out(tmp_path: Path) -> None:
    three_classes(tmp_path)
    (tmp_path / "sky" / "text.png").write_text("not an image")
    noise = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    whole = tmp_path / "whole.png"
    Image.fromarray(noise).save(whole)
    (tmp_path / "leaf" / "short.png").write_bytes(whole.read_bytes()[:150])
    whole.unlink()
    with pytest.warns(UserWarning) as caught:
        dataset = datasets.load(tmp_path)
    text = " ".join(str(warning.message) for warning in caught)
    assert "text.png" in text and "short.png" in text
    assert len(dataset.train) + len(dataset.test) == 15
    assert any("text.png" in note for note in dataset.notes)


def test_empty_and_unreadable_classes_and_loose_files(tmp_path: Path) -> None:
    three_classes(tmp_path)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "apple" / "notes.txt").write_text("ignored")
    (tmp_path / "zebra").mkdir()
    (tmp_path / "zebra" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    write(tmp_path / "loose.png")
    with pytest.warns(UserWarning) as caught:
        dataset = datasets.load(tmp_path)
    text = " ".join(str(warning.message) for warning in caught)
    assert "class folder 'nothing' holds no images" in text
    assert "1 images lie beside the class folders" in text
    assert "class 'zebra' has no readable image; its label 3 stays unused" in text
    assert len(dataset.train) + len(dataset.test) == 15


def test_a_folder_of_images_has_no_labels(tmp_path: Path) -> None:
    for k in range(10):
        write(tmp_path / f"{k}.png")
    dataset = datasets.load(tmp_path)
    assert (dataset.train.y, dataset.classes) == (None, ())
    assert (len(dataset.train), len(dataset.test)) == (8, 2)


def test_only_what_was_asked_for_is_read(tmp_path: Path) -> None:
    three_classes(tmp_path, 10)
    dataset = datasets.load(tmp_path, max_samples=6, seed=3)
    assert (len(dataset.train), len(dataset.test)) == (6, 6)
    assert dataset.train.y is not None
    np.testing.assert_array_equal(np.bincount(dataset.train.y), [2, 2, 2])
    assert dataset.id == datasets.load(tmp_path, max_samples=6, seed=3).id


def test_folders_without_enough_images(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"empty must hold readable images .* Received: none"):
        datasets.load(empty)
    write(tmp_path / "one" / "a" / "a.png")
    with pytest.raises(ValueError, match="one: at least one class must have two images"):
        datasets.load(tmp_path / "one")


def test_superscript_digits_are_names_and_keep_all_images(tmp_path: Path) -> None:
    for name in ("1", "\u00b2", "3"):
        for number in range(5):
            write(tmp_path / name / f"{number}.png")
    data = datasets.load(tmp_path, hold_out=False)
    assert data.classes == ("1", "3", "\u00b2") and len(data.train) == 15


def test_entries_that_are_no_image_files_are_counted(tmp_path: Path) -> None:
    root = three_classes(tmp_path / "data")
    folder = sorted(path for path in root.iterdir() if path.is_dir())[0]
    (folder / "gone.png").symlink_to(tmp_path / "nothing")
    (folder / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    (folder / "x.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    with pytest.warns(UserWarning, match="1 folders, 1 pipes, .*, 1 symbolic links to folders, 1 .* to nothing"):
        data = datasets.load(root, hold_out=False)
    assert len(data.train) == 15
