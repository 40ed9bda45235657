"""Outputs that tell several labels of one image: one yes or no per unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.outputs.base import OutputKind, OutputValues, Quantities, misfit
from tfinv.statistics.classification import threshold_of
from tfinv.support.checks import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.outputs.moves import Moves


@dataclass(frozen=True)
class Labels(OutputKind):
    r"""One yes or no per label, none of which may change.

    With `a_k = [f_k > \theta]`, and `A` the set of labels that are yes:

        c_{sj} = \frac{1}{K} \sum_k [a_k(t_j(x_s)) \ne a_k(x_s)], \quad
        o_{sj} = \frac{|A(t_j(x_s)) \cap A(x_s)|}{|A(t_j(x_s)) \cup A(x_s)|}

    Example:
        >>> import tfinv
        >>> tfinv.outputs.kind("labels(threshold=0.3)").threshold
        0.3

    Args:
        threshold: above which a unit says yes; None for 0.5 where a sigmoid makes the output or all of it lies in
            [0, 1], and for 0 where it holds logits.

    Raises:
        ValueError: a threshold that is no number.
    """

    threshold: float | None = None

    error: ClassVar[str] = "changed"
    words: ClassVar[Mapping[str, str]] = {
        "changed": "share of labels whose answer is not that of the untransformed image",
        "set_changed": "share of images for which any label changes",
        "overlap": "labels that are yes in both, over those that are yes in one of them; 1 where there are none",
    }

    def __post_init__(self) -> None:
        if self.threshold is not None:
            finite("threshold", self.threshold, hint=" or None")

    def check(self, name: str, shape: Sequence[int]) -> None:
        if int(np.prod(shape)) != max(shape, default=1):
            raise misfit(name, "labels", "one number per label", shape)

    def changes(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> Quantities:
        threshold = self._threshold(upright)
        before = upright.array.reshape(len(upright.array), 1, -1) > threshold
        after = transformed.array.reshape(*transformed.array.shape[:2], -1) > threshold
        differs = before != after
        either = (before | after).sum(axis=-1)
        both = (before & after).sum(axis=-1)
        return {
            "changed": differs.mean(axis=-1),
            "set_changed": differs.any(axis=-1).astype(np.float64),
            "overlap": np.divide(both, either, out=np.ones(either.shape), where=either > 0),
        }

    def _threshold(self, upright: OutputValues) -> float:
        if self.threshold is not None:
            return self.threshold
        values: NDArray[Any] = upright.array
        as_shares = not upright.activation and values.min() >= 0 and values.max() <= 1
        return 0.5 if as_shares else threshold_of(upright.activation)
