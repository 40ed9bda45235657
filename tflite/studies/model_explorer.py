"""Layer numbers of a study as node data for the Model Explorer graph viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tfinv.tflite.comparison.model_explorer import CHANGE_COLOURS, SQNR_COLOURS, node_data, write_files

if TYPE_CHECKING:
    import pandas as pd


def write(layers: pd.DataFrame, sensitivity: pd.DataFrame, folder: Path) -> list[Path]:
    """Write a folder per recipe with one file per quantity, and the sensitivity of layers.

    Args:
        layers: see `StudyResult`.
        sensitivity: see `StudyResult`.
        folder: where to write.

    Returns:
        The paths.
    """
    paths = []
    for recipe, rows in layers.groupby("recipe", sort=False):
        rows = rows[rows["tensor"].notna()]
        files = {
            f"change_of_{measure}": node_data(changes, "relative", "tensor", CHANGE_COLOURS)
            for measure, changes in rows.groupby("measure", sort=False)
        }
        one_a_layer = rows.drop_duplicates("layer")
        files["sqnr_db"] = node_data(one_a_layer, "sqnr_db", "tensor", SQNR_COLOURS)
        paths += write_files(files, folder / str(recipe))
    if len(sensitivity):
        groups = sensitivity.groupby(["scheme", "mode"], sort=False)
        files = {
            f"sensitivity_{scheme}_{mode}": node_data(rows, "relative", "tensor", CHANGE_COLOURS)
            for (scheme, mode), rows in groups  # type: ignore[misc]  # the key of two columns is a pair
        }
        paths += write_files(files, folder / "float32")
    return paths
