"""Where a model has its channels: last, or first as in networks that come from PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tfinv.activations.keras_graph import KerasCall, collect, graph_of, walk
from tfinv.support.checks import one_of
from tfinv.support.types import KerasModel, Tensor

Layout = Literal["nhwc", "nchw"]
"""Images `(N, H, W, C)`, or `(N, C, H, W)`."""
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
"""Orders of axes that move channels from the end to the front, and back."""
CHANNELS = (1, 3, 4)
"""Of images: grey, colours, and colours with transparency."""


def checked_layout(layout: Any) -> Layout | None:
    """A layout that a user gives; None for what the model tells.

    Raises:
        ValueError: anything else.
    """
    if layout is not None:
        one_of("layout", layout, Layout)
    return layout


def told_by_shape(shape: Sequence[int | None]) -> Layout:
    """The layout of images of a shape without its batch: channels first only where they cannot come last.

    Example:
        >>> from tfinv.activations.layout import told_by_shape
        >>> told_by_shape((3, 224, 224)), told_by_shape((224, 224, 3)), told_by_shape((4, 4, 2))
        ('nchw', 'nhwc', 'nhwc')

    Args:
        shape: three sizes; None where open.
    """
    first, *others = shape
    is_first = first in CHANNELS and others[1] not in CHANNELS and all(size is None or size > first for size in others)
    return "nchw" if is_first else "nhwc"


def as_images(shape: Sequence[Any], layout: Layout) -> tuple[Any, ...]:
    """`(H, W, C)` of a shape without its batch."""
    return tuple(shape) if layout == "nhwc" else (*shape[1:], shape[0])


def as_inputs(shape: Sequence[Any], layout: Layout) -> tuple[Any, ...]:
    """The shape without its batch that a model of a layout has for images `(H, W, C)`."""
    return tuple(shape) if layout == "nhwc" else (shape[-1], *shape[:-1])


def input_layout(model: KerasModel) -> Layout:
    """The layout of the images of a Keras model, told by the first layers that read them, or else by their shape.

    Example:
        >>> import keras
        >>> from tfinv.activations.layout import input_layout
        >>> conv = keras.layers.Conv2D(4, 3, data_format="channels_first")
        >>> input_layout(keras.Sequential([keras.Input((3, 16, 16)), conv]))
        'nchw'

    Args:
        model: a functional or sequential model with one input of images.

    Raises:
        ValueError: another input.
    """
    graph = graph_of(model)
    shapes = [tuple(symbol.shape) for symbol in graph.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(f"model must have one input of images (N, H, W, C). Received: input shapes {shapes}")
    shape = shapes[0][1:]
    told = told_by_shape(shape)
    images = graph.inputs[0]
    calls, _ = collect(walk(model, [images], lambda layer, arguments, options, symbols: symbols))
    sources = {id(images)}
    for call in calls:
        if not sources.intersection(map(id, call.inputs)):
            continue
        data_format = getattr(call.layer, "data_format", None)
        if data_format in ("channels_first", "channels_last") and type(call.layer).__name__ != "Flatten":
            return "nchw" if data_format == "channels_first" else "nhwc"
        order = permutation(call)
        if order == TO_LAST:
            return "nchw"
        if order == TO_FIRST:
            return "nhwc"
        # What changes no size moves no channels.
        sources.update(id(output) for output in call.outputs if tuple(output.shape) == tuple(images.shape))
    return told


def first_channels(calls: Sequence[KerasCall], images: Tensor, layout: Layout) -> set[int]:
    """Which outputs of a walk are feature maps `(N, C, H, W)`, by the `id` of their tensors.

    A layer with a data format has it, `Permute` and `transpose` move channels, and all other layers leave them where
    they are.

    Args:
        calls: of the walk, in network order.
        images: what the model was called on.
        layout: of the images.
    """
    first = {id(images)} if layout == "nchw" else set()
    for call in calls:
        (output, *_) = call.outputs
        if len(getattr(output, "shape", ())) != 4:
            continue
        maps = [read for read in call.inputs if len(getattr(read, "shape", ())) == 4]
        was_first = bool(maps) and id(maps[0]) in first
        data_format, order = getattr(call.layer, "data_format", None), permutation(call)
        if order in (TO_FIRST, TO_LAST):
            is_first = order == TO_FIRST and not was_first
        elif data_format in ("channels_first", "channels_last"):
            is_first = data_format == "channels_first"
        else:
            is_first = was_first
        if is_first:
            first.update(id(tensor) for tensor in call.outputs if len(getattr(tensor, "shape", ())) == 4)
    return first


def permutation(call: KerasCall) -> tuple[int, ...] | None:
    """The order of axes, the batch first, that a call of `Permute` or `transpose` gives; None for other calls."""
    kind = type(call.layer).__name__
    if kind == "Permute":
        return (0, *call.layer.dims)
    if kind == "Transpose" and getattr(call.layer, "axes", None) is not None:
        return tuple(int(axis) for axis in call.layer.axes)
    return None
