"""Write files atomically, so that an interrupted or failing run never leaves half a file behind."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

LEFT_OVER = 3600.0
"""A partial file that nobody has written to for so many seconds was left by a process that was killed."""
LONGEST_NAME = 255
"""Bytes in the name of a file or folder, on the usual file systems."""


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of `path` only when the block ends without an error.

    Args:
        path: the file to write; missing parent folders are made.

    Yields:
        A binary file to write to.

    Raises:
        OSError: the folder cannot be made or written, with the path in the message.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(target)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _remove_left_over(target: Path) -> None:
    """Remove partial files of this target that a killed process left behind."""
    beginning, oldest = f".{target.name}.", time.time() - LEFT_OVER
    try:
        with os.scandir(target.parent) as entries:
            left = [entry for entry in entries if entry.name.startswith(beginning) and entry.name.endswith(".part")]
        for entry in left:
            if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime < oldest:
                os.unlink(entry.path)
    except OSError:
        pass  # another process removed it first, or the folder cannot be read, which writing to it will say


def check_output_folder(name: str, path: str | os.PathLike[str]) -> None:
    """Refuse a folder that cannot be made or written; nothing is made.

    Args:
        name: of the argument, for the error.
        path: the folder, which need not exist.

    Raises:
        ValueError: a file stands there or above, the name is too long, or the folder may not be written.
    """
    folder = Path(path)
    expected = f"{name} must be a folder that can be written, or made."
    try:
        if any(len(os.fsencode(part)) > LONGEST_NAME for part in folder.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
    except OSError as error:
        raise ValueError(f"{expected} Received: {str(path)[:200]} ({error.strerror})") from None
    if not folder.is_dir():
        raise ValueError(f"{expected} Received: {path}, where {folder} is a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{expected} Received: {path}, where {folder} is read-only")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write data as indented JSON atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(data, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
