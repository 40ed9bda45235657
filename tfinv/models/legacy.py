"""Read model files of Keras 2: settings that Keras 3 has retired are dropped where that changes no value."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfinv.support.lazy import keras

ANY = object()
RETIRED: dict[str, Any] = {
    "groups": 1,
    "time_major": False,
    "noise_shape": None,
    "kernel_regularizer": None,
    "kernel_constraint": None,
    "kernel_initializer": ANY,
    "rng_type": ANY,
    "query_shape": ANY,
    "key_shape": ANY,
    "value_shape": ANY,
    "softmax_robust_masking": False,
    "trainable": ANY,
}
"""Settings of Keras 2 by the value without effect. Initial values and seeds have none: weights are stored, and
random layers do nothing where nothing is trained. Shapes of attention are those of the layers before it."""
_CALLS = ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty")
_ADD = "__operators__.add"
"""The sum of two tensors, which Keras 2 writes as a call of a function."""
GONE = (*_CALLS, "LocallyConnected1D", "LocallyConnected2D", "CuDNNGRU", "CuDNNLSTM")
"""Classes of Keras 2 that Keras 3 does not have."""
_POLICIES = ("Policy", "PolicyV1", "DTypePolicy")


def is_legacy(file: Path) -> bool:
    """Whether a model file was written by Keras 2 or earlier.

    Args:
        file: an existing `.keras` or HDF5 file, perhaps a damaged one.
    """
    return _version(file).startswith(("1.", "2."))


@contextmanager
def renewed(file: Path) -> Iterator[Path]:
    """A copy of a file of Keras 2 as Keras 3 would have written its settings, for as long as the context lasts.

    Args:
        file: a `.keras` or HDF5 file for which `is_legacy` holds.

    Yields:
        The path of the copy.
    """
    with TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
                for name in old.namelist():
                    content = old.read(name)
                    if name == "config.json":
                        content = json.dumps(modern(json.loads(content))).encode()
                    new.writestr(name, content)
        else:
            import h5py  # type: ignore[import-not-found]  # of Keras

            shutil.copyfile(file, copy)
            with h5py.File(copy, "r+") as archive:
                config: Any = archive.attrs["model_config"]
                archive.attrs["model_config"] = json.dumps(modern(json.loads(config)))
        yield copy


def modern(config: Any) -> Any:
    """The configuration of a model or a layer of Keras 2, with the names and settings of Keras 3.

    Example:
        >>> from tfinv.models.legacy import modern
        >>> modern({"class_name": "DepthwiseConv2D", "config": {"name": "block/dw", "kernel_size": 3, "groups": 1}})
        {'class_name': 'DepthwiseConv2D', 'config': {'name': 'block_dw', 'kernel_size': 3}}

    Args:
        config: JSON values. A setting that changes values is kept, so that Keras refuses it by name.
    """
    names = {name: name.replace("/", "_") for name in _layer_names(config) if "/" in name}
    return _modern(config, names)


def way_out(file: Path) -> str:
    """How to measure a file of Keras 2 that Keras 3 cannot read."""
    name, target = str(file), str(file.with_suffix(".tflite"))
    return (
        "; Keras 2 wrote it, and Keras 3 cannot read it. Convert it and measure the .tflite file: pip install "
        f'tf_keras; python -c "import tensorflow as tf, tf_keras; net = tf_keras.models.load_model({name!r}, '
        f"compile=False); open({target!r}, 'wb').write(tf.lite.TFLiteConverter.from_keras_model(net).convert())\""
    )


def _version(file: Path) -> str:
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
        import h5py  # type: ignore[import-not-found]  # of Keras

        with h5py.File(file, "r") as archive:
            version = archive.attrs.get("keras_version", "")
            return version.decode() if isinstance(version, bytes) else str(version)
    except Exception:  # a damaged file: whoever loads it says so
        return ""


def _layer_names(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and isinstance(config.get("config"), dict):
            yield str(config["config"].get("name", ""))
        config = list(config.values())
    for part in config if isinstance(config, list) else ():
        yield from _layer_names(part)


def _modern(config: Any, names: dict[str, str]) -> Any:
    if isinstance(config, list):
        return [_modern(part, names) for part in config]
    if isinstance(config, str):
        return names.get(config, config)
    if not isinstance(config, dict):
        return config
    kind, settings = config.get("class_name"), config.get("config")
    if not (isinstance(kind, str) and isinstance(settings, dict)):
        return {key: _modern(value, names) for key, value in config.items()}
    if kind in _POLICIES and "name" in settings:
        return settings["name"]
    if kind == "ThresholdedReLU":
        kind, settings = "ReLU", {**_without(settings, "theta"), "threshold": settings.get("theta", 1.0)}
        config = {**_without(config, "build_config"), "class_name": kind}
    if kind == "MultiHeadAttention":  # it is built by its call, which Keras 3 asks another shape for
        config = {**_without(config, "build_config"), "inbound_nodes": _named(config.get("inbound_nodes", []))}
    if kind == "TFOpLambda" and settings.get("function") == _ADD and (nodes := _sums(config.get("inbound_nodes"))):
        kind, settings = "Add", {"name": settings.get("name")}
        config = {"class_name": kind, "name": config.get("name"), "inbound_nodes": nodes}
    axis: Any = settings.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        settings = {**settings, "axis": axis[0]}
    result = {**config, "config": _modern(_from_zero(_without(settings, *_retired(kind, settings))), names)}
    if kind == "Functional" and re.match(r"(tf_)?keras\b", str(config.get("module", ""))):
        result |= {"module": "keras.src.models.functional", "registered_name": "Functional"}
    return {key: value if key == "config" else _modern(value, names) for key, value in result.items()}


def _from_zero(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a network, with the calls of nested networks counted from 0: Keras 2 counts their making too."""
    layers = settings.get("layers")
    if not isinstance(layers, list) or "input_layers" not in settings:
        return settings
    nested = {layer["config"].get("name") for layer in layers if "layers" in layer.get("config", {})}
    used = [part for layer in layers for part in _references(layer.get("inbound_nodes"), nested)]
    used += _references([settings["output_layers"]], nested)
    first = {name: min(number for other, number in used if other == name) for name, _ in used}

    def counted(part: Any) -> Any:
        if _is_reference(part) and part[0] in first:
            return [part[0], part[1] - first[part[0]], *map(counted, part[2:])]
        if isinstance(part, dict):
            return {key: counted(value) for key, value in part.items()}
        return [counted(entry) for entry in part] if isinstance(part, list) else part

    return {
        **settings,
        "layers": [{**layer, "inbound_nodes": counted(layer.get("inbound_nodes", []))} for layer in layers],
        "input_layers": _single(settings["input_layers"]),
        "output_layers": _single(counted(settings["output_layers"])),
    }


