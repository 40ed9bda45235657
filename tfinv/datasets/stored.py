"""Images that stay in their file or folder until a block of them is needed."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tfinv.datasets.disk import OnDisk, changed, check_file, composed, digest
from tfinv.datasets.folder import class_files_of
from tfinv.datasets.folder_images import FolderImages
from tfinv.datasets.npz import check_range, class_numbers, names_in
from tfinv.datasets.npz_images import NpzImages, opened
from tfinv.datasets.request import Request
from tfinv.datasets.sampling import stratified_sample
from tfinv.support.checks import path_like
from tfinv.support.guarded import guarded

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SCANNED = 1024
"""Images that are looked at together for the range of their values."""


@dataclass(frozen=True)
class StoredImages:
    """Images of which a person says where they are, and their labels.

    Args:
        x: the images, float32 `(S, H, W, C)` in [0, 1] where they are read.
        y: int64 `(S,)`, class numbers; None for images without labels.
        classes: class names; label `k` is `classes[k]`.
    """

    x: OnDisk
    y: NDArray[np.int64] | None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    def take(self, indices: Any) -> StoredImages:
        """The images at these positions, in this order."""
        chosen = np.asarray(indices, np.int64)
        return StoredImages(self.x.taken(chosen), None if self.y is None else self.y[chosen], self.classes)

    def subset(self, n: int, seed: int) -> StoredImages:
        """Draw exactly `n` images as `Split.subset` does."""
        return self.take(stratified_sample(self.y, len(self), n, seed))


@guarded()
def on_disk(
    path: str | os.PathLike[str], *, size: Any = None, channels: int | None = None, test: bool = False
) -> StoredImages:
    """Images of an `.npz` file or a folder that are read block by block, where and when they are needed.

    They are those of `load(path, hold_out=False).train` or `.test`, in the order of the file or folder. `evaluate`
    reads them with as little memory as a block takes, and with `distribute` every worker reads its own: it needs the
    same file or folder under the same path.

    Example:
        >>> import tempfile, pathlib
        >>> import numpy as np
        >>> from tfinv import datasets
        >>> path = pathlib.Path(tempfile.mkdtemp(), "images.npz")
        >>> np.savez(path, x=np.zeros((5, 8, 8, 3), "uint8"), y=np.arange(5))
        >>> images = datasets.on_disk(path)
        >>> images.x.shape, images.x[2:4].dtype, images.y.tolist()
        ((5, 8, 8, 3), dtype('float32'), [0, 1, 2, 3, 4])

    Args:
        path: an `.npz` file with `x` and perhaps `y`, written by `np.savez` so that it can be mapped (a compressed one
            is read once per process); or a folder of images or of class folders.
        size: height and width to resize to, or one number for both; None keeps those of the source.
        channels: 1 or 3; None keeps those of the source.
        test: take the test images, where the source has some of its own.

    Returns:
        What `evaluate` takes as `images`.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a file or folder that cannot be used.
    """
    path_like("path", path)
    place = Path(path).expanduser().resolve()
    request = Request.checked(size, channels, 0, None, False)
    if place.is_dir():
        files, classes, shape = class_files_of(place, request, test)
        labels = np.array([file.label for file in files], np.int64)
        x = FolderImages.of(place, [file.path for file in files], shape)
        return StoredImages(x, None if labels.min() < 0 else labels, classes)
    if not place.is_file():
        raise FileNotFoundError(f"path must be an .npz file or a folder; there is no such. Received: {path}")
    known = names_in(place)
    suffix = "" if "x" in known else "_train"
    suffix = "_test" if test and "x_test" in known else suffix
    if f"x{suffix}" not in known:
        raise ValueError(f"{path} must hold the array x. Received: {', '.join(known) or 'none'}")
    raw = opened(str(place), f"x{suffix}")
    largest = check_range(f"{place}: x", _extremes(raw), raw)
    labels, classes = None, ()
    if f"y{suffix}" in known:
        names = opened(str(place), "classes") if "classes" in known else None
        labels, classes = class_numbers(np.asarray(opened(str(place), f"y{suffix}")), names, place, len(raw))
    height, width = request.size or raw.shape[1:3]
    have = raw.shape[3] if raw.ndim == 4 else 1
    shape = (height, width, request.channels or have)
    divide = raw.dtype.kind == "f" and largest > 1
    return StoredImages(NpzImages(str(place), f"x{suffix}", shape, divide, _size(place), len(raw)), labels, classes)


@dataclass(frozen=True)
class MappedArray(OnDisk):
    """An array that is mapped from a file, such as one of `np.load(..., mmap_mode="r")`.

    Args:
        path: the file.
        offset: where the array begins in it, in bytes.
        dtype: of the array.
        whole: the shape of the array.
        size: of the file, in bytes.
        chosen: positions of the images; None for all.
    """

    path: str
    offset: int
    dtype: str
    whole: tuple[int, ...]
    size: int
    chosen: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, array: Any) -> MappedArray | None:
        """What stands for an array; None for one that cannot be mapped again, such as a part of one."""
        is_whole = isinstance(array, np.memmap) and not isinstance(array.base, np.memmap)
        if not is_whole or array.filename is None or not array.flags.c_contiguous or array.mode != "r":
            return None
        path = Path(cast(Any, array.filename))
        return cls(str(path), array.offset, array.dtype.str, array.shape, _size(path))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.whole[1:])

    @property
    def fingerprint(self) -> str:
        return digest(self.path, changed(self.path), self.offset, self.dtype, self.whole, self.chosen)

    def __len__(self) -> int:
        return self.whole[0] if self.chosen is None else len(self.chosen)

    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        check_file(self.path, self.size)
        array = np.memmap(self.path, np.dtype(self.dtype), "r", self.offset, self.whole)
        return np.array(array[composed(self.chosen, chosen)])

    def taken(self, chosen: NDArray[np.integer]) -> MappedArray:
        return replace(self, chosen=composed(self.chosen, np.asarray(chosen)))

    def place(self, position: int) -> str:
        return f"{self.path} ({int(composed(self.chosen, position))})"


def _extremes(images: NDArray[Any]) -> NDArray[Any]:
    """The smallest and the largest value; those of 8 bits without a look."""
    if images.dtype == np.uint8:
        return np.array([0, 255], np.uint8)
    parts = [images[start : start + _SCANNED] for start in range(0, len(images), _SCANNED)]
    # Not a number is told with its image when it is read.
    return np.array(
        [min(np.fmin.reduce(part, None) for part in parts), max(np.fmax.reduce(part, None) for part in parts)]
    )


def _size(path: Path) -> int:
    return path.stat().st_size
