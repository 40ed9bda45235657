"""Which tensor of a quantization-aware file belongs to which Keras layer, by the names of its operations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tfinv.activations.layer_graph import LayerGraph
from tfinv.tflite.files.flatbuffer import Graph
from tfinv.tflite.files.layer_map import LayerMap
from tfinv.tflite.files.tensor_names import scopes, short_names


class NamedStep(NamedTuple):
    """One layer of the converted model.

    Args:
        name: its name, which tensors mention.
        label: label of the user's layer that it belongs to.
        fuses_with: label of the layer before it, if the converter may fuse the two without leaving this one's name.
    """

    name: str
    label: str
    fuses_with: str = ""


Steps = Sequence[NamedStep]
"""Steps in the order of computation; several steps of one label follow each other, the last one is its output."""


def match_steps(file: Graph, steps: Steps, output: str) -> tuple[dict[str, int], dict[str, str]]:
    """The tensor of each label, and the tensors that are steps inside a label.

    A fused tensor names all layers that it holds; it is the output of the last of them. The calls of a shared layer
    follow each other in the file as in the model.

    Args:
        file: the integer file.
        steps: see `Steps`.
        output: label of the model's output, whose tensor the converter renames.

    Returns:
        tensor number by label, and label by `short_names` of inner tensors.
    """
    order: dict[str, list[int]] = {}
    for position, step in enumerate(steps):
        order.setdefault(step.name, []).append(position)
    final = {step.label: position for position, step in enumerate(steps)}
    outputs = {file.source(index) for index in file.outputs}
    matched: dict[str, int] = {}
    inner: dict[str, str] = {}
    seen: Counter[str] = Counter()
    names = {index: short for short, index in short_names(file).items()}
    mentioned = {index: _mentioned(file.tensors[index].name, order) for index in names}
    count = Counter(name for scopes in mentioned.values() for name in scopes)
    for index, short in names.items():
        if index in outputs:
            matched[output] = index
            continue
        position = _last_position(mentioned[index], order, count, seen)
        if position is None:
            continue
        label = steps[position].label
        if position != final[label]:
            inner[short] = label
            continue
        if label in matched:  # several operators of one layer: the last one is its output
            inner[names[matched[label]]] = label
        matched[label] = index
    for step in steps:
        if step.label not in matched and step.fuses_with in matched:
            matched[step.label] = matched.pop(step.fuses_with)
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


def _last_position(names: set[str], order: dict[str, list[int]], count: Counter[str], seen: Counter[str]) -> int | None:
    """Position of the last step among those that a tensor holds; None where it is not certain which call it is."""
    positions = []
    for name in names:
        if len(order[name]) == 1:
            positions.append(order[name][0])
        elif len(order[name]) == count[name]:
            positions.append(order[name][seen[name]])
            seen[name] += 1
    return max(positions) if positions and len(positions) == len(names) else None


def _mentioned(tensor_name: str, order: dict[str, list[int]]) -> set[str]:
    """The layers that a tensor name mentions; converters append a number to a scope that is opened twice."""
    names = set()
    for scope in scopes(tensor_name):
        for part in reversed(scope):
            name = next((candidate for candidate in (re.sub(r"_\d+$", "", part), part) if candidate in order), None)
            if name is not None:
                names.add(name)
                break
    return names
