"""Keep what an evaluation has gathered in a file now and then, and go on from it after an interruption."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfinv.support import archive
from tfinv.support.archive import Arrays
from tfinv.support.checks import finite
from tfinv.support.schema import Rule

FORMAT, VERSION = "tfinv-checkpoint", 2
_PROGRESS = Rule(
    list,
    lambda pair: len(pair) == 2 and isinstance(pair[0], str) and type(pair[1]) is int and pair[1] >= 0,
    "the name of a part and its number of samples",
)
_SCHEMA = {"configuration": dict, "parts": [str], "notes": dict, "members": dict, "progress?": _PROGRESS}


class Checkpoint:
    """Named parts of an evaluation, finished ones and the one in progress, in one file that is replaced atomically.

    Args:
        path: the file; it is made when something is worth saving, and removed by `finish`.
        every: seconds between saves; fewer where saving itself takes long (see `SHARE`).
    """

    SHARE = 0.05
    """Largest share of the time that goes into saving."""

    def __init__(self, path: str | os.PathLike[str], every: float = 60.0) -> None:
        finite("every", every, 0, hint=", in seconds")
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
        header = {"configuration": self._configuration, "parts": list(self._parts), "notes": self.notes}
        contents = [*self._parts.values()]
        if self._progress is not None:
            header["progress"] = list(self._progress[:2])
            contents.append(self._progress[2])
        arrays = {f"{number}/{name}": array for number, part in enumerate(contents) for name, array in part.items()}
        archive.write(self.path, FORMAT, VERSION, header, arrays, compress=False)
        end = time.monotonic()
        self._due = end + max(self.every, (end - start) / self.SHARE)

    def finish(self) -> None:
        """Remove the file: the evaluation is complete."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        with archive.opened(
            self.path,
            FORMAT,
            VERSION,
            _SCHEMA,
            "a file that evaluate wrote",
            argument="checkpoint",
            advice="remove it to start anew",
        ) as (header, arrays):
            names = header["parts"] + header.get("progress", [])[:1]
            contents: list[Arrays] = [{} for _ in names]
            for name in header["members"]:
                number, _, field = name.partition("/")
                contents[int(number)][field] = arrays[name]
        _check_same(header["configuration"], self._configuration, self.path)
        self.notes = header["notes"]
        self._parts = dict(zip(header["parts"], contents, strict=False))
        if "progress" in header:
            self._progress = (*header["progress"], contents[-1])


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
