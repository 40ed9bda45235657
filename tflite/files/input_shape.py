"""The images that a `.tflite` file takes: where their channels are, and sizes that it leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfinv.activations.layout import TO_FIRST, TO_LAST, Layout, as_images, as_inputs, told_by_shape
from tfinv.support.checks import whole_number
from tfinv.tflite.files.flatbuffer import COPYING_OPERATORS, editable, pack

if TYPE_CHECKING:
    from tfinv.tflite.files.flatbuffer import Graph, Operator

_CHANNELS_LAST = (
    "AVERAGE_POOL_2D",
    "BATCH_TO_SPACE_ND",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "L2_POOL_2D",
    "MAX_POOL_2D",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH",
    "TRANSPOSE_CONV",
)
"""Operators that exist for channels last alone."""
_SIZE = "(height, width)"


def told_layout(graph: Graph) -> Layout:
    """The layout of the images of a file, told by the operators that read them, or else by their shape.

    Args:
        graph: of a file with one input of rank 4.
    """
    index = graph.inputs[0]
    sources = {index}
    for operator in graph.operators:
        if not sources.intersection(operator.inputs):
            continue
        if operator.name in COPYING_OPERATORS:
            sources.update(operator.outputs)
        elif operator.name in _CHANNELS_LAST:
            return "nhwc"
        elif (order := _order(graph, operator)) in (TO_FIRST, TO_LAST):
            return "nchw" if order == TO_LAST else "nhwc"
        else:  # what changes no size moves no channels
            sources.update(i for i in operator.outputs if graph.tensors[i].shape == graph.tensors[index].shape)
    return told_by_shape([None if size < 0 else size for size in graph.tensors[index].shape[1:]])


def first_channels(graph: Graph, layout: Layout) -> frozenset[int]:
    """Numbers of the tensors that are feature maps `(N, C, H, W)`.

    Args:
        graph: the file.
        layout: of its images.
    """
    first = set(graph.inputs) if layout == "nchw" else set()
    for operator in graph.operators:
        maps = [index for index in operator.inputs if len(graph.tensors[index].shape) == 4]
        read = [index for index in maps if index in graph.computed or index in graph.inputs]
        was_first = bool(read) and read[0] in first
        order = _order(graph, operator)
        if order in (TO_FIRST, TO_LAST):
            is_first = order == TO_FIRST and not was_first
        else:
            is_first = was_first and operator.name not in _CHANNELS_LAST
        if is_first:
            first.update(index for index in operator.outputs if len(graph.tensors[index].shape) == 4)
    return frozenset(first)


def with_input_size(graph: Graph, size: Sequence[int] | None, layout: Layout | None) -> bytes:
    """The file with the height and width of its images set, where it leaves them open.

    Args:
        graph: the file.
        size: `(height, width)`; None where the file has them.
        layout: of its images; None for what the file tells.

    Returns:
        The content of the file, as it is where nothing is open.

    Raises:
        ValueError: a size that the file needs and that is not given, or one that does not fit.
    """
    if not _takes_images(graph):
        return graph.content
    tensor = graph.tensors[graph.inputs[0]]
    layout = layout or told_layout(graph)
    shape = tuple(None if length < 1 else length for length in as_images(tensor.shape[1:], layout))
    if size is None:
        if None in shape:
            raise ValueError(
                f"input_size must be given: the model leaves the size of its images open, (H, W, C) = {shape}; "
                f"--input-size HEIGHT WIDTH on the command line. Received: None"
            )
        return graph.content
    if len(size) != 2:
        raise ValueError(f"input_size must be {_SIZE}. Received: {size!r}")
    sizes = [whole_number("input_size", length, 1) for length in size]
    if None not in shape[:2] or any(fixed not in (None, wanted) for fixed, wanted in zip(shape, sizes, strict=False)):
        raise ValueError(
            f"input_size must be a size that the model leaves open; it takes images (H, W, C) of {shape}. "
            f"Received: {tuple(sizes)}"
        )
    model = editable(graph.content)
    entry = model.subgraphs[0].tensors[tensor.index]
    wanted = as_inputs((*sizes, shape[2]), layout)
    entry.shape = [max(1, tensor.shape[0]), *wanted]
    entry.shapeSignature = [tensor.shape[0], *wanted]
    return pack(model)


def _takes_images(graph: Graph) -> bool:
    return len(graph.inputs) == 1 and len(graph.tensors[graph.inputs[0]].shape) == 4


def _order(graph: Graph, operator: Operator) -> tuple[int, ...] | None:
    """The constant order of axes of a TRANSPOSE; None for other operators."""
    if operator.name != "TRANSPOSE" or len(operator.inputs) < 2 or operator.inputs[1] in graph.computed:
        return None
    return tuple(int(axis) for axis in graph.constant(operator.inputs[1]).ravel())
