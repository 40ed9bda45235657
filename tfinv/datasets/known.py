"""The data sets known by name: digits, MNIST, Fashion-MNIST, CIFAR-10."""

from __future__ import annotations

import io
import lzma
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.decode import SUFFIXES, UNREADABLE, decode
from tfinv.datasets.npz import read_npz
from tfinv.datasets.request import Request, SplitArrays, finish
from tfinv.datasets.sources import download, find

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.datasets.split import Dataset

TEN_DIGITS = tuple(map(str, range(10)))
FASHION_MNIST = (
    *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DIGITS_SIZE = (16, 16)
DIGITS_TEST = 540
LARGEST_MEMBER = 1 << 20
"""Bytes of a file in an archive beyond which it is not a 32x32 image."""

_SPLIT_SEED = 0
_ORIGINS = {
    "mnist": "mnist.npz of keras.datasets (CC BY-SA 3.0)",
    "fashion_mnist": "Fashion-MNIST from https://github.com/zalandoresearch/fashion-mnist (MIT)",
    "cifar10": "CIFAR-10 from https://www.cs.toronto.edu/~kriz/cifar.html",
}


def load_digits(request: Request) -> Dataset:
    """Scikit-learn's 1797 handwritten digits, 16x16x1 unless asked otherwise, 1257 to train and 540 to test.

    The 8x8 originals (counts 0..16, divided by 16) are enlarged bilinearly. The stratified split is fixed.
    """
    from sklearn.datasets import load_digits as load

    bunch: Any = load()
    images = (bunch.images / 16).astype(np.float32)
    arrays = SplitArrays.held_out(images, bunch.target, _SPLIT_SEED, DIGITS_TEST)
    size = request.size or DIGITS_SIZE
    request = Request(size, request.channels, request.seed, request.max_samples)
    return finish("digits", TEN_DIGITS, arrays, request, ("from scikit-learn",))


def load_mnist(request: Request) -> Dataset:
    """MNIST, 28x28x1, 60000 to train and 10000 to test."""
    return _complete("mnist", TEN_DIGITS, request)


def load_fashion_mnist(request: Request) -> Dataset:
    """Fashion-MNIST, 28x28x1, 60000 to train and 10000 to test; or a subset with a fixed stratified split."""
    subset = find("fashion_mnist/fashion_mnist_subset.npz")
    if find("fashion_mnist/fashion_mnist.npz") is None and subset is not None:
        x, y = _arrays(subset, "x", "y")
        arrays = SplitArrays.held_out(x, y, _SPLIT_SEED)
        note = f"a subset of {len(x)} images, from {subset.name}; a fifth is held out"
        return finish("fashion_mnist", FASHION_MNIST, arrays, request, (note,))
    return _complete("fashion_mnist", FASHION_MNIST, request)


def load_cifar10(request: Request) -> Dataset:
    """CIFAR-10, 32x32x3, 50000 to train and 10000 to test; or a training subset and the test images as JPEG."""
    train, test = find("cifar10/cifar10_train_first4000.npz"), find("cifar10/cifar10_jpeg_test10000.tar.xz")
    if find("cifar10/cifar10.npz") is None and train is not None and test is not None:
        (x, y), (x_test, y_test) = _arrays(train, "x", "y"), read_image_archive(test, CIFAR10)
        arrays = SplitArrays(x, y, x_test, y_test)
        notes = (
            f"training: the first {len(x)} images, from {train.name}",
            f"test: JPEG copies (lossy), from {test.name}",
        )
        return finish("cifar10", CIFAR10, arrays, request, notes)
    return _complete("cifar10", CIFAR10, request)


def read_image_archive(path: Path, classes: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read `.../<class>/<image>` from a tar archive in memory: nothing is extracted to disk.

    Args:
        path: a tar archive, compressed or not.
        classes: class names; label `k` is `classes[k]`.

    Returns:
        uint8 `(S, H, W, C)` and int64 `(S,)`, shuffled by a fixed seed, so that no run of them is of one class.

    Raises:
        ValueError: a damaged archive or image, a folder that is no class, or no image at all.
    """
    images: dict[tuple[int, str], NDArray[Any]] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if not member.isfile() or name.suffix.lower() not in SUFFIXES:
                    continue
                if name.parent.name not in classes or member.size > LARGEST_MEMBER:
                    raise ValueError(
                        f"{member.name} ({member.size} bytes) is not a small image of {', '.join(classes)}"
                    )
                file = archive.extractfile(member)
                assert file is not None
                images[classes.index(name.parent.name), member.name] = decode(io.BytesIO(file.read()))
    except (tarfile.TarError, lzma.LZMAError, EOFError, *UNREADABLE) as error:
        raise ValueError(f"{path} is not a readable archive of class folders: {error}") from error
    if len({image.shape for image in images.values()}) != 1:
        raise ValueError(f"{path} must hold images of one shape. Received: {len(images)} images")
    keys = sorted(images)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(keys))
    return np.stack([images[keys[k]] for k in order]), np.array([keys[k][0] for k in order], np.int64)


def _complete(name: str, classes: tuple[str, ...], request: Request) -> Dataset:
    path = find(f"{name}/{name}.npz")
    if path is not None:
        x_train, y_train, x_test, y_test = _arrays(path, "x_train", "y_train", "x_test", "y_test")
        source = path.name
    else:
        (x_train, y_train), (x_test, y_test) = download(name, _ORIGINS[name])
        source = f"keras.datasets.{name}"
    arrays = SplitArrays(x_train, np.ravel(y_train), x_test, np.ravel(y_test))
    return finish(name, classes, arrays, request, (f"from {source}",))


def _arrays(path: Path, *keys: str) -> list[NDArray[Any]]:
    arrays = read_npz(path)
    if not set(keys) <= arrays.keys() or any(arrays[key].dtype != np.uint8 for key in keys if key[0] == "x"):
        raise ValueError(f"{path} must hold uint8 images and labels {', '.join(keys)}. Received: {', '.join(arrays)}")
    return [arrays[key] for key in keys]
