"""Finished pieces of work kept by a hash of their configuration: trained models, results."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from tfinv.support.files import write_json

Value = TypeVar("Value")


class Cache:
    """A folder of finished pieces of work, one sub-folder each, named by what was made and the hash of how.

    A piece appears under its name only when it is complete, so an interrupted run never leaves half of one behind;
    two processes that want the same piece at once make it once. That rests on `flock`: on a file system that several
    machines share it holds where the file system honours `flock` between them, as NFS 4, Lustre mounted with `flock`
    and GPFS do. Where it does not, two machines may make the same piece at once, and the one that ends last is kept,
    whole.

    Args:
        root: the folder; made when first needed.
        force: make everything anew, once in the life of this object.
        report: called with a line of text whenever a piece is re-used or rebuilt.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, force: bool = False, report: Callable[[str], None] | None = None
    ) -> None:
        self.root = Path(root)
        self.force = force
        self._report = report or (lambda _: None)
        self._made: set[Path] = set()

    def path(self, kind: str, config: Mapping[str, Any]) -> Path:
        """Where the piece of this kind and configuration is kept, finished or not."""
        return self.root / kind / config_hash(config)

    def has(self, kind: str, config: Mapping[str, Any]) -> bool:
        """Whether a finished piece is there."""
        return (self.path(kind, config) / "config.json").is_file()

    def kept(self, kind: str, config: Mapping[str, Any]) -> bool:
        """Whether `get` would load it; with `force` that is so once it was made anew."""
        return self.has(kind, config) and (not self.force or self.path(kind, config) in self._made)

    @property
    def made(self) -> int:
        """How many pieces this object made, and did not load."""
        return len(self._made)

    def get(
        self, kind: str, config: Mapping[str, Any], make: Callable[[Path], None], load: Callable[[Path], Value]
    ) -> Value:
        """Load a finished piece, or make it first.

        Args:
            kind: what it is, a folder name such as `"model"`.
            config: everything that determines it, as JSON-able values.
            make: writes it into the (temporary) folder that it is given.
            load: reads it from its folder; any error but that of full memory means that it is damaged and is made anew.

        Returns:
            What `load` returns.
        """
        folder = self.path(kind, config)
        with self._lock(folder):
            if self.kept(kind, config):
                try:
                    value = load(folder)
                    self._report(f"re-used {kind} {folder.name}")
                    return value
                except MemoryError:
                    raise
                except Exception as error:  # whatever may be in it: a list for a mapping, another type
                    warnings.warn(f"cache entry {folder} is damaged and is made anew ({error})", stacklevel=2)
            self._make(folder, config, make)
            self._made.add(folder)
            return load(folder)

    def _make(self, folder: Path, config: Mapping[str, Any], make: Callable[[Path], None]) -> None:
        for left in folder.parent.glob(f".{folder.name}.*/"):  # by a run that was killed: this one holds the lock
            shutil.rmtree(left, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            make(temporary)
            write_json(temporary / "config.json", dict(config))
            _remove(folder)
            temporary.replace(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    @contextmanager
    def _lock(self, folder: Path) -> Iterator[None]:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise ValueError(f"cache must be a folder, and not a file or below one. Received: {self.root}") from None
        place = folder.parent / f".{folder.name}.lock"
        if place.is_dir():  # a lock is a file: nobody holds this one
            _remove(place)
        lock = FileLock(place)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self._report(f"waiting for another run that makes {folder.parent.name} {folder.name}")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def config_hash(config: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a configuration's canonical JSON.

    Raises:
        TypeError: a value that JSON does not know.
    """
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
