"""What a classifier said about every image, upright and under every transformation (between models and behaviour)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.statistics.classification import by_label, predicted
from tfinv.support.archive import member

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SUM_TOLERANCE = 0.5
"""Probabilities of 8 bits add up to one only roughly: of a thousand classes most are rounded to zero."""


@dataclass(frozen=True)
class Predictions:
    """Predicted classes and how sure they are; all that outputs are kept as.

    Args:
        upright: int64 `(S,)`, the class of each untransformed image.
        upright_confidence: float32 `(S,)`, its probability.
        transformed: int64 `(S, T)`, the class under each transformation.
        confidence: float32 `(S, T)`, its probability.
        num_classes: K, and 2 for an output of one unit.
        per_image: 1; for several labels of one image their number K, and `S` then counts answers, image by image.
    """

    upright: NDArray[np.int64]
    upright_confidence: NDArray[np.float32]
    transformed: NDArray[np.int64]
    confidence: NDArray[np.float32]
    num_classes: int
    per_image: int = 1

    ARRAYS: ClassVar[tuple[str, ...]] = (
        "upright",
        "upright_confidence",
        "transformed",
        "confidence",
        "num_classes",
        "per_image",
    )
    """Names that `to_arrays` gives."""

    @classmethod
    def of(
        cls,
        upright: ArrayLike,
        transformed: ArrayLike,
        *,
        from_logits: bool | None = None,
        several: bool = False,
    ) -> Predictions:
        """From the outputs of a model.

        Example:
            >>> import numpy as np
            >>> from tfinv.tflite.comparison.predictions import Predictions
            >>> outputs = np.array([[[2.0, 1.0], [0.0, 1.0]]])
            >>> Predictions.of(outputs[:, 0], outputs).transformed.tolist()
            [[0, 1]]

        Args:
            upright: `(S, K)`, outputs for the untransformed images; one unit says class 1 above a probability of 0.5.
            transformed: `(S, T, K)`, outputs under each transformation.
            from_logits: whether outputs are logits; None to see for oneself: probabilities are positive and add up
                to one.
            several: whether every unit tells a label of its own; each is then an answer.

        Raises:
            ValueError: arrays of other shapes, NaN or infinity.
        """
        before, after = np.asarray(upright), np.asarray(transformed)
        expected = (len(after), after.shape[-1])
        if after.ndim != 3 or before.shape != expected or min(after.shape) < 1:
            raise ValueError(
                f"outputs must be (S, K) upright and (S, T, K) transformed. Received: {before.shape} and {after.shape}"
            )
        units = int(expected[1]) if several else 1
        if several:
            columns = np.empty((0, units), np.int64)
            before, after = by_label(before, columns)[0], by_label(after, columns)[0]
        if from_logits is None:
            from_logits = not are_probabilities(before)
        first, second = one_block(before, from_logits), one_block(after, from_logits)
        return cls(first[0], first[1], second[0], second[1], 2 if several else max(2, int(expected[1])), units)

    @property
    def samples(self) -> int:
        """Number of answers: of images, or of images times their labels."""
        return len(self.upright)

    def by_image(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values `(S, ...)` of answers as means over the answers of every image.

        Answers of one image are not independent, so that intervals come from images drawn anew.
        """
        if self.per_image == 1:
            return values
        return np.asarray(values, np.float64).reshape(-1, self.per_image, *values.shape[1:]).mean(axis=1)

    def truth(self, labels: ArrayLike | None) -> NDArray[np.int64] | None:
        """Labels of images as one label per answer, int64 `(S,)`; None where there are none.

        Raises:
            ValueError: labels that are neither one integer per image nor one per answer.
        """
        if labels is None:
            return None
        array = np.asarray(labels)
        images = self.samples // self.per_image
        if array.shape not in ((self.samples,), (images, self.per_image)) or array.dtype.kind not in "iu":
            expected = f"{images} integers, one per image"
            if self.per_image > 1:
                expected = f"{images} rows of {self.per_image} labels, one row per image"
            raise ValueError(f"labels must be {expected}. Received: {array.dtype} of shape {array.shape}")
        return array.reshape(-1).astype(np.int64)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """As named arrays, for a file."""
        return {name: np.asarray(getattr(self, name)) for name in self.ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> Predictions:
        """What `to_arrays` gave, read from a file that may hold anything.

        Args:
            arrays: those of the file.
            prefix: what the names begin with there.

        Raises:
            KeyError: an array is missing.
            ValueError: an array of another dtype or shape, or a class that there cannot be.
        """
        classes = int(member(arrays, f"{prefix}num_classes", "int64", ()))
        per_image = 1  # files of an earlier version do not have it
        if f"{prefix}per_image" in arrays:
            per_image = int(member(arrays, f"{prefix}per_image", "int64", ()))
        upright = member(arrays, f"{prefix}upright", "int64", (None,))
        transformed = member(arrays, f"{prefix}transformed", "int64", (len(upright), None))
        if per_image < 1 or len(upright) % per_image:
            raise ValueError(f"its array '{prefix}per_image' must divide {len(upright)} answers")
        for name, given in (("upright", upright), ("transformed", transformed)):
            if given.size and not (given.min() >= 0 and given.max() < classes):
                raise ValueError(f"its array '{prefix}{name}' must hold classes from 0 to {classes - 1}")
        certain = member(arrays, f"{prefix}upright_confidence", "float32", upright.shape)
        confidence = member(arrays, f"{prefix}confidence", "float32", transformed.shape)
        return cls(upright, certain, transformed, confidence, classes, per_image)


def one_block(outputs: NDArray[Any], from_logits: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Class and confidence of outputs `(..., K)`.

    Raises:
        ValueError: NaN or infinity.
    """
    if not np.isfinite(outputs).all():
        raise ValueError("model must give finite outputs. Received: NaN or infinity")
    classes, confidence = predicted(outputs, from_logits=from_logits)
    return classes.astype(np.int64), confidence.astype(np.float32)


def are_probabilities(outputs: NDArray[Any]) -> bool:
    """Whether outputs `(N, K)` look like a softmax's, or those of one unit like a sigmoid's, rather than logits."""
    if not outputs.size or outputs.min() < 0 or outputs.max() > 1.01:
        return False
    if outputs.shape[-1] == 1:
        return True
    return bool(np.median(np.abs(outputs.sum(axis=-1, dtype=np.float64) - 1)) < _SUM_TOLERANCE)
