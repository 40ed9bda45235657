"""Files that are read: whatever is wrong with one gives one error, with its path, what is wrong and what to do."""

from __future__ import annotations

import errno
import json
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CUT = "it is damaged, cut short, or no .npz file"
_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, OverflowError)
_CAUSES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((RecursionError,), "its header is nested too deep"),
    ((MemoryError,), "it does not fit into memory"),
    ((NotImplementedError, RuntimeError), "it is encrypted or compressed in a way that NumPy does not write"),
    (_ZIP, _CUT),
    ((tokenize.TokenError, SyntaxError), "the head of an array is damaged"),  # NumPy reads it as Python's tokens
    ((json.JSONDecodeError,), "it is no JSON"),
    ((UnicodeDecodeError,), "it is no text in UTF-8"),
    ((ValueError, TypeError, AttributeError, IndexError), ""),
)
"""Everything that reading may raise, and what it means; the last kind brings its own words."""
_SYSTEM = {
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EACCES: "it may not be read",
    errno.EPERM: "it may not be read",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "its links lead in a circle",
    errno.EMFILE: "too many files are open",
}
"""What the system's errors mean for one who named a file."""
_ALL = (KeyError, OSError, *(kind for kinds, _ in _CAUSES for kind in kinds))


@contextmanager
def reading(path: str | os.PathLike[str], what: str, *, argument: str = "path", advice: str = "") -> Iterator[None]:
    """Turn every way in which a file can be unreadable into one error.

    Example:
        >>> from tfinv.support.reading import reading
        >>> with reading("nowhere.json", "a settings file", argument="settings"):
        ...     open("nowhere.json")
        Traceback (most recent call last):
        FileNotFoundError: settings must be a settings file; there is no such file. Received: nowhere.json

    Args:
        path: the file that the block reads.
        what: what the file must be, such as `"a complete results file written by Results.save"`.
        argument: the argument that named the file.
        advice: what to do about it.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: a folder, a file that may not be read, or one that is damaged or of another kind.
    """
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{argument} must be {what}; there is no such file. Received: {path}") from None
    except _ALL as error:
        then = f"; {advice}" if advice else ""
        raise ValueError(f"{argument} must be {what} ({_cause(error)}){then}. Received: {path}") from None


def read_bytes(path: str | os.PathLike[str], what: str, *, argument: str = "path", advice: str = "") -> bytes:
    """The content of a file.

    Args:
        path: the file.
        what: see `reading`.
        argument: see `reading`.
        advice: see `reading`.

    Raises:
        FileNotFoundError, ValueError: see `reading`.
    """
    with reading(path, what, argument=argument, advice=advice):
        return Path(path).read_bytes()


def read_text(path: str | os.PathLike[str], what: str, *, argument: str = "path", advice: str = "") -> str:
    """The content of a text file in UTF-8; a byte order mark is left out.

    Args:
        path: the file.
        what: see `reading`.
        argument: see `reading`.
        advice: see `reading`.

    Raises:
        FileNotFoundError, ValueError: see `reading`.
    """
    with reading(path, what, argument=argument, advice=advice):
        return Path(path).read_text(encoding="utf-8-sig")


def _cause(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"it lacks {error.args[0] if error.args else 'something'!r}"
    if isinstance(error, OSError):
        if error.errno in (None, errno.EINVAL):  # a place in the file that is not there
            return _CUT
        return _SYSTEM.get(error.errno, f"the system says: {error.strerror}")
    words = next(words for kinds, words in _CAUSES if isinstance(error, kinds))
    return words or str(error)
