"""What a classifier gets right, or leaves unchanged, under all transformations at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.measures.base import Measure
from tfinv.measures.classifier import check_labels_known, check_threshold
from tfinv.resampling.shares import wilson
from tfinv.results import LayerResult
from tfinv.statistics.answers_under_all import RightCounts, SameAnswers
from tfinv.status import finite_status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.base import Statistic


@dataclass(frozen=True)
class WorstCaseAccuracy(Measure):
    r"""Share of samples that are classified right under every transformation.

        WCA = \frac{1}{S} \#\{s : \arg\max f(t_j(x_s)) = y_s \text{ for all } j\}

    One value, on the model's output alone. Whoever may choose the transformation of every image brings the accuracy
    down to it. It is never above the lowest value of `AccuracyUnder`, and usually far below: every transformation
    fails on other images. `note` gives Wilson's 95 % interval, and the mean accuracy beside it. The value falls with
    every transformation that is added: compare models under one set.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> logits = np.array([[[2.0, 1], [0, 1]], [[0, 3], [1, 2]]])
        >>> result = tfinv.evaluate_arrays({"logits": logits}, "WorstCaseAccuracy", labels=[0, 1])
        >>> result["WorstCaseAccuracy"]["logits"].values.tolist()
        [0.5]

    Args:
        threshold: of an output of one unit; None for 0.5 of a sigmoid and 0 of a logit, as the model's last activation
            says.

    Raises:
        TypeError: `threshold` is not a number.
        ValueError: labels missing (when measured), or labels that are no class of the model.

    Source: Engstrom et al. 2019, "Exploring the landscape of spatial robustness".
    """

    threshold: float | None = None

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (RightCounts(self.threshold),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        counts = _checked(states[RightCounts(self.threshold)])
        samples, columns = counts.sum(), len(counts) - 1
        low, high = wilson(float(counts[-1]), int(samples))
        mean = (counts * np.arange(columns + 1)).sum() / (samples * columns)
        values = counts[-1:] / samples
        note = f"right under all {columns}: {values[0]:.1%} ({low:.1%} to {high:.1%}, 95 %); mean accuracy {mean:.1%}"
        return LayerResult(values, finite_status(values), note)


@dataclass(frozen=True)
class AccuracyAtLeast(Measure):
    r"""Share of samples that are classified right under at least `k` of the `T` transformations, for every `k`.

        A_k = \frac{1}{S} \#\{s : \#\{j : \arg\max f(t_j(x_s)) = y_s\} \ge k\}, \quad k = 1, \dots, T

    One value for every `k`, from 1 to `T`, on the model's output alone. The first is the share of samples that are
    right under some transformation, the last is `WorstCaseAccuracy`, and the mean of all is the mean of
    `AccuracyUnder`. A curve that stays level and drops at the end tells of a few bad transformations, one that falls
    evenly of images that are hard whatever the transformation.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> logits = np.array([[[2.0, 1], [0, 1]], [[0, 3], [1, 2]]])
        >>> result = tfinv.evaluate_arrays({"logits": logits}, "AccuracyAtLeast", labels=[0, 1])
        >>> result["AccuracyAtLeast"]["logits"].values.tolist()
        [1.0, 0.5]

    Args:
        threshold: see `WorstCaseAccuracy`.

    Raises:
        TypeError: `threshold` is not a number.
        ValueError: labels missing (when measured), or labels that are no class of the model.
    """

    threshold: float | None = None

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (RightCounts(self.threshold),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        values = at_least(_checked(states[RightCounts(self.threshold)]))
        return LayerResult(values, finite_status(values), f"right under at least k of {len(values)}, k from 1")


@dataclass(frozen=True)
class ConsistencyAll(Measure):
    r"""Share of samples that get one and the same class under every transformation.

        C = \frac{1}{S} \#\{s : \arg\max f(t_j(x_s)) = \arg\max f(t_1(x_s)) \text{ for all } j\}

    One value, on the model's output alone; no labels are needed. A model that always says the same class reaches 1:
    read it with `WorstCaseAccuracy`. `note` gives Wilson's 95 % interval.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> logits = np.array([[[2.0, 1], [0, 1]], [[0, 3], [1, 2]]])
        >>> result = tfinv.evaluate_arrays({"logits": logits}, "ConsistencyAll")
        >>> result["ConsistencyAll"]["logits"].values.tolist()
        [0.5]

    Args:
        threshold: see `WorstCaseAccuracy`.

    Raises:
        TypeError: `threshold` is not a number.
    """

    threshold: float | None = None

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (SameAnswers(self.threshold),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        state = states[SameAnswers(self.threshold)]
        values = np.reshape(state.same / state.count, 1)
        low, high = wilson(float(state.same), int(state.count))
        note = f"one answer under all: {values[0]:.1%} ({low:.1%} to {high:.1%}, 95 %)"
        return LayerResult(values, finite_status(values), note)


def at_least(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares that are right at least once, twice, ... `(T,)`, from samples that are right exactly so often `(T + 1,)`.

    Example:
        >>> import numpy as np
        >>> from tfinv.measures.worst_case import at_least
        >>> at_least(np.array([1.0, 0.0, 3.0])).tolist()
        [0.75, 0.75]
    """
    return np.cumsum(counts[::-1])[::-1][1:] / counts.sum()


def _checked(state: Any) -> NDArray[np.float64]:
    """The counts of `RightCounts`, where all labels are classes of the model."""
    check_labels_known(state.unknown, state.right.sum())
    return state.right
