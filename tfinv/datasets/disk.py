"""Images that stay on the disk: what reads them, and the check that they are the ones that were loaded."""

from __future__ import annotations

import hashlib
import os
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ChangedError(ValueError):
    """Files are not what they were when they were opened or loaded."""


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

    @abstractmethod
    def place(self, position: int) -> str:
        """The file of an image, in words."""


@dataclass(frozen=True)
class Verified(OnDisk):
    """Images of the disk that must be those that another process has loaded.

    Args:
        images: where they are.
        sums: uint32 `(S,)`, see `checksums`.
    """

    images: OnDisk
    sums: NDArray[np.uint32]

    @classmethod
    def of(cls, images: OnDisk, loaded: NDArray[Any], chosen: NDArray[np.integer]) -> Verified:
        """Some of the images that were loaded.

        Args:
            images: where all of them are.
            loaded: all of them, `(S, H, W, C)`.
            chosen: positions of those to take.
        """
        return cls(images.taken(chosen), checksums(loaded[chosen]))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    @property
    def fingerprint(self) -> str:
        return digest(self.images.fingerprint, self.sums)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        """Some images.

        Raises:
            ChangedError: one of them is not the one that was loaded.
        """
        read = self.images[chosen]
        changed = np.flatnonzero(checksums(read) != self.sums[chosen])
        if changed.size:
            position = int(np.arange(len(self))[chosen][changed[0]])
            raise ChangedError(
                "images must stay as they were when they were loaded; load them again, or give them as an array. "
                f"Received: another image in {self.place(position)}"
            )
        return read

    def taken(self, chosen: NDArray[np.integer]) -> Verified:
        return Verified(self.images.taken(chosen), self.sums[chosen])

    def place(self, position: int) -> str:
        return self.images.place(position)


def checksums(images: NDArray[Any]) -> NDArray[np.uint32]:
    """A number of 32 bits for the content of every image, `(S,)`."""
    return np.array([zlib.crc32(np.ascontiguousarray(image).data) for image in images], np.uint32)


def composed(before: NDArray[np.int64] | None, chosen: Any) -> Any:
    """Positions in the array of what is chosen of the images that were chosen before; None for all."""
    return chosen if before is None else before[chosen]


def check_file(path: str, size: int) -> None:
    """Refuse a file that does not have the size that it had.

    Raises:
        ChangedError: another size.
        OSError: there is no such file.
    """
    here = os.stat(path).st_size
    if here != size:
        raise ChangedError(f"{path} must be the file that was opened, of {size} bytes. Received: one of {here}")


def changed(path: str) -> tuple[int, int]:
    """Two numbers that change when a file is written."""
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns


def digest(*parts: Any) -> str:
    """Text that changes when one of the parts does."""
    made = hashlib.blake2b(digest_size=12)
    for part in parts:
        made.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return made.hexdigest()
