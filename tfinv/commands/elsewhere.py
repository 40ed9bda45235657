"""Models of the command line that are neither Keras nor TFLite: ONNX files, SavedModels, and why not PyTorch files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tfinv.activations.input_scale import InputScale
from tfinv.activations.layout import Layout

if TYPE_CHECKING:
    from tfinv.activations.foreign import ForeignModel

Kind = Literal["onnx", "saved_model", "pytorch"]
_WORDS = {"onnx": "an ONNX file", "saved_model": "a SavedModel folder", "pytorch": "a PyTorch file"}
_PYTORCH = (".pt", ".pth", ".ckpt", ".pkl", ".safetensors")


def kind_elsewhere(name: str) -> Kind | None:
    """What a name means that is no Keras and no `.tflite` model; None where it is one.

    Example:
        >>> from tfinv.commands.elsewhere import kind_elsewhere
        >>> kind_elsewhere("net.onnx"), kind_elsewhere("net.pt"), kind_elsewhere("net.keras")
        ('onnx', 'pytorch', None)

    Args:
        name: as the user wrote it.
    """
    ending = Path(name).suffix.lower()
    if ending == ".onnx":
        return "onnx"
    if ending in _PYTORCH:
        return "pytorch"
    return "saved_model" if Path(name).is_dir() else None


def refuse_elsewhere(command: str, takes: str, *names: str) -> None:
    """Refuse models that a command does not take.

    Args:
        command: its name.
        takes: what it takes, in words.
        names: as the user wrote them.

    Raises:
        ValueError: one of them is neither a Keras nor a `.tflite` model.
    """
    for name in names:
        if (kind := kind_elsewhere(name)) is not None:
            also = "" if kind == "pytorch" else f"; measure takes {_WORDS[kind]} too"
            raise ValueError(f"{command} takes {takes}{also}. Received: {name}, {_WORDS[kind]}")


def open_elsewhere(
    name: str, kind: Kind, scale: InputScale, size: Sequence[int] | None, layout: Layout | None
) -> ForeignModel:
    """Open an ONNX file or a SavedModel.

    Args:
        name: as the user wrote it.
        kind: of `kind_elsewhere`.
        scale: how images become model inputs.
        size: of `--input-size`.
        layout: of `--layout`.

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
            f"'net.onnx') and measure that. Received: {name}"
        )
    opens = OnnxModel if kind == "onnx" else SavedModel
    return opens(name, input_scale=scale, layout=layout, input_size=size)
