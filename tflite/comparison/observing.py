"""A model that is shown blocks of transformed images, and what is noted of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.evaluation.options import Warping
from tfinv.evaluation.planning import groups_that_fit
from tfinv.statistics.classification import by_label
from tfinv.support.lazy import tf
from tfinv.support.types import Images
from tfinv.tflite.comparison.behaviour import identities
from tfinv.tflite.comparison.confidence import KEPT, Scores, as_logits
from tfinv.tflite.comparison.predictions import Predictions, are_probabilities, one_block
from tfinv.tflite.files.model import TFLiteModel
from tfinv.transformations import TransformationSet, warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OUTPUT = "\0output"
"""A name that no layer has."""
_WORK = 2.0
"""Temporary arrays while a layer is compared, as multiples of its activations in all models."""


@dataclass
class Noted:
    """What was noted of a model's outputs, block by block.

    Args:
        upright: classes and confidences of untransformed images.
        transformed: classes and confidences of transformed images.
        scores: positions and logits of some of the images.
        classes: how many there are.
        from_logits: whether outputs are no probabilities, which the first block tells; None before it.
        is_classifier: whether outputs are one number a class.
        seen: position after the last answer.
    """

    upright: list[tuple[Any, Any]] = field(default_factory=list)
    transformed: list[tuple[Any, Any]] = field(default_factory=list)
    scores: list[tuple[Any, Any, Any]] = field(default_factory=list)
    classes: int = 0
    from_logits: bool | None = None
    is_classifier: bool = True
    seen: int = 0

    def extend(self, later: Noted) -> None:
        """Add what was noted of the blocks that follow."""
        self.upright += later.upright
        self.transformed += later.transformed
        self.scores += later.scores
        self.classes = max(self.classes, later.classes)
        self.is_classifier &= later.is_classifier
        self.seen = later.seen


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
        self._samples = 0 if labels is None else np.size(labels)
        self.noted = Noted()
        self._chosen: dict[tuple[str, ...], Any] = {}

    def anew(self, images: int) -> Observer:
        """The same model, which has noted nothing yet and goes on after so many images."""
        other = object.__new__(Observer)  # a copy would choose the layers again
        other.__dict__.update(self.__dict__)
        other.noted = replace(Noted(), seen=images * self._per_image, from_logits=self.noted.from_logits)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_chosen": {}}

    def show(self, images: NDArray[np.float32], layers: Sequence[str]) -> tuple[Mapping[str, Any], NDArray[np.float32]]:
        """Activations of some layers, and outputs, for images `(N, H, W, C)`."""
        model = self.model
        if not isinstance(model, TFLiteModel):
            name = getattr(model, "output_layer", list(model.layer_shapes)[-1])
            activations = self._of(tuple(layers))(images) if layers else {}
            outputs = activations[name] if name in activations else self._of((name,))(images)[name]
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
        noted = self.noted
        noted.is_classifier &= outputs.ndim == 2 and (outputs.shape[-1] > 1 or self._is_binary)
        if not noted.is_classifier:
            return
        outputs = outputs.reshape(samples, -1, outputs.shape[-1])
        if self._per_image > 1:
            outputs, _ = by_label(outputs, np.empty((0, self._per_image), np.int64))
            samples = len(outputs)
        noted.classes = max(2, outputs.shape[-1])
        if noted.from_logits is None:
            single = outputs.shape[-1] == 1
            noted.from_logits = self._activation != "sigmoid" if single else not are_probabilities(outputs[:, upright])
        classes, confidence = one_block(outputs, noted.from_logits)
        noted.upright.append((classes[:, upright], confidence[:, upright]))
        noted.transformed.append((classes[:, :count], confidence[:, :count]))
        if self._samples:
            stride = -(-self._samples * outputs[0].size // KEPT)
            chosen = np.flatnonzero((noted.seen + np.arange(samples)) % stride == 0)
            logits = as_logits(outputs[chosen], noted.from_logits, self._step())
            noted.scores.append((noted.seen + chosen, logits[:, upright], logits[:, :count]))
        noted.seen += samples

    def _step(self) -> float:
        """The step between two probabilities that an integer output can tell apart; 0 for floats."""
        if not isinstance(self.model, TFLiteModel):
            return 0.0
        graph = self.model.graph
        scales = graph.tensors[graph.source(self.model.scores)].scales
        return float(scales[0]) if scales.size else 0.0

    def scores(self) -> Scores | None:
        """What calibration is computed from; None without labels, or where outputs are not one number a class."""
        if not self.noted.is_classifier or not self.noted.scores:
            return None
        return Scores(*(np.concatenate(parts) for parts in zip(*self.noted.scores, strict=True)))

    def predictions(self) -> Predictions | None:
        """All that was kept; None where outputs are not one number a class."""
        noted = self.noted
        if not noted.is_classifier or not noted.upright:
            return None
        upright, transformed = (
            [np.concatenate(blocks) for blocks in zip(*parts, strict=True)]
            for parts in (noted.upright, noted.transformed)
        )
        return Predictions(upright[0], upright[1], transformed[0], transformed[1], noted.classes, self._per_image)


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
