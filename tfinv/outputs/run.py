"""One model that is shown blocks of images and their transformed versions, and what its outputs did so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.evaluation.options import Warping
from tfinv.outputs.base import OutputValues, Quantities
from tfinv.outputs.change import OutputChange, OutputMeasured
from tfinv.outputs.kinds import chosen_kinds
from tfinv.outputs.moves import Moves, still
from tfinv.outputs.predicting import named_outputs, predict_all
from tfinv.support.types import Model
from tfinv.transformations import Affine, TransformationSet, warp
from tfinv.transformations.affine import sampling_matrices
from tfinv.transformations.labels import angles
from tfinv.transformations.warp import warp_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_BYTES = 64 * 2**20
"""Transformed images of one block may take this much memory."""
FIRST = 8
"""Images that kinds are guessed and checked on."""


class OutputRun:
    """A model, images and transformations, and what the outputs mean.

    Args:
        model: see `with_outputs`.
        images: `(S, H, W, C)`.
        transformations: the set.
        warping: padding and interpolation.
        stated: see `output_change`.
        names: what to call the outputs, in the order of the model; None for their own names.
        guessed: outputs whose stated kind was guessed on another model.

    Raises:
        ValueError: see `output_change`.
    """

    def __init__(
        self,
        model: Model,
        images: NDArray[np.float32],
        transformations: TransformationSet,
        warping: Warping,
        stated: Any,
        names: Sequence[str] | None = None,
        guessed: Sequence[str] = (),
    ) -> None:
        self.model, self.transformations, self.warping = model, transformations, warping
        height, width = images.shape[1:3]
        self.moves = Moves(transformations, height, width)
        self.floor_moves = Moves(transformations, height, width, returned=True)
        own = named_outputs(model)
        called = [output.name for output in own] if names is None else names
        self.listed = [replace(output, name=name) for output, name in zip(own, called, strict=True)]
        self._activations = {output.name: output.activation for output in self.listed}
        first = self._outputs(images[:FIRST])
        self.kinds, self.guessed, self.skipped = chosen_kinds(stated, self.listed, first, (height, width))
        self.kinds = {name: kind for name, kind in self.kinds.items() if names is None or name in stated}
        self.guessed = tuple(name for name in self.kinds if name in (*self.guessed, *guessed))
        self._values: list[dict[str, Quantities]] = []
        self._floors: list[dict[str, Quantities]] = []
        self._marks: dict[str, dict[str, NDArray[Any]]] = {}
        for name, kind in self.kinds.items():
            kind.check_values(self._seen(name, first), self.moves)
        self._galleries = {name: np.empty(0) for name, kind in self.kinds.items() if kind.searches}
        if self._galleries:
            all_outputs = [self._outputs(part) for part in _blocks(images, self.block_size)]
            for name in self._galleries:
                self._galleries[name] = np.concatenate([outputs[name] for outputs in all_outputs])

    def _outputs(self, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        found = predict_all(self.model, images)
        return dict(zip((output.name for output in self.listed), found.values(), strict=True))

    def show(
        self,
        images: NDArray[np.float32],
        index: Sequence[int],
        warped: NDArray[np.float32],
        returned: NDArray[np.float32] | None,
        pictures: int,
    ) -> dict[str, NDArray[Any]]:
        """Run the model on a block of images, and keep what was found.

        Args:
            images: `(S_b, H, W, C)`.
            index: their positions among all images.
            warped: these images under every transformation, `(S_b, T, H, W, C)`.
            returned: transformed back; None for no floor.
            pictures: of how many images to keep what is drawn on them.

        Returns:
            The outputs for the transformed images, `(S_b, T, *U)` by name.
        """
        upright, transformed = self._outputs(images), self.predict(warped)
        self._values.append(self.changes(upright, transformed, self.moves, index))
        if returned is not None:
            self._floors.append(self.changes(upright, self.predict(returned), self.floor_moves, index))
        if pictures:
            self._marks = self.marks(_first(upright, pictures), _first(transformed, pictures))
        return transformed

    def result(self, pictures: NDArray[np.uint8], facts: Mapping[str, Any]) -> OutputChange:
        """All that was kept.

        Args:
            pictures: `(K, T, H, W, C)`.
            facts: for the record.
        """
        measured = []
        for name, kind in self.kinds.items():
            values = joined(self._values, name)
            floor = self.without_inverse(joined(self._floors, name)) if self._floors else {}
            words = {quantity: kind.words[quantity] for quantity in values}
            told = (name, kind.text, kind.error, name in self.guessed, words)
            measured.append(OutputMeasured(*told, values, floor, self._marks.get(name, {})))
        labels = tuple(self.transformations.labels)
        return OutputChange(tuple(measured), self.skipped, labels, angles(self.transformations), pictures, facts)

    @property
    def block_size(self) -> int:
        """Images per block, so that their transformed versions fit into little memory."""
        size = 4 * self.moves.height * self.moves.width * max(3, *self._channels()) * len(self.transformations)
        return int(np.clip(_BLOCK_BYTES // size, 1, 64))

    def _channels(self) -> list[int]:
        return [int(self.model.input_shape[-1]), 3]

    def warped(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images `(S_b, H, W, C)` under every transformation: `(S_b, T, H, W, C)`."""
        padding, interpolation = self.warping.padding, self.warping.interpolation
        return warp(images, self.transformations, padding=padding, interpolation=interpolation).numpy()

    def returned(self, warped: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transformed images `(S_b, T, H, W, C)`, transformed back."""
        samples, _, height, width, channels = warped.shape
        matrices = sampling_matrices(self.moves.maps, height, width, inverse=True).astype(np.float32)
        back = warp_each(
            warped.reshape(-1, height, width, channels),
            np.tile(matrices, (samples, 1, 1)),
            padding=self.warping.padding,
            interpolation=self.warping.interpolation,
            fill_value=0.0,
        )
        return np.asarray(back).reshape(warped.shape)

    def predict(self, warped: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Outputs `(S_b, T, *U)` by name for images `(S_b, T, H, W, C)`."""
        outputs = self._outputs(warped.reshape(-1, *warped.shape[2:]))
        return {name: array.reshape(*warped.shape[:2], *array.shape[1:]) for name, array in outputs.items()}

    def changes(
        self,
        upright: Mapping[str, NDArray[Any]],
        transformed: Mapping[str, NDArray[Any]],
        moves: Moves,
        index: Sequence[int] = (),
    ) -> dict[str, Quantities]:
        """The quantities of every measured output for some images."""
        return {
            name: kind.changes(self._seen(name, upright, index), self._seen(name, transformed), moves)
            for name, kind in self.kinds.items()
        }

    def marks(
        self, upright: Mapping[str, NDArray[Any]], transformed: Mapping[str, NDArray[Any]]
    ) -> dict[str, dict[str, NDArray[Any]]]:
        """What to draw, by output."""
        found = {
            name: kind.marks(self._seen(name, upright), self._seen(name, transformed), self.moves)
            for name, kind in self.kinds.items()
        }
        return {name: one for name, one in found.items() if one}

    def without_inverse(self, quantities: Quantities) -> Quantities:
        """Quantities of images transformed back, NaN where a transformation has no inverse."""
        functions = [not isinstance(one, Affine) for one in self.transformations]
        return {name: np.where(functions, np.nan, values) for name, values in quantities.items()}

    def between(self, first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> dict[str, Quantities]:
        """How far outputs of another model are from those of the first for the same transformed images.

        Args:
            first: outputs `(S_b, T, *U)` by name.
            second: those of the other model, of the same shapes.

        Returns:
            By output the quantities, `(S_b, T)`.
        """
        samples, count = next(iter(first.values())).shape[:2]
        still_moves = still(1, self.moves.height, self.moves.width)
        before = {name: array.reshape(-1, *array.shape[2:]) for name, array in first.items()}
        after = {name: array.reshape(samples * count, 1, *array.shape[2:]) for name, array in second.items()}
        found = {}
        for name, kind in self.kinds.items():
            quantities = kind.changes(self._seen(name, before), self._seen(name, after), still_moves)
            found[name] = {key: values.reshape(samples, count) for key, values in quantities.items()}
        return found

    def _seen(self, name: str, values: Mapping[str, NDArray[Any]], index: Sequence[int] = ()) -> OutputValues:
        gallery = self._galleries.get(name) if len(index) else None
        return OutputValues(name, values, self._activations, gallery, index)


def _blocks(images: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _first(outputs: Mapping[str, NDArray[Any]], count: int) -> dict[str, NDArray[Any]]:
    return {name: array[:count] for name, array in outputs.items()}


def joined(parts: Sequence[Mapping[str, Quantities]], name: str) -> Quantities:
    """The quantities of an output, blocks of images joined."""
    return {
        quantity: np.concatenate([np.asarray(part[name][quantity], np.float64) for part in parts])
        for quantity in parts[0][name]
    }
