"""Show several models the same transformed images, block by block, for predictions and fidelity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.engine.batches import ImageBatches
from tfinv.evaluation.options import Warping
from tfinv.evaluation.planning import groups_that_fit
from tfinv.statistics.classification import by_label
from tfinv.support.lazy import tf
from tfinv.support.progress import Progress
from tfinv.support.types import Images
from tfinv.tflite.comparison.behaviour import identities
from tfinv.tflite.comparison.confidence import KEPT, Scores, as_logits
from tfinv.tflite.comparison.fidelity import FidelityRecorder
from tfinv.tflite.comparison.predictions import Predictions, are_probabilities, one_block
from tfinv.tflite.files.model import TFLiteModel
from tfinv.transformations import TransformationSet, warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OUTPUT = "\0output"
"""A name that no layer has."""
_WORK = 2.0
"""Temporary arrays while a layer is compared, as multiples of its activations in both models."""


class Observer:
    """A model that is shown blocks of images, and its predictions so far.

    Args:
        model: the model.
        labels: class numbers of the images; where all are 0 or 1, an output of one unit tells these two classes. One
            that is a sigmoid's does so without labels. A matrix tells several labels per image, of which every unit of
            the output answers one. None where there are none.
    """

    def __init__(self, model: Any, labels: Any = None) -> None:
        self.model = model
        output = next(iter(getattr(model, "outputs", ())), None)
        self._activation = output.activation if output else ""
        self._per_image = 1 if labels is None or np.ndim(labels) == 1 else np.shape(labels)[1]
        self._is_binary = self._activation == "sigmoid" or (labels is not None and set(np.unique(labels)) <= {0, 1})
        self._upright: list[tuple[Any, Any]] = []
        self._transformed: list[tuple[Any, Any]] = []
        self._classes = 0
        self._from_logits: bool | None = None
        self._is_classifier = True
        self._samples = 0 if labels is None else np.size(labels)
        self._scores: list[tuple[Any, Any, Any]] = []
        self._seen = 0
        if not isinstance(model, TFLiteModel):
            self._output = getattr(model, "output_layer", list(model.layer_shapes)[-1])
            self._alone = model.select([self._output])
        self._chosen: dict[tuple[str, ...], Any] = {}

    def show(self, images: NDArray[np.float32], layers: Sequence[str]) -> tuple[Mapping[str, Any], NDArray[np.float32]]:
        """Activations of some layers, and outputs, for images `(N, H, W, C)`."""
        model = self.model
        if not isinstance(model, TFLiteModel):
            activations = self._of(tuple(layers))(images) if layers else {}
            outputs = activations[self._output] if self._output in activations else self._alone(images)[self._output]
            return {name: np.asarray(values) for name, values in activations.items()}, np.asarray(outputs)
        tensors = {name: model.layer_tensors[name].index for name in layers}
        read = model.runner.read(model.model_inputs(images), {**tensors, _OUTPUT: model.scores})
        outputs = read.pop(_OUTPUT)
        return model.channels_last(read), outputs

    def _of(self, layers: tuple[str, ...]) -> Any:
        """The model with these layers alone; every choice is made once."""
        if layers not in self._chosen:
            self._chosen[layers] = self.model.select(layers)
        return self._chosen[layers]

    def note(self, outputs: NDArray[np.float32], samples: int, count: int, upright: int) -> None:
        """Keep what was predicted.

        Args:
            outputs: `(S_b * columns, K)`; the columns are the transformations, perhaps one more.
            samples: S_b.
            count: T.
            upright: the column of the untransformed images.

        Raises:
            ValueError: NaN or infinity.
        """
        self._is_classifier &= outputs.ndim == 2 and (outputs.shape[-1] > 1 or self._is_binary)
        if not self._is_classifier:
            return
        outputs = outputs.reshape(samples, -1, outputs.shape[-1])
        if self._per_image > 1:
            outputs, _ = by_label(outputs, np.empty((0, self._per_image), np.int64))
            samples = len(outputs)
        self._classes = max(2, outputs.shape[-1])
        if self._from_logits is None:
            single = outputs.shape[-1] == 1
            self._from_logits = self._activation != "sigmoid" if single else not are_probabilities(outputs[:, upright])
        classes, confidence = one_block(outputs, self._from_logits)
        self._upright.append((classes[:, upright], confidence[:, upright]))
        self._transformed.append((classes[:, :count], confidence[:, :count]))
        if self._samples:
            stride = -(-self._samples * outputs[0].size // KEPT)
            chosen = np.flatnonzero((self._seen + np.arange(samples)) % stride == 0)
            logits = as_logits(outputs[chosen], self._from_logits, self._step())
            self._scores.append((self._seen + chosen, logits[:, upright], logits[:, :count]))
        self._seen += samples

    def _step(self) -> float:
        """The step between two probabilities that an integer output can tell apart; 0 for floats."""
        if not isinstance(self.model, TFLiteModel):
            return 0.0
        graph = self.model.graph
        scales = graph.tensors[graph.source(self.model.scores)].scales
        return float(scales[0]) if scales.size else 0.0

    def scores(self) -> Scores | None:
        """What calibration is computed from; None without labels, or where outputs are not one number a class."""
        if not self._is_classifier or not self._scores:
            return None
        return Scores(*(np.concatenate(parts) for parts in zip(*self._scores, strict=True)))

    def predictions(self) -> Predictions | None:
        """All that was kept; None where outputs are not one number a class."""
        if not self._is_classifier or not self._upright:
            return None
        upright, transformed = (
            [np.concatenate(blocks) for blocks in zip(*parts, strict=True)]
            for parts in (self._upright, self._transformed)
        )
        return Predictions(upright[0], upright[1], transformed[0], transformed[1], self._classes, self._per_image)


def warping_function(
    transformations: TransformationSet, shape: tuple[int, ...], warping: Warping
) -> tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], int]:
    """A function from images to the images that models are shown, and the column of the untransformed ones.

    Args:
        transformations: the set, `T` of them.
        shape: `(H, W, C)`.
        warping: padding and interpolation.

    Returns:
        A function from `(S_b, H, W, C)` to `(S_b * columns, H, W, C)`, sample by sample; the columns are the
        transformations and, where none of them changes nothing, one more. And the number of the upright column.
    """
    same = np.flatnonzero(identities(transformations))

    def transformed(images: Images) -> Any:
        warped = warp(images, transformations, padding=warping.padding, interpolation=warping.interpolation)
        if not same.size:  # the untransformed image comes last
            warped = tf.concat([warped, images[:, None]], axis=1)
        return tf.reshape(warped, (-1, *shape))

    # A concrete function: several runs in one process would make TensorFlow warn of retracing.
    spec = tf.TensorSpec((None, *shape), tf.float32)
    concrete = tf.function(transformed, autograph=False).get_concrete_function(spec)
    upright = int(same[0]) if same.size else len(transformations)
    return lambda images: concrete(tf.constant(images)).numpy(), upright


def groups_together(
    shapes: Mapping[str, tuple[int, ...]],
    models: int,
    columns: int,
    image_shape: tuple[int, ...],
    samples: int,
    memory_budget: int | float | str | None,
) -> tuple[tuple[str, ...], ...]:
    """Layers whose activations for a block of images are in memory together, as few groups as there can be.

    Args:
        shapes: unit shape by layer.
        models: whose activations of a layer are held at a time.
        columns: images that every sample is shown as.
        image_shape: `(H, W, C)`.
        samples: in a block.
        memory_budget: see `evaluate`.

    Raises:
        ValueError: one layer alone needs more than the budget.
    """
    sizes = {layer: 4 * models * columns * int(np.prod(shape)) for layer, shape in shapes.items()}
    image = 2 * 4 * columns * int(np.prod(image_shape))
    return groups_that_fit(sizes, _WORK, image, samples, memory_budget)


class PairedRun:
    """One run over the images that shows each block to all models.

    Args:
        observers: by model.
        reference: the model that others are compared with.
        pairs: by model, its layer by the reference's.
        transformations: the set.
        batches: the images.
        warping: padding and interpolation.
        memory_budget: see `evaluate`; where the layers of a block do not fit, the block is shown several times, every
            time for some of the layers, with the same numbers.

    Raises:
        ValueError: one layer alone does not fit.
    """

    def __init__(
        self,
        observers: Mapping[str, Observer],
        reference: str,
        pairs: Mapping[str, Mapping[str, str]],
        transformations: TransformationSet,
        batches: ImageBatches,
        warping: Warping,
        memory_budget: int | float | str | None = None,
    ) -> None:
        self._observers, self._reference, self._batches = observers, reference, batches
        self._count = len(transformations)
        self._warp, self._upright = warping_function(transformations, batches.shape, warping)
        self.recorders = {
            name: FidelityRecorder(layer_pairs, getattr(observers[name].model, "layer_tensors", {}))
            for name, layer_pairs in pairs.items()
            if name != reference
        }
        self._groups = self._grouped(memory_budget)

    def _grouped(self, budget: int | float | str | None) -> tuple[tuple[str, ...], ...]:
        """Layers of the reference whose activations for a block are in memory together, of it and of one other."""
        columns = max(self._count, self._upright + 1)
        shapes = {
            layer: shape
            for layer, shape in self._observers[self._reference].model.layer_shapes.items()
            if any(layer in recorder.pairs for recorder in self.recorders.values())
        }
        samples = min(self._batches.batch_size, self._batches.count or self._batches.batch_size)
        return groups_together(shapes, 2, columns, self._batches.shape, samples, budget)

    def run(self, fidelity_samples: int, progress: bool) -> None:
        """Go over all images.

        Args:
            fidelity_samples: on how many of them to compare activations, at least.
            progress: show a progress bar.
        """
        samples = self._batches.count or 0
        blocks = -(-samples // self._batches.batch_size)
        wanted = min(blocks, -(-fidelity_samples // self._batches.batch_size)) if self.recorders else 0
        chosen = set(np.linspace(0, blocks - 1, wanted).astype(int).tolist())
        total = samples * self._count * len(self._observers)
        with Progress("comparing", total, "img", shown=progress) as bar:
            for number, batch in enumerate(self._batches):
                self._block(self._warp(batch.images), len(batch.images), number in chosen, bar)

    def _block(self, images: NDArray[np.float32], samples: int, compare: bool, bar: Progress) -> None:
        order = [self._reference, *(name for name in self._observers if name != self._reference)]
        for number, group in enumerate(self._groups if compare and self._groups else ((),)):
            before: Mapping[str, Any] = {}
            for name in order:
                pairs = self.recorders[name].pairs if name in self.recorders else {}
                wanted = group if name == self._reference else [pairs[layer] for layer in group if layer in pairs]
                if number and not wanted:
                    continue
                observer = self._observers[name]
                layers, outputs = observer.show(images, wanted)
                try:
                    if layers and name != self._reference:
                        self.recorders[name].update(before, layers)
                    if not number:
                        observer.note(outputs, samples, self._count, self._upright)
                except ValueError as error:
                    raise ValueError(f"model {name!r}: {error}") from None
                if name == self._reference:
                    before = layers
                bar.advance(0 if number else samples * self._count)
