"""What a classifier said about every image, upright and under every transformation (between models and behaviour)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.statistics.classification import predicted
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
    """

    upright: NDArray[np.int64]
    upright_confidence: NDArray[np.float32]
    transformed: NDArray[np.int64]
    confidence: NDArray[np.float32]
    num_classes: int

    ARRAYS: ClassVar[tuple[str, ...]] = (
        "upright",
        "upright_confidence",
        "transformed",
        "confidence",
        "num_classes",
    )
    """Names that `to_arrays` gives."""

    @classmethod
    def of(cls, upright: ArrayLike, transformed: ArrayLike, *, from_logits: bool | None = None) -> Predictions:
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

        Raises:
            ValueError: arrays of other shapes, NaN or infinity.
        """
        upright, transformed = np.asarray(upright), np.asarray(transformed)
        expected = (len(transformed), transformed.shape[-1])
        if transformed.ndim != 3 or upright.shape != expected or min(transformed.shape) < 1:
            raise ValueError(
                "outputs must be (S, K) upright and (S, T, K) transformed. "
                f"Received: {upright.shape} and {transformed.shape}"
            )
        if from_logits is None:
            from_logits = not are_probabilities(upright)
        first, second = one_block(upright, from_logits), one_block(transformed, from_logits)
        return cls(first[0], first[1], second[0], second[1], max(2, int(expected[1])))

    @property
    def samples(self) -> int:
        """Number of images."""
        return len(self.upright)

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
        upright = member(arrays, f"{prefix}upright", "int64", (None,))
        transformed = member(arrays, f"{prefix}transformed", "int64", (len(upright), None))
        for name, given in (("upright", upright), ("transformed", transformed)):
            if given.size and not (given.min() >= 0 and given.max() < classes):
                raise ValueError(f"its array '{prefix}{name}' must hold classes from 0 to {classes - 1}")
        certain = member(arrays, f"{prefix}upright_confidence", "float32", upright.shape)
        confidence = member(arrays, f"{prefix}confidence", "float32", transformed.shape)
        return cls(upright, certain, transformed, confidence, classes)


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
