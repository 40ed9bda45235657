"""Tables, results and arrays of a comparison or a study as one `.npz` file, no pickle (comparison, study)."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.results import Results
from tfinv.support.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def save_parts(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    facts: Mapping[str, Any],
    *,
    frames: Mapping[str, pd.DataFrame],
    results: Mapping[str, Results],
    arrays: Mapping[str, NDArray[Any]],
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
    """
    parts: dict[str, NDArray[Any]] = {f"a.{name}": np.asarray(each) for name, each in arrays.items()}
    for number, each in enumerate(results.values()):
        parts |= {f"r{number}.{name}": array for name, array in each.to_arrays().items()}
    header = {
        "format": kind,
        "version": version,
        "facts": dict(facts),
        "frames": {name: frame_to_json(each) for name, each in frames.items()},
        "results": list(results),
    }
    parts["header"] = np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8)
    with atomic_write(path) as file:
        np.savez_compressed(file, **parts)  # type: ignore[arg-type]


def load_parts(
    path: str | os.PathLike[str], kind: str, version: int
) -> tuple[dict[str, Any], dict[str, pd.DataFrame], dict[str, Results], dict[str, NDArray[Any]]]:
    """Read what `save_parts` wrote.

    Returns:
        Facts, frames, results and arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a truncated file, one of another kind, or of a version this code does not know.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            header = json.loads(bytes(data["header"]).decode())
            if header.get("format") != kind:
                raise ValueError(f"its format is {header.get('format')!r}")
            if header.get("version") != version:
                raise ValueError(f"it is version {header.get('version')!r}, this tfinv reads version {version}")
            loaded = {name: data[name] for name in data.files}
        results = {
            name: Results.from_arrays(_under(loaded, f"r{number}.")) for number, name in enumerate(header["results"])
        }
        frames = {name: frame_from_json(each) for name, each in header["frames"].items()}
        return header["facts"], frames, results, _under(loaded, "a.")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"path must be a complete file of the kind {kind} ({error}). Received: {path}") from None


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
        values = [_plain(each, is_text=kind == "O") for each in frame[name].tolist()]
        columns[str(name)] = {"kind": kind, "values": values}
    return columns


def frame_from_json(columns: Mapping[str, Any]) -> pd.DataFrame:
    """What `frame_to_json` gave."""
    import pandas as pd

    kinds = {"f": np.float64, "i": np.int64, "u": np.int64, "b": np.bool_}
    found = {}
    for name, column in columns.items():
        values = column["values"]
        found[name] = np.array(values, kinds[column["kind"]]) if column["kind"] in kinds else values
    return pd.DataFrame(found)


def _plain(value: Any, *, is_text: bool) -> Any:
    """A value that JSON has; among texts, NaN is how pandas says that there is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if is_text and math.isnan(value) else str(value)
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): each for name, each in arrays.items() if name.startswith(prefix)}
