"""Find the tensor of each Keras layer in a `.tflite` file, by equal values first and names second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.keras_graph import layer_values
from tfinv.datasets.given import as_array
from tfinv.support.checks import kind_of
from tfinv.support.lazy import keras
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.flatbuffer import Graph
from tfinv.tflite.files.layer_map import LayerMap
from tfinv.tflite.files.model import FILE_WORDS, FILES, Source, TFLiteModel
from tfinv.tflite.files.signals import random_inputs, sqnr
from tfinv.tflite.files.tensor_names import mentions

EXACT_DB = 60.0
"""Above this SQNR a float tensor and a Keras activation are the same numbers up to rounding."""
INTEGER_DB = 10.0
"""The same for tensors that were quantized on the way."""
_EQUAL_DB = 100.0
_NOISE_BYTES = 64 * 2**20
_COMPARED_VALUES = 20_000
_IDENTITIES = ("Dropout", "Noise", "Identity", "ActivityRegularization", "Random")
"""Parts of the names of Keras classes that pass their input on at inference."""
_SOMETIMES_IDENTITIES = ("Activation", "Reshape", "Flatten")


def layer_map(source: Source, model: KerasModel, images: Images = None) -> LayerMap:
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
    kind_of("source", source, FILES, FILE_WORDS)
    kind_of("model", model, keras.Model, "a Keras model")
    source = source.content if isinstance(source, Conversion) else source
    file = TFLiteModel(source, input_scale="0..1", probe=not isinstance(source, bytes), num_threads=1)
    given = np.asarray(random_inputs(file.graph, _few(file)) if images is None else as_array(images), np.float32)
    calls = layer_values(model, given)
    layers = {call.name: _Layer(call.path, call.kind, _sample(call.value)) for call in calls}
    for call in calls:
        for position in call.inputs:
            layers[calls[position].name].readers.append(call.name)
    taken = file.runner.shape(file.runner.input.index)[1:]
    if given.shape[1:] != taken:
        raise ValueError(
            f"images must have the shape (N, {', '.join(map(str, taken))}) of the model's input. "
            f"Received: shape {given.shape}"
        )
    # As the file has them: both sides may have their channels first.
    indices = {name: tensor.index for name, tensor in file.layer_tensors.items()}
    tensors = {name: _sample(value) for name, value in file.runner.read(given, indices).items()}
    return _assemble(_match(layers, tensors, file), layers, file)


@dataclass(frozen=True)
class _Sample:
    """Shape of an activation, and enough of its values to compare."""

    shape: tuple[int, ...]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class _Layer:
    """A layer of the Keras model: path of names, class, what it gives, and which layers read that."""

    path: str
    kind: str
    sample: _Sample
    readers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Match:
    layer: str
    tensor: str
    decibels: float


def _match(layers: Mapping[str, _Layer], tensors: Mapping[str, _Sample], file: TFLiteModel) -> dict[str, _Match]:
    """One tensor per layer and one layer per tensor, best agreement first, names among equals, later layers first."""
    limit, tie = (EXACT_DB, 10) if _is_float32(file.graph) else (INTEGER_DB, 6)  # differences below say nothing
    outputs = {file.graph.source(index) for index in file.graph.outputs}
    candidates = []
    for order, (name, layer) in enumerate(layers.items()):
        for position, (tensor, sample) in enumerate(tensors.items()):
            if sample.shape != layer.sample.shape:
                continue
            if (agreement := sqnr(layer.sample.values, sample.values)) < limit:
                continue
            detail = file.layer_tensors[tensor]
            named = mentions(detail.name, layer.path) or (detail.index in outputs and not layer.readers)
            rank = (-round(min(agreement, _EQUAL_DB) / tie), not named, -order, -position)
            candidates.append((rank, _Match(name, tensor, agreement)))
    matches: dict[str, _Match] = {}
    taken: set[str] = set()
    for _, match in sorted(candidates, key=lambda candidate: candidate[0]):
        if match.layer not in matches and match.tensor not in taken:
            matches[match.layer] = match
            taken.add(match.tensor)
    return matches


def _assemble(matches: Mapping[str, _Match], layers: Mapping[str, _Layer], file: TFLiteModel) -> LayerMap:
    same_as, fused_into, lost = {}, {}, []
    for name in layers:
        if name in matches:
            continue
        if twin := _twin(name, layers, matches):
            same_as[name] = twin
        elif swallowed := _next_matched(name, layers, matches):
            fused_into[name] = swallowed
        else:
            lost.append(name)
    inner, strangers = _leftover_tensors(matches, layers, file)
    ordered = sorted(matches.values(), key=lambda match: list(file.layer_shapes).index(match.tensor))
    index = {name: tensor.index for name, tensor in file.layer_tensors.items()}
    return LayerMap(
        {match.layer: index[match.tensor] for match in ordered},
        same_as,
        fused_into,
        inner,
        tuple(lost),
        tuple(strangers),
        {match.layer: round(match.decibels, 2) for match in ordered},
    )


def _leftover_tensors(
    matches: Mapping[str, _Match], layers: Mapping[str, _Layer], file: TFLiteModel
) -> tuple[dict[str, str], list[str]]:
    """Tensors that are no layer's output: steps inside a layer that they are named after, and those of no layer."""
    taken = {match.tensor for match in matches.values()}
    inner: dict[str, str] = {}
    strangers = []
    for tensor, detail in file.layer_tensors.items():
        if tensor not in taken:
            owners = [name for name, layer in layers.items() if mentions(detail.name, layer.path)]
            inner.update({tensor: owners[-1]} if owners else {})
            strangers += [] if owners else [tensor]
    return inner, strangers


def _sample(value: Any) -> _Sample:
    array = np.asarray(value)
    step = max(1, array.size // _COMPARED_VALUES) | 1  # odd: does not keep to one channel where their number is even
    return _Sample(array.shape, array.reshape(-1)[::step].astype(np.float64))


def _few(file: TFLiteModel) -> int:
    """Eight images, or fewer where their activations would take much memory."""
    per_image = sum(int(np.prod(shape)) for shape in file.layer_shapes.values()) * 8
    return int(np.clip(_NOISE_BYTES // max(1, per_image), 1, 8))


def _is_float32(graph: Graph) -> bool:
    return all(tensor.dtype == "float32" for tensor in graph.weights().values())


def _next_matched(name: str, layers: Mapping[str, _Layer], matches: Mapping[str, _Match]) -> str | None:
    """The nearest matched layer after one, as long as there is only one way on."""
    while len(layers[name].readers) == 1:
        name = layers[name].readers[0]
        if name in matches:
            return name
    return None


def _twin(name: str, layers: Mapping[str, _Layer], matches: Mapping[str, _Match]) -> str | None:
    """The matched layer that has the output of one that passes its input on, or that it passes on."""
    layer = layers[name]
    for other in [match for match in matches if name in layers[match].readers] + layer.readers:
        passes = any(word in kind for kind in (layer.kind, layers[other].kind) for word in _IDENTITIES)
        passes = passes or layer.kind in _SOMETIMES_IDENTITIES
        same = layers[other].sample.shape == layer.sample.shape
        if other in matches and passes and same and np.array_equal(layers[other].sample.values, layer.sample.values):
            return other
    return None
