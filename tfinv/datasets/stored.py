"""Images that stay in their file or folder until a block of them is needed."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tfinv.datasets.folder import class_files_of, read_image
from tfinv.datasets.images import resize, to_channels
from tfinv.datasets.npz import check_range, class_numbers, names_in
from tfinv.datasets.request import Request, unit
from tfinv.datasets.sampling import stratified_sample
from tfinv.support import archive
from tfinv.support.checks import path_like
from tfinv.support.guarded import guarded
from tfinv.support.reading import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NPZ = "a readable .npz file of plain arrays"
_SCANNED = 1024
"""Images that are looked at together for the range of their values."""


class OnDisk(ABC):
    """What reads images when it is indexed; it is small when it is sent to another process."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """`(S, H, W, C)`."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Text that changes when the files or the choice of images change; no image is read for it."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        """Some images, by a slice or by their positions."""

    @abstractmethod
    def taken(self, chosen: NDArray[np.integer]) -> OnDisk:
        """Some of the images, still on the disk."""


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
        x = FolderImages(tuple(str(file.path) for file in files), shape)
        return StoredImages(x, None if labels.min() < 0 else labels, classes)
    if not place.is_file():
        raise FileNotFoundError(f"path must be an .npz file or a folder; there is no such. Received: {path}")
    known = names_in(place)
    suffix = "" if "x" in known else "_train"
    suffix = "_test" if test and "x_test" in known else suffix
    if f"x{suffix}" not in known:
        raise ValueError(f"{path} must hold the array x. Received: {', '.join(known) or 'none'}")
    raw = _opened(str(place), f"x{suffix}")
    largest = check_range(f"{place}: x", _extremes(raw), raw)
    labels, classes = None, ()
    if f"y{suffix}" in known:
        names = _opened(str(place), "classes") if "classes" in known else None
        labels, classes = class_numbers(np.asarray(_opened(str(place), f"y{suffix}")), names, place, len(raw))
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
        return _digest(self.path, _changed(self.path), self.offset, self.dtype, self.whole, self.chosen)

    def __len__(self) -> int:
        return self.whole[0] if self.chosen is None else len(self.chosen)

    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        _check_file(self.path, self.size)
        array = np.memmap(self.path, np.dtype(self.dtype), "r", self.offset, self.whole)
        return np.array(array[_composed(self.chosen, chosen)])

    def taken(self, chosen: NDArray[np.integer]) -> MappedArray:
        return replace(self, chosen=_composed(self.chosen, np.asarray(chosen)))


@dataclass(frozen=True)
class NpzImages(OnDisk):
    """Images of one array of an `.npz` file.

    Args:
        path: the file.
        name: of the array.
        image_shape: `(H, W, C)` to bring them to.
        divide: whether floats are divided by 255.
        size: of the file, in bytes.
        count: images in the array.
        chosen: positions of the images; None for all.
    """

    path: str
    name: str
    image_shape: tuple[int, int, int]
    divide: bool
    size: int
    count: int
    chosen: NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.image_shape)

    @property
    def fingerprint(self) -> str:
        return _digest(self.path, _changed(self.path), self.name, self.image_shape, self.chosen)

    def __len__(self) -> int:
        return self.count if self.chosen is None else len(self.chosen)

    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        _check_file(self.path, self.size)
        raw = _opened(self.path, self.name)[_composed(self.chosen, chosen)]
        images = np.asarray(raw.astype(np.uint8) if raw.dtype.kind in "iu" else raw)
        images = unit(images if images.ndim == 4 else images[..., None])
        images = images / np.float32(255) if self.divide else images
        return _fitted(images, self.image_shape)

    def taken(self, chosen: NDArray[np.integer]) -> NpzImages:
        return replace(self, chosen=_composed(self.chosen, np.asarray(chosen)))


@dataclass(frozen=True)
class FolderImages(OnDisk):
    """Images of files that are decoded when they are needed.

    Args:
        files: their paths.
        image_shape: `(H, W, C)` to bring them to.
    """

    files: tuple[str, ...]
    image_shape: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.image_shape)

    @property
    def fingerprint(self) -> str:
        return _digest(self.image_shape, *((file, _changed(file)) for file in self.files))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        files = self.files[chosen] if isinstance(chosen, slice) else [self.files[int(k)] for k in chosen]
        if not files:
            return np.empty((0, *self.image_shape), np.float32)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            return np.stack(list(pool.map(self._read, files)))

    def _read(self, file: str) -> NDArray[np.float32]:
        try:
            return read_image(Path(file), self.image_shape)
        except OSError as error:
            if error.errno is not None:  # it is not there
                raise
            raise ValueError(f"images must be readable files. Received: {file} ({error})") from None

    def taken(self, chosen: NDArray[np.integer]) -> FolderImages:
        return replace(self, files=tuple(self.files[int(k)] for k in chosen))


def _composed(before: NDArray[np.int64] | None, chosen: Any) -> Any:
    """Positions in the array of what is chosen of the images that were chosen before; None for all."""
    return chosen if before is None else before[chosen]


@lru_cache(8)
def _opened(path: str, name: str) -> NDArray[Any]:
    """An array of a file, opened once per process."""
    with reading(path, _NPZ, argument="images"):
        return archive.load_member(path, name)


def _fitted(images: NDArray[np.float32], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    height, width, channels = shape
    if images.shape[1:] == shape:
        return images
    if channels < images.shape[3]:
        return resize(to_channels(images, channels), height, width).clip(0, 1)
    return to_channels(resize(images, height, width), channels).clip(0, 1)


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


def _check_file(path: str, size: int) -> None:
    here = os.stat(path).st_size
    if here != size:
        raise ValueError(f"{path} must be the file that was opened, of {size} bytes. Received: one of {here}")


def _changed(path: str) -> tuple[int, int]:
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns


def _digest(*parts: Any) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()