def _sums(nodes: Any) -> list[Any]:
    """The calls of `x + y` on two tensors as calls of a layer `Add`; none where one of them adds something else."""
    summed = []
    for node in nodes if isinstance(nodes, list) else ():
        # a call is [name, number, output, {"y": the same, "name": None}], alone or in a list of calls
        first = node[0] if isinstance(node, list) and len(node) == 1 and isinstance(node[0], list) else node
        if not (_is_reference(first) and len(first) == 4 and isinstance(first[3], dict)):
            return []
        other = first[3].get("y")
        if not _is_reference(other) or set(first[3]) - {"y", "name"}:
            return []
        summed.append([[*first[:3], {}], [*other[:3], {}]])
    return summed


def _named(nodes: Any) -> Any:
    """Calls of a layer on tensors by name, such as `attention(x, value=x)`, as Keras 3 writes them; others as given."""

    def tensor(reference: Any) -> Any:
        if not _is_reference(reference):
            return reference
        about = {"shape": [None], "dtype": "float32", "keras_history": reference[:3]}
        return {"class_name": "__keras_tensor__", "config": about}

    called = []
    for node in nodes if isinstance(nodes, list) else ():
        if not (isinstance(node, list) and len(node) == 1 and _is_reference(node[0]) and len(node[0]) == 4):
            return nodes
        options = {name: tensor(value) for name, value in node[0][3].items()}
        called.append({"args": [tensor(node[0])], "kwargs": options})
    return called


def _single(tensors: Any) -> Any:
    """The only one of several inputs or outputs, which Keras 3 does not put into a list."""
    return tensors[0] if isinstance(tensors, list) and len(tensors) == 1 and isinstance(tensors[0], list) else tensors


def _references(part: Any, names: set[Any]) -> list[tuple[str, int]]:
    """Calls of some layers that others take, as name and number of the call."""
    if _is_reference(part) and part[0] in names:
        return [(part[0], part[1])]
    parts = [*part.values()] if isinstance(part, dict) else part if isinstance(part, list) else []
    return [reference for entry in parts for reference in _references(entry, names)]


def _is_reference(part: Any) -> bool:
    return isinstance(part, list) and len(part) >= 3 and isinstance(part[0], str) and isinstance(part[1], int)


def _retired(kind: str, settings: dict[str, Any]) -> list[str]:
    """The settings that a layer of Keras 3 does not take and that change nothing."""
    layer: Any = getattr(keras.layers, kind, None)
    if not inspect.isclass(layer):
        return []
    taken = _taken(layer)
    idle = [name for name in settings if name in RETIRED and name not in taken]
    return [name for name in idle if RETIRED[name] is ANY or settings[name] == RETIRED[name]]


def _taken(layer: Any) -> set[str]:
    """Names of the arguments that a class takes, by itself or through its bases."""
    names: set[str] = set()
    for base in layer.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        names |= {parameter.name for parameter in parameters}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return names


def _without(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}
