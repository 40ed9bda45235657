"""Images of one array of an `.npz` file, read when they are needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.disk import OnDisk, changed, check_file, composed, digest
from tfinv.datasets.images import fitted
from tfinv.datasets.request import unit
from tfinv.support import archive
from tfinv.support.reading import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NPZ = "a readable .npz file of plain arrays"


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
        return digest(self.path, changed(self.path), self.name, self.image_shape, self.chosen)

    def __len__(self) -> int:
        return self.count if self.chosen is None else len(self.chosen)

    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        check_file(self.path, self.size)
        raw = opened(self.path, self.name)[composed(self.chosen, chosen)]
        images = np.asarray(raw.astype(np.uint8) if raw.dtype.kind in "iu" else raw)
        images = unit(images if images.ndim == 4 else images[..., None])
        images = images / np.float32(255) if self.divide else images
        return fitted(images, self.image_shape)

    def taken(self, chosen: NDArray[np.integer]) -> NpzImages:
        return replace(self, chosen=composed(self.chosen, np.asarray(chosen)))

    def place(self, position: int) -> str:
        return f"{self.path} ({self.name}, {int(composed(self.chosen, position))})"


@lru_cache(8)
def opened(path: str, name: str) -> NDArray[Any]:
    """An array of a file, opened once per process."""
    with reading(path, _NPZ, argument="images"):
        return archive.load_member(path, name)
