"""The handshape data sets, from small look-alikes of what their downloads unpack to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfinv import datasets
from tfinv.datasets.hand_images import read_depth, read_hand, read_matrix, read_points
from tfinv.datasets.handshape_sets import SETS
from tfinv.datasets.handshapes import NAMES


def picture(path: Path, value: int, shape: tuple[int, int] = (12, 12), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((*shape, 3) if mode == "RGB" else shape, value, np.uint8)
    Image.fromarray(array).save(path)


def depth(path: Path, low: int, high: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((8, 8), low, np.uint16)
    array[2:6, 2:6] = high
    Image.fromarray(array).save(path)


def pcd(path: Path, depths: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = depths.shape
    head = ["# .PCD v.7", "VERSION .7", "FIELDS x y z intensity", "SIZE 4 4 4 4", "TYPE F F F F", "COUNT 1 1 1 1"]
    head += [f"WIDTH {width}", f"HEIGHT {height}", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {depths.size}", "DATA ascii"]
    path.write_text("\n".join([*head, *(f"0 0 {value} 7" for value in depths.ravel())]) + "\n")


def matrix(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.full((6, 8), value), fmt="%d")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFINV_DATA", str(tmp_path))
    return tmp_path


def pixel_by_label(dataset: datasets.Dataset) -> dict[int, set[int]]:
    """The values 0..255 that the images of a class have."""
    values: dict[int, set[int]] = {}
    for split in (dataset.train, dataset.test):
        assert split.y is not None
        for image, label in zip(split.x, split.y, strict=True):
            values.setdefault(int(label), set()).add(round(float(image.mean()) * 255))
    return values


def test_rwth_is_read_from_its_list(folder: Path) -> None:
    root = folder / "rwth" / "ph2014-dev-set-handshape-annotations"
    lines = []
    for value, name in ((10, "1"), (20, "fly_nothumb"), (30, "y")):
        for number in range(5):
            picture(root / "images" / f"{name}-{number}.png", value, (132, 92))
            lines.append(f"images/{name}-{number}.png {name}")
    (root / "3359-ph2014-MS-handshape-annotations.txt").write_text("\n".join(lines) + "\n")
    dataset = datasets.load("rwth")
    assert (dataset.input_shape, dataset.num_classes, len(dataset.train), len(dataset.test)) == (
        (132, 92, 3),
        45,
        12,
        3,
    )
    assert pixel_by_label(dataset) == {0: {10}, 19: {20}, 44: {30}}
    assert [dataset.classes[k] for k in (0, 19, 44)] == ["1", "fly_nothumb", "y"]
    assert datasets.load("rwth", size=32, channels=1, max_samples=2).train.x.shape == (2, 32, 32, 1)


def test_lists_may_not_lead_outside(folder: Path) -> None:
    root = folder / "rwth"
    root.mkdir()
    (root / "x-handshape-annotations.txt").write_text("../../secret.png a\n")
    with pytest.raises(ValueError, match=r"must list files below .*rwth. Received: '../../secret.png'"):
        datasets.load("rwth")


@pytest.mark.parametrize("first", [0, 1])
def test_ciarp_is_split_as_its_lists_say(folder: Path, first: int) -> None:
    root = folder / "ciarp" / "ciarp"
    for part in ("train_Kinect", "test_Kinect", "test_DifferentCamera"):
        lines = []
        for kind in range(10):
            picture(root / f"{part}_WithoutGabor" / f"{kind}.png", 20 * kind, (38, 38), "L")
            picture(root / f"{part}_WithGabor" / f"{kind}.png", 255, (38, 38), "L")
            lines.append(f"{kind}.png {kind + first}")
        for gabor in ("WithGabor", "WithoutGabor"):
            (root / f"{part}_{gabor}.txt").write_text("\n".join(lines))
    dataset = datasets.load("ciarp")
    assert (dataset.input_shape, len(dataset.train), len(dataset.test)) == ((38, 38, 1), 10, 20)
    assert pixel_by_label(dataset) == {kind: {20 * kind} for kind in range(10)}
    assert dataset.notes[1] == "held out: test"


def test_irish_hands_are_cut_out(folder: Path) -> None:
    for person in range(1, 7):
        for letter, value in (("A", 100), ("Z", 200)):
            path = folder / "irish" / f"Person{person}" / f"Person{person}-{letter}-1-1.jpg"
            picture(path, value, (30, 40), "L")
    dataset = datasets.load("irish")
    assert (dataset.input_shape, len(dataset.train), len(dataset.test)) == ((64, 64, 1), 10, 2)
    assert dataset.notes[1] == "held out: 6" and set(pixel_by_label(dataset)) == {0, 25}


def test_the_largest_bright_region_is_the_hand(tmp_path: Path) -> None:
    image = np.zeros((100, 80), np.uint8)
    image[40:70, 20:40] = 200  # the hand: 30 x 20
    image[5:15, 60:70] = 255  # something smaller
    image[90, 5] = 255  # a speck
    Image.fromarray(image).save(tmp_path / "hand.png")
    hand = read_hand(tmp_path / "hand.png")
    assert hand.shape == (50, 50, 1), "10 pixels around the hand, and square"
    assert hand[10:40, 15:35].min() == pytest.approx(200 / 255)
    assert hand.sum() == pytest.approx(600 * 200 / 255, rel=1e-5), "nothing but the hand"
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "black.png")
    assert read_hand(tmp_path / "black.png").shape == (9, 9, 1)


def test_nus_sets(folder: Path) -> None:
    for number in (1, 2, 10):
        for sample in range(1, 6):
            picture(folder / "nus1" / "NUS Hand Posture Dataset" / "Color" / f"g{number} ({sample}).jpg", number * 10)
            picture(folder / "nus1" / "NUS Hand Posture Dataset" / "BW" / f"g{number} ({sample}).jpg", 255)
    dataset = datasets.load("nus1", size=12)
    assert pixel_by_label(dataset) == {0: {10}, 1: {20}, 9: {100}} and len(dataset.test) == 3
    assert datasets.load("nus1").input_shape == (120, 160, 3)
    root = folder / "nus2" / "NUS Hand Posture dataset-II"
    for letter, value in (("a", 40), ("j", 80)):
        for sample in range(1, 6):
            picture(root / "Hand Postures" / f"{letter} ({sample}).jpg", value)
            picture(root / "Hand Postures with human noise" / f"{letter} ({sample}).jpg", 255)
    dataset = datasets.load("nus2", size=12)
    assert pixel_by_label(dataset) == {0: {40}, 9: {80}} and dataset.classes == tuple("abcdefghij")


def test_fingerspelling_of_five_and_of_nine_subjects(folder: Path) -> None:
    for subject in "ABCDE":
        for letter, value in (("a", 10), ("k", 20), ("y", 30)):
            picture(folder / "pugeault_a" / "dataset5" / subject / letter / "color_0_0002.png", value)
            depth(folder / "pugeault_a" / "dataset5" / subject / letter / "depth_0_0002.png", 0, 900)
    dataset = datasets.load("pugeault_a")
    assert pixel_by_label(dataset) == {0: {10}, 9: {20}, 23: {30}} and dataset.num_classes == 24
    assert (len(dataset.train), len(dataset.test), dataset.notes[1]) == (12, 3, "held out: E")
    for subject in "ABI":
        depth(folder / "pugeault_b" / "ds9" / subject / "z" / "depth_0_0001.png", 500, 1500)
    dataset = datasets.load("pugeault_b", size=8)
    assert set(pixel_by_label(dataset)) == {25} and len(dataset.test) == 1
    assert dataset.test.x[0, 3, 3, 0] == 1 and dataset.test.x[0, 0, 0, 0] == 0


def test_depth_is_stretched_image_by_image(tmp_path: Path) -> None:
    depth(tmp_path / "near.png", 500, 700)
    depth(tmp_path / "flat.png", 500, 500)
    assert set(np.unique(read_depth(tmp_path / "near.png"))) == {0, 1}
    assert read_depth(tmp_path / "flat.png").max() == 0
    points = np.array([[1.0, 2.0, 3.0], [1.0, np.nan, 4.0]])
    pcd(tmp_path / "cloud.pcd", points)
    np.testing.assert_allclose(read_points(tmp_path / "cloud.pcd")[..., 0], [[0.25, 0.5, 0.75], [0.25, 0, 1]])
    matrix(tmp_path / "raw.txt", 1024)
    np.testing.assert_allclose(read_matrix(tmp_path / "raw.txt"), np.full((6, 8, 1), 1024 / 2047), rtol=1e-6)
    (tmp_path / "binary.pcd").write_text("FIELDS x y z\nDATA binary\n")
    with pytest.raises(ValueError, match="must hold points as text with a field z"):
        read_points(tmp_path / "binary.pcd")


def test_psl_points_of_three_persons(folder: Path) -> None:
    for person in "abc":
        for letter in "ay":
            cloud = folder / "psl" / f"person_{person}_zips" / letter / "set" / f"{letter}1.pcd"
            pcd(cloud, np.arange(12.0).reshape(3, 4))
    dataset = datasets.load("psl", size=(3, 4))
    assert (len(dataset.train), len(dataset.test), dataset.notes[1]) == (4, 2, "held out: c")
    assert set(pixel_by_label(dataset)) == {0, 15} and dataset.classes[15] == "y"
    np.testing.assert_allclose(dataset.test.x[0].ravel(), np.arange(12) / 11, atol=1e-6)
    assert datasets.load("psl").input_shape == (144, 176, 1)


def test_jsl_classes_stand_in_the_names(folder: Path) -> None:
    for number, value in ((1, 10), (41, 90)):
        for sample in range(5):
            picture(folder / "jsl" / "jsl_images" / f"mva_jsl_{sample}{number:02}_{sample}.png", value, (32, 32), "L")
    dataset = datasets.load("jsl")
    assert pixel_by_label(dataset) == {0: {10}, 40: {90}} and dataset.num_classes == 41
    assert (dataset.classes[0], dataset.classes[16], dataset.classes[40]) == ("a", "chi", "wa")
    picture(folder / "jsl" / "jsl_images" / "mva_jsl_042_0.png", 1, (32, 32), "L")
    with pytest.raises(ValueError, match=r"must hold 41 classes, a to wa. Received: a file of class '42'"):
        datasets.load("jsl")


def test_indian_signs_of_eighteen_users(folder: Path) -> None:
    users = {1: "reshoot", 2: "", 17: "", 18: ""}
    for user, suffix in users.items():
        for sign in (1, 12, 140):
            name = f"user{user}--{sign}-1"
            picture(folder / "indian_a" / f"user{user}rgb{suffix}" / "rgb" / f"{name}.png", sign)
            matrix(folder / "indian_b" / f"user{user}depth{suffix}" / f"{name}.txt", 8 * sign)
    dataset = datasets.load("indian_a", size=6)
    assert pixel_by_label(dataset) == {0: {1}, 11: {12}, 139: {140}}
    assert (len(dataset.train), len(dataset.test), dataset.notes[1]) == (6, 6, "held out: 17, 18")
    raw = datasets.load("indian_b", size=(6, 8))
    assert pixel_by_label(raw) == {k - 1: {round(8 * k / 2047 * 255)} for k in (1, 12, 140)}
    assert datasets.load("indian_b").input_shape == (60, 80, 1)


def test_absent_sets_say_where_they_come_from(folder: Path) -> None:
    for name in NAMES:
        with pytest.raises(FileNotFoundError, match="http") as error:
            datasets.load(name)
        assert f"Get {SETS[name].origin}" in str(error.value) and f"as {name}/" in str(error.value)
        (folder / name).mkdir()
        with pytest.raises(ValueError, match=r"must hold .* Received: no such file"):
            datasets.load(name)
    assert set(NAMES) <= set(datasets.names())


def test_one_subject_cannot_be_held_out(folder: Path) -> None:
    picture(folder / "pugeault_a" / "dataset5" / "A" / "a" / "color_1.png", 9)
    with pytest.raises(ValueError, match=r"must hold files of E, which are held out, and of others. Received: A"):
        datasets.load("pugeault_a")


def test_damaged_images_are_left_out_and_named(folder: Path) -> None:
    for subject in "ABE":
        picture(folder / "pugeault_a" / "dataset5" / subject / "a" / "color_1.png", 9)
    (folder / "pugeault_a" / "dataset5" / "A" / "a" / "color_2.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="cannot be read are left out: .*color_2.png"):
        dataset = datasets.load("pugeault_a")
    assert len(dataset.train) == 2


def test_a_command_takes_the_name(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tfinv.run import main

    assert main(["train", "--data", "rwth", "--out", str(tmp_path / "out")]) == 2
    assert "data set 'rwth' is not on this machine" in capsys.readouterr().err
