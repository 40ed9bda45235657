"""The range of the weights behind each layer of a file (beside activations)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tfinv.tflite.files.flatbuffer import Graph
    from tfinv.tflite.files.model import TFLiteModel


def weight_ranges(model: TFLiteModel) -> dict[str, tuple[float, float]]:
    """Smallest and largest weight of each layer that has a kernel, as the real numbers that the file computes with.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.tflite import TFLiteModel, float32
        >>> from tfinv.tflite.comparison.weight_ranges import weight_ranges
        >>> inputs = keras.Input((4, 4, 1))
        >>> x = keras.layers.Conv2D(1, 2, kernel_initializer="ones", name="conv")(inputs)
        >>> weight_ranges(TFLiteModel(float32(keras.Model(inputs, x))))
        {'conv': (1.0, 1.0)}

    Args:
        model: the file, with the layers that are looked at.

    Returns:
        `(low, high)` by layer; layers without a kernel are absent. Biases do not count.
    """
    ranges = {}
    for layer, tensor in model.layer_tensors.items():
        kernels = _kernels(model.graph, tensor.index)
        if kernels:
            values = [model.graph.constant(index) for index in kernels]
            ranges[layer] = (
                float(min(kernel.min() for kernel in values)),
                float(max(kernel.max() for kernel in values)),
            )
    return ranges


def _kernels(graph: Graph, index: int) -> list[int]:
    """Constants of two or more dimensions that the operator behind a tensor reads."""
    sources = (graph.source(index) for index in graph.producers[index].inputs if index not in graph.computed)
    return [
        index
        for index in sources
        if graph.tensors[index].nbytes and len(graph.tensors[index].shape) > 1 and _is_weight(graph, index)
    ]


def _is_weight(graph: Graph, index: int) -> bool:
    tensor = graph.tensors[index]
    return bool(np.prod(tensor.shape)) and (tensor.is_real or tensor.scales.size > 0)
