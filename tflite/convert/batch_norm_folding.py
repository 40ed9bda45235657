"""Batch normalization merged into the layer before it, with the moving statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.layer_graph import Call, LayerGraph, kind_of
from tfinv.support.lazy import keras


@dataclass(frozen=True)
class Fold:
    """A layer with weights and the batch normalizations that directly follow one call of it.

    Args:
        kernel: the layer's kernel with the normalizations merged, in its own layout.
        bias: float64 `(channels,)`: what is added afterwards.
        normalizations: the calls merged, in order; the last one's output is the result.
    """

    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]
    normalizations: tuple[Call, ...]


def channel_affine(layer: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A batch normalization at inference as `scale * x + offset`.

        scale = gamma / sqrt(moving_variance + epsilon),   offset = beta - scale * moving_mean

    Args:
        layer: a built `keras.layers.BatchNormalization`.

    Returns:
        scale and offset, float64 `(channels,)`.
    """
    mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
    scale = (_array(layer.gamma) if layer.scale else 1.0) / np.sqrt(variance + layer.epsilon)
    return scale, (_array(layer.beta) if layer.center else 0.0) - scale * mean


def find_folds(graph: LayerGraph) -> dict[int, Fold]:
    """Every call after which normalizations can be merged, by number of its output tensor.

    As in the converter, a normalization is merged if nothing else reads what it normalizes. A layer that is called
    several times is merged only if one and the same normalization follows every call, since the weights are shared.

    Args:
        graph: the flat model.

    Returns:
        `{tensor: Fold}`; the kernel is that of the call's layer, merged.
    """
    readers, merged = graph.readers(), {}
    chains = {call.output: _chain(call, graph, readers) for call in graph.calls if _takes_a_fold(call.layer)}
    for call in graph.calls:
        chain = chains.get(call.output, ())
        siblings = [chains.get(other.output, ()) for other in graph.calls if other.layer is call.layer]
        used = {other.output for sibling in siblings for other in sibling}
        same = all([c.layer for c in sibling] == [c.layer for c in chain] for sibling in siblings)
        calls_of_norms = [c for c in graph.calls if any(c.layer is norm.layer for norm in chain)]
        if chain and same and all(c.output in used for c in calls_of_norms):
            merged[call.output] = _merge(call.layer, chain)
    return merged


def _takes_a_fold(layer: Any) -> bool:
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Conv2DTranspose, keras.layers.Dense)
    return kind_of(layer) in kinds and layer.activation is keras.activations.linear


def _chain(call: Call, graph: LayerGraph, readers: dict[int, list[Call]]) -> tuple[Call, ...]:
    chain: list[Call] = []
    tensor = call.output
    while tensor != graph.output and len(readers[tensor]) == 1:
        reader = readers[tensor][0]
        if not is_last_axis_normalization(reader):
            break
        chain.append(reader)
        tensor = reader.output
    return tuple(chain)


def is_last_axis_normalization(call: Call) -> bool:
    """Whether a call normalizes each channel of the last axis, the only axis that folds."""
    layer = call.layer
    return kind_of(layer) is keras.layers.BatchNormalization and layer.axis in (-1, len(call.shape) - 1)


def _merge(layer: Any, chain: tuple[Call, ...]) -> Fold:
    kernel = _array(layer.kernel)
    channels = _per_channel(layer, kernel)
    bias = _array(layer.bias) if layer.use_bias else np.zeros(chain[0].shape[-1] or 0)
    for call in chain:
        scale, offset = channel_affine(call.layer)
        kernel = kernel * scale.reshape(channels)
        bias = bias * scale + offset
    return Fold(kernel, bias, chain)


def _per_channel(layer: Any, kernel: NDArray[np.float64]) -> tuple[int, ...]:
    """The shape in which one number an output channel multiplies the kernel."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return (1, 1, *kernel.shape[2:])
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return (1, 1, kernel.shape[2], 1)
    return (1,) * (kernel.ndim - 1) + (kernel.shape[-1],)


def _array(variable: Any) -> NDArray[np.float64]:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)
