"""Cross-layer equalization: the same function with channel ranges that one scale per kernel can serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.layer_graph import Call, LayerGraph, flatten
from tfinv.support.checks import kind_of
from tfinv.support.faults import told
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import KerasModel
from tfinv.tflite.convert.batch_norm_folding import channel_affine, find_folds

_LARGEST = 1000.0
"""Most that a channel is scaled by in one turn."""
_DEAD = 1e-6
"""Channels below this share of the layer's largest range are left alone: balanced, what says nothing would blow up."""
_CONVERGED = 1e-4


@dataclass(frozen=True)
class Pair:
    """Two layers between which channels can be rescaled without a change of the function.

    Args:
        first: the layer whose output channels shrink.
        norms: normalizations right after it, already folded; they hold its bias.
        second: the layer whose input channels grow.
    """

    first: Call
    norms: tuple[Call, ...]
    second: Call


@guarded(rounds=1)
def equalize(model: KerasModel, *, rounds: int = 20) -> Any:
    """A copy of a model whose channel ranges are balanced between consecutive layers.

    For an activation with `f(s x) = s f(x)`, `s > 0`, output channel i of one layer can be divided by `s_i` and input
    channel i of the next multiplied by it. With ranges `r1_i`, `r2_i` (largest absolute weight of the channel) both
    become `sqrt(r1_i r2_i)` for

        s_i = sqrt(r1_i r2_i) / r2_i

    (Nagel et al. 2019, *Data-Free Quantization Through Weight Equalization and Bias Correction*, eq. 11.) Pairs are
    treated in turn until nothing changes. Batch normalization is folded first; its layer stays, holding the bias.

    Pairs are convolutions, depthwise convolutions and dense layers with only ReLU, leaky ReLU, linear activation,
    dropout, pooling, zero padding or flattening between them, where nothing else reads what lies between. ReLU6 and
    other saturating activations are left alone: rescaling would move their knee. So are layers called twice.

    Args:
        model: a functional or sequential Keras 3 model; it is not changed.
        rounds: at most so many turns over all pairs.

    Returns:
        A model of the same architecture and layer names, the same function up to rounding.

    Raises:
        TypeError, ValueError: see `tfinv.activations.layer_graph.flatten`.
    """
    kind_of("model", model, keras.Model, "a Keras model")
    with told("model must be one that keras.models.clone_model copies", model, way_out="give Lambda layers a class"):
        copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    graph = flatten(copy)
    _fold(graph)
    pairs = find_pairs(graph)
    for _ in range(rounds):
        if max((_equalize(pair) for pair in pairs), default=0.0) < _CONVERGED:
            break
    return copy


def find_pairs(graph: LayerGraph) -> list[Pair]:
    """The pairs of a flat model that can be equalized, in network order."""
    readers = graph.readers()
    calls = {id(call.layer): sum(other.layer is call.layer for other in graph.calls) for call in graph.calls}
    pairs = []
    for call in graph.calls:
        if _kind(call.layer) is None or calls[id(call.layer)] > 1 or not _is_homogeneous_activation(call.layer):
            continue
        norms: list[Call] = []
        at = call
        while at.output != graph.output and len(readers[at.output]) == 1:
            at = readers[at.output][0]
            if calls[id(at.layer)] > 1:
                break
            if _kind(at.layer) is not None:
                pairs.append(Pair(call, tuple(norms), at))
                break
            if isinstance(at.layer, keras.layers.BatchNormalization) and _is_folded(at.layer) and _linear(call.layer):
                norms.append(at)
            elif not _passes_scale(at):
                break
    return pairs


