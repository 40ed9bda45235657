"""Layer numbers as node data for the Model Explorer graph viewer (comparison -> JSON)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.support.files import write_json

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.tflite.comparison.comparison import Comparison
    from tfinv.tflite.studies.result import StudyResult

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


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write one file a measure and one for SQNR; see `Comparison.model_explorer`."""
    tensors = comparison.fidelity[["layer", "tensor_after"]]
    files = {}
    for measure in dict.fromkeys(comparison.layers["measure"]):
        own = comparison.layers[comparison.layers["measure"] == measure].merge(tensors, on="layer")
        files[f"change_of_{measure}"] = node_data(own, "relative", "tensor_after", CHANGE_COLOURS)
    files["sqnr_db"] = node_data(comparison.fidelity, "sqnr_db", "tensor_after", SQNR_COLOURS)
    return _write(files, folder)


def write_study(study: StudyResult, folder: Path) -> list[Path]:
    """Write the same for every recipe of a study, and the sensitivity of layers; see `StudyResult.model_explorer`."""
    paths = []
    for recipe, rows in study.layers.groupby("recipe", sort=False):
        own = rows[rows["tensor"].notna()]
        files = {
            f"change_of_{measure}": node_data(each, "relative", "tensor", CHANGE_COLOURS)
            for measure, each in own.groupby("measure", sort=False)
        }
        one_a_layer = own.drop_duplicates("layer")
        files["sqnr_db"] = node_data(one_a_layer, "sqnr_db", "tensor", SQNR_COLOURS)
        paths += _write(files, folder / str(recipe))
    if len(study.sensitivity):
        each_scheme = study.sensitivity.groupby(["scheme", "mode"], sort=False)
        files = {
            f"sensitivity_{scheme}_{mode}": node_data(own, "relative", "tensor", CHANGE_COLOURS)
            for (scheme, mode), own in each_scheme  # type: ignore[misc]  # the key of two columns is a pair
        }
        paths += _write(files, folder / "float32")
    return paths


def _write(files: Mapping[str, Any], folder: Path) -> list[Path]:
    paths = []
    for name, content in files.items():
        paths.append(folder / f"{_file_name(name)}.json")
        write_json(paths[-1], content)
    return paths


def _file_name(text: str) -> str:
    return "".join(each if each.isalnum() or each in "-_" else "_" for each in text).strip("_")
