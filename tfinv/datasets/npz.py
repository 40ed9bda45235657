"""Images and labels from an .npz file, with the value range read from the values rather than guessed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.npz_images import NpzImages
from tfinv.datasets.request import Request, SplitArrays, finish
from tfinv.support import archive
from tfinv.support.reading import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.datasets.split import Dataset

_WHAT, _ADVICE = "a readable .npz file of plain arrays", "write it with np.savez(path, x=images, y=labels)"
KEYS = "x, y[, x_test, y_test] or x_train, y_train, x_test, y_test"
MOST_CLASSES = 100_000
DARK = 64
"""Values that reach above 1 but not this far are not taken for 0..255."""


def load_npz(path: Path, request: Request) -> Dataset:
    """Load a user's `.npz` file: `x`, optionally `y`, `x_test`, `y_test` and `classes`.

    Args:
        path: the file.
        request: size, channels, subset; the seed makes the split where the file has no test images.

    Returns:
        The data set, named after the file.

    Raises:
        ValueError: not an `.npz` file, pickled objects, missing arrays, images or labels that cannot be used.
    """
    arrays = read_npz(path)
    suffix = "" if "x" in arrays else "_train"
    x, y = arrays.get(f"x{suffix}"), arrays.get(f"y{suffix}")
    x_test, y_test = arrays.get("x_test"), arrays.get("y_test")
    if x is None:
        raise ValueError(f"{path} must hold the arrays {KEYS}. Received: {', '.join(arrays) or 'none'}")
    if x_test is not None and (y is None) != (y_test is None):
        raise ValueError(f"{path} must label both x and x_test, or neither. Received: {', '.join(arrays)}")
    y_test = None if x_test is None else y_test
    notes = [f"from {path.name}"]
    images = _unit_range({"x": x} if x_test is None else {"x": x, "x_test": x_test}, path, notes)
    labels, classes = _labels([part for part in (y, y_test) if part is not None], arrays.get("classes"), path)
    for key, part, label in zip(images, images.values(), labels, strict=False):
        if len(label) != len(part):
            raise ValueError(f"{path}: {key} holds {len(part)} images. Received: {len(label)} labels for them")
    origin = _origin(path, f"x{suffix}", x, x_test)
    if x_test is None and not request.hold_out:
        everything = images["x"], labels[0] if labels else None
        parts = SplitArrays(*everything, *everything, origin, origin)
    elif x_test is None:
        parts = SplitArrays.held_out(images["x"], labels[0] if labels else None, request.seed, origin=origin)
    else:
        origin_test = _origin(path, "x_test", x_test, x)
        y_train, y_test = (labels[0], labels[1]) if labels else (None, None)
        parts = SplitArrays(images["x"], y_train, images["x_test"], y_test, origin, origin_test)
    return finish(path.stem, classes, parts, request, tuple(notes))


def _origin(path: Path, name: str, x: NDArray[Any], other: NDArray[Any] | None) -> NpzImages | None:
    """Where other processes read an array of images; None where the values of the other array change what it means."""
    if other is not None and other.dtype != x.dtype:
        return None
    divide = x.dtype.kind == "f" and max(float(part.max()) for part in (x, other) if part is not None) > 1
    shape = (*x.shape[1:3], x.shape[3] if x.ndim == 4 else 1)
    place = path.resolve()
    return NpzImages(str(place), name, shape, divide, place.stat().st_size, len(x))


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz` file; nothing is unpickled.

    Raises:
        ValueError: the file is damaged, or is no `.npz` file, or holds pickled objects.
    """
    with reading(path, _WHAT, argument="name_or_path", advice=_ADVICE):
        return archive.load_arrays(path)


def names_in(path: Path) -> list[str]:
    """The names of the arrays of an `.npz` file.

    Raises:
        ValueError: the file is damaged, or is no `.npz` file.
    """
    with reading(path, _WHAT, argument="name_or_path", advice=_ADVICE):
        return archive.names(path)


def check_range(what: str, ends: NDArray[Any], images: NDArray[Any]) -> float:
    """Refuse images that `load_npz` would refuse, from their smallest and largest value.

    Args:
        what: what to call them in an error.
        ends: the two values.
        images: the images, `(S, H, W)` or `(S, H, W, C)`, of which the values are not read.

    Returns:
        The largest value.
    """
    _check_images(what, images[:1])
    _unit_range({"x": ends.reshape(2, 1, 1, 1)}, Path(what), [])
    return float(ends[-1])


