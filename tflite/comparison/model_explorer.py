"""Layer numbers as node data for the Model Explorer graph viewer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.support.files import write_json

if TYPE_CHECKING:
    import pandas as pd


CHANGE_COLOURS = ((-0.1, "#5e3c99"), (-0.02, "#b2abd2"), (0.02, "#f7f7f7"), (0.1, "#fdb863"), (1e9, "#e66101"))
"""Upper bounds and colours of relative changes: violet is more invariant, orange less."""
SQNR_COLOURS = ((10.0, "#d7301f"), (20.0, "#fc8d59"), (30.0, "#fdcc8a"), (1e9, "#fef0d9"))
"""Upper bounds and colours of SQNR in dB: the darker, the more noise."""


def node_data(frame: pd.DataFrame, value: str, key: str, colours: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """One number a node, with colours by threshold.

    Example:
        >>> import pandas as pd
        >>> from tfinv.tflite.comparison.model_explorer import node_data
        >>> frame = pd.DataFrame({"tensor": ["net/conv"], "sqnr_db": [33.5]})
        >>> node_data(frame, "sqnr_db", "tensor", [(100, "#ffffff")])["results"]
        {'net/conv': {'value': 33.5}}

    Args:
        frame: one row a node.
        value: the column with the numbers; rows without a finite one are left out.
        key: the column with the names of output tensors, by which the viewer finds nodes.
        colours: upper bound and colour of each range, ascending.

    Returns:
        The content of a file, as the viewer's "custom node data" expects it.
    """
    values: Mapping[str, float] = dict(zip(frame[key], frame[value].astype(float), strict=True))
    return {
        "results": {name: {"value": number} for name, number in values.items() if math.isfinite(number)},
        "thresholds": [{"value": bound, "bgColor": colour} for bound, colour in colours],
    }


def write(layers: pd.DataFrame, fidelity: pd.DataFrame, folder: Path) -> list[Path]:
    """Write one file per measure and one for SQNR.

    Args:
        layers: see `Comparison`.
        fidelity: see `Comparison`.
        folder: where to write.

    Returns:
        The paths.
    """
    tensors = fidelity[["layer", "tensor_after"]]
    files = {}
    for measure in dict.fromkeys(layers["measure"]):
        rows = layers[layers["measure"] == measure].merge(tensors, on="layer")
        files[f"change_of_{measure}"] = node_data(rows, "relative", "tensor_after", CHANGE_COLOURS)
    files["sqnr_db"] = node_data(fidelity, "sqnr_db", "tensor_after", SQNR_COLOURS)
    return write_files(files, folder)


def write_files(files: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write one JSON file per entry, and return their paths."""
    paths = []
    for name, content in files.items():
        paths.append(folder / f"{_file_name(name)}.json")
        write_json(paths[-1], content)
    return paths


def _file_name(text: str) -> str:
    return "".join(character if character.isalnum() or character in "-_" else "_" for character in text).strip("_")
