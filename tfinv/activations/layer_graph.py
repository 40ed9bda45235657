"""A Keras 3 model as a flat list of layer calls, nested models inlined: what both training routes read (tflite)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from tfinv.support.lazy import keras


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
        found: dict[int, list[Call]] = {call.output: [] for call in self.calls} | {0: []}
        for call in self.calls:
            for number in call.inputs:
                found[number].append(call)
        return found


def flatten(model: Any) -> LayerGraph:
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
    graph = _function_of(model)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ValueError(
            f"model must have one input and one output. Received: {model.name!r} with {len(graph.inputs)} inputs and "
            f"{len(graph.outputs)} outputs"
        )
    flat = LayerGraph(model.name, _name_of_input(graph), tuple(graph.inputs[0].shape))
    outputs = _inline(graph, [0], (), flat)
    flat.output = outputs[0]
    names, labels = _unique_names(flat.calls), _labels(flat.calls)
    flat.calls = [
        replace(call, name=names[id(call.layer)], label=label) for call, label in zip(flat.calls, labels, strict=True)
    ]
    return flat


def is_model(layer: Any) -> bool:
    """Whether a layer is a model whose layers can be walked."""
    if isinstance(layer, keras.Sequential):
        return getattr(layer, "_functional", None) is not None
    return isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")


def kind_of(layer: Any) -> type:
    """The Keras class whose computation a layer does: its own, or the one whose `call` and `build` it inherits."""
    own = type(layer)
    for base in own.__mro__:
        if base.__module__.startswith("keras."):
            same = getattr(own, "call", None) is getattr(base, "call", None)
            return base if same and getattr(own, "build", None) is getattr(base, "build", None) else own
    return own


def fill_in(structure: Any, tensors: dict[int, Any]) -> Any:
    """The arguments of a call with real tensors in place of the references."""
    return keras.tree.map_structure(
        lambda leaf: tensors[leaf.number] if isinstance(leaf, TensorRef) else leaf, structure
    )


def _function_of(model: Any) -> Any:
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras 3 model. Received: {type(model).__module__}.{type(model).__name__}")
    if isinstance(model, keras.Sequential):
        function = getattr(model, "_functional", None)
        if function is None:
            raise ValueError(
                f"model must be built, call model.build((None, H, W, C)). Received: the unbuilt {model.name!r}"
            )
        return function
    if not is_model(model):
        raise TypeError(
            f"model must be a functional or sequential Keras model, nested ones included. Received: the subclassed "
            f"model {type(model).__name__} ({model.name!r}), whose layers form no graph"
        )
    return model


def _inline(graph: Any, numbers: list[int], prefix: tuple[str, ...], flat: LayerGraph) -> list[int]:
    """Append the calls of one model; return the numbers of its output tensors."""
    number_of = {id(tensor): number for tensor, number in zip(graph.inputs, numbers, strict=True)}
    by_depth = graph._nodes_by_depth
    for node in (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]):
        if node.is_input:
            continue
        inputs = [number_of[id(tensor)] for tensor in node.arguments.keras_tensors]
        if isinstance(node.operation, keras.Model):
            inner = _function_of(node.operation)
            outputs = _inline(inner, inputs, (*prefix, node.operation.name), flat)
        else:
            outputs = [_append(node, inputs, number_of, prefix, flat)]
        number_of |= {id(tensor): number for tensor, number in zip(node.outputs, outputs, strict=True)}
    return [number_of[id(tensor)] for tensor in graph.outputs]


def _append(node: Any, inputs: list[int], number_of: dict[int, int], prefix: tuple[str, ...], flat: LayerGraph) -> int:
    layer = node.operation
    if len(node.outputs) != 1:
        raise ValueError(
            f"layers must have one output for quantization-aware training. Received: layer {layer.name!r} "
            f"({type(layer).__name__}) with {len(node.outputs)}"
        )
    args, kwargs = keras.tree.map_structure(
        lambda leaf: TensorRef(number_of[id(leaf)]) if isinstance(leaf, keras.KerasTensor) else leaf,
        (node.arguments.args, node.arguments.kwargs),
    )
    output = 1 + max((call.output for call in flat.calls), default=0)
    path = "/".join((*prefix, layer.name))
    shape = tuple(node.outputs[0].shape)
    flat.calls.append(Call(layer.name, path, layer, tuple(args), dict(kwargs), tuple(inputs), output, shape))
    return output


def _unique_names(calls: list[Call]) -> dict[int, str]:
    """A name by layer: its own, with the enclosing models in front where layers of the same name exist."""
    first = {id(call.layer): call for call in reversed(calls)}
    count = Counter(call.name for call in first.values())
    names: dict[int, str] = {}
    for key, call in first.items():
        name = call.name if count[call.name] == 1 else call.label.replace("/", "_")
        while name in names.values():
            name += "_again"
        names[key] = name
    return names


def _labels(calls: list[Call]) -> list[str]:
    """The path of each call, numbered where it occurs several times."""
    total, seen, labels = Counter(call.label for call in calls), Counter[str](), []
    for call in calls:
        seen[call.label] += 1
        labels.append(f"{call.label}@{seen[call.label]}" if total[call.label] > 1 else call.label)
    return labels


def _name_of_input(graph: Any) -> str:
    return str(graph.inputs[0].name)
