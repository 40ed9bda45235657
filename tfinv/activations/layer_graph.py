"""A Keras 3 model as a flat list of layer calls, nested models inlined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tfinv.activations.keras_graph import KerasCall, collect, graph_of, output_names, walk
from tfinv.support.lazy import keras
from tfinv.support.types import KerasModel


@dataclass(frozen=True)
class TensorRef:
    """Stands for the tensor of that number in the arguments of a call."""

    number: int


@dataclass(frozen=True)
class Call:
    """One call of one layer.

    Args:
        name: the layer's name, unique among layers; the calls of a shared layer carry the same name.
        label: what users call it, as in `tfinv.activations`: `inner/conv` in a nested model, `relu@2` for the second
            call of a shared layer.
        layer: the layer of the user's model; the same object in every call of a shared layer. Never called again.
        args: positional arguments, `TensorRef` where a tensor was.
        kwargs: keyword arguments, likewise.
        inputs: numbers of the tensors among the arguments.
        output: number of the tensor that comes out.
        shape: shape of that tensor, batch included.
    """

    name: str
    label: str
    layer: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[int, ...]
    output: int
    shape: tuple[int | None, ...]


@dataclass
class LayerGraph:
    """The calls of a model in an order in which they can be made; tensor 0 is the model's input."""

    name: str
    input_name: str
    input_shape: tuple[int | None, ...]
    calls: list[Call] = field(default_factory=list)
    output: int = 0

    def readers(self) -> dict[int, list[Call]]:
        """Calls that read a tensor, by tensor number; a call that reads it twice is listed twice."""
        readers: dict[int, list[Call]] = {call.output: [] for call in self.calls} | {0: []}
        for call in self.calls:
            for number in call.inputs:
                readers[number].append(call)
        return readers


def flatten(model: KerasModel) -> LayerGraph:
    """The layer calls of a functional or sequential model, nested models inlined.

    Example:
        >>> import keras
        >>> from tfinv.activations.layer_graph import flatten
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="hidden")], name="inner")
        >>> inputs = keras.Input((4,))
        >>> model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(inner(inputs)))
        >>> [(call.name, call.shape) for call in flatten(model).calls]
        [('hidden', (None, 3)), ('logits', (None, 2))]

    Args:
        model: a built functional or sequential Keras 3 model with one input and one output. It is only read.

    Returns:
        The graph; layers whose names collide between nested models are called `inner_name`.

    Raises:
        TypeError: not a Keras 3 model, or one whose layers form no graph.
        ValueError: an unbuilt model, several inputs or outputs, or a layer with several outputs.
    """
    graph = graph_of(model)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ValueError(
            f"model must have one input and one output. Received: {model.name!r} with {len(graph.inputs)} inputs and "
            f"{len(graph.outputs)} outputs"
        )
    calls: list[Call] = []

    def number(layer: Any, arguments: tuple[Any, ...], options: Mapping[str, Any], symbols: Sequence[Any]) -> TensorRef:
        calls.append(_call(layer, arguments, options, symbols, 1 + len(calls)))
        return TensorRef(calls[-1].output)

    walked, outputs = collect(walk(model, [TensorRef(0)], number))
    names = _unique_names(walked)
    calls = [
        replace(call, name=names[id(call.layer)], label=labels[0], inputs=tuple(read.number for read in one.inputs))
        for call, one, labels in zip(calls, walked, output_names(walked), strict=True)
    ]
    return LayerGraph(model.name, str(graph.inputs[0].name), tuple(graph.inputs[0].shape), calls, outputs[0].number)


def kind_of(layer: Any) -> type:
    """The Keras class whose computation a layer does: its own, or the one whose `call` and `build` it inherits."""
    kind = type(layer)
    for base in kind.__mro__:
        if base.__module__.startswith("keras."):
            same = getattr(kind, "call", None) is getattr(base, "call", None)
            return base if same and getattr(kind, "build", None) is getattr(base, "build", None) else kind
    return kind


def fill_in(structure: Any, tensors: dict[int, Any]) -> Any:
    """The arguments of a call with real tensors in place of the references."""
    return keras.tree.map_structure(
        lambda leaf: tensors[leaf.number] if isinstance(leaf, TensorRef) else leaf, structure
    )


def _call(
    layer: Any, arguments: tuple[Any, ...], options: Mapping[str, Any], symbols: Sequence[Any], output: int
) -> Call:
    """A call whose names and inputs are filled in later."""
    if isinstance(layer, keras.Model):
        graph_of(layer)  # says why a nested model cannot be walked
    if len(symbols) != 1:
        raise ValueError(
            f"layers must have one output for quantization-aware training. Received: layer {layer.name!r} "
            f"({type(layer).__name__}) with {len(symbols)}"
        )
    return Call(layer.name, layer.name, layer, tuple(arguments), dict(options), (), output, tuple(symbols[0].shape))


def _unique_names(calls: Sequence[KerasCall]) -> dict[int, str]:
    """A name by layer: its own, with the enclosing models in front where layers of the same name exist."""
    paths = {id(call.layer): (call.layer.name, call.path) for call in reversed(calls)}
    count = Counter(name for name, _ in paths.values())
    names: dict[int, str] = {}
    for key, (name, path) in paths.items():
        unique = name if count[name] == 1 else path.replace("/", "_")
        while unique in names.values():
            unique += "_again"
        names[key] = unique
    return names
