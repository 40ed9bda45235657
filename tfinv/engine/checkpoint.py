"""Keep what an evaluation has gathered in a file now and then, and go on from it after an interruption (evaluation)."""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.files import atomic_write

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT, VERSION = "tfinv-checkpoint", 1
Arrays = dict[str, "NDArray[Any]"]


class Checkpoint:
    """Named parts of an evaluation, finished ones and the one in progress, in one file that is replaced atomically.

    Args:
        path: the file; it is made when something is worth saving, and removed by `finish`.
        every: seconds between saves; fewer where saving itself takes long (see `SHARE`).
    """

    SHARE = 0.05
    """Largest share of the time that goes into saving."""

    def __init__(self, path: str | os.PathLike[str], every: float = 60.0) -> None:
        if isinstance(every, bool) or not isinstance(every, (int, float)) or not every >= 0:
            raise ValueError(f"every must be a number of seconds. Received: {every!r}")
        self.path, self.every = Path(path), float(every)
        self._configuration: dict[str, Any] = {}
        self._parts: dict[str, Arrays] = {}
        self._progress: tuple[str, int, Arrays] | None = None
        self._due = 0.0
        self.notes: dict[str, Any] = {}
        """What the evaluation that is resumed decided by itself and must decide again, JSON-able."""

    def open(self, configuration: Mapping[str, Any]) -> None:
        """Read the file, if there is one, and refuse that of another evaluation.

        Args:
            configuration: all that decides what is gathered, JSON-able.

        Raises:
            ValueError: the file is damaged, or was written for another configuration; the entry is named.
        """
        self._configuration = json.loads(json.dumps(dict(configuration)))
        self._parts, self._progress, self.notes = {}, None, {}
        self._due = time.monotonic() + self.every
        if self.path.exists():
            self._read()

    def get(self, part: str) -> Arrays | None:
        """The arrays of a finished part; None where it is not finished."""
        return self._parts.get(part)

    def put(self, part: str, arrays: Arrays) -> None:
        """Note that a part is finished; its arrays must not change until it is dropped."""
        self._parts[part] = arrays
        self._progress = None
        if time.monotonic() >= self._due:
            self.save()

    def drop(self, prefix: str) -> None:
        """Forget finished parts whose names begin like this."""
        self._parts = {name: arrays for name, arrays in self._parts.items() if not name.startswith(prefix)}

    def progress(self, part: str) -> tuple[int, Arrays] | None:
        """How many samples of a part in progress are done, and its arrays."""
        if self._progress is None or self._progress[0] != part:
            return None
        return self._progress[1:]

    def tick(self, part: str, samples: int, arrays: Any, *, now: bool = False) -> None:
        """Save a part in progress if it is time to.

        Args:
            part: its name.
            samples: how many are done.
            arrays: a function that gives its arrays.
            now: save in any case.
        """
        if now or time.monotonic() >= self._due:
            self._progress = (part, samples, arrays())
            self.save()
            # Its arrays go on changing: only the file holds this state.
            self._progress = None

    def save(self) -> None:
        """Write the file."""
        start = time.monotonic()
        header: dict[str, Any] = {"format": FORMAT, "version": VERSION, "configuration": self._configuration}
        header["parts"], header["notes"] = list(self._parts), self.notes
        contents = [*self._parts.values()]
        if self._progress is not None:
            header["progress"] = list(self._progress[:2])
            contents.append(self._progress[2])
        arrays = {f"{number}/{name}": array for number, part in enumerate(contents) for name, array in part.items()}
        with atomic_write(self.path) as file:
            np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        end = time.monotonic()
        self._due = end + max(self.every, (end - start) / self.SHARE)

    def finish(self) -> None:
        """Remove the file: the evaluation is complete."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        try:
            with np.load(self.path, allow_pickle=False) as data:
                header = json.loads(bytes(data["header"]).decode())
                if header.get("format") != FORMAT or header.get("version") != VERSION:
                    raise ValueError(f"{header.get('format')!r} version {header.get('version')!r}")
                contents: dict[str, Arrays] = {}
                for name in data.files:
                    number, _, field = name.partition("/")
                    if field:
                        contents.setdefault(number, {})[field] = data[name]
        except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"checkpoint must be a file that evaluate wrote ({error}). Received: {self.path}"
            ) from None
        _check_same(header["configuration"], self._configuration, self.path)
        self.notes = header["notes"]
        self._parts = {name: contents.get(str(number), {}) for number, name in enumerate(header["parts"])}
        if "progress" in header:
            part, samples = header["progress"]
            self._progress = (part, samples, contents[str(len(self._parts))])


def _check_same(saved: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    for entry in dict.fromkeys((*wanted, *saved)):
        if saved.get(entry) != wanted.get(entry):
            raise ValueError(
                f"checkpoint must be of this evaluation, or be removed: {entry} was {_short(saved.get(entry))} and is "
                f"now {_short(wanted.get(entry))}. Received: {path}"
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
