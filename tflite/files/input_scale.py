"""What the integers of a `.tflite` file tell about its input scale, and whether the scale in use fits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.input_scale import NAMED, InputScale, input_scale

if TYPE_CHECKING:
    from tfinv.tflite.files.flatbuffer import FileTensor, Graph
    from tfinv.tflite.files.model import TFLiteModel

__all__ = [
    "InputScale",
    "input_range",
    "input_scale",
    "mismatch",
    "saturated",
    "scale_warnings",
    "scales_of_pair",
    "told_by_file",
]

NEAR = 0.05
"""Ends of a range count as those of a named one when they differ by less than this share of its width."""
DARK = 0.25
"""Images whose brightest pixel stayed below this share of a range do not tell that range."""
FIRST_BLOCK, SATURATED = 64, 0.01
"""Images that are looked at, and the share of their pixels that may be cut off without a word."""
COVERED, USED = 0.9, 0.6
"""A scale fits where the file covers this share of its values, and they this share of what the file covers."""


def input_range(graph: Graph) -> tuple[float, float] | None:
    r"""The least and the largest real number that the input can stand for.

        (q_{min} - z) \, s \; .. \; (q_{max} - z) \, s

    A float input that is quantized by the first operator counts as quantized.

    Args:
        graph: the file.

    Returns:
        Both ends; None for floats, and for 16 bits around zero, which tell nothing of where images begin.
    """
    tensor = _quantized_input(graph)
    if tensor is None or tensor.dtype == "int16":
        return None
    limits, scale, zero = np.iinfo(tensor.dtype), float(tensor.scales[0]), int(tensor.zero_points[0])
    return (limits.min - zero) * scale, (limits.max - zero) * scale


def told_by_file(graph: Graph) -> InputScale | None:
    """The input scale that the input's quantization tells; None where it tells none.

    The bytes 0 to 255 of images are shown as they are, except where the range is that of calibration images and nearly
    `0..1`, `0..255` or `-1..1`: then it is that one.

    Args:
        graph: the file.
    """
    ends = input_range(graph)
    if ends is None:
        return None
    low, high = ends
    step = (high - low) / 255
    for text, (gain, offset) in NAMED.items():
        distance = max(abs(low - offset), abs(high - offset - gain))
        dark = abs(low) < NEAR * gain and offset == 0 and DARK * gain <= high < gain
        exact = step / 4 if graph.tensors[graph.inputs[0]].is_quantized else 1.5 * step
        if distance < exact or dark or step * 1.5 < distance < NEAR * gain:
            return input_scale(text)
    return InputScale((high - low,), (low,), f"{low:.4g}..{high:.4g}")


def mismatch(scale: InputScale, graph: Graph) -> str:
    """One sentence where a scale and the input's quantization contradict each other; "" otherwise.

    Args:
        scale: the scale in use.
        graph: the file.
    """
    ends = input_range(graph)
    if ends is None:
        return ""
    (low, high), (least, largest) = ends, scale.range
    common = min(high, largest) - max(low, least)
    told = told_by_file(graph)
    if told == scale or (common >= COVERED * (largest - least) and common >= USED * (high - low)):
        return ""
    return (
        f"input scale {scale.text} feeds values from {least:.4g} to {largest:.4g}, but the integers of the input stand "
        f"for {low:.4g} to {high:.4g}, as with {told.text if told else 'another scale'}"
    )


def saturated(scale: InputScale, graph: Graph, images: NDArray[np.float32]) -> float:
    """The share of pixels that lie outside of what the integers of the input can stand for.

    Args:
        scale: the scale in use.
        graph: the file.
        images: `(N, H, W, C)` in [0, 1], such as a first block.

    Returns:
        A share; 0 for a float input.
    """
    ends = input_range(graph)
    if ends is None:
        return 0.0
    inputs, step = scale(images), (ends[1] - ends[0]) / 255
    return float(np.mean((inputs < ends[0] - 1.5 * step) | (inputs > ends[1] + 1.5 * step)))


def scale_warnings(model: TFLiteModel, images: NDArray[np.float32]) -> list[str]:
    """What is odd about the input scale that a model is fed by.

    Args:
        model: the file, with its scale.
        images: `(N, H, W, C)` in [0, 1]; the first are looked at.

    Returns:
        Sentences: a scale that the file contradicts, and pixels that its integers cut off. Empty where all is well.
    """
    found = [text] if (text := mismatch(model.input_scale, model.graph)) else []
    share = saturated(model.input_scale, model.graph, images[:FIRST_BLOCK])
    if share > SATURATED:
        found.append(
            f"{share:.0%} of the pixels of the first {min(FIRST_BLOCK, len(images))} images lie beyond what the "
            f"integers of the input can stand for, with input scale {model.input_scale.text}"
        )
    return found


def scales_of_pair(first: TFLiteModel, second: TFLiteModel) -> tuple[TFLiteModel, TFLiteModel]:
    """Two files of one network, one that tells no input scale fed by that of the other which does.

    Args:
        first: a file.
        second: the other.

    Returns:
        Both, `scale_from` of a changed one `"the other file"`.
    """
    origins = first.scale_from, second.scale_from
    if origins == ("default", "the file"):
        return first.with_input_scale(second.input_scale, "the other file"), second
    if origins == ("the file", "default"):
        return first, second.with_input_scale(first.input_scale, "the other file")
    return first, second


def _quantized_input(graph: Graph) -> FileTensor | None:
    """The quantized tensor that images become: the input, or what the only operator that takes it makes of it."""
    index = graph.inputs[0]
    users = [operator for operator in graph.operators if index in operator.inputs]
    if len(users) == 1 and users[0].name == "QUANTIZE" and not graph.tensors[index].is_quantized:
        index = users[0].outputs[0]
    tensor = graph.tensors[index]
    return (
        tensor
        if tensor.is_quantized and tensor.scales.size == 1 and tensor.dtype in ("int8", "uint8", "int16")
        else None
    )
