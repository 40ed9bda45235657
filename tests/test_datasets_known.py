"""The data sets known by name, by their real values; and what is said where one is not here."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfinv import datasets
from tfinv.datasets.known import CIFAR10, read_image_archive

DATA = os.environ.get("TFINV_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TFINV_DATA is not set")


def labels(split: datasets.Split) -> np.ndarray:
    assert split.y is not None
    return split.y


def doubled(row: np.ndarray) -> np.ndarray:
    """Bilinear enlargement by two along the last axis: 3/4 of the near pixel, 1/4 of its neighbour."""
    before, after = np.concatenate([row[..., :1], row[..., :-1]], -1), np.concatenate([row[..., 1:], row[..., -1:]], -1)
    return np.stack([0.75 * row + 0.25 * before, 0.75 * row + 0.25 * after], -1).reshape(*row.shape[:-1], -1)


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    expected = doubled(doubled(bunch.images / 16).swapaxes(1, 2)).swapaxes(1, 2)  # type: ignore[attr-defined]
    digits = datasets.load("digits")
    together = np.concatenate([digits.train.x, digits.test.x])[..., 0]
    known = {np.round(image * 64, 3).tobytes(): k for k, image in enumerate(expected.astype(np.float32))}
    position = np.array([known[np.round(image * 64, 3).tobytes()] for image in together])
    assert sorted(position) == list(range(1797))  # every image once: splits are disjoint and complete
    np.testing.assert_allclose(together, expected[position], atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([labels(digits.train), labels(digits.test)]), bunch.target[position])  # type: ignore[attr-defined]


def test_digits_split_is_fixed_and_stratified() -> None:
    digits = datasets.load("digits")
    assert (digits.input_shape, digits.num_classes, digits.classes[7]) == ((16, 16, 1), 10, "7")
    np.testing.assert_array_equal(np.bincount(labels(digits.test)), [54, 55, 53, 55, 54, 55, 54, 54, 52, 54])
    np.testing.assert_array_equal(labels(digits.test)[:12], [2, 2, 1, 6, 5, 0, 6, 5, 9, 0, 9, 1])
    assert digits.id == datasets.load("digits", seed=7).id


def test_digits_in_their_own_size_and_in_colour() -> None:
    small = datasets.load("digits", size=8, channels=3, max_samples=100, seed=1)
    assert small.input_shape == (8, 8, 3)
    assert (len(small.train), len(small.test)) == (100, 100)
    assert set(np.unique(small.train.x * 16)) <= set(range(17))
    np.testing.assert_array_equal(small.train.x[..., 0], small.train.x[..., 2])
    assert np.bincount(labels(small.train)).min() >= 9


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ValueError, match=r"one of digits, mnist, .*lsa16_multirot.* Received: 'digts'"):
        datasets.load("digts")
    with pytest.raises(FileNotFoundError, match=r"no file or folder here/there.npz; known data sets are digits"):
        datasets.load("here/there.npz")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"size": 0}, "size must be .* Received: 0"),
        ({"size": (8, 8, 1)}, "size must be"),
        ({"channels": 2}, "channels must be 1, 3 or None. Received: 2"),
        ({"seed": -3}, "seed must be a whole number of at least 0. Received: -3"),
        ({"max_samples": 0}, "max_samples must be a whole number of at least 1. Received: 0"),
    ],
)
def test_options_out_of_range(option: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.load("digits", **option)  # type: ignore[arg-type]


def test_missing_lsa16_says_what_to_put_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TFINV_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"facundoq.github.io.*TFINV_DATA.*lsa16/lsa16_orig.*is not set"):
        datasets.load("lsa16")
    monkeypatch.setenv("TFINV_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"lsa16_norot_rgbbb32.npz.*folder lsa16/lsa16_upright/ of images"):
        datasets.load("lsa16_upright")
    monkeypatch.setenv("TFINV_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="TFINV_DATA must name a folder that exists"):
        datasets.load("lsa16")


KERAS_SCRIPT = """
from tfinv import datasets
fashion = datasets.load("fashion_mnist")
print([*fashion.notes, fashion.input_shape, len(fashion.train), len(fashion.test)])
print((fashion.test.x[:, 0, 0, 0] * 255).round().astype(int).tolist(), fashion.test.y.tolist())
datasets.load("mnist")
"""


@pytest.fixture(scope="module")
def keras_run(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A process where Keras' cache holds a tiny Fashion-MNIST, and where every download fails at once."""
    home = tmp_path_factory.mktemp("keras")
    folder = home / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 10)):
        values = np.arange(count, dtype=np.uint8)
        pixels = np.repeat(values, 28 * 28)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + (values % 10).tobytes()))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + pixels.tobytes()))
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    environment |= {"KERAS_HOME": str(home), "TFINV_DATA": ""}
    environment |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    command = [sys.executable, "-c", KERAS_SCRIPT]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_without_a_data_folder_keras_is_asked(keras_run: subprocess.CompletedProcess[str]) -> None:
    lines = keras_run.stdout.splitlines()
    assert lines[0] == "['from keras.datasets.fashion_mnist', (28, 28, 1), 20, 10]", keras_run.stderr
    assert lines[1] == f"{list(range(10))} {list(range(10))}"


