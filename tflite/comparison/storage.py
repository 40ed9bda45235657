"""Tables, results and arrays of a comparison or a study as one `.npz` file, no pickle."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.results import Results
from tfinv.support import archive
from tfinv.support.planes import from_planes
from tfinv.support.schema import Rule, Schema

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


_SHAPE = [Rule(int, lambda size: size >= 0, "a whole number of at least 0")]

COLUMN = {"kind": Rule(str, lambda kind: len(kind) == 1, "one letter"), "values": list}
"""What a column of a table is in JSON."""


def save_parts(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    facts: Mapping[str, Any],
    *,
    frames: Mapping[str, pd.DataFrame],
    results: Mapping[str, Results],
    arrays: Mapping[str, NDArray[Any]],
    full_precision: bool = False,
) -> None:
    """Write one file, atomically.

    Args:
        path: the file; by convention it ends in `.npz`.
        kind: says what it is, such as `"tfinv-comparison"`.
        version: of the layout of `facts`, `frames` and the rest.
        facts: JSON values.
        frames: tables by name, with columns of numbers, truth values and texts.
        results: measurements by name.
        arrays: further arrays by name, none of objects.
        full_precision: see `Results.save`.
    """
    parts: dict[str, NDArray[Any]] = {f"a.{name}": np.asarray(array) for name, array in arrays.items()}
    for number, measured in enumerate(results.values()):
        kept = measured.to_arrays(full_precision=full_precision)
        parts.update({f"r{number}.{name}": array for name, array in kept.items()})
    header = {
        "facts": dict(facts),
        "frames": {name: frame_to_json(frame) for name, frame in frames.items()},
        "results": list(results),
    }
    archive.write(path, kind, version, header, parts)


@contextmanager
def loaded_parts(
    path: str | os.PathLike[str], kind: str, version: int, facts: Schema, older: tuple[int, ...] = ()
) -> Iterator[tuple[dict[str, Any], dict[str, pd.DataFrame], dict[str, Results], dict[str, NDArray[Any]]]]:
    """Read what `save_parts` wrote; errors of the block count as errors of the file.

    Args:
        path: the file.
        kind: says what it must be.
        version: the version that is read.
        facts: what the facts must be, see `tfinv.support.schema`.
        older: earlier versions that are read too.

    Yields:
        Facts, frames, results and arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a damaged file, one of another kind, or of a version this code does not know.
    """
    schema = {"planes?": {str: _SHAPE}, "facts": facts, "frames": {str: {str: COLUMN}}, "results": [str]}
    what = f"a complete file of the kind {kind}"
    with archive.opened(path, kind, version, schema, what, older=older) as (header, arrays):
        planes = header.get("planes", {})
        results = {
            name: Results.from_arrays(_results_arrays(arrays, planes, number))
            for number, name in enumerate(header["results"])
        }
        frames = {name: frame_from_json(columns) for name, columns in header["frames"].items()}
        yield header["facts"], frames, results, _under(arrays, "a.")


def _results_arrays(
    arrays: Mapping[str, NDArray[Any]], planes: Mapping[str, Any], number: int
) -> dict[str, NDArray[Any]]:
    """The arrays of one of several results; planes that the header of an earlier file lists are put together again."""
    prefix = f"r{number}."
    result = _under(arrays, prefix)
    for member, shape in planes.items():
        if member.startswith(prefix):
            stored = archive.member(arrays, member, "uint8", (4, math.prod(shape)))
            result[member.removeprefix(prefix)] = from_planes(stored, tuple(shape))
    return result


def frame_to_json(frame: pd.DataFrame) -> dict[str, Any]:
    """A table as JSON values; NaN and infinity become texts.

    Example:
        >>> import pandas as pd
        >>> from tfinv.tflite.comparison.storage import frame_from_json, frame_to_json
        >>> frame = pd.DataFrame({"layer": ["conv"], "sqnr_db": [float("inf")], "real": [True]})
        >>> frame_from_json(frame_to_json(frame)).equals(frame)
        True
    """
    columns = {}
    for name in frame.columns:
        kind = frame[name].dtype.kind if isinstance(frame[name].dtype, np.dtype) else "O"
        values = [_plain(value, is_text=kind == "O") for value in frame[name].tolist()]
        columns[str(name)] = {"kind": kind, "values": values}
    return columns


def frame_from_json(columns: Mapping[str, Any]) -> pd.DataFrame:
    """What `frame_to_json` gave."""
    import pandas as pd

    kinds = {"f": np.float64, "i": np.int64, "u": np.int64, "b": np.bool_}
    frame = {}
    for name, column in columns.items():
        values = column["values"]
        frame[name] = np.array(values, kinds[column["kind"]]) if column["kind"] in kinds else values
    return pd.DataFrame(frame)


def _plain(value: Any, *, is_text: bool) -> Any:
    """A value that JSON has; among texts, NaN is how pandas says that there is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if is_text and math.isnan(value) else str(value)
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
