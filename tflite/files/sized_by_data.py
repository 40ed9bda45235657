"""Tensors whose size depends on the values of the image: they are no array of units."""

from __future__ import annotations

from tfinv.tflite.files.flatbuffer import Graph

SIZING = ("WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5")
"""Operators whose output has a size that depends on values: with other images in the batch they give other results."""
_GATHERS = ("GATHER", "GATHER_ND")
"""Operators whose output has the size of their second input, the positions."""


def sized_by_data(graph: Graph) -> dict[int, str]:
    """By number of a tensor whose size depends on values the operator that makes it so.

    Args:
        graph: the file. A tensor counts only where the file leaves its size open.
    """
    sized: dict[int, str] = {}
    for operator in graph.operators:
        cause = operator.name if operator.name in SIZING else ""
        if not cause:
            read = operator.inputs[1:2] if operator.name in _GATHERS else operator.inputs
            open_inputs = [index for index in read if -1 in graph.tensors[index].shape]
            if open_inputs and all(index in sized for index in open_inputs):
                cause = sized[open_inputs[0]]
        if cause:
            sized.update((index, cause) for index in operator.outputs if -1 in graph.tensors[index].shape)
    return sized