@pytest.mark.slow
def test_a_failed_download_says_what_to_do(keras_run: subprocess.CompletedProcess[str]) -> None:
    last = keras_run.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "FileNotFoundError: data set 'mnist' is not on this machine. Downloading failed: URL fetch failure"
    )
    assert "mnist/mnist.npz with x_train, y_train, x_test, y_test (TFINV_DATA is not set; see docs/data.md)" in last


@needs_data
def test_mnist() -> None:
    mnist = datasets.load("mnist")
    assert (len(mnist.train), len(mnist.test), mnist.input_shape) == (60000, 10000, (28, 28, 1))
    np.testing.assert_array_equal(labels(mnist.train)[:8], [5, 0, 4, 1, 9, 2, 1, 3])
    np.testing.assert_array_equal(labels(mnist.test)[:8], [7, 2, 1, 0, 4, 1, 4, 9])
    assert mnist.train.x.max() == 1
    mean, std = datasets.channel_statistics(mnist)
    np.testing.assert_allclose([mean[0], std[0]], [0.1307, 0.3081], atol=5e-5)  # as everybody quotes them


@needs_data
def test_fashion_mnist_subset() -> None:
    fashion = datasets.load("fashion_mnist")
    assert (len(fashion.train), len(fashion.test)) == (3847, 962)
    assert fashion.classes[9] == "ankle boot"
    share = np.bincount(labels(fashion.test)) / np.bincount(labels(fashion.train))
    np.testing.assert_allclose(share, 0.25, atol=0.01)
    assert not {x.tobytes() for x in fashion.train.x} & {x.tobytes() for x in fashion.test.x}
    assert (np.diff(labels(fashion.test)) != 0).mean() > 0.8  # shuffled


@needs_data
def test_cifar10_labels_are_those_a_trained_network_gives() -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    cifar = datasets.load("cifar10")
    assert (len(cifar.train), len(cifar.test), cifar.input_shape) == (4000, 10000, (32, 32, 3))
    assert [cifar.classes[k] for k in labels(cifar.train)[:5]] == ["frog", "truck", "truck", "deer", "automobile"]
    np.testing.assert_array_equal(np.bincount(labels(cifar.test)), [1000] * 10)
    model = interpreter.Interpreter(str(Path(DATA or "") / "models/ic_resnet8/float.tflite"), num_threads=1)
    source, target = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
    few = cifar.test.subset(500, seed=0)
    model.resize_tensor_input(source, few.x.shape)
    model.allocate_tensors()
    model.set_tensor(source, few.x * 255)
    model.invoke()
    correct = model.get_tensor(target).argmax(1) == labels(few)
    assert 0.68 < correct.mean() < 0.83  # 0.7548 on all of them; a class out of place costs a tenth
    assert min(correct[labels(few) == k].mean() for k in range(10)) > 0.4


