"""A model from the file that holds it, whatever kind of file it is: for Python and for the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfinv.activations.input_scale import InputScale
from tfinv.activations.layout import Layout
from tfinv.models.load import SUFFIXES, load
from tfinv.support.guarded import guarded
from tfinv.support.types import KerasModel, Model

if TYPE_CHECKING:
    from tfinv.activations.foreign import ForeignModel

FileKind = Literal["keras", "tflite", "onnx", "saved_model", "pytorch"]
KIND_WORDS: dict[FileKind, str] = {
    "keras": "a Keras file",
    "tflite": "a .tflite file",
    "onnx": "an ONNX file",
    "saved_model": "a SavedModel folder",
    "pytorch": "a PyTorch file",
}
"""The kinds in words."""
_ENDINGS: dict[str, FileKind] = {
    **dict.fromkeys(SUFFIXES, "keras"),
    ".tflite": "tflite",
    ".onnx": "onnx",
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".pkl", ".safetensors"), "pytorch"),
}


def file_kind(path: str | os.PathLike[str]) -> FileKind | None:
    """What kind of model a path names, by its ending, or by its being a folder; None where it names none.

    Example:
        >>> from tfinv.models.opening import file_kind
        >>> file_kind("net.onnx"), file_kind("net.pt"), file_kind("net.keras"), file_kind("net.txt")
        ('onnx', 'pytorch', 'keras', None)

    Args:
        path: the file need not exist.
    """
    kind = _ENDINGS.get(Path(path).suffix.lower())
    return kind or ("saved_model" if Path(path).is_dir() else None)


def known_kind(path: str | os.PathLike[str]) -> FileKind:
    """What kind of model a path names.

    Raises:
        ValueError: it names none, or nothing that exists.
    """
    kind = file_kind(path)
    if kind is None:
        raise ValueError(
            f"model must be a {', '.join(SUFFIXES)}, .tflite or .onnx file, or the folder of a SavedModel. "
            f"Received: {str(path)!r}{'' if Path(path).exists() else ', which does not exist'}"
        )
    if kind == "keras" and not Path(path).exists():
        raise ValueError(f"model must be an existing file. Received: {str(path)!r}, which does not exist")
    return kind


@guarded()
def open_file(path: str | os.PathLike[str]) -> Model:
    """Open a model from its file. No code from the file is run.

    A Keras file gives the Keras model, a `.tflite` file a `tfinv.tflite.TFLiteModel`, an ONNX file and the folder of a
    SavedModel give sources of `tfinv.activations`. All functions that take a model take such a path too. To say how
    images become inputs, make these objects yourself.

    Example:
        >>> import tempfile
        >>> from tfinv import models
        >>> path = tempfile.mkdtemp() + "/net.keras"
        >>> models.build("ffnet", (8, 8, 1), 10).save(path)
        >>> models.open_file(path).output_shape
        (None, 10)

    Args:
        path: of a `.keras`, `.h5`, `.tflite` or `.onnx` file, or of the folder of a SavedModel.

    Raises:
        ValueError: another kind of file, a missing or damaged one, a PyTorch file, which may hold any code.
        FileNotFoundError: there is no such `.tflite` or ONNX file.
        ImportError: the packages that read it are not installed.
    """
    kind = known_kind(path)
    if kind == "keras":
        return load(path)
    if kind == "tflite":
        from tfinv.tflite.files.model import TFLiteModel

        return TFLiteModel(str(path))
    return open_foreign(str(path), kind)


def open_foreign(
    path: str,
    kind: FileKind,
    scale: InputScale | None = None,
    size: Sequence[int] | None = None,
    layout: Layout | None = None,
) -> ForeignModel:
    """Open an ONNX file or a SavedModel.

    Args:
        path: as the user wrote it.
        kind: of `file_kind`.
        scale: how images become model inputs; None for as they are.
        size: height and width of the images, where the model leaves them open.
        layout: where the model has its channels; None for what it tells.

    Raises:
        ImportError: the packages that read it are not installed.
        ValueError: a file that cannot be measured, or a PyTorch file.
    """
    from tfinv.activations import OnnxModel, SavedModel

    if kind == "pytorch":
        raise ValueError(
            "model must be a file that holds no code: a PyTorch file may run any Python when it is loaded, and without "
            "the code of its module it is no network, so it is never read. In Python, load it yourself and measure "
            "tfinv.activations.TorchModel(module.eval(), (H, W, C)); or export it by torch.onnx.export(module, images, "
            f"'net.onnx') and measure that. Received: {path}"
        )
    options: dict[str, Any] = {} if scale is None else {"input_scale": scale}
    return (OnnxModel if kind == "onnx" else SavedModel)(path, layout=layout, input_size=size, **options)


def as_model(model: Model) -> Model:
    """A model that may be given by its path."""
    return open_file(model) if isinstance(model, (str, os.PathLike)) else model


def as_keras_model(model: KerasModel) -> KerasModel:
    """A Keras model that may be given by its path.

    Raises:
        ValueError: a path of another kind of model.
    """
    if not isinstance(model, (str, os.PathLike)):
        return model
    kind = known_kind(model)
    if kind != "keras":
        raise ValueError(f"model must be a Keras model. Received: {str(model)!r}, {KIND_WORDS[kind]}")
    return load(model)
