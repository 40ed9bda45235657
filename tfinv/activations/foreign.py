"""What models from elsewhere have in common: images in, activations by layer out, whatever runs them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.activations.input_scale import InputScale
from tfinv.activations.input_scale import input_scale as parse_scale
from tfinv.activations.layout import Layout, as_images, checked_layout
from tfinv.activations.model_inputs import as_model_inputs
from tfinv.activations.outputs import ModelOutput
from tfinv.activations.selection import select_names
from tfinv.activations.source import LayerChoice
from tfinv.activations.steps import (
    IMAGES,
    NetworkStep,
    behind_copies,
    first_channels,
    layer_names,
    reads_of_layers,
    summed_in_scope,
    told_layout,
    unit_shape,
)
from tfinv.statistics.resolution import Computed, Resolution, resolutions
from tfinv.support.faults import RUNS, told
from tfinv.support.types import Images

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

Runs = Callable[["NDArray[np.float32]"], "list[NDArray[Any]]"]
"""Arrays, one per tensor that was asked for, for model inputs `(N, ...)` as the model has them."""
TOGETHER = 64
"""Images that a model with an open batch runs at a time."""
_KEPT = 4
"""Prepared choices of tensors that are kept; each may hold the weights."""


class End(NamedTuple):
    """One output of a network.

    Args:
        name: what the network calls it.
        step: position of the step that makes it, or of class numbers the scores behind them; `IMAGES` where none is
            known.
        shape: of one image, as the network has it; -1 where open.
        dtype: of its numbers.
    """

    name: str
    step: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Network:
    """What is known of a model from elsewhere before it is measured.

    Args:
        id: name and hash.
        shape: of its images without their batch, as the network has them.
        batch: how many images it takes at a time; None for any number.
        steps: what it computes, in the order in which that happens.
        ends: its outputs.
        skipped: what it computes and cannot be measured, with the reason.
        notes: what a reader of the numbers must know, in sentences.
        by_keras: whether Keras may have exported it.
    """

    id: str
    shape: tuple[int, ...]
    batch: int | None
    steps: Sequence[NetworkStep]
    ends: Sequence[End]
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    by_keras: bool = False


class ForeignModel(ABC):
    """A model that another runtime runs: what `OnnxModel`, `SavedModel` and `TorchModel` share.

    Images and feature maps have their channels last here, also where the model has them first.
    """

    def __init__(
        self,
        network: Network,
        layers: LayerChoice,
        input_scale: str | Sequence[Any] | InputScale,
        layout: Layout | None,
    ) -> None:
        self.network = network
        self.input_scale: InputScale = parse_scale(input_scale)
        self.layout: Layout = checked_layout(layout) or told_layout(network.steps, network.shape)
        """Where the model has the channels of its images."""
        self._first = first_channels(network.steps, self.layout)
        self._names, self._usual = layer_names(network.steps, by_keras=network.by_keras)
        self._prepared: dict[tuple[str, ...] | None, Runs] = {}
        self._choose(layers)

    @abstractmethod
    def _prepare(self, keys: tuple[str, ...] | None) -> Runs:
        """What computes the tensors of some steps, by their keys; None for the outputs of the model."""

    @property
    def id(self) -> str:
        """Name of the model, and a hash of it, so that results identify it."""
        return self.network.id

    @property
    def skipped(self) -> dict[str, str]:
        """What the model computes and cannot be measured, and why."""
        return dict(self.network.skipped)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers must know, in sentences."""
        return self.network.notes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(H, W, C)` of the images."""
        return as_images(self.network.shape, self.layout)

    @property
    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Unit shape `*U` by layer name, in network order."""
        return {name: unit_shape(self.network.steps[at], self._first[at]) for name, at in self._layers.items()}

    @property
    def layer_types(self) -> dict[str, str]:
        """Which operation computes each layer, such as `"Conv"`."""
        return {name: self.network.steps[at].kind for name, at in self._layers.items()}

    @property
    def outputs(self) -> tuple[ModelOutput, ...]:
        """The outputs in the order of the model, with their layers; classes are read from the first."""
        names = {at: name for name, at in self._names.items()}
        found = []
        for end in self.network.ends:
            at = behind_copies(self.network.steps, end.step)
            kind = "" if at == IMAGES else self.network.steps[at].kind.lower()
            activation = kind if kind in ("softmax", "sigmoid") else ""
            shape = as_images(end.shape, "nchw") if self._is_first(end) else end.shape
            found.append(ModelOutput(end.name, names.get(at, ""), shape, end.dtype, activation))
        return tuple(found)

    @property
    def output_layer(self) -> str:
        """The layer that makes the model's first output, selected or not."""
        return self.outputs[0].layer

    def select(self, layers: LayerChoice) -> Self:
        """The same model with only some of the layers."""
        other = copy.copy(self)
        other._choose(layers)
        return other

    def with_input_scale(self, scale: str | Sequence[Any] | InputScale) -> Self:
        """The same model, fed with another input scale."""
        other = copy.copy(self)
        other.input_scale = parse_scale(scale)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": {}}

    def __call__(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """The activations of the chosen layers.

        Args:
            images: `(N, H, W, C)` in [0, 1], any N.

        Returns:
            `{layer: float32 (N, *U)}` in network order.

        Raises:
            ValueError: images of another shape, or with NaN or infinite values.
        """
        places = list(self._layers.values())
        return dict(zip(self._layers, self._activations(self.model_inputs(images), places), strict=True))

    def predict(self, images: Images) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """The outputs of the model: `(N, *U)`, or one such array by name where there are several."""
        arrays = self._run(self.model_inputs(images), None)
        found = {
            end.name: _channels_last(array, self._is_first(end))
            for end, array in zip(self.network.ends, arrays, strict=True)
        }
        return next(iter(found.values())) if len(found) == 1 else found

    def resolutions(self, images: NDArray[np.float32]) -> dict[str, Resolution]:
        """By layer the smallest variation that is more than rounding, see `tfinv.statistics.resolution`.

        Args:
            images: `(N, H, W, C)` in [0, 1], a few.
        """
        steps = self.network.steps
        places = list(self._names.values())
        order = {at: number for number, at in enumerate(places)}
        names = {at: name for name, at in self._names.items()}
        values = self._activations(self.model_inputs(images), places)
        computed = [
            Computed(
                names[at],
                value,
                steps[at].dtype,
                tuple(order[read] for read in reads_of_layers(steps, at) if read in order),
                summed_in_scope(steps, at),
            )
            for at, value in zip(places, values, strict=True)
        ]
        return resolutions(computed, self._layers)

    def model_inputs(self, images: Images) -> NDArray[np.float32]:
        """Images `(N, H, W, C)` in [0, 1], checked, as the model takes them."""
        return as_model_inputs(images, self.input_shape, self.input_scale, self.layout)

    def _choose(self, layers: LayerChoice) -> None:
        steps, names = self.network.steps, self._names
        if not names:
            received = "; ".join(f"{name}: {why}" for name, why in list(self.network.skipped.items())[:3])
            raise ValueError(f"model must compute real numbers for every image. Received: {received or 'nothing'}")
        kinds = {name: steps[at].kind for name, at in names.items()}
        chosen = self._usual if layers is None else select_names(kinds, layers, self.network.skipped)
        self._layers: dict[str, int] = {name: names[name] for name in chosen}

    def _activations(self, inputs: NDArray[np.float32], places: Sequence[int]) -> list[NDArray[np.float32]]:
        arrays = self._run(inputs, tuple(self.network.steps[at].key for at in places))
        return [
            np.asarray(_channels_last(array, self._first[at]), np.float32)
            for at, array in zip(places, arrays, strict=True)
        ]

    def _run(self, inputs: NDArray[np.float32], keys: tuple[str, ...] | None) -> list[NDArray[Any]]:
        """Tensors for any number of images; a batch that must be filled is filled with the last image."""
        if keys not in self._prepared:
            while len(self._prepared) >= _KEPT:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[keys] = self._prepare(keys)
        compute, size = self._prepared[keys], self.network.batch or TOGETHER
        blocks = []
        for start in range(0, max(len(inputs), 1), size):
            part = inputs[start : start + size]
            count = len(part)
            wanted = self.network.batch or max(count, 1)
            if count < wanted:
                fill = part[-1:] if count else np.zeros((1, *inputs.shape[1:]), np.float32)
                part = np.concatenate([part, np.repeat(fill, wanted - count, axis=0)])
            with told(RUNS):
                arrays = compute(part)
            blocks.append([array[:count] for array in arrays])
        return [
            np.concatenate(parts) if len(blocks) > 1 else parts[0] for parts in map(list, zip(*blocks, strict=True))
        ]

    def _is_first(self, end: End) -> bool:
        if len(end.shape) != 3:
            return False
        return self.layout == "nchw" if end.step == IMAGES else self._first[end.step]


def _channels_last(array: NDArray[Any], is_first: bool) -> NDArray[Any]:
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if is_first and array.ndim == 4 else array