@needs_data
@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [("lsa16", (32, 32, 3), 80), ("lsa16_upright", (32, 32, 3), 80), ("lsa16_multirot", (32, 32, 1), 1280)],
)
def test_lsa16_is_split_by_subject(name: str, shape: tuple[int, ...], count: int) -> None:
    dataset = datasets.load(name)
    file = next(
        Path(DATA or "", "lsa16").glob({"lsa16": "*original*", "lsa16_upright": "*norot*"}.get(name, "*multi*"))
    )
    with np.load(file) as arrays:
        x, subject, y = arrays["x"].reshape(-1, *shape), arrays["subject"], arrays["y"]
    known = {image.tobytes(): k for k, image in enumerate(x)}
    assert (dataset.input_shape, dataset.classes[0], dataset.classes[15]) == (shape, "five", "V")
    for split, subjects in ((dataset.train, range(1, 9)), (dataset.test, (9, 10))):
        position = [known[np.round(image * 255).astype(np.uint8).tobytes()] for image in split.x]
        assert len(set(position)) == len(split) == count * len(subjects)
        assert set(subject[position]) == set(subjects)
        np.testing.assert_array_equal(labels(split), y[position])
        assert len(set(labels(split)[:20])) > 8  # shuffled


def lsa16_folder(root: Path, subjects: range) -> None:
    folder = root / "lsa16" / "lsa32x32_nr_rgb_black_background"
    folder.mkdir(parents=True)
    for kind in (1, 16):
        for subject in subjects:
            Image.new("RGB", (32, 32), (kind, subject, 0)).save(folder / f"{kind}_{subject}_1.png")


def test_lsa16_from_the_images_of_its_authors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lsa16_folder(tmp_path, range(1, 11))
    monkeypatch.setenv("TFINV_DATA", str(tmp_path))
    dataset = datasets.load("lsa16_upright")
    assert (len(dataset.train), len(dataset.test)) == (16, 4)
    for split, subjects in ((dataset.train, range(1, 9)), (dataset.test, (9, 10))):
        pixel = np.round(split.x[:, 0, 0] * 255)
        np.testing.assert_array_equal(pixel[:, 0], labels(split) + 1)
        assert set(pixel[:, 1]) == set(subjects)


def test_lsa16_without_the_test_subjects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lsa16_folder(tmp_path, range(1, 9))
    monkeypatch.setenv("TFINV_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"subjects 1 to 10, of which \(9, 10\) are held out"):
        datasets.load("lsa16_upright")


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:xz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (value, value, value)).save(buffer, "png")
    return buffer.getvalue()


def test_archives_are_read_in_memory_and_never_extracted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    names = {f"../../outside/{name}/{k}.png": png(label) for label, name in enumerate(CIFAR10) for k in range(3)}
    path = archive(tmp_path / "images.tar.xz", names | {"../readme.txt": b"text"})
    x, y = read_image_archive(path, CIFAR10)
    assert x.shape == (30, 4, 4, 3)
    np.testing.assert_array_equal(x[:, 0, 0, 0], y)
    assert {path.name for path in tmp_path.rglob("*")} == {"work", "images.tar.xz"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"test/cat/1.png": png(1), "test/unicorn/1.png": png(1)}, "unicorn"),
        ({"test/cat/1.png": b"no image"}, "not a readable archive"),
        ({"test/readme.txt": b"text"}, "images of one shape. Received: 0 images"),
        ({"test/cat/1.png": b"0" * (1 << 21)}, "2097152 bytes"),
    ],
)
def test_archives_that_cannot_be_used(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_image_archive(archive(tmp_path / "bad.tar.xz", members), CIFAR10)


def test_a_damaged_archive(tmp_path: Path) -> None:
    good = archive(
        tmp_path / "good.tar.xz", {f"test/cat/{k}.png": np.random.default_rng(k).bytes(3000) for k in range(9)}
    )
    short = tmp_path / "short.tar.xz"
    short.write_bytes(good.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"short.tar.xz is not a readable archive"):
        read_image_archive(short, CIFAR10)
