"""Models of the command line that are neither Keras nor TFLite."""

from __future__ import annotations

from tfinv.models.opening import KIND_WORDS, FileKind, file_kind


def kind_elsewhere(name: str) -> FileKind | None:
    """What a name means that is no Keras and no `.tflite` model; None where it is one.

    Example:
        >>> from tfinv.commands.elsewhere import kind_elsewhere
        >>> kind_elsewhere("net.onnx"), kind_elsewhere("net.pt"), kind_elsewhere("net.keras")
        ('onnx', 'pytorch', None)

    Args:
        name: as the user wrote it.
    """
    kind = file_kind(name)
    return None if kind in ("keras", "tflite") else kind


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
            also = "" if kind == "pytorch" else f"; measure takes {KIND_WORDS[kind]} too"
            raise ValueError(f"{command} takes {takes}{also}. Received: {name}, {KIND_WORDS[kind]}")
