"""Where TFLite requantizes, and the fake-quantized Keras model that rounds at exactly these places."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.layer_graph import LayerGraph, fill_in, flatten
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Images, KerasModel, Tensor
from tfinv.tflite.qat.keras_route.rules import refuse_unknown, rewrite_call
from tfinv.tflite.qat.keras_route.steps import Rewriter, Role, Step
from tfinv.tflite.qat.match_scopes import NamedStep

select_tensorflow_backend()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from tfinv.tflite.qat.keras_route.layers import FIXED_RANGES, FakeQuant, observe  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FakeQuantizedModel:
    """A model that computes what its integer file will compute.

    Args:
        model: the Keras 3 model: fake-quantized weights and activations, normalizations folded.
        logits: the same layers up to the logits, where `model` ends in a softmax or a sigmoid; this one is trained.
        layers: the tensor of `model` that holds what the file will hold, by label of the user's layer.
        steps: the Keras layers behind the operators of the file to be.
    """

    model: KerasModel
    logits: Any
    layers: dict[str, Any]
    steps: tuple[NamedStep, ...]

    @cached_property
    def _activations(self) -> Any:
        model = keras.Model(self.model.inputs, self.layers)
        return tf.function(lambda images: model(images, training=False), reduce_retracing=True, autograph=False)

    def watched(self, names: Iterable[str]) -> Callable[[Tensor], dict[str, Tensor]]:
        """What gives some layers of `layers` for images, rounded as in the file by the ranges of the moment."""
        model = keras.Model(self.model.inputs, {name: self.layers[name] for name in names})
        return lambda images: model(images, training=False)

    def activations(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """What the layers give, rounded as in the file.

        Args:
            images: `(N, H, W, C)` as the model takes them.

        Returns:
            `{label: float32 (N, *U)}` for every layer whose output exists in the file.
        """
        activations = self._activations(tf.convert_to_tensor(images, tf.float32))
        return {label: np.asarray(activations[label]) for label in self.layers}


def fake_quantized(model: KerasModel, *, weight_bits: int = 8, seed: int = 0) -> FakeQuantizedModel:
    """A fake-quantized copy of a Keras 3 model; its ranges are still empty, see `set_ranges`.

    The copy rounds weights, and activations only where the file will: after each operator with what TFLite fuses into
    it, with one range for tensors that must share a scale. Batch normalization is folded by its moving statistics, so
    that training runs the very computation that is converted.

    Args:
        model: functional or sequential, nested models allowed, one input and one output. Not modified.
        weight_bits: 4 to 8.
        seed: for dropout layers without a seed of their own.

    Returns:
        The copy.

    Raises:
        TypeError: not a functional or sequential model.
        ValueError: a layer that cannot be taken, with its name.
    """
    graph = flatten(model)
    refuse_unknown(graph)
    return _build(graph, Rewriter(graph, weight_bits, seed).rewrite(rewrite_call))


def set_ranges(model: KerasModel, batches: Iterable[NDArray[Any]]) -> None:
    """Set the range of every activation to the minimum and maximum over data.

    Args:
        model: `FakeQuantizedModel.model`.
        batches: images `(N, H, W, C)`, at least one batch.

    Raises:
        ValueError: no batch, or activations that are not finite, with the layer's name.
    """
    count = 0
    with observe(model):
        for images in batches:
            model(np.asarray(images, np.float32), training=False)
            count += 1
    if not count:
        raise ValueError("calibration must hold at least one image. Received: none")
    for layer in model.layers:
        if isinstance(layer, FakeQuant) and not np.isfinite([float(end) for end in layer.range()]).all():
            raise ValueError(f"activations must be finite. Received: NaN or infinity in layer {layer.name!r}")


def _build(graph: LayerGraph, steps: list[Step]) -> FakeQuantizedModel:
    sites, groups = _place(graph, steps)
    quantizers = _quantizers(graph, steps, sites, groups)
    inputs = keras.Input(graph.input_shape[1:], name=graph.input_name, dtype="float32")
    tensors: dict[int, Any] = {0: inputs}
    _round(0, tensors, quantizers)
    loaded: set[int] = set()
    for step in steps:
        args, kwargs = fill_in(step.args, tensors)
        tensors[step.output] = step.layer(*args, **kwargs)
        if step.weights and id(step.layer) not in loaded:
            step.layer.set_weights([w.reshape(v.shape) for w, v in zip(step.weights, step.layer.weights, strict=True)])
            loaded.add(id(step.layer))
        _round(step.output, tensors, quantizers)
    last = next((step for step in steps if step.output == graph.output), None)
    is_probability = last is not None and last.fixed == FIXED_RANGES["softmax"] and _is_probability(last.layer)
    logits = tensors[last.inputs[0]] if last is not None and is_probability else tensors[graph.output]
    return FakeQuantizedModel(
        keras.Model(inputs, tensors[graph.output], name=graph.name),
        keras.Model(inputs, logits, name=graph.name),
        _comparable(graph, steps, sites, tensors),
        tuple(NamedStep(step.name, step.source) for step in steps),
    )


def _is_probability(layer: Any) -> bool:
    functions = (keras.activations.softmax, keras.activations.sigmoid)
    return isinstance(layer, keras.layers.Softmax) or layer.activation in functions


def _round(number: int, tensors: dict[int, Any], quantizers: dict[int, tuple[FakeQuant, int]]) -> None:
    if number in quantizers:
        layer, site = quantizers[number]
        tensors[number] = layer(tensors[number], site=site)


def _place(graph: LayerGraph, steps: list[Step]) -> tuple[list[int], dict[int, int]]:
    """The tensors to round, in order, and the group of every tensor: same group, same scale."""
    readers = _readers(steps)
    producer = {step.output: step for step in steps}
    fused = {s.output for s in steps if s.fuses_relu and _only_relu(s.output, readers, graph.output)}
    group: dict[int, int] = {number: number for number in (0, *producer)}

    def find(number: int) -> int:
        while group[number] != number:
            number = group[number]
        return number

    sites = [0]
    for step in steps:
        behind = _behind(step, producer) if step.role is Role.RELU else None
        after_pool = behind is not None and behind.output in fused and behind.role is Role.SAME
        if step.role in (Role.SAME, Role.PASS) or after_pool:
            for number in step.inputs:
                group[find(number)] = find(step.output)
        if step.output in fused or step.role in (Role.PASS, Role.INNER, Role.UNKNOWN):
            continue
        rounds = behind.rounds if after_pool and behind is not None else step.rounds
        if rounds or (step.role in (Role.COMPUTE, Role.RELU) and not after_pool):
            sites.append(step.output)
    return sites, {number: find(number) for number in group}


def _quantizers(
    graph: LayerGraph, steps: list[Step], sites: list[int], groups: dict[int, int]
) -> dict[int, tuple[FakeQuant, int]]:
    """One layer per group, named after the first tensor of it; by tensor, with the number of the site."""
    names = {0: graph.input_name} | {step.output: step.name for step in steps}
    fixed = {step.output: step.fixed for step in steps}
    places: dict[int, tuple[FakeQuant, int]] = {}
    taken: set[str] = set()
    for group in dict.fromkeys(groups[site] for site in sites):
        members = [site for site in sites if groups[site] == group]
        ranges = {fixed.get(site) for site in members}
        name = f"{names[members[0]]}_fq"
        while name in taken:  # a shared layer rounds each of its outputs by a range of its own
            name += "_again"
        taken.add(name)
        fixed_range = ranges.pop() if len(ranges) == 1 else None
        layer = FakeQuant(sites=len(members), fixed=fixed_range, name=name, dtype="float32")
        places |= {site: (layer, position) for position, site in enumerate(members)}
    return places


def _readers(steps: list[Step]) -> dict[int, list[Step]]:
    readers: dict[int, list[Step]] = {}
    for step in steps:
        for number in step.inputs:
            readers.setdefault(number, []).append(step)
    return readers


def _only_relu(number: int, readers: dict[int, list[Step]], output: int) -> bool:
    """Whether one ReLU is all that reads a tensor, layers that vanish at inference aside."""
    while number != output and len(readers.get(number, [])) == 1:
        reader = readers[number][0]
        if reader.role is not Role.PASS:
            return reader.role is Role.RELU
        number = reader.output
    return False


def _behind(step: Step, producer: dict[int, Step]) -> Step | None:
    """The step that computes what a step reads, layers that vanish at inference aside."""
    before = producer.get(step.inputs[0])
    while before is not None and before.role is Role.PASS:
        before = producer.get(before.inputs[0])
    return before


def _comparable(graph: LayerGraph, steps: list[Step], sites: list[int], tensors: dict[int, Any]) -> dict[str, Any]:
    """Outputs that exist in the file, by the user's label: those rounded, and those moved without rounding."""
    rounded, labels = set(sites), {call.output: call.label for call in graph.calls}
    activations: dict[str, Any] = {}
    for step in steps:
        if step.role is Role.SAME and all(number in rounded for number in step.inputs):
            rounded.add(step.output)
        if step.role is not Role.PASS and step.output in rounded and step.output in labels:
            activations[labels[step.output]] = tensors[step.output]
    return activations
