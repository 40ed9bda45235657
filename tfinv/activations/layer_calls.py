"""Run a Keras model on a few images and keep what every layer gives (beside activations, eager)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.support.lazy import keras


@dataclass(frozen=True)
class LayerCall:
    """One output of one call of one layer.

    Args:
        name: as `tfinv.activations.ActivationModel` has it: `inner/conv`, `relu@2`, `split:1`.
        path: the name without the number of the call and of the output.
        kind: name of the layer's class.
        value: what came out.
        inputs: positions of the outputs that it was made from, in the list of all; the images have none.
    """

    name: str
    path: str
    kind: str
    value: NDArray[Any]
    inputs: tuple[int, ...]


def layer_calls(model: Any, images: NDArray[np.float32]) -> list[LayerCall]:
    """Every output of every layer of a functional or sequential model, nested models inlined.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.activations.layer_calls import layer_calls
        >>> relu = keras.layers.ReLU(name="relu")
        >>> inputs = keras.Input((4, 4, 1))
        >>> model = keras.Model(inputs, relu(keras.layers.Conv2D(2, 1, name="conv")(relu(inputs))))
        >>> [(call.name, call.inputs) for call in layer_calls(model, np.zeros((1, 4, 4, 1), "float32"))]
        [('relu@1', ()), ('conv', (0,)), ('relu@2', (1,))]

    Args:
        model: a built model with one input.
        images: float32 `(N, H, W, C)`, as the model takes them.

    Returns:
        The outputs, in network order.

    Raises:
        TypeError: the model's layers form no graph.
    """
    calls: list[LayerCall] = []
    _run(_graph_of(model), [(keras.ops.convert_to_tensor(images), None)], "", calls)
    return list(_numbered(calls))


def _run(graph: Any, inputs: Sequence[tuple[Any, int | None]], prefix: str, calls: list[LayerCall]) -> list[Any]:
    """Append the calls of one graph; return its outputs with their positions in the list."""
    known = {id(reference): pair for reference, pair in zip(graph.inputs, inputs, strict=True)}
    by_depth = graph._nodes_by_depth
    for node in (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]):
        if node.is_input:
            continue
        sources = [known[id(reference)] for reference in node.arguments.keras_tensors]
        path = prefix + node.operation.name
        if isinstance(node.operation, keras.Model):
            outputs = _run(_graph_of(node.operation), sources, path + "/", calls)
        else:
            arguments, options = node.arguments.fill_in({key: value for key, (value, _) in known.items()})
            if getattr(node.operation, "_call_has_training_arg", False):
                options = {**options, "training": False}  # as `model(images, training=False)` does, everywhere
            values = keras.tree.flatten(node.operation(*arguments, **options))
            places = tuple(position for _, position in sources if position is not None)
            outputs = []
            for number, value in enumerate(values):
                name = f"{path}:{number}" if len(values) > 1 else path
                outputs.append((value, len(calls)))
                kind = type(node.operation).__name__
                calls.append(LayerCall(name, path, kind, keras.ops.convert_to_numpy(value), places))
        known |= {id(reference): pair for reference, pair in zip(node.outputs, outputs, strict=True)}
    return [known[id(reference)] for reference in graph.outputs]


def _numbered(calls: Sequence[LayerCall]) -> Iterator[LayerCall]:
    """Tell the calls of a layer that is used several times apart: `relu@1`, `relu@2`."""
    total, seen = Counter(call.name for call in calls), Counter[str]()
    for call in calls:
        seen[call.name] += 1
        number = f"@{seen[call.name]}" if total[call.name] > 1 else ""
        yield replace(call, name=call.path + number + call.name.removeprefix(call.path))


def _graph_of(model: Any) -> Any:
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    if not hasattr(graph, "_nodes_by_depth"):
        raise TypeError(
            f"model must be a built functional or sequential Keras model. Received: {type(model).__name__}, "
            "whose layers form no graph"
        )
    return graph
