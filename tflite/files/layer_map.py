"""Which Keras layer is which tensor of a `.tflite` file, and what became of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tfinv.tflite.files.flatbuffer import Graph
from tfinv.tflite.files.tensor_names import base_name, short_names


@dataclass(frozen=True)
class LayerMap:
    """Keras layers and tensors of one file.

    Fusion leaves only the last of several layers: of convolution, batch normalization and ReLU, the ReLU exists in
    the file, the others do not.

    Args:
        matched: tensor number by layer name, in network order.
        same_as: layers that change nothing at inference (dropout), with the matched layer that has their output.
        fused_into: layers whose output does not exist in the file, with the matched layer that swallowed them.
        inner: activations (names from the file) that are a step inside a layer, with that layer.
        unmatched_layers: layers with neither a tensor nor a layer that swallowed them.
        unmatched_tensors: activations (names from the file) of no known layer.
        agreement: SQNR in dB between layer and tensor on the same images, by matched layer.
    """

    matched: Mapping[str, int]
    same_as: Mapping[str, str] = field(default_factory=dict)
    fused_into: Mapping[str, str] = field(default_factory=dict)
    inner: Mapping[str, str] = field(default_factory=dict)
    unmatched_layers: tuple[str, ...] = ()
    unmatched_tensors: tuple[str, ...] = ()
    agreement: Mapping[str, float] = field(default_factory=dict)

    def describe(self) -> str:
        """The map in a few lines, for a reader."""
        lines = [f"{len(self.matched)} layers matched: {', '.join(self.matched)}"]
        lines += [f"{layer} is fused into {into}" for layer, into in self.fused_into.items()]
        lines += [f"{layer} changes nothing, see {other}" for layer, other in self.same_as.items()]
        lines += [f"{tensor} is a step inside {layer}" for tensor, layer in self.inner.items()]
        lines += [f"layer {layer} was not found in the file" for layer in self.unmatched_layers]
        lines += [f"tensor {tensor} belongs to no known layer" for tensor in self.unmatched_tensors]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; mappings as lists of pairs, which keep their order."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            name: [list(pair) for pair in v.items()] if isinstance(v, Mapping) else list(v)
            for name, v in values.items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LayerMap:
        """Read `to_json`.

        Raises:
            ValueError: a field is missing, unknown or of another form.
        """
        if set(data) != {entry.name for entry in fields(cls)}:
            raise ValueError(f"layers must have the fields of a LayerMap. Received: {sorted(data)}")
        values: dict[str, Any] = {
            name: tuple(v) if name.startswith("unmatched") else dict(v) for name, v in data.items()
        }
        return cls(**values)

    def transfer(self, before: Graph, after: Graph) -> LayerMap:
        """The map for a file that was made from this one: the same tensor names, perhaps with a suffix."""
        by_name: dict[str, int] = {}
        for index in after.activations:
            by_name.setdefault(base_name(after.tensors[index].name), index)
        indices = {layer: by_name.get(base_name(before.tensors[index].name)) for layer, index in self.matched.items()}
        matched = {layer: index for layer, index in indices.items() if index is not None}
        lost = tuple(layer for layer, index in indices.items() if index is None)
        known = set(matched.values())
        names = short_names(after)
        return LayerMap(
            matched,
            {layer: other for layer, other in self.same_as.items() if other in matched},
            {layer: other for layer, other in self.fused_into.items() if other in matched},
            {name: layer for name, layer in self.inner.items() if name in names},
            self.unmatched_layers + lost,
            tuple(name for name, index in names.items() if index not in known and name not in self.inner),
            {layer: value for layer, value in self.agreement.items() if layer in matched},
        )
