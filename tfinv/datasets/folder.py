"""Images from a folder of class folders, whatever their sizes, modes and orientations."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tfinv.datasets.decode import SUFFIXES, UNREADABLE, Header, decode, read_header
from tfinv.datasets.folder_images import FolderImages, read_image
from tfinv.datasets.request import TEST_FRACTION, Request, SplitArrays, finish
from tfinv.datasets.sampling import stratified_sample, stratified_split
from tfinv.support.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.datasets.split import Dataset

T = TypeVar("T")

TEST_FOLDERS = ("test", "val", "validation", "valid")
NAMED = 5
"""How many files a warning names."""
PROGRESS_FROM = 500
"""Images from which a progress bar is shown."""


@dataclass(frozen=True)
class ImageFile:
    """An image file and its class number; -1 without classes."""

    path: Path
    label: int


def load_folder(path: Path, request: Request) -> Dataset:
    """Load `path/<class>/*.jpg`, or `path/train/<class>/...` and `path/test/<class>/...`.

    Classes are numbered in the order of their folder names (as numbers where all of them are). Without a test
    folder a stratified fifth is held out; the image of a class with a single one is trained on. Without class
    folders the images have no labels. Damaged files are left out with a warning that names them.

    Args:
        path: the folder.
        request: size (default: the most common one), channels (default: 1 where every image is grey, otherwise 3),
            seed, how many images to read, and whether to hold some out.

    Returns:
        The data set, named after the folder.

    Raises:
        ValueError: no readable image, or too few to hold one out for testing.
    """
    notes = [f"from the folder {path.name}"]
    parts, classes = _list_files(path, notes)
    parts, headers = zip(*(_read_headers(part, notes) for part in parts), strict=True)
    if not all(parts):
        raise ValueError(f"{path} must hold readable images ({', '.join(sorted(SUFFIXES))}). Received: none")
    seen = {file.label for part in parts for file in part}
    for label in sorted(set(range(len(classes))) - seen):
        _say(f"class {classes[label]!r} has no readable image; its label {label} stays unused", notes)
    height, width, channels = _target_shape([header for part in headers for header in part], request, notes)
    if len(parts) == 1 and request.hold_out:
        parts = _hold_out(parts[0], path, request.seed)
    arrays, origins = list[Any](), list[FolderImages]()
    for part in parts:
        part = sample_files(part, request)
        images, kept = decode_files(part, (height, width, channels), notes)
        if not kept:
            raise ValueError(f"{path} must hold readable images. Received: only damaged files in one split")
        arrays += [np.stack(images), labels_of(kept)]
        origins.append(FolderImages.of(path, [file.path for file in kept], (height, width, channels)))
    if len(parts) == 1:
        arrays, origins = 2 * arrays, 2 * origins
    return finish(path.name, classes, SplitArrays(*arrays, *origins), request, tuple(notes))


def class_files_of(
    path: Path, request: Request, test: bool = False
) -> tuple[list[ImageFile], tuple[str, ...], tuple[int, int, int]]:
    """The readable files of a folder, which are not decoded; the class names; and the shape to bring the images to.

    Args:
        path: the folder.
        request: size and channels.
        test: of a folder with a `train` and a `test` folder take the latter.

    Raises:
        ValueError: no readable image.
    """
    notes: list[str] = []
    parts, classes = _list_files(path, notes)
    parts, headers = zip(*(_read_headers(part, notes) for part in parts), strict=True)
    if not all(parts):
        raise ValueError(f"{path} must hold readable images ({', '.join(sorted(SUFFIXES))}). Received: none")
    shape = _target_shape([header for part in headers for header in part], request, notes)
    return parts[-1 if test else 0], classes, shape


def _list_files(path: Path, notes: list[str]) -> tuple[list[list[ImageFile]], tuple[str, ...]]:
    """The files of the folder, or of its train and its test folder; and the class names."""
    train = path / "train"
    tests = [path / name for name in TEST_FOLDERS if (path / name).is_dir()]
    roots = [train, *tests[:1]] if train.is_dir() else [path]
    classes_of = [_class_files(root, notes) for root in roots]
    names = {name for part in classes_of for name in part}
    if not names:
        return [[ImageFile(file, -1) for file in _images_in(root.glob("*"))] for root in roots], ()
    classes = sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names)
    for root in roots:
        if loose := _images_in(root.glob("*")):
            _say(f"{len(loose)} images lie beside the class folders of {root.name!r} and are left out", notes)
    return [
        [ImageFile(file, label) for label, name in enumerate(classes) for file in part.get(name, ())]
        for part in classes_of
    ], tuple(classes)


def _class_files(root: Path, notes: list[str]) -> dict[str, list[Path]]:
    files_of = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        inside = list(folder.rglob("*"))
        _count_irregular(folder.name, inside, notes)
        if files := _images_in(inside):
            files_of[folder.name] = files
        else:
            _say(f"class folder {folder.name!r} holds no images and is left out", notes)
    return files_of


def _count_irregular(name: str, paths: Iterable[Path], notes: list[str]) -> None:
    """Say how many entries have the name of an image and are no files, or are symbolic links to folders."""
    named = [path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    kinds = Counter(
        "symbolic links to nothing"
        if path.is_symlink() and not path.exists()
        else "folders"
        if path.is_dir()
        else "pipes, sockets or devices"
        for path in named
        if not path.is_file() and not (path.is_symlink() and path.is_dir())
    )
    linked = sum(path.is_symlink() and path.is_dir() for path in paths)
    if linked:
        kinds["symbolic links to folders"] = linked
    if kinds:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        _say(f"{name!r} holds entries that are no image files and are left out: {counts}", notes)


def _images_in(paths: Iterable[Path]) -> list[Path]:
    return sorted(
        path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _read_headers(files: list[ImageFile], notes: list[str]) -> tuple[list[ImageFile], list[Header]]:
    headers = _each_readable(files, lambda file: read_header(file.path), "reading sizes")
    return _without_damaged(files, headers, notes)


def decode_files(
    files: list[ImageFile],
    shape: tuple[int, int, int],
    notes: list[str],
    decode: Callable[[Path], NDArray[Any]] = decode,
) -> tuple[list[NDArray[np.float32]], list[ImageFile]]:
    """Images of one shape in the order of the files, and the files without the damaged ones, which are noted."""
    images = _each_readable(files, lambda file: read_image(file.path, shape, decode), "reading images")
    kept, images = _without_damaged(files, images, notes)
    return images, kept


def _each_readable(files: list[ImageFile], read: Callable[[ImageFile], T], what: str) -> list[T | None]:
    """Results in the order of the files; None for a file that cannot be read."""

    def attempt(file: ImageFile) -> T | None:
        try:
            return read(file)
        except UNREADABLE:
            return None

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results = []
        with Progress(what, len(files), "file", shown=len(files) >= PROGRESS_FROM) as progress:
            for result in pool.map(attempt, files):
                results.append(result)
                progress.advance()
        return results


def _without_damaged(
    files: list[ImageFile], results: list[T | None], notes: list[str]
) -> tuple[list[ImageFile], list[T]]:
    damaged = [file.path for file, result in zip(files, results, strict=True) if result is None]
    if damaged:
        names = ", ".join(str(path) for path in damaged[:NAMED])
        more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        _say(f"images that cannot be read are left out: {names}{more}", notes)
    pairs = [(file, result) for file, result in zip(files, results, strict=True) if result is not None]
    return [file for file, _ in pairs], [result for _, result in pairs]


def _target_shape(headers: Sequence[Header], request: Request, notes: list[str]) -> tuple[int, int, int]:
    sizes = Counter((header.height, header.width) for header in headers)
    height, width = request.size or max(sizes, key=lambda size: (sizes[size], size))
    resized = len(headers) - sizes[height, width]
    if resized:
        stretched = sum(count for (h, w), count in sizes.items() if abs(h * width - w * height) > max(h, w))
        notes.append(
            f"{resized} of {len(headers)} images were resized to {height}x{width}, {stretched} of them stretched"
        )
    return height, width, request.channels or (1 if all(header.grey for header in headers) else 3)


def _hold_out(files: list[ImageFile], path: Path, seed: int) -> tuple[list[ImageFile], list[ImageFile]]:
    count = len(files)
    try:
        train, test = stratified_split(labels_of(files), count, round(TEST_FRACTION * count), seed)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return [files[k] for k in train], [files[k] for k in test]


def sample_files(files: list[ImageFile], request: Request) -> list[ImageFile]:
    """Choose before decoding: of a large folder, only what was asked for is read."""
    n = len(files) if request.max_samples is None else min(request.max_samples, len(files))
    return [files[k] for k in stratified_sample(labels_of(files), len(files), n, request.seed)]


def labels_of(files: list[ImageFile]) -> NDArray[np.int64] | None:
    """Class numbers of files; None where they have none."""
    labels = np.array([file.label for file in files], np.int64)
    return None if labels.min(initial=0) < 0 else labels


def _say(message: str, notes: list[str]) -> None:
    notes.append(message)
    warnings.warn(message, stacklevel=2)
