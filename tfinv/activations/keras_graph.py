"""The graph of layer calls behind a Keras model: the one place that walks it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfinv.support.faults import RUNS, told
from tfinv.support.lazy import keras
from tfinv.support.types import KerasModel, Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RunLayer = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Sequence[Any]], Any]
"""Calls a layer: given the layer, its arguments, its options and the symbolic tensors that the call gives in the model,
it returns what takes their place, in one structure."""


@dataclass(frozen=True)
class KerasCall:
    """One call of one layer.

    Args:
        path: the layer's name, in a nested model `inner/conv`; the calls of a shared layer have one path.
        layer: the layer or operation.
        inputs: what it was made from, a tensor that is read twice listed twice.
        outputs: what came out.
    """

    path: str
    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


@dataclass(frozen=True)
class LayerValue:
    """One output of one call of one layer, on a few images.

    Args:
        name: as `tfinv.activations.ActivationModel` has it: `inner/conv`, `relu@2`, `split:1`.
        path: the name without the number of the call and of the output.
        kind: name of the layer's class.
        value: what came out.
        inputs: positions of the outputs that it was made from, in the list of all; the images have none.
        kernel: how many weights of the layer's kernel make up one activation; 0 without a kernel.
    """

    name: str
    path: str
    kind: str
    value: NDArray[Any]
    inputs: tuple[int, ...]
    kernel: int = 0


def graph_of(model: KerasModel) -> Any:
    """The Keras Function behind a model: the graph of calls that can be walked.

    Raises:
        TypeError: not a Keras 3 model, or a subclassed one, whose layers form no graph.
        ValueError: a model that is not built.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras 3 model. Received: {type(model).__module__}.{type(model).__name__}")
    if is_graph(model):
        return model._functional if isinstance(model, keras.Sequential) else model
    if isinstance(model, keras.Sequential):
        raise ValueError(
            f"model must be built before its layers can be read: give the Sequential model {model.name!r} a "
            "keras.Input as its first layer, or call model.build((None, H, W, C)). Received: an unbuilt model"
        )
    raise TypeError(
        f"model must be a functional or sequential Keras model, and so must the models in it. Received: the subclassed "
        f"model {type(model).__name__} ({model.name!r}), whose layers form no graph. Rebuild it with "
        "keras.Model(inputs, outputs), or compute the activations yourself and give them to tfinv.evaluate_arrays"
    )


def is_graph(layer: Any) -> bool:
    """Whether a layer is a model whose layers can be walked."""
    if isinstance(layer, keras.Sequential):
        return getattr(layer, "_functional", None) is not None
    return isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")


def walk(
    model: KerasModel, inputs: Sequence[Any], run: RunLayer, prefix: str = ""
) -> Generator[KerasCall, None, list[Any]]:
    """Go through the calls of a model in an order in which they can be made; nested models are entered.

    What stands for a tensor is up to the caller: tensors, symbolic tensors, or numbers of tensors.

    Args:
        model: a built functional or sequential model; nested models may be called by position or by keyword.
        inputs: what stands for each of its inputs.
        run: calls a layer, see `RunLayer`.
        prefix: put before all names.

    Yields:
        The calls in network order.

    Returns:
        What stands for the model's outputs, in the order of `model.outputs`.
    """
    graph = graph_of(model)
    known = {id(symbol): value for symbol, value in zip(graph.inputs, inputs, strict=True)}
    by_depth = graph._nodes_by_depth
    for node in (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]):
        if node.is_input:
            continue
        layer, path = node.operation, prefix + node.operation.name
        arguments, options = node.arguments.fill_in(known)
        if is_graph(layer):
            given = _inputs_of(layer, arguments, options)
            outputs = yield from walk(layer, given, run, path + "/")
        else:
            outputs = keras.tree.flatten(run(layer, arguments, options, node.outputs))
            read = tuple(known[id(symbol)] for symbol in node.arguments.keras_tensors)
            yield KerasCall(path, layer, read, tuple(outputs))
        known |= {id(symbol): value for symbol, value in zip(node.outputs, outputs, strict=True)}
    return [known[id(symbol)] for symbol in graph.outputs]


def collect(steps: Generator[KerasCall, None, list[Any]]) -> tuple[list[KerasCall], list[Any]]:
    """All calls of a walk, and what stands for the model's outputs."""
    calls = []
    while True:
        try:
            calls.append(next(steps))
        except StopIteration as end:
            return calls, end.value


def show(model: KerasModel, images: Tensor) -> Tensor:
    """The (first) output of a model for some images, in inference mode; models may take and give dicts and lists.

    Args:
        model: any Keras model of one input.
        images: `(N, H, W, C)`.

    Raises:
        ValueError: a model of several inputs, or one that gives no tensor of one shape.
    """
    inputs = getattr(model, "inputs", None) or ()
    if len(inputs) > 1:
        raise ValueError(f"model must have one input of images (N, H, W, C). Received: {len(inputs)} inputs")
    symbols = getattr(model, "_inputs_struct", None)
    given = keras.tree.pack_sequence_as(symbols, [images]) if isinstance(symbols, (dict, list, tuple)) else images
    with told(RUNS, model):
        output = keras.tree.flatten(model(given, training=False))[0]
    if hasattr(output, "row_splits") or hasattr(output, "dense_shape"):
        kind = type(output).__name__
        raise ValueError(f"model must give a tensor of one shape, such as one row per image. Received: a {kind}")
    return output


