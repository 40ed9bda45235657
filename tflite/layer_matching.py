"""Find the tensor of each Keras layer in a `.tflite` file, by equal values first and names second (activations)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.conversion import Conversion
from tfinv.tflite.flatbuffer import Graph
from tfinv.tflite.layermap import LayerMap
from tfinv.tflite.model import Source, TFLiteModel
from tfinv.tflite.naming import mentions

if TYPE_CHECKING:
    from tfinv.activations import ActivationModel

EXACT_DB = 60.0
"""Above this SQNR a float tensor and a Keras activation are the same numbers up to rounding."""
INTEGER_DB = 10.0
"""The same for tensors that were quantized on the way."""
_EQUAL_DB = 100.0
_NOISE_BYTES = 64 * 2**20
_COMPARED_VALUES = 20_000
_IDENTITIES = ("Dropout", "Noise", "Identity", "ActivityRegularization", "Random")
"""Parts of the names of Keras classes that pass their input on at inference."""


def layer_map(source: Source, model: Any, images: Any = None) -> LayerMap:
    """Find the tensor of every layer of a Keras model in a `.tflite` file made from it.

    Both run on the same images. A tensor belongs to a layer where their values agree; among layers or tensors with
    equal values, the name that the converter gave the tensor decides. So neither renamed outputs nor numbers appended
    to scopes mislead, whichever converter wrote the file.

    Example:
        >>> import keras
        >>> from tfinv.tflite import float32
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        >>> x = keras.layers.ReLU(name="relu")(x)
        >>> model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D(name="pool")(x))
        >>> layers = layer_map(float32(model), model)
        >>> list(layers.matched), layers.fused_into
        (['relu', 'pool'], {'conv': 'relu'})

    Args:
        source: the file: a `Conversion`, bytes or a path.
        model: the functional or sequential Keras model it was made from.
        images: `(N, H, W, C)` as the model takes them; None for a few seeded random ones in the input's range.

    Returns:
        The map, with the agreement of each matched layer.

    Raises:
        TypeError: not a Keras model whose layers form a graph.
        ValueError: a file that is refused, or images that do not fit.
    """
    from tfinv.activations import ActivationModel  # here: it brings Keras

    source = source.content if isinstance(source, Conversion) else source
    file = TFLiteModel(source, probe=not isinstance(source, bytes), num_threads=1)
    keras_side = ActivationModel(model, input_shape=file.input_shape)
    given = np.asarray(random_inputs(file.graph, _few(file)) if images is None else images, np.float32)
    layers = {name: _sample(value) for name, value in keras_side(given).items()}
    tensors = {name: _sample(value) for name, value in file(given).items()}
    matches = _match(layers, tensors, file, keras_side)
    return _assemble(matches, layers, file, keras_side)


@dataclass(frozen=True)
class _Match:
    layer: str
    tensor: str
    decibels: float


def _match(
    layers: Mapping[str, _Sample], tensors: Mapping[str, _Sample], file: TFLiteModel, keras_side: ActivationModel
) -> dict[str, _Match]:
    """One tensor a layer and one layer a tensor, best agreement first, names among equals, later layers first."""
    limit, tie = (EXACT_DB, 10) if _is_float32(file.graph) else (INTEGER_DB, 6)  # differences below say nothing
    outputs = {file.graph.source(index) for index in file.graph.outputs}
    last = {name.split("@")[0].split(":")[0] for name in _output_layers(keras_side)}
    candidates = []
    for order, (layer, expected) in enumerate(layers.items()):
        path = layer.split("@")[0].split(":")[0]
        for position, (tensor, found) in enumerate(tensors.items()):
            if found.shape != expected.shape or (agreement := sqnr(expected.values, found.values)) < limit:
                continue
            detail = file.layer_tensors[tensor]
            named = mentions(detail.name, path) or (detail.index in outputs and path in last)
            rank = (-round(min(agreement, _EQUAL_DB) / tie), not named, -order, -position)
            candidates.append((rank, _Match(layer, tensor, agreement)))
    matches: dict[str, _Match] = {}
    taken: set[str] = set()
    for _, match in sorted(candidates, key=lambda each: each[0]):
        if match.layer not in matches and match.tensor not in taken:
            matches[match.layer] = match
            taken.add(match.tensor)
    return matches


def _assemble(
    matches: Mapping[str, _Match], layers: Mapping[str, _Sample], file: TFLiteModel, keras_side: ActivationModel
) -> LayerMap:
    consumers = _consumers(keras_side)
    same_as, fused_into, lost = {}, {}, []
    for layer in layers:
        if layer in matches:
            continue
        twin = _twin(layer, layers, matches, consumers, keras_side.layer_types)
        swallowed = _next_matched(layer, consumers, matches)
        if twin:
            same_as[layer] = twin
        elif swallowed:
            fused_into[layer] = swallowed
        else:
            lost.append(layer)
    taken = {match.tensor for match in matches.values()}
    inner, strangers = {}, []
    for tensor, detail in file.layer_tensors.items():
        if tensor not in taken:
            owners = [layer for layer in layers if mentions(detail.name, layer.split("@")[0].split(":")[0])]
            inner.update({tensor: owners[-1]} if owners else {})
            strangers += [] if owners else [tensor]
    ordered = sorted(matches.values(), key=lambda match: list(file.layer_shapes).index(match.tensor))
    index = {name: tensor.index for name, tensor in file.layer_tensors.items()}
    return LayerMap(
        {match.layer: index[match.tensor] for match in ordered},
        same_as,
        fused_into,
        inner,
        tuple(lost) + tuple(keras_side.skipped),
        tuple(strangers),
        {match.layer: round(match.decibels, 2) for match in ordered},
    )


@dataclass(frozen=True)
class _Sample:
    """Shape of an activation, and enough of its values to compare."""

    shape: tuple[int, ...]
    values: NDArray[np.float64]


def _sample(value: Any) -> _Sample:
    array = np.asarray(value)
    step = max(1, array.size // _COMPARED_VALUES) | 1  # odd: does not keep to one channel where their number is even
    return _Sample(array.shape, array.reshape(-1)[::step].astype(np.float64))


def sqnr(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Signal to quantization noise ratio in decibels: `10 log10(sum(x^2) / sum((x - y)^2))`.

    Equal arrays give 200, also where both are zero, so that the number stays finite.
    """
    reference = np.asarray(reference, np.float64)
    noise = float(np.square(reference - other).sum())
    signal = float(np.square(reference).sum())
    if noise == 0:
        return 200.0
    return float(np.clip(10 * np.log10(signal / noise), -200.0, 200.0)) if signal > 0 else -200.0


