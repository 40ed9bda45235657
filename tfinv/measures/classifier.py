"""Behaviour of the whole classifier, measured on the model's output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.measures.base import Dispersion, Measure
from tfinv.results import LayerResult
from tfinv.statistics import ColumnMoments, RowDispersion
from tfinv.statistics.class_counts import CentredLogits, ConsistentPredictions, CorrectPredictions
from tfinv.statistics.views import Viewed
from tfinv.status import finite_status, quotient
from tfinv.support.checks import finite, flag, one_of

if TYPE_CHECKING:
    from tfinv.statistics.base import Statistic


@dataclass(frozen=True)
class AccuracyUnder(Measure):
    r"""Accuracy under each transformation: the share of samples that are classified as their label says.

        acc_j = \frac{1}{S} \#\{s : \arg\max f(t_j(x_s)) = y_s\}

    One value per transformation, in the order of the set, on the model's output alone. An output of one unit says
    class 1 above a threshold, and class 0 elsewhere.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> logits = np.array([[[2.0, 1], [0, 1]], [[0, 3], [1, 2]]])
        >>> result = tfinv.evaluate_arrays({"logits": logits}, "AccuracyUnder", labels=[0, 1])
        >>> result["AccuracyUnder"]["logits"].values.tolist()
        [1.0, 0.5]

    Args:
        threshold: of an output of one unit; None for 0.5 of a sigmoid and 0 of a logit, as the model's last activation
            says.

    Raises:
        TypeError: `threshold` is not a number.
        ValueError: labels missing (when measured), or labels that are no class of the model.
    """

    threshold: float | None = None

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (CorrectPredictions(self.threshold),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        state = states[CorrectPredictions(self.threshold)]
        check_labels_known(state.unknown, state.count)
        values = state.correct / state.count
        worst = int(values.argmin())
        note = f"one value per transformation; lowest {values[worst]:.1%}, transformation {worst}"
        return LayerResult(values, finite_status(values), note)


@dataclass(frozen=True)
class PredictionConsistency(Measure):
    r"""Share of samples whose predicted class survives each transformation.

        c_j = \frac{1}{S} \#\{s : \arg\max f(t_j(x_s)) = \arg\max f(x_s)\}

    One value per transformation, on the model's output alone. 1 means that the transformation changes no prediction. A
    model that always says the same class reaches 1 too: `note` gives the accuracy where labels are known, and the two
    belong together. An output of one unit says class 1 above a threshold, and class 0 elsewhere.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> logits = np.array([[[2.0, 1], [0, 1]], [[0, 3], [1, 2]]])
        >>> reference = {"logits": logits[:, 0]}
        >>> result = tfinv.evaluate_arrays({"logits": logits}, "PredictionConsistency", reference=reference)
        >>> result["PredictionConsistency"]["logits"].values.tolist()
        [1.0, 0.5]

    Args:
        threshold: of an output of one unit; None for 0.5 of a sigmoid. One that is no sigmoid needs a number.

    Raises:
        TypeError: `threshold` is not a number.

    Source: Azulay and Weiss 2019, "Why do deep convolutional networks generalize so poorly to small image
    transformations?".
    """

    threshold: float | None = None

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (ConsistentPredictions(threshold=self.threshold),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        state = states[ConsistentPredictions(threshold=self.threshold)]
        values = state.consistent / state.count
        return LayerResult(values, finite_status(values), f"one value per transformation; {_accuracy(state)}")


@dataclass(frozen=True)
class EffectiveInvariance(Measure):
    r"""Consistency weighted by confidence: 1 where the class survives and both predictions are certain.

        EI_j = \frac{1}{S} \sum_s \begin{cases} \sqrt{\hat p_s \, \hat p_{sj}} & \hat y_{sj} = \hat y_s \\
                                                0 & \text{otherwise} \end{cases}

    with `p` the probability of the predicted class on the untransformed and on the transformed image. One value per
    transformation, on the model's output alone. It needs no labels, and rewards a confident constant model.

    Args:
        from_logits: whether the model's output are logits, to which softmax is applied first; False where the last
            layer is a softmax. `note` warns where the outputs contradict it.

    Raises:
        TypeError: `from_logits` is not a bool.

    Source: Deng, Gould and Zheng 2022, "On the strong correlation between model invariance and generalization",
    equation 1.
    """

    from_logits: bool = True

    def __post_init__(self) -> None:
        flag("from_logits", self.from_logits)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (ConsistentPredictions(self.from_logits),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        state = states[ConsistentPredictions(self.from_logits)]
        values = state.confidence / state.count
        warning = ""
        if state.contradicting >= (state.count if self.from_logits else 1):
            looks, other = ("probabilities", False) if self.from_logits else ("logits", True)
            warning = f"; the outputs look like {looks}: use EffectiveInvariance(from_logits={other})"
        return LayerResult(values, finite_status(values), f"one value per transformation; {_accuracy(state)}{warning}")


@dataclass(frozen=True)
class LogitVariance(Measure):
    r"""Normalized variance of the model's logits: 0 is invariant, 1 means that transformations matter like samples.

        LV(c) = \frac{ \frac{1}{S} \sum_s \mathrm{var}_j Z[s, j, c] }{ \frac{1}{T} \sum_j \mathrm{var}_s Z[s, j, c] },
        Z[s, j, c] = f(t_j(x_s))_c - \frac{1}{K} \sum_k f(t_j(x_s))_k

    One value per class, on the model's output alone. Centring over the `K` classes removes what no prediction depends
    on; it is the difference from `NormalizedVariance` on the same layer.

    Args:
        normalize: divide by the variance over samples; False for the numerator alone.
        statistic: `"variance"` (default) or `"std"` in its place.

    Raises:
        ValueError: an unknown option.

    Source: the definition is tfinv's own, after `NormalizedVariance`.
    """

    min_samples: ClassVar[int] = 2
    min_transformations: ClassVar[int] = 2

    normalize: bool = True
    statistic: Dispersion = "variance"

    def __post_init__(self) -> None:
        flag("normalize", self.normalize)
        one_of("statistic", self.statistic, Dispersion)

    @property
    def _rows(self) -> Statistic:
        return Viewed(RowDispersion(self.statistic), CentredLogits())

    @property
    def _columns(self) -> Statistic:
        return Viewed(ColumnMoments(), CentredLogits())

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (self._rows, self._columns) if self.normalize else (self._rows,)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        rows = states[self._rows].mean
        if not self.normalize:
            return LayerResult(rows, finite_status(rows), "one value per class")
        moments = states[self._columns]
        variance = moments.m2 / (moments.count - 1)
        columns = (np.sqrt(variance) if self.statistic == "std" else variance).mean(axis=0)
        return LayerResult(*quotient(rows, columns), "one value per class")


def check_labels_known(unknown: Any, count: Any) -> None:
    """Refuse labels that are no class of the model.

    Args:
        unknown: number of such labels.
        count: number of all.

    Raises:
        ValueError: there are some.
    """
    if unknown:
        raise ValueError(
            f"labels must be classes of the model, from 0 on. Received: {int(unknown)} of {int(count)} "
            "labels without an output unit"
        )


def check_threshold(threshold: Any) -> None:
    """Refuse a threshold that is neither a finite number nor None."""
    if threshold is not None:
        finite("threshold", threshold, hint=" or None")


def _accuracy(state: Any) -> str:
    """Accuracy beside consistency, without which a constant model would look perfect."""
    if not state.labelled:
        return "no labels: a model that always says one class is consistent too, read it with an accuracy"
    before, after = state.correct_untransformed / state.labelled, (state.correct / state.labelled).mean()
    return f"accuracy {before:.1%} untransformed, {after:.1%} under transformations (mean)"
