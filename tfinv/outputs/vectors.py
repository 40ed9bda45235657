"""Outputs that must not change at all: embeddings, regression vectors and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.outputs.base import OutputKind, OutputValues, Quantities, misfit
from tfinv.outputs.fields import relative
from tfinv.statistics.classification import predicted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.outputs.moves import Moves


@dataclass(frozen=True)
class Embedding(OutputKind):
    r"""A vector that stands for the image and is searched for among others.

        \cos_{sj} = \frac{f(t_j(x_s)) \cdot f(x_s)}{\|f(t_j(x_s))\| \, \|f(x_s)\|}, \quad
        rank_{sj} = 1 + \#\{u \ne s : \cos(f(t_j(x_s)), f(x_u)) \ge \cos_{sj}\}

    Example:
        >>> import tfinv
        >>> tfinv.outputs.Embedding().text
        'embedding'
    """

    error: ClassVar[str] = "cosine_lost"
    words: ClassVar[Mapping[str, str]] = {
        "cosine_lost": "1 - cosine between the image and the untransformed image",
        "cosine": "cosine between the image and the untransformed image",
        "cosine_of_others": "mean cosine between the image and the other untransformed images",
        "rank": "place of the own image among all untransformed images, 1 is the first",
        "found_first": "share of images for which the own image comes first",
    }
    searches: ClassVar[bool] = True

    def check(self, name: str, shape: Sequence[int]) -> None:
        if int(np.prod(shape)) < 2:
            raise misfit(name, "embedding", "at least two numbers", shape)

    def changes(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> Quantities:
        found = _units(transformed.array, 2)
        cosine = np.einsum("std,sd->st", found, _units(upright.array, 1))
        quantities = {"cosine_lost": 1 - cosine, "cosine": cosine}
        if upright.gallery is not None and len(upright.gallery) > 1:
            gallery, index = _units(upright.gallery, 1), np.asarray(upright.index)
            all_cosines = found @ gallery.T
            own = np.arange(len(gallery)) == index[:, None, None]
            others = ~np.broadcast_to(own, all_cosines.shape)
            rank = 1.0 + ((all_cosines >= cosine[..., None]) & others).sum(axis=-1)
            mean = np.where(others, all_cosines, 0).sum(axis=-1) / (len(gallery) - 1)
            quantities |= {"cosine_of_others": mean, "rank": rank, "found_first": (rank == 1).astype(np.float64)}
        return quantities


@dataclass(frozen=True)
class Vector(OutputKind):
    r"""Numbers that must not change, such as an age or a dose.

        e_{sj} = \frac{\|f(t_j(x_s)) - f(x_s)\|}{\|f(x_s)\|}

    Example:
        >>> import tfinv
        >>> tfinv.outputs.Vector().text
        'vector'
    """

    error: ClassVar[str] = "relative_error"
    words: ClassVar[Mapping[str, str]] = {
        "relative_error": "size of the difference to the untransformed image's vector, over the size of that vector",
        "difference": "mean absolute difference, in the unit of the output",
    }

    def check(self, name: str, shape: Sequence[int]) -> None:
        if int(np.prod(shape)) < 1:
            raise misfit(name, "vector", "at least one number", shape)

    def changes(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> Quantities:
        before = _flat(upright.array, 1)
        difference = _flat(transformed.array, 2) - before[:, None]
        size = np.linalg.norm(before, axis=-1)[:, None]
        return {
            "relative_error": relative(np.linalg.norm(difference, axis=-1), size),
            "difference": np.abs(difference).mean(axis=-1),
        }


@dataclass(frozen=True)
class Classes(OutputKind):
    """Scores of classes, or one score of yes against no, whose answer must not change.

    Outputs that no sigmoid or softmax makes count as logits, except where all lie in [0, 1] and those of several
    classes add up to one.

    Example:
        >>> import tfinv
        >>> tfinv.outputs.Classes().text
        'class'
    """

    error: ClassVar[str] = "changed"
    words: ClassVar[Mapping[str, str]] = {
        "changed": "share of images whose answer is not that of the untransformed image",
        "confidence": "mean probability of the answer",
        "score": "mean probability of yes, for an output of one number",
    }

    @property
    def text(self) -> str:
        return "class"

    def check(self, name: str, shape: Sequence[int]) -> None:
        if int(np.prod(shape)) != max(shape, default=1):
            raise misfit(name, "class", "one number per class", shape)

    def changes(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> Quantities:
        before, after = _flat(upright.array, 1), _flat(transformed.array, 2)
        from_logits = not upright.activation and not _are_probabilities(before)
        classes, _ = predicted(before, from_logits=from_logits)
        answers, confidence = predicted(after, from_logits=from_logits)
        quantities = {"changed": (answers != classes[:, None]).astype(np.float64), "confidence": confidence}
        if before.shape[-1] == 1:
            quantities["score"] = np.where(answers == 1, confidence, 1 - confidence)
        return quantities


def _flat(values: NDArray[Any], lead: int) -> NDArray[np.float64]:
    return np.asarray(values, np.float64).reshape(*values.shape[:lead], -1)


def _units(values: NDArray[Any], lead: int) -> NDArray[np.float64]:
    """Vectors of length 1; a vector of zeros stays."""
    flat = _flat(values, lead)
    size = np.linalg.norm(flat, axis=-1, keepdims=True)
    return np.divide(flat, size, out=np.zeros_like(flat), where=size > 0)


def _are_probabilities(values: NDArray[np.float64]) -> bool:
    if values.min() < 0 or values.max() > 1:
        return False
    return values.shape[-1] == 1 or bool(np.allclose(values.sum(axis=-1), 1, atol=0.05))