def random_inputs(graph: Graph, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Seeded random inputs over the range that the input tensor stores: [0, 1] for a float one."""
    tensor = graph.tensors[graph.inputs[0]]
    low, high = 0.0, 1.0
    if tensor.is_quantized:
        limits = np.iinfo(tensor.dtype)
        zero, scale = int(tensor.zero_points[0]), float(tensor.scales[0])
        low, high = (limits.min - zero) * scale, (limits.max - zero) * scale
    shape = (count, *tensor.shape[1:])
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def _few(file: TFLiteModel) -> int:
    """Eight images, or fewer where their activations would take much memory."""
    per_image = sum(int(np.prod(shape)) for shape in file.layer_shapes.values()) * 8
    return int(np.clip(_NOISE_BYTES // max(1, per_image), 1, 8))


def _is_float32(graph: Graph) -> bool:
    return all(tensor.dtype == "float32" for tensor in graph.weights().values())


def _output_layers(keras_side: ActivationModel) -> list[str]:
    """Layers that nothing reads."""
    consumers = _consumers(keras_side)
    return [name for name in keras_side.layer_shapes if not consumers[name]]


def _consumers(keras_side: ActivationModel) -> dict[str, list[str]]:
    """The layers that read a layer's output, by layer name."""
    outputs: dict[str, Any] = keras_side.model.output  # type: ignore[assignment]
    name_of = {id(tensor): name for name, tensor in outputs.items()}
    readers: dict[str, list[str]] = {name: [] for name in outputs}

    def visit(reader: str, tensor: Any) -> None:
        history = tensor._keras_history
        for source in history.operation._inbound_nodes[history.node_index].input_tensors:
            if id(source) in name_of:
                readers[name_of[id(source)]].append(reader)
            else:  # a layer that cannot be measured, or the input
                visit(reader, source)

    for name, tensor in outputs.items():
        visit(name, tensor)
    return readers


def _next_matched(layer: str, consumers: Mapping[str, list[str]], matches: Mapping[str, _Match]) -> str | None:
    """The nearest matched layer after one, as long as there is only one way on."""
    while len(consumers[layer]) == 1:
        layer = consumers[layer][0]
        if layer in matches:
            return layer
    return None


def _twin(
    layer: str,
    layers: Mapping[str, _Sample],
    matches: Mapping[str, _Match],
    consumers: Mapping[str, list[str]],
    types: Mapping[str, str],
) -> str | None:
    """The matched layer that has the output of one that passes its input on, or that it passes on."""
    neighbours = [name for name, readers in consumers.items() if layer in readers] + consumers[layer]
    for other in neighbours:
        equal = layers[other].shape == layers[layer].shape
        equal = equal and np.array_equal(layers[other].values, layers[layer].values)
        passes = any(word in types[name] for name in (layer, other) for word in _IDENTITIES)
        if equal and other in matches and (passes or types[layer] in ("Activation", "Reshape", "Flatten")):
            return other
    return None
