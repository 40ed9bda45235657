"""Where data sets come from: the folder TFINV_DATA, then Keras' downloads; what to say without either."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tfinv.support.lazy import keras

if TYPE_CHECKING:
    from numpy.typing import NDArray

VARIABLE = "TFINV_DATA"


def data_folder() -> Path | None:
    """The folder that the environment variable `TFINV_DATA` names; None where it is unset or empty.

    Raises:
        FileNotFoundError: the variable names something that is not a folder.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"{VARIABLE} must name a folder that exists. Received: {VARIABLE}={text}")
    return path


def find(*relative: str) -> Path | None:
    """The first of these paths below `TFINV_DATA` that exists."""
    folder = data_folder()
    if folder is None:
        return None
    return next((folder / path for path in relative if (folder / path).exists()), None)


def download(name: str, where_from: str) -> tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]:
    """Load a data set with `keras.datasets`, from its cache or from the network.

    Args:
        name: a module of `keras.datasets`.
        where_from: what to download by hand, for the error.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, uint8.

    Raises:
        FileNotFoundError: the download fails; says what to put where instead.
    """
    module = getattr(keras.datasets, name)
    try:
        return module.load_data()
    except Exception as error:  # Keras raises bare Exception for a failed download
        raise missing(name, where_from, f"{name}/{name}.npz with x_train, y_train, x_test, y_test", error) from error


def missing(name: str, where_from: str, layout: str, reason: object = None) -> FileNotFoundError:
    """The error for a data set that is not here: what to download, and where it goes."""
    folder = os.environ.get(VARIABLE)
    state = f"{VARIABLE} is {folder}" if folder else f"{VARIABLE} is not set"
    failed = f" Downloading failed: {(str(reason) or repr(reason)).splitlines()[0]}." if reason else ""
    return FileNotFoundError(
        f"data set {name!r} is not on this machine.{failed} Get {where_from} and put it into the folder that the "
        f"environment variable {VARIABLE} names, as {layout} ({state}; see docs/data.md)"
    )
