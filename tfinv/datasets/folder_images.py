"""Images of the files of a folder, decoded when they are needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.decode import decode
from tfinv.datasets.disk import OnDisk, changed, digest
from tfinv.datasets.images import resize, to_channels
from tfinv.datasets.request import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FolderImages(OnDisk):
    """Images of files that are decoded when they are needed.

    Args:
        root: a folder that holds all of them.
        files: their paths in it.
        image_shape: `(H, W, C)` to bring them to.
    """

    root: str
    files: tuple[str, ...]
    image_shape: tuple[int, int, int]

    @classmethod
    def of(cls, root: Path, files: Sequence[Path], image_shape: tuple[int, int, int]) -> FolderImages:
        """Images of some files of a folder."""
        return cls(str(root), tuple(str(file.relative_to(root)) for file in files), image_shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.image_shape)

    @property
    def fingerprint(self) -> str:
        paths = [self.place(position) for position in range(len(self))]
        return digest(self.image_shape, *((path, changed(path)) for path in paths))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        files = [self.place(int(position)) for position in np.arange(len(self))[chosen]]
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
        return replace(self, files=tuple(self.files[int(position)] for position in chosen))

    def place(self, position: int) -> str:
        return os.path.join(self.root, self.files[position])


def read_image(
    path: Path, shape: tuple[int, int, int], decode: Callable[[Path], NDArray[Any]] = decode
) -> NDArray[np.float32]:
    """Decode one file, float32 in [0, 1], and bring it to `(H, W, C)`.

    Raises:
        ValueError: a damaged file.
        OSError: a file that cannot be read.
    """
    height, width, channels = shape
    image = resize(unit(decode(path))[None], height, width)
    return to_channels(image, channels)[0].clip(0, 1)
