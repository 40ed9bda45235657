"""What the integers of a `.tflite` file tell about its input scale, and whether the scale in use fits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.input_scale import NAMED, InputScale, input_scale

if TYPE_CHECKING:
    from tfinv.tflite.files.flatbuffer import FileTensor, Graph

__all__ = [
    "InputScale",
    "input_range",
    "input_scale",
    "mismatch",
    "saturated",
    "told_by_file",
]

NEAR = 0.05
"""Ends of a range count as those of a named one when they differ by less than this share of its width."""
DARK = 0.25
"""Images whose brightest pixel stayed below this share of a range do not tell that range."""
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
    return tensor.real_range


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


def _quantized_input(graph: Graph) -> FileTensor | None:
    """The quantized tensor that images become: the input, or what the only operator that takes it makes of it."""
    if not graph.inputs:  # which the runner refuses
        return None
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
