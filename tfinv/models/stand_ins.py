"""Read a class that a model file names, and that is missing here, as the layer of Keras that it was made from."""

from __future__ import annotations

import inspect
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfinv.support.lazy import keras
from tfinv.support.types import KerasModel


def subclasses(stand_ins: Mapping[str, str]) -> dict[str, type]:
    """Classes under the names that the file uses; weights are stored by these names too.

    Example:
        >>> from tfinv.models.stand_ins import subclasses
        >>> subclasses({"DW": "DepthwiseConv2D"})["DW"].__mro__[1].__name__
        'DepthwiseConv2D'

    Args:
        stand_ins: name of a layer in `keras.layers` by the name of a class in the file.

    Raises:
        ValueError: no such layer.
    """
    classes = {}
    for name, layer in stand_ins.items():
        kind = getattr(keras.layers, str(layer), None)
        if not (inspect.isclass(kind) and issubclass(kind, keras.Layer)):
            raise ValueError(f"stand_ins must name layers of keras.layers. Received: {layer!r} for {name!r}")
        classes[name] = type(name, (kind,), {})
    return classes


def with_plain_layers(model: KerasModel, classes: Mapping[str, type]) -> Any:
    """The same model with layers of Keras in the place of the given subclasses; other models are left as they are."""
    if not (
        isinstance(model, keras.Sequential) or hasattr(model, "operations")
    ):  # a subclass: its layers form no graph
        return model
    mine = tuple(classes.values())

    def plain(layer: Any) -> Any:
        kind = type(layer).__mro__[1] if isinstance(layer, mine) else type(layer)
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=plain, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def suggestion(file: Path, name: str) -> str | None:
    """The one layer of Keras whose settings are those that a `.keras` file holds for a class; None if not just one."""
    if not zipfile.is_zipfile(file):
        return None
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
    entry = next((layer for layer in _layers(config) if layer["class_name"] == name), None)
    if entry is None:
        return None
    fitting = [kind for kind in _kinds() if _fits(kind, entry["config"])]
    return fitting[0].__name__ if len(fitting) == 1 else None


def _layers(config: Any) -> Iterator[dict[str, Any]]:
    """Every serialized object inside a configuration."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and isinstance(config.get("config"), dict):
            yield config
        config = list(config.values())
    for part in config if isinstance(config, list) else ():
        yield from _layers(part)


def _kinds() -> list[type]:
    attributes = [getattr(keras.layers, name) for name in dir(keras.layers)]
    return list(
        dict.fromkeys(
            attribute for attribute in attributes if inspect.isclass(attribute) and issubclass(attribute, keras.Layer)
        )
    )


def _fits(kind: Any, config: dict[str, Any]) -> bool:
    try:
        return set(kind.from_config(dict(config)).get_config()) == set(config)
    except Exception:  # whatever a layer says to the settings of another kind of layer
        return False
