"""Load a saved Keras model without running code from its file (models)."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv._lazy import LazyModule

if TYPE_CHECKING:
    import keras
else:
    keras = LazyModule("keras")

SUFFIXES = (".keras", ".h5", ".hdf5")


def load(path: str | os.PathLike[str], *, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
    """Load a `.keras` or HDF5 file, for inference or more training with a new optimiser.

    Python code inside the file is never run (`safe_mode=True`), so models with `Lambda` layers are refused.

    Example:
        >>> import tempfile
        >>> from tfinv import models
        >>> path = tempfile.mkdtemp() + "/net.keras"
        >>> models.build("ffnet", (8, 8, 1), 10).save(path)
        >>> models.load(path).output_shape
        (None, 10)

    Args:
        path: the file.
        custom_objects: classes of layers of your own, by name, where they are not registered with Keras.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: no such file, another kind of file, a damaged one, or one that holds code or unknown classes.
    """
    import tfinv.transformations.augmentation  # noqa: F401  (registers the layer, models may hold one)

    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"path must name a Keras model file, {' or '.join(SUFFIXES)}. Received: {str(path)!r}")
    if not file.is_file():
        raise ValueError(f"path must name an existing model file. Received: {str(path)!r}, which does not exist")
    if file.suffix.lower() == ".keras" and not zipfile.is_zipfile(file):
        raise ValueError(
            f"path must name a readable Keras model. Received: {str(path)!r}, which is damaged or cut short"
        )
    try:
        return keras.saving.load_model(file, custom_objects=dict(custom_objects or {}), compile=False, safe_mode=True)
    except MemoryError:
        raise
    except Exception as error:  # Keras raises nearly every kind, and the user's answer is the same: another file
        raise ValueError(f"path must name a readable Keras model. Received: {str(path)!r}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    unknown = re.search(r"(?:locate class|Unknown \w+:) '([^']+)'", text)
    if unknown:
        return f"it holds the unknown class {unknown[1]!r}, which must be given in custom_objects"
    if "safe_mode" in text or "Lambda" in text:
        return "it holds Python code (a Lambda layer), which is not run from files"
    return f"it is damaged or not a Keras model ({type(error).__name__}: {text[:120]})"
