"""Load a saved Keras model without running code from its file."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tfinv.models.legacy import GONE, is_legacy, renewed, way_out
from tfinv.models.stand_ins import subclasses, suggestion, with_plain_layers
from tfinv.support.checks import path_like
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras

SUFFIXES = (".keras", ".h5", ".hdf5")


def is_file_name(name: str) -> bool:
    """Whether a text names a Keras model file by its ending."""
    return name.lower().endswith(SUFFIXES)


@guarded()
def load(
    path: str | os.PathLike[str],
    *,
    custom_objects: Mapping[str, Any] | None = None,
    stand_ins: Mapping[str, str] | None = None,
) -> keras.Model:
    """Load a `.keras` or HDF5 file, for inference or more training with a new optimiser.

    Python code inside the file is never run (`safe_mode=True`), so models with `Lambda` layers are refused. Files of
    Keras 2 are read where Keras 3 has all their layers; settings that it has retired are dropped where they have no
    effect, such as `groups=1` of a depthwise convolution.

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
        stand_ins: names of layers of Keras by the name of a class in the file, such as `{"DW": "DepthwiseConv2D"}`:
            a class that is not at hand, or not to be run, is read as that layer. Only you know whether it computes
            the same.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: no such file, another kind of file, a damaged one, one that holds code or unknown classes, or a
            stand-in that is no layer of Keras.
    """
    import tfinv.layers
    import tfinv.transformations.augmentation  # noqa: F401  (both register layers, models may hold them)

    path_like("path", path)
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"path must name a Keras model file, {' or '.join(SUFFIXES)}. Received: {str(path)!r}")
    if not file.is_file():
        raise ValueError(f"path must name an existing model file. Received: {str(path)!r}, which does not exist")
    if file.suffix.lower() == ".keras" and not zipfile.is_zipfile(file):
        raise ValueError(
            f"path must name a readable Keras model. Received: {str(path)!r}, which is damaged or cut short"
        )
    classes = subclasses(stand_ins or {})
    known = {**_unexported(), **(custom_objects or {}), **classes}
    try:
        with renewed(file) if is_legacy(file) else nullcontext(file) as readable:
            model = keras.saving.load_model(readable, custom_objects=known, compile=False, safe_mode=True)
        return with_plain_layers(model, classes) if classes else model
    except MemoryError:
        raise
    except Exception as error:  # Keras raises nearly every kind, and the user's answer is the same: another file
        raise ValueError(
            f"path must name a readable Keras model. Received: {str(path)!r}: {_reason(error, file)}"
        ) from error


def _unexported() -> dict[str, Any]:
    """Layers of networks in `keras.applications` that Keras has, but does not find by their name in a file."""
    from keras.src.applications import convnext

    return {name: getattr(convnext, name) for name in ("LayerScale", "StochasticDepth") if hasattr(convnext, name)}


def _reason(error: Exception, file: Path) -> str:
    text = " ".join(str(error).split())
    unknown = re.search(r"(?:locate class|Unknown \w+:|deserialize) '(?:keras\.layers\.)?([^']+)'", text)
    out = way_out(file) if is_legacy(file) else ""
    if unknown and unknown[1] in GONE:
        return f"it holds the class {unknown[1]!r} of Keras 2{out}"
    if unknown:
        name, layer = unknown[1], suggestion(file, unknown[1])
        hint = (
            f"; its settings are those of keras.layers.{layer}: if it computes the same, read it as that "
            f"(--layer-class {name}={layer}, in Python stand_ins={{{name!r}: {layer!r}}})"
        )
        return f"it holds the unknown class {name!r}, which must be given in custom_objects{hint if layer else ''}"
    if "safe_mode" in text or "Lambda" in text:
        return "it holds Python code (a Lambda layer), which is not run from files"
    kinds = re.findall(r"deserializing class '([^']+)' using config=\{'name': '([^']+)'", text)
    where = f"in the layer {kinds[-1][1]!r} of the class {kinds[-1][0]}: " if kinds else ""
    cause = text.rpartition("Exception encountered: ")[2]
    what = "a setting cannot be read" if out else "it is damaged or not a Keras model"
    return f"{what} ({where}{type(error).__name__}: {cause}){out}"
