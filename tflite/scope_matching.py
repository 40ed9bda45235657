"""Which tensor of a quantization-aware file belongs to which Keras layer, by the names of its operations (tflite)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tfinv.tflite.flatbuffer import Graph
from tfinv.tflite.layer_graph import LayerGraph
from tfinv.tflite.layermap import LayerMap
from tfinv.tflite.naming import scopes, short_names

Steps = Sequence[tuple[str, str]]
"""Name of the converted layer and label of the user's layer, in the order of computation."""


def match_steps(file: Graph, steps: Steps, output: str) -> tuple[dict[str, int], dict[str, str]]:
    """The tensor of each label, and the tensors that are steps inside a label.

    A fused tensor names all layers that it holds; it is the output of the last of them. The calls of a shared layer
    follow each other in the file as in the model.

    Args:
        file: the integer file.
        steps: see `Steps`; several steps of one label follow each other, the last one is its output.
        output: label of the model's output, whose tensor the converter renames.

    Returns:
        tensor number by label, and label by `short_names` of inner tensors.
    """
    order: dict[str, list[int]] = {}
    for position, (name, _) in enumerate(steps):
        order.setdefault(name, []).append(position)
    final = {label: position for position, (_, label) in enumerate(steps)}
    outputs = {file.source(index) for index in file.outputs}
    matched: dict[str, int] = {}
    inner: dict[str, str] = {}
    for short, index in short_names(file).items():
        if index in outputs:
            matched[output] = index
            continue
        found = [order[name] for name in _layers_in(file.tensors[index].name, order)]
        if not found:
            continue
        calls = max(found, key=lambda positions: positions[0])
        position = calls.pop(0) if len(calls) > 1 else calls[0]
        label = steps[position][1]
        if position == final[label]:
            matched[label] = index
        else:
            inner[short] = label
    return matched, inner


def quantized_layer_map(file: Graph, model: LayerGraph, steps: Steps, is_identity: Callable[[Any], bool]) -> LayerMap:
    """The layer map of a file made by quantization-aware training.

    Args:
        file: the integer file.
        model: the user's model.
        steps: see `match_steps`.
        is_identity: whether a layer gives back its input at inference.

    Returns:
        The map; a layer without a tensor of its own is listed with the layer that swallowed it.
    """
    label_of = {call.output: call.label for call in model.calls}
    matched, inner = match_steps(file, steps, output_label(model, is_identity))
    readers = model.readers()
    same_as, fused_into, lost = {}, {}, []
    for call in model.calls:
        if call.label in matched:
            continue
        source = label_of.get(call.inputs[0], "")
        source = same_as.get(source, source)
        following = call
        while following.label not in matched and len(readers[following.output]) == 1:
            following = readers[following.output][0]
        if is_identity(call.layer) and source in matched:
            same_as[call.label] = source
        elif following.label in matched:
            fused_into[call.label] = following.label
        else:
            lost.append(call.label)
    known = set(matched.values())
    strangers = [name for name, index in short_names(file).items() if index not in known and name not in inner]
    ordered = dict(sorted(matched.items(), key=lambda item: file.activations.index(item[1])))
    return LayerMap(ordered, same_as, fused_into, inner, tuple(lost), tuple(strangers))


def output_label(model: LayerGraph, is_identity: Callable[[Any], bool]) -> str:
    """Label of the layer whose output is the model's."""
    producer = {call.output: call for call in model.calls}
    call = producer.get(model.output)
    while call is not None and is_identity(call.layer) and call.inputs[0] in producer:
        call = producer[call.inputs[0]]
    return call.label if call is not None else ""


def _layers_in(tensor_name: str, names: dict[str, list[int]]) -> list[str]:
    """The layers that a tensor name mentions; converters append a number to a scope that is opened twice."""
    found = []
    for scope in scopes(tensor_name):
        for part in reversed(scope):
            stem = re.sub(r"_\d+$", "", part)
            name = next((each for each in (stem, part) if names.get(each)), None)
            if name is not None:
                found.append(name)
                break
    return found
