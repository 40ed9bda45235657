"""The graph of layer calls behind a Keras model: walked in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tfinv.support.lazy import keras


def graph_of(model: Any) -> Any:
    """The Keras Function behind a model: the graph of calls that can be walked."""
    if isinstance(model, keras.Sequential):
        graph = getattr(model, "_functional", None)
        if graph is None:
            raise ValueError(
                f"model must be built before its layers can be read: give the Sequential model {model.name!r} a "
                "keras.Input as its first layer, or call model.build((None, H, W, C)). Received: an unbuilt model"
            )
        return graph
    if isinstance(model, keras.Model) and hasattr(model, "_nodes_by_depth"):
        return model
    if isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a functional or sequential Keras model. Received: the subclassed model "
            f"{type(model).__name__}, whose layers form no graph. Rebuild it with keras.Model(inputs, outputs), or "
            "compute the activations yourself and give them to tfinv.evaluate_arrays"
        )
    raise TypeError(f"model must be a Keras 3 model. Received: {type(model).__module__}.{type(model).__name__}")


def is_nested(operation: Any) -> bool:
    """Whether a layer is a model whose own layers form a graph."""
    if isinstance(operation, keras.Sequential):
        return getattr(operation, "_functional", None) is not None
    return isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth")


@dataclass(frozen=True)
class KerasCall:
    """One call of one layer on real tensors."""

    name: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def walk_calls(model: Any, images: Any, keep_tape: Callable[[Any], None]) -> Iterator[KerasCall]:
    """Run a model layer by layer, eagerly, with a gradient tape around each call; nested models are entered.

    Args:
        model: a functional or sequential Keras model.
        images: tensor `(N, H, W, C)`.
        keep_tape: is given the persistent tape of each call, in the order of the calls.

    Yields:
        The calls in network order; shared layers keep one name.
    """
    import tensorflow as tf

    def run(operation: Any, arguments: Any, options: Any) -> Any:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(tensors_of((arguments, options)))
            outputs = operation(*arguments, **options)
        keep_tape(tape)
        return outputs

    for path, _, inputs, outputs in walk(graph_of(model), [images], "", run):
        yield KerasCall(path, tuple(inputs), tuple(outputs))


def tensors_of(structure: Any) -> list[Any]:
    """The tensors of a nested structure, in its order."""
    return [each for each in keras.tree.flatten(structure) if hasattr(each, "dtype") and hasattr(each, "shape")]


def call_names(calls: Sequence[tuple[str, int]]) -> list[list[str]]:
    """The names of the outputs of each call, given its path and the number of its outputs."""
    total = Counter(path for path, _ in calls)
    seen: Counter[str] = Counter()
    names = []
    for path, count in calls:
        seen[path] += 1
        base = f"{path}@{seen[path]}" if total[path] > 1 else path
        names.append([f"{base}:{position}" for position in range(count)] if count > 1 else [base])
    return names


def plain_call(operation: Any, arguments: Any, options: Any) -> Any:
    """Call a layer and do nothing else."""
    return operation(*arguments, **options)


def flat_outputs(graph: Any, images: Any) -> Iterator[Any]:
    """Run a graph on images and yield the outputs of its calls, in network order."""
    for _, _, _, outputs in walk(graph, [images], "", plain_call):
        yield from outputs


def walk(
    graph: Any, inputs: Sequence[Any], prefix: str, run: Callable[[Any, Any, Any], Any]
) -> Generator[tuple[str, Any, list[Any], list[Any]], None, list[Any]]:
    """Run a graph call by call; yield path, layer, inputs and outputs of each, and return the graph's outputs."""
    tensors = {id(reference): value for reference, value in zip(graph.inputs, inputs, strict=True)}
    by_depth = graph._nodes_by_depth
    for node in (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]):
        if node.is_input:
            continue
        path = prefix + node.operation.name
        arguments, options = node.arguments.fill_in(tensors)
        if is_nested(node.operation):
            outputs = yield from walk(graph_of(node.operation), tensors_of(arguments), path + "/", run)
        else:
            outputs = keras.tree.flatten(run(node.operation, arguments, options))
            yield path, node.operation, tensors_of((arguments, options)), outputs
        tensors |= {id(reference): value for reference, value in zip(node.outputs, outputs, strict=True)}
    return [tensors[id(reference)] for reference in graph.outputs]
