"""What a conversion gives: the file, how it was made, and what is inside."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.support.files import atomic_write, write_json
from tfinv.support.reading import read_bytes, read_text
from tfinv.tflite.files.flatbuffer import Graph, check_identifier, read_graph
from tfinv.tflite.files.layer_map import LayerMap

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "tfinv-conversion"
VERSION = 1


@dataclass(frozen=True)
class Conversion:
    """A `.tflite` file made by one of the recipes.

    Args:
        content: the file.
        recipe: name of the recipe, such as `"static_int8"`.
        options: what the recipe was told, as JSON values.
        layers: which Keras layer is which tensor; None where the file came without its Keras model.
        log: what the tools printed while they worked.
        versions: versions of the tools.
    """

    content: bytes = field(repr=False)
    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)
    layers: LayerMap | None = field(default=None, repr=False)
    log: str = field(default="", repr=False)
    versions: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", check_identifier(self.content))

    @cached_property
    def graph(self) -> Graph:
        """Operators and tensors of the file."""
        return read_graph(self.content)

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return len(self.content)

    @cached_property
    def sha256(self) -> str:
        """Hash of the file, hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def operators(self) -> dict[str, int]:
        """How often each operator occurs."""
        return dict(self.graph.histogram)

    @property
    def integer_tensors(self) -> tuple[str, ...]:
        """Names of the tensors stored as quantized integers, activations and constants."""
        return tuple(tensor.name for tensor in self.graph.tensors if tensor.scales.size)

    @property
    def float_operators(self) -> tuple[str, ...]:
        """`OPERATOR name` of every operator that computes in floating point."""
        tensors = self.graph.tensors
        return tuple(
            f"{operator.name} {tensors[operator.outputs[0]].name}" for operator in self.graph.float_operators()
        )

    @property
    def float_kernels(self) -> tuple[str, ...]:
        """Names of the kernels (constants of two or more dimensions) that are stored as float32."""
        return tuple(
            name for name, weight in self.graph.weights().items() if weight.dtype == "float32" and len(weight.shape) > 1
        )

    @property
    def is_integer(self) -> bool:
        """Whether every operator computes with integers; float inputs and outputs do not count against it."""
        return not self.graph.float_operators()

    def to_frame(self) -> pd.DataFrame:
        """One row per operator, in order: operator, output tensor, layer, shape, dtype, scale, zero_point."""
        import pandas as pd  # costs a third of a second

        layer = {index: name for name, index in self.layers.matched.items()} if self.layers else {}
        rows = []
        for operator in self.graph.operators:
            for index in operator.outputs:
                tensor = self.graph.tensors[index]
                single = tensor.scales.size == 1
                rows.append(
                    {
                        "operator": operator.name,
                        "tensor": tensor.name,
                        "layer": layer.get(index, ""),
                        "shape": tensor.shape,
                        "dtype": tensor.dtype,
                        "scale": float(tensor.scales[0]) if single else float("nan"),
                        "zero_point": int(tensor.zero_points[0]) if single else 0,
                    }
                )
        return pd.DataFrame(rows)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file, and what is known about it as JSON next to it (`model.tflite.json`), both atomically.

        Args:
            path: ends in `.tflite`.

        Returns:
            The path of the `.tflite` file.

        Raises:
            ValueError: another ending.
            OSError: the folder cannot be written.
        """
        target = Path(path)
        if target.suffix != ".tflite":
            raise ValueError(f"path must end in .tflite. Received: {str(path)!r}")
        with atomic_write(target) as file:
            file.write(self.content)
        write_json(
            _sidecar(target),
            {
                "format": FORMAT,
                "version": VERSION,
                "recipe": self.recipe,
                "options": dict(self.options),
                "bytes": self.size,
                "sha256": self.sha256,
                "operators": self.operators,
                "layers": self.layers.to_json() if self.layers else None,
                "log": self.log,
                "versions": dict(self.versions),
            },
        )
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Conversion:
        """Read what `save` wrote. A `.tflite` file without its JSON loads too, with the recipe `"unknown"`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a corrupt file, or a JSON that belongs to another file or version.
        """
        source = Path(path)
        content = read_bytes(source, "a .tflite file")
        sidecar = _sidecar(source)
        read_graph(content)  # a corrupt file shall fail here, not at its first use
        return cls._from_sidecar(content, sidecar) if sidecar.exists() else cls(content, "unknown")

    @classmethod
    def _from_sidecar(cls, content: bytes, sidecar: Path) -> Conversion:
        try:
            data = json.loads(read_text(sidecar, "the JSON that Conversion.save wrote"))
            if data["format"] != FORMAT or data["version"] != VERSION:
                raise ValueError(f"format {data['format']!r}, version {data['version']!r}")
            layers = LayerMap.from_json(data["layers"]) if data["layers"] else None
            result = cls(content, data["recipe"], data["options"], layers, data["log"], data["versions"])
            expected = data["sha256"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"path must lead to a conversion of format {FORMAT}, version {VERSION}. Received: {sidecar} ({error})"
            ) from None
        if result.sha256 != expected:
            raise ValueError(f"{sidecar} describes another file than {sidecar.name.removesuffix('.json')} next to it")
        if layers and not set(layers.matched.values()) <= set(result.graph.activations):
            raise ValueError(f"{sidecar} maps layers to tensors that are no activations of the file")
        return result


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")
