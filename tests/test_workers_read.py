"""Images that stay on the disk are those that are loaded, and workers read their own."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distributed_evaluation import MEASURES, assert_identical, images, network
from PIL import Image

import tfinv
from tfinv import datasets
from tfinv.datasets.dataset_part import DatasetPart
from tfinv.datasets.split import SentSplit
from tfinv.engine import reducing, remote
from tfinv.engine.batches import ImageBatches, UnreadPiece
from tfinv.engine.local_team import Local
from tfinv.evaluation import search
from tfinv.run import main

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("folder")
    for label in ("1", "2", "10"):
        (root / label).mkdir()
        for number in range(4):
            pixels = RNG.integers(0, 256, (12, 10 + 2 * (number == 3), 3), np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


def in_order(images, labels):
    """Images and labels in an order that depends on nothing but their content."""
    order = sorted(range(len(images)), key=lambda k: (labels[k], images[k].tobytes()))
    return images[order], labels[order]


@pytest.mark.parametrize("options", [{}, {"size": (8, 6)}, {"channels": 1}])
def test_a_folder_that_is_read_late_is_the_one_that_is_loaded(folder, options):
    late, loaded = datasets.on_disk(folder, **options), datasets.load(folder, hold_out=False, **options).train
    assert late.x.shape == loaded.x.shape
    assert late.classes == ("1", "2", "10")
    for one, other in zip(in_order(late.x[:], late.y), in_order(loaded.x, loaded.y), strict=True):
        np.testing.assert_array_equal(one, other)
    some = late.take([7, 2])
    np.testing.assert_array_equal(some.x[np.array([1])], late.x[2:3])
    assert some.y.tolist() == [late.y[7], late.y[2]]


@pytest.mark.parametrize(
    "x",
    [
        RNG.integers(0, 256, (9, 6, 5, 3), np.uint8),
        RNG.random((9, 6, 5), np.float32),
        RNG.random((9, 6, 5, 1)) * 255,
        RNG.integers(0, 200, (9, 6, 5, 1), np.int32),
        RNG.random((9, 6, 5, 1)) > 0.5,
    ],
    ids=["bytes", "unit", "floats to 255", "integers", "booleans"],
)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("size", [None, (4, 7)])
def test_a_file_that_is_read_late_is_the_one_that_is_loaded(x, compressed, size, tmp_path):
    path = tmp_path / "images.npz"
    (np.savez_compressed if compressed else np.savez)(path, a=np.arange(3), x=x, y=np.arange(9) % 4)
    late, loaded = datasets.on_disk(path, size=size), datasets.load(path, hold_out=False, size=size).train
    np.testing.assert_array_equal(late.x[:], loaded.x)
    np.testing.assert_array_equal(late.y, loaded.y)
    np.testing.assert_array_equal(late.x.taken(np.array([8, 3, 5]))[1:], loaded.x[[3, 5]])
    np.testing.assert_array_equal(late.subset(5, seed=1).x[:], loaded.subset(5, seed=1).x)


def test_what_cannot_be_used_is_refused(tmp_path):
    np.savez(tmp_path / "none.npz", z=np.zeros(3))
    np.savez(tmp_path / "dark.npz", x=np.full((2, 4, 4, 1), 7.0))
    np.savez(tmp_path / "labels.npz", x=np.zeros((2, 4, 4, 1), np.uint8), y=np.arange(3))
    for name, match in [
        ("none.npz", "must hold the array x. Received: z"),
        ("dark.npz", "could mean either"),
        ("labels.npz", "x holds 2 images. Received: 3 labels"),
    ]:
        with pytest.raises(ValueError, match=match):
            datasets.on_disk(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"path must be an .npz file or a folder"):
        datasets.on_disk(tmp_path / "nothing")


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "images.npz"
    np.savez(path, x=images(), y=np.arange(len(images())) % 4)
    return path


def evaluate(given, distribute=None, **options):
    return tfinv.evaluate(network(), given, "rotations(4)", MEASURES, distribute=distribute, progress=False, **options)


class Weighing(ThreadPoolExecutor):
    """Threads that get their tasks as other processes do, and note how large the samples of a task are."""

    sizes: list[int]

    def submit(self, function, *arguments):
        content = pickle.dumps(arguments[-1])
        self.sizes.append(len(content))
        return super().submit(function, *arguments[:-1], pickle.loads(content))  # noqa: S301 its own


def source_of(kind, stored, tmp_path):
    """The images of the evaluation in one of several kinds of files."""
    if kind == "npz":
        return datasets.on_disk(stored)
    if kind == "mapped":
        np.save(tmp_path / "images.npy", images())
        return np.load(tmp_path / "images.npy", mmap_mode="r")
    import tensorflow as tf

    (tmp_path / "images.bin").write_bytes(images().tobytes())
    records = tf.data.FixedLengthRecordDataset(str(tmp_path / "images.bin"), 4 * 64)
    records = records.map(lambda line: tf.reshape(tf.io.decode_raw(line, tf.float32), (8, 8, 1)))
    return records.apply(tf.data.experimental.assert_cardinality(600))


@pytest.mark.parametrize(
    "kind", ["npz", pytest.param("mapped", marks=pytest.mark.slow), pytest.param("tf.data", marks=pytest.mark.slow)]
)
def test_workers_read_files_themselves(kind, stored, tmp_path):
    whole, source = evaluate(images()), source_of(kind, stored, tmp_path)
    with Weighing(2) as pool:
        pool.sizes = []
        assert_identical(evaluate(source, pool), whole)
    assert len(pool.sizes) == 6
    assert max(pool.sizes) < 8000  # the images of a task are 65536 bytes
    if kind != "npz":
        assert_identical(evaluate(source), whole)


def test_images_in_memory_travel_with_their_tasks():
    with Weighing(2) as pool:
        pool.sizes = []
        tfinv.evaluate(network(), images(), "rotations(4)", "NormalizedVariance", distribute=pool, progress=False)
    assert min(pool.sizes) > 88 * 256


def test_a_data_set_of_python_is_read_by_the_driver():
    import tensorflow as tf

    x = images()
    spec = tf.TensorSpec((8, 8, 1), tf.float32)
    python = tf.data.Dataset.from_generator(lambda: iter(x), output_signature=spec)
    python = python.apply(tf.data.experimental.assert_cardinality(len(x)))
    held = tf.data.Dataset.from_tensor_slices(np.repeat(x, 4, axis=0))
    shuffled = tf.data.Dataset.range(600).shuffle(600).map(lambda k: tf.fill((8, 8, 1), tf.cast(k, tf.float32)))
    for dataset in (python, held, shuffled):
        batches = ImageBatches(dataset, 32)
        assert DatasetPart.of(dataset.batch(8), 600) is None
        assert not batches.stays_readable
    pieces = list(ImageBatches(python, 32).pieces(256))
    assert [piece.count for piece in pieces] == [256, 256, 88]
    assert not any(isinstance(piece, UnreadPiece) for piece in pieces)


def test_parts_of_a_data_set_are_read_in_any_order():
    import tensorflow as tf

    dataset = tf.data.Dataset.range(40).map(lambda k: (tf.fill((2, 2, 1), tf.cast(k, tf.float32)), k % 3))
    batches = ImageBatches(dataset, 4)
    pieces = list(batches.pieces(16))
    assert all(isinstance(piece, UnreadPiece) for piece in pieces)
    for number in (1, 2, 0, 0, 2):
        read = list(copy.deepcopy(pieces[number]).opened())
        expected = np.arange(16 * number, min(16 * number + 16, 40))
        np.testing.assert_array_equal(np.concatenate([batch.images[:, 0, 0, 0] for batch in read]), expected)
        np.testing.assert_array_equal(np.concatenate([batch.index for batch in read]), expected)
        np.testing.assert_array_equal(np.concatenate([batch.labels for batch in read]), expected % 3)


def test_lost_and_changed_files_are_told_with_the_worker(stored, tmp_path):
    path = tmp_path / "images.npz"
    path.write_bytes(stored.read_bytes())
    given = datasets.on_disk(path)

    class Losing(ThreadPoolExecutor):
        def submit(self, *arguments):
            path.unlink(missing_ok=True)
            return super().submit(*arguments)

    with Losing(1) as pool, pytest.raises(OSError, match=r"No such file or directory on worker .*images.npz"):
        evaluate(given, pool)
    np.savez(path, x=images()[:1])
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(ValueError, match=r"must be the file that was opened"),
    ):
        evaluate(given, pool)
    assert remote.worker_name().count(":") == 1


def loaded_from(kind: str, root: Path, folder: Path) -> datasets.Dataset:
    """A data set that was loaded from a file or a folder in one of several ways."""
    if kind == "folder":
        return datasets.load(folder, hold_out=False, size=(8, 8), channels=1)
    if kind == "held out of a folder":
        return datasets.load(folder, seed=3)
    x = RNG.integers(0, 256, (30, 9, 7, 3), np.uint8)
    arrays = {"x": x, "y": np.arange(30) % 3}
    if kind == "floats to 255":
        arrays = {"x": x.astype(np.float64)}
    if kind == "train and test":
        arrays = {"x_train": x, "y_train": np.arange(30) % 3, "x_test": x[:9], "y_test": np.arange(9) % 3}
    if kind == "adapted":
        return datasets.adapt(loaded_from("npz", root, folder), (6, 5, 1))
    (np.savez_compressed if kind == "compressed" else np.savez)(root / "images.npz", **arrays)
    return datasets.load(root / "images.npz", **({"max_samples": 11, "size": 6} if kind == "subset" else {}))


@pytest.mark.parametrize(
    "kind",
    [
        "folder",
        "held out of a folder",
        "npz",
        "compressed",
        "floats to 255",
        "train and test",
        "adapted",
        "subset",
    ],
)
def test_images_that_were_loaded_can_be_read_again(kind, tmp_path, folder):
    data = loaded_from(kind, tmp_path, folder)
    for split in (data.train, data.test, data.test.take([1, 0]), data.train.subset(3, seed=1).labeled(None)):
        assert split.origin is not None and split.origin.shape == split.x.shape
        np.testing.assert_array_equal(split.origin[:], split.x)
        np.testing.assert_array_equal(split.origin.taken(np.array([1, 0]))[np.array([1])], split.x[:1])
        assert len(pickle.dumps(split.origin)) < 2000
    sent = pickle.loads(pickle.dumps(SentSplit.of(data.test)))  # noqa: S301 its own
    np.testing.assert_array_equal(sent.opened.x, data.test.x)
    np.testing.assert_array_equal(sent.opened.y, data.test.y)


def test_a_split_of_arrays_has_no_place_to_be_read_from(tmp_path):
    x = RNG.random((4, 3, 3, 1), np.float32)
    assert datasets.Split(x).origin is None
    np.savez(tmp_path / "images.npz", x=x)
    loaded = datasets.load(tmp_path / "images.npz", hold_out=False).test
    assert loaded.origin is not None and replace(loaded, x=x[::-1]).origin is None
    np.savez(tmp_path / "mixed.npz", x=x, x_test=(x * 255).astype(np.uint8))  # what one array means, the other tells
    assert datasets.load(tmp_path / "mixed.npz").train.origin is None


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_images_that_were_loaded_do_not_travel(kind, stored, tmp_path):
    if kind == "folder":
        (tmp_path / "images").mkdir()
        for number, image in enumerate(images()):
            Image.fromarray((image[..., 0] * 255).astype(np.uint8)).save(tmp_path / "images" / f"{number:03}.png")
    loaded = datasets.load(stored if kind == "npz" else tmp_path / "images", hold_out=False).test.subset(500, seed=2)
    options = {"sampling": tfinv.Sampling(0.9, shards=2)}
    with Weighing(2) as pool:
        pool.sizes = []
        assert_identical(evaluate(loaded, pool, **options), evaluate((loaded.x, loaded.y), **options))
    assert len(pool.sizes) == 4
    assert max(pool.sizes) < 12000  # the images of a task are 64000 bytes


def test_worst_cases_are_searched_in_images_that_workers_read(stored, monkeypatch):
    monkeypatch.setattr(search, "PART", 16)
    loaded = datasets.load(stored, hold_out=False).test.subset(30, seed=0)
    options = {"budget": 8, "progress": False, "batch_size": 32}
    alone = tfinv.worst_case(network(), loaded, {"rotation": 40}, **options)
    sizes = []

    class Sending(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            sizes.append(len(pickle.dumps(arguments[-5:])))
            return super().submit(function, *arguments)

    with Sending(2) as pool:
        shared = tfinv.worst_case(network(), loaded, {"rotation": 40}, distribute=pool, **options)
    np.testing.assert_array_equal(shared.parameters, alone.parameters)
    np.testing.assert_array_equal(shared.right, alone.right)
    assert len(sizes) == 2 and max(sizes) < 2000  # the images of a task are 4096 bytes


def test_images_that_changed_since_they_were_loaded_are_refused(tmp_path):
    path, other = tmp_path / "images.npz", images()
    np.savez(path, x=other)
    loaded = datasets.load(path, hold_out=False).test
    other[7, 0, 0] += 1e-6
    np.savez(path, x=other)  # as large as before
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(
            ValueError, match=r"stay as they were .* Received: another image in .*images.npz \(x, 7\) on worker "
        ),
    ):
        evaluate(loaded, pool)
    path.unlink()
    with ThreadPoolExecutor(1) as pool, pytest.raises(FileNotFoundError, match=r"No such file .* on worker .*npz"):
        evaluate(loaded, pool)


def weighed(monkeypatch) -> list[int]:
    """What tasks of local processes weigh beside 32 bytes for every image, noted as they are sent."""
    sizes, begin = [], Local._begun

    def weighing(team, function, arguments, keep=None):
        sent = [argument for argument in arguments if not hasattr(argument, "result")]  # others are files of workers
        if function is not reducing.measure_part:  # it comes after the images, and names all layers
            count = sum(piece.count for piece in sent if isinstance(piece, ImageBatches))
            sizes.append(len(pickle.dumps(sent)) - 32 * count)
        return begin(team, function, arguments, keep)

    monkeypatch.setattr(Local, "_begun", weighing)
    return sizes


@pytest.mark.slow
def test_measure_with_workers_sends_no_images_of_a_folder(tmp_path, monkeypatch):
    for number, image in enumerate(images()):
        folder = tmp_path / "images" / str(number % 4)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.kron(image[..., 0], np.ones((2, 2))) * 255).astype(np.uint8)).save(folder / f"{number}.png")
    network(16).save(tmp_path / "model.keras")
    command = ["measure", "--model", str(tmp_path / "model.keras"), "--data", str(tmp_path / "images"), "--quiet"]
    command += ["--transformations", "rotations(4)", "--max-samples", "500", "--measures", "NormalizedVariance"]
    assert main([*command, "--out", str(tmp_path / "alone")]) == 0
    sizes = weighed(monkeypatch)
    assert main([*command, "--out", str(tmp_path / "shared"), "--workers", "2"]) == 0
    alone, shared = (tfinv.Results.load(tmp_path / name / "results.npz") for name in ("alone", "shared"))
    for name, layer in alone["NormalizedVariance"].items():
        np.testing.assert_array_equal(layer.values, shared["NormalizedVariance"][name].values)
    assert len(sizes) >= 2
    assert max(sizes) < 12_000  # the images of a task are 256 kB


@pytest.mark.slow
def test_compare_with_workers_sends_no_images_of_a_file(stored, tmp_path, monkeypatch):
    from tfinv.tflite import float32, static_int8

    for name, file in (("float", float32(network())), ("int8", static_int8(network(), images()[:32]))):
        (tmp_path / f"{name}.tflite").write_bytes(file.content)
    command = ["compare", "--before", str(tmp_path / "float.tflite"), "--after", str(tmp_path / "int8.tflite")]
    command += ["--data", str(stored), "--quiet", "--measured-samples", "400", "--transformations", "rotations(4)"]
    assert main([*command, "--measures", "NormalizedVariance", "--out", str(tmp_path / "alone")]) == 0
    sizes = weighed(monkeypatch)
    with_workers = ["--measures", "NormalizedVariance", "--out", str(tmp_path / "shared"), "--workers", "2"]
    assert main([*command, *with_workers]) == 0
    one, other = ((tmp_path / name / "layers.csv").read_text() for name in ("alone", "shared"))
    assert one == other
    assert sizes
    assert max(sizes) < 3_000  # an image is 256 bytes, and a task has at least 16