def class_numbers(
    labels: NDArray[Any], names: NDArray[Any] | None, path: Path, count: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The class numbers and names of `count` images, as `load_npz` reads them.

    Raises:
        ValueError: labels that cannot be used, or another number of them.
    """
    (numbers,), classes = _labels([labels], names, path)
    if len(numbers) != count:
        raise ValueError(f"{path}: x holds {count} images. Received: {len(numbers)} labels for them")
    return numbers, classes


def _unit_range(arrays: dict[str, NDArray[Any]], path: Path, notes: list[str]) -> dict[str, NDArray[Any]]:
    """Bring images to uint8 or to floats in [0, 1] by one rule for the whole file."""
    for key, x in arrays.items():
        _check_images(f"{path}: {key}", x)
    low, high = min(float(x.min()) for x in arrays.values()), max(float(x.max()) for x in arrays.values())
    floating = any(x.dtype.kind == "f" for x in arrays.values())
    if low < 0 or high > 255:
        raise ValueError(f"{path}: images must lie in [0, 1] or in 0..255. Received: values from {low:g} to {high:g}")
    if floating and high <= 1:
        return arrays
    if floating and high < DARK:
        raise ValueError(
            f"{path}: images must lie in [0, 1] or in 0..255, and values up to {high:g} could mean either: "
            f"scale them to [0, 1] first"
        )
    if all(x.dtype.kind == "b" for x in arrays.values()):
        return {key: x.astype(np.float32) for key, x in arrays.items()}
    if floating:
        notes.append(f"floating point images with values up to {high:g} were divided by 255")
        return {key: np.asarray(x, np.float32) / np.float32(255) for key, x in arrays.items()}
    if high < DARK:
        message = f"integer images never exceed {high:g}; they were divided by 255 and are nearly black"
        warnings.warn(f"{path}: {message}", stacklevel=4)
        notes.append(message)
    return {key: x.astype(np.uint8) for key, x in arrays.items()}


def _check_images(what: str, x: NDArray[Any]) -> None:
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{what} must be a numeric array of images. Received: {x.dtype}")
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise ValueError(f"{what} must be images (S, H, W) or (S, H, W, C). Received: shape {x.shape}")
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[3] not in (1, 3):
        raise ValueError(
            f"{what} must have its channels last, (S, H, W, C); x.transpose(0, 2, 3, 1) puts them there. "
            f"Received: shape {x.shape}"
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = int(np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))[0])
        raise ValueError(f"{what} must be finite. Received: NaN or infinity in image {bad}")


def _labels(
    labels: list[NDArray[Any]], names: NDArray[Any] | None, path: Path
) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Class numbers and class names; text labels are numbered in sorted order."""
    if not labels:
        return [], ()
    flat = [part[:, 0] if part.ndim == 2 and part.shape[1] == 1 else part for part in labels]
    if all(_tells_several(part) for part in flat):
        columns = flat[0].shape[1]
        classes = tuple(map(str, range(columns) if names is None else np.ravel(names)))
        if len(classes) != columns or any(part.shape[1] != columns for part in flat):
            given = ", ".join(str(part.shape) for part in flat)
            raise ValueError(
                f"{path}: y must have one column per label, the same for all images. "
                f"Received: shapes {given}, {len(classes)} names"
            )
        return [part.astype(np.int64) for part in flat], classes
    for part in flat:
        if part.ndim != 1:
            raise ValueError(
                f"{path}: y must be one class number per image (for one-hot rows: y.argmax(1)), or a row of 0 and 1 "
                f"per image for several labels. "
                f"Received: shape {part.shape}"
            )
    if all(part.dtype.kind == "U" for part in flat):
        classes, numbers = np.unique(np.concatenate(flat), return_inverse=True)
        return np.split(numbers.astype(np.int64), [len(flat[0])])[: len(flat)], tuple(map(str, classes))
    numbers = np.concatenate(flat)
    if numbers.dtype.kind not in "iub" or numbers.min() < 0 or numbers.max() >= MOST_CLASSES:
        raise ValueError(
            f"{path}: y must be class numbers from 0 (below {MOST_CLASSES}), or text. "
            f"Received: {numbers.dtype}{_range(numbers)}"
        )
    classes = tuple(map(str, range(int(numbers.max()) + 1) if names is None else np.ravel(names)))
    if len(classes) <= numbers.max():
        raise ValueError(
            f"{path}: classes must name every label. Received: {len(classes)} names, label {numbers.max()}"
        )
    return [part.astype(np.int64) for part in flat], classes


def _tells_several(labels: NDArray[Any]) -> bool:
    """Whether labels are a matrix of 0 and 1 whose rows are not one-hot."""
    if labels.ndim != 2 or labels.dtype.kind not in "fiub" or not labels.size:
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) != 1).any())


def _range(values: NDArray[Any]) -> str:
    return f" from {values.min()} to {values.max()}" if values.dtype.kind in "iuf" else ""