def plain(model: KerasModel) -> KerasModel:
    """A model of the same layers and weights that takes images and gives its (first) output, no dicts or lists.

    Returns:
        The model itself where it is so already, or where its layers form no graph.
    """
    structures = (getattr(model, name, None) for name in ("_inputs_struct", "_outputs_struct"))
    if not any(isinstance(structure, (dict, list, tuple)) for structure in structures):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def at_rest(layer: Any, arguments: tuple[Any, ...], options: Mapping[str, Any], symbols: Sequence[Any] = ()) -> Any:
    """Call a layer as `model(images, training=False)` does."""
    if getattr(layer, "_call_has_training_arg", False):
        options = {**options, "training": False}
    with told(RUNS, layer=f"layer {layer.name!r} ({type(layer).__name__})"):
        return layer(*arguments, **options)


def output_names(calls: Sequence[KerasCall]) -> list[list[str]]:
    """The names of the outputs of each call: `relu@2` for the second call, `split:1` for the second output."""
    total = Counter(call.path for call in calls)
    seen: Counter[str] = Counter()
    names = []
    for call in calls:
        seen[call.path] += 1
        base = f"{call.path}@{seen[call.path]}" if total[call.path] > 1 else call.path
        count = len(call.outputs)
        names.append([f"{base}:{position}" for position in range(count)] if count > 1 else [base])
    return names


def flat_outputs(model: KerasModel, images: Tensor) -> Iterator[Tensor]:
    """Every output of every call, one after the other."""
    for call in walk(model, [images], at_rest):
        yield from call.outputs


def taped_calls(model: KerasModel, images: Tensor) -> tuple[list[KerasCall], list[Any], list[Tensor]]:
    """Run a model layer by layer, eagerly, with a gradient tape around each call.

    Args:
        model: a functional or sequential Keras model.
        images: tensor `(N, H, W, C)`.

    Returns:
        The calls in network order, the persistent tape of each, and the model's outputs. A call lists a tensor that
        it reads several times once.
    """
    import tensorflow as tf

    tapes = []

    def run(layer: Any, arguments: Any, options: Any, symbols: Any) -> Any:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch([leaf for leaf in keras.tree.flatten((arguments, options)) if tf.is_tensor(leaf)])
            outputs = at_rest(layer, arguments, options)
        tapes.append(tape)
        return outputs

    calls, outputs = collect(walk(model, [images], run))
    once = [tuple({id(value): value for value in call.inputs}.values()) for call in calls]
    calls = [KerasCall(call.path, call.layer, read, call.outputs) for call, read in zip(calls, once, strict=True)]
    return calls, tapes, outputs


def layer_values(model: KerasModel, images: NDArray[np.float32]) -> list[LayerValue]:
    """Every output of every layer of a functional or sequential model on a few images, nested models inlined.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.activations.keras_graph import layer_values
        >>> relu = keras.layers.ReLU(name="relu")
        >>> inputs = keras.Input((4, 4, 1))
        >>> model = keras.Model(inputs, relu(keras.layers.Conv2D(2, 1, name="conv")(relu(inputs))))
        >>> [(value.name, value.inputs) for value in layer_values(model, np.zeros((1, 4, 4, 1), "float32"))]
        [('relu@1', ()), ('conv', (0,)), ('relu@2', (1,))]

    Args:
        model: a built model with one input.
        images: float32 `(N, H, W, C)`, as the model takes them.

    Returns:
        The outputs, in network order.

    Raises:
        TypeError: the model's layers form no graph.
    """
    values: list[Any] = []

    def run(layer: Any, arguments: Any, options: Any, symbols: Sequence[Any]) -> list[_Place]:
        def value_of(leaf: Any) -> Any:
            return leaf.value if isinstance(leaf, _Place) else leaf

        outputs = at_rest(layer, *keras.tree.map_structure(value_of, (arguments, options)))
        places = [_Place(len(values) + number, value) for number, value in enumerate(keras.tree.flatten(outputs))]
        values.extend(places)
        return places

    calls, _ = collect(walk(model, [_Place(None, keras.ops.convert_to_tensor(images))], run))
    return [
        LayerValue(
            name,
            call.path,
            type(call.layer).__name__,
            keras.ops.convert_to_numpy(place.value),
            tuple(read.position for read in call.inputs if read.position is not None),
            math.prod(getattr(getattr(call.layer, "kernel", None), "shape", (0, 1))[:-1]),
        )
        for call, names in zip(calls, output_names(calls), strict=True)
        for name, place in zip(names, call.outputs, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Place:
    """A tensor and its position among all outputs; the images have none."""

    position: int | None
    value: Any


def _inputs_of(model: KerasModel, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> list[Any]:
    """What stands for the inputs of a nested model in a call of it, by position or by keyword."""
    given = arguments[0] if arguments else options["inputs"]
    symbols = graph_of(model).inputs
    if isinstance(given, Mapping) and all(symbol.name in given for symbol in symbols):
        return [given[symbol.name] for symbol in symbols]
    flat = keras.tree.flatten(given)
    if len(flat) != len(symbols):
        raise ValueError(
            f"nested models must be called on all of their inputs. Received: {model.name!r} with {len(symbols)} "
            f"inputs, called on {len(flat)}"
        )
    return flat
