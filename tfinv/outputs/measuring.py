"""`output_change`: a model and images in, what transformations do to each of its outputs out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.outputs import ModelOutput
from tfinv.datasets.given import as_array, check_finite, in_memory
from tfinv.evaluation.options import Warping, checked
from tfinv.outputs.base import OutputValues, Quantities
from tfinv.outputs.change import OutputChange, OutputMeasured
from tfinv.outputs.kinds import chosen_kinds
from tfinv.outputs.moves import Moves, still
from tfinv.outputs.predicting import named_outputs, predict_all, with_outputs
from tfinv.support.checks import whole_number
from tfinv.support.environment import describe as describe_environment
from tfinv.support.progress import Progress
from tfinv.support.types import Images, Model
from tfinv.transformations import Affine, TransformationSet, as_set, warp
from tfinv.transformations.affine import sampling_matrices
from tfinv.transformations.labels import angles
from tfinv.transformations.warp import warp_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_BYTES = 64 * 2**20
"""Transformed images of one block may take this much memory."""
FIRST = 8
"""Images that kinds are guessed and checked on."""


def output_change(
    model: Model,
    images: Images,
    transformations: Any = "rotations(16)",
    outputs: Any = None,
    *,
    warping: Warping | None = None,
    floor: bool = True,
    pictures: int = 1,
    batch_size: int | None = None,
    progress: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> OutputChange:
    r"""Measure what transformations of the images do to each output of a model.

        e_{sj} = d(f(t_j(x_s)), \; t_j(f(x_s)))

    where the distance `d` and what `t_j` does to an output depend on its kind: landmarks, boxes, masks and maps move
    with the image, classes, vectors and embeddings stay. The floor is `d(f(t_j^{-1}(t_j(x_s))), f(x_s))`: what
    interpolation and the loss of what left the frame do alone.

    Example:
        >>> import keras, numpy as np, tfinv
        >>> inputs = keras.Input((8, 8, 1))
        >>> mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(inputs)
        >>> images = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
        >>> found = tfinv.output_change(keras.Model(inputs, mask), images, "rotations(4)", "mask", progress=False)
        >>> found.outputs[0].kind, found.outputs[0].error_values.shape
        ('mask', (4, 4))

    Args:
        model: a Keras model, a `tfinv.tflite.TFLiteModel`, or another source with `outputs` and `predict`.
        images: array `(S, H, W, C)` in [0, 1], a `Split`, or a pair with labels, which are not used.
        transformations: a set, its id, or a sequence of `Affine`; a function of images counts as leaving positions
            where they are.
        outputs: what the outputs mean: None to guess from shapes and values; a kind such as `"landmarks"` or
            `"landmarks(dimensions=3)"`, of the first output; or kinds by name of the output.
        warping: padding and interpolation of transformed images, see `tfinv.evaluate`.
        floor: measure images that are transformed and transformed back too; takes as long again.
        pictures: keep so many images with what was found in them, for reports.
        batch_size: images per block, under all transformations; None to choose.
        progress: show a progress bar.
        metadata: entries to add to the record.

    Returns:
        The numbers of every output, with tables, a report and a file.

    Raises:
        ValueError: an unknown output or kind, a kind that does not fit the shape or the values of its output, images
            that do not fit, NaN in an output.
        TypeError: a model that does not tell its outputs.
    """
    model, transformations = with_outputs(model), as_set(transformations)
    warping = checked(Warping, warping)
    array = checked_images(model, images)
    run = OutputRun(model, array, transformations, warping, outputs)
    pictures = whole_number("pictures", pictures, 0)
    block = run.block_size if batch_size is None else whole_number("batch_size", batch_size, 1)
    values: list[dict[str, Quantities]] = []
    floors: list[dict[str, Quantities]] = []
    shown: NDArray[np.uint8] | None = None
    marks: dict[str, dict[str, NDArray[Any]]] = {}
    total = len(array) * len(transformations) * (2 if floor else 1)
    with Progress("outputs", total, "img", shown=progress) as bar:
        for start in range(0, len(array), block):
            some, index = array[start : start + block], range(start, min(start + block, len(array)))
            warped = run.warped(some)
            upright, transformed = predict_all(model, some), run.predict(warped)
            values.append(run.changes(upright, transformed, run.moves, index))
            bar.advance(len(some) * len(transformations))
            if shown is None:
                kept = min(pictures, len(some))
                shown = np.round(np.clip(warped[:kept], 0, 1) * 255).astype(np.uint8)
                marks = run.marks(_first(upright, kept), _first(transformed, kept)) if kept else {}
            if floor:
                returned = run.predict(run.returned(warped))
                floors.append(run.changes(upright, returned, run.floor_moves, index))
                bar.advance(len(some) * len(transformations))
    assert shown is not None
    measured = []
    for name, kind in run.kinds.items():
        back = run.without_inverse(_joined(floors, name)) if floor else {}
        parts = _joined(values, name)
        words = {quantity: kind.words[quantity] for quantity in parts}
        measured.append(
            OutputMeasured(name, kind.text, kind.error, name in run.guessed, words, parts, back, marks.get(name, {}))
        )
    facts = {
        "transformations": transformations.id,
        "samples": len(array),
        "padding": warping.padding,
        "interpolation": warping.interpolation,
        "frame": list(array.shape[1:3]),
        "environment": describe_environment(),
        **(metadata or {}),
    }
    return OutputChange(
        tuple(measured), run.skipped, tuple(transformations.labels), angles(transformations), shown, facts
    )


class OutputRun:
    """A model, images and transformations, and what the outputs mean.

    Args:
        model: see `with_outputs`.
        images: `(S, H, W, C)`.
        transformations: the set.
        warping: padding and interpolation.
        stated: see `output_change`.

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
    ) -> None:
        self.model, self.transformations, self.warping = model, transformations, warping
        height, width = images.shape[1:3]
        self.moves = Moves(transformations, height, width)
        self.floor_moves = Moves(transformations, height, width, returned=True)
        listed: Sequence[ModelOutput] = named_outputs(model)
        self._activations = {output.name: output.activation for output in listed}
        first = predict_all(model, images[:FIRST])
        self.kinds, self.guessed, self.skipped = chosen_kinds(stated, listed, first, (height, width))
        for name, kind in self.kinds.items():
            kind.check_values(self._seen(name, first), self.moves)
        self._galleries = {name: np.empty(0) for name, kind in self.kinds.items() if kind.searches}
        if self._galleries:
            all_outputs = [predict_all(model, part) for part in _blocks(images, self.block_size)]
            for name in self._galleries:
                self._galleries[name] = np.concatenate([outputs[name] for outputs in all_outputs])

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
        outputs = predict_all(self.model, warped.reshape(-1, *warped.shape[2:]))
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


def checked_images(model: Model, images: Images) -> NDArray[np.float32]:
    """Images as an array that fits a model.

    Raises:
        ValueError: images of another shape than the model takes, or with NaN.
    """
    given, _ = in_memory(images, "images")
    array = np.asarray(as_array(given), np.float32)
    check_finite(array)
    if tuple(array.shape[1:]) != tuple(model.input_shape):
        raise ValueError(
            f"images must fit the model's input (H, W, C) = {tuple(model.input_shape)}; tfinv.datasets.adapt resizes "
            f"them. Received: images of {tuple(array.shape[1:])}"
        )
    return array


def _blocks(images: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _first(outputs: Mapping[str, NDArray[Any]], count: int) -> dict[str, NDArray[Any]]:
    return {name: array[:count] for name, array in outputs.items()}


def _joined(parts: Sequence[Mapping[str, Quantities]], name: str) -> Quantities:
    """The quantities of an output, blocks of images joined."""
    return {
        quantity: np.concatenate([np.asarray(part[name][quantity], np.float64) for part in parts])
        for quantity in parts[0][name]
    }