def channel_ranges(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Largest absolute weight of each output channel of the first and each input channel of the second layer."""
    channels = _array(pair.first.layer.kernel)
    return _output_range(pair.first.layer, channels), _input_range(pair)


def _fold(graph: LayerGraph) -> None:
    """Merge normalizations into the kernels before them; the first of each chain keeps the bias, as minus its mean."""
    done: set[int] = set()
    for tensor, fold in find_folds(graph).items():
        call = next(candidate for candidate in graph.calls if candidate.output == tensor)
        if id(call.layer) in done:
            continue
        done.add(id(call.layer))
        call.layer.kernel.assign(fold.kernel.astype(np.float32))
        if call.layer.use_bias:
            call.layer.bias.assign(np.zeros(call.layer.bias.shape, np.float32))
        for position, norm in enumerate(fold.normalizations):
            _make_identity(norm.layer, fold.bias if position == 0 else np.zeros_like(fold.bias))


def _make_identity(norm: Any, bias: NDArray[np.float64]) -> None:
    """`x + bias`, whichever of gamma and beta the layer has."""
    if norm.scale:
        norm.gamma.assign(np.ones(norm.gamma.shape, np.float32))
    if norm.center:
        norm.beta.assign(np.zeros(norm.beta.shape, np.float32))
    norm.moving_variance.assign(np.full(norm.moving_variance.shape, 1 - norm.epsilon, np.float32))
    norm.moving_mean.assign(-bias.astype(np.float32))


def _is_folded(norm: Any) -> bool:
    scale, _ = channel_affine(norm)
    return bool(np.allclose(scale, 1.0, atol=1e-5))


def _equalize(pair: Pair) -> float:
    """Balance one pair; return the largest factor applied, as its distance from 1."""
    first, second = channel_ranges(pair)
    alive = (first > _DEAD * first.max()) & (second > _DEAD * second.max())
    factors = np.sqrt(np.divide(first, second, out=np.ones_like(first), where=alive))
    factors = np.clip(factors, 1 / _LARGEST, _LARGEST)
    layer = pair.first.layer
    layer.kernel.assign(_scale_outputs(layer, _array(layer.kernel), 1 / factors).astype(np.float32))
    if layer.use_bias:
        layer.bias.assign((_array(layer.bias) / factors).astype(np.float32))
    for norm in pair.norms:
        norm.layer.moving_mean.assign((_array(norm.layer.moving_mean) / factors).astype(np.float32))
        if norm.layer.center:
            norm.layer.beta.assign((_array(norm.layer.beta) / factors).astype(np.float32))
    kernel = _array(pair.second.layer.kernel)
    pair.second.layer.kernel.assign(_scale_inputs(pair, kernel, factors).astype(np.float32))
    return float(np.abs(factors - 1).max(initial=0.0))


def _kind(layer: Any) -> str | None:
    """Which layers have kernels that can be rescaled."""
    if type(layer) is keras.layers.Conv2D and layer.groups == 1:
        return "conv"
    if type(layer) is keras.layers.DepthwiseConv2D:
        return "depthwise"
    return "dense" if type(layer) is keras.layers.Dense else None


def _linear(layer: Any) -> bool:
    return layer.activation is keras.activations.linear


def _is_homogeneous_activation(layer: Any) -> bool:
    return layer.activation in (keras.activations.linear, keras.activations.relu, keras.activations.leaky_relu)


def _passes_scale(call: Call) -> bool:
    """Whether a layer gives `s f(x)` for `s x`, channel by channel, for every `s > 0`."""
    layers, layer = keras.layers, call.layer
    if isinstance(layer, layers.ReLU):
        return layer.max_value is None and not layer.threshold
    if isinstance(layer, layers.Activation):
        return _is_homogeneous_activation(layer)
    if isinstance(layer, layers.Flatten):
        return getattr(layer, "data_format", "channels_last") == "channels_last"
    return isinstance(
        layer,
        (
            layers.LeakyReLU,
            layers.Dropout,
            layers.SpatialDropout2D,
            layers.MaxPooling2D,
            layers.AveragePooling2D,
            layers.GlobalMaxPooling2D,
            layers.GlobalAveragePooling2D,
            layers.ZeroPadding2D,
            layers.UpSampling2D,
        ),
    )


def _output_range(layer: Any, kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    if _kind(layer) == "depthwise":
        return np.abs(kernel).max(axis=(0, 1)).reshape(-1)
    return np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))


def _scale_outputs(layer: Any, kernel: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    if _kind(layer) == "depthwise":
        return kernel * factors.reshape(kernel.shape[2:])
    return kernel * factors


def _input_range(pair: Pair) -> NDArray[np.float64]:
    kernel = np.abs(_array(pair.second.layer.kernel))
    kind = _kind(pair.second.layer)
    if kind == "dense":
        # After Flatten a channel has several rows, one a position, the channels next to each other.
        return kernel.reshape(-1, _channels(pair), kernel.shape[-1]).max(axis=(0, 2))
    return kernel.max(axis=(0, 1, 3))


def _scale_inputs(pair: Pair, kernel: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    if _kind(pair.second.layer) == "dense":
        return kernel * np.tile(factors, len(kernel) // len(factors))[:, None]
    return kernel * factors[None, None, :, None]


def _channels(pair: Pair) -> int:
    return int(pair.first.shape[-1] or 0)


def _array(variable: Any) -> NDArray[np.float64]:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)
