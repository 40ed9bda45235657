"""How a classifier behaves upright and under transformations, alone and against a reference (comparison)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.resampling.images import NOTHING, Estimate, intervals
from tfinv.resampling.shares import paired_interval, wilson
from tfinv.statistics.classification import consistent, correct, effective_invariance
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.transformations import Affine
from tfinv.transformations.labels import angles

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from tfinv.transformations import TransformationSet

NEAR_CHANCE = 0.1
"""Cohen's kappa below which a model knows hardly more than chance."""
FEW_CLASSES = 0.5
"""A model uses few classes when it uses less than this share of those there are, both less one."""
SUMMARY = (
    "accuracy",
    "transformed_accuracy",
    "flips",
    "transformed_flips",
    "consistency",
    "effective_invariance",
    "worst_case_accuracy",
    "consistency_all",
    "accuracy_change",
    "transformed_accuracy_change",
    "worst_case_accuracy_change",
)
CURVES = ("accuracy", "flips", "consistency", "effective_invariance")


@dataclass(frozen=True)
class Behaviour:
    """What a model predicts, in shares of images with 95 % intervals from resampled images.

    Args:
        accuracy: untransformed images classified right.
        transformed_accuracy: the same for transformed images, all transformations but the identity together.
        flips: predictions that differ from the reference's, untransformed images.
        transformed_flips: the same for transformed images.
        consistency: predictions that the transformations leave unchanged. Read it with the accuracy: a model that
            always says the same is consistent.
        effective_invariance: consistency weighted by confidence.
        worst_case_accuracy: images classified right under every transformation of the set, the identity too where it
            is one of them; Wilson's interval.
        consistency_all: images that get one answer under every transformation of the set; Wilson's interval.
        accuracy_change: accuracy minus the reference's, paired.
        transformed_accuracy_change: the same for transformed images.
        worst_case_accuracy_change: the same for images under every transformation, see `shares.paired_interval`.
        at_least: float64 `(T, 3)`, share of images classified right under at least 1, ..., T transformations, with
            Wilson's interval.
        curves: by name of `CURVES` float64 `(T, 3)`, value, low and high under each transformation.
        classes_used: effective number of classes predicted, `exp(entropy)`.
        kappa: agreement with the labels (without them, with the reference) beyond chance; NaN without both.
        collapsed: whether the model says nearly the same for every image: `kappa` is near zero and few classes are
            used.
    """

    accuracy: Estimate
    transformed_accuracy: Estimate
    flips: Estimate
    transformed_flips: Estimate
    consistency: Estimate
    effective_invariance: Estimate
    worst_case_accuracy: Estimate
    consistency_all: Estimate
    accuracy_change: Estimate
    transformed_accuracy_change: Estimate
    worst_case_accuracy_change: Estimate
    at_least: NDArray[np.float64] = field(repr=False)
    curves: dict[str, NDArray[np.float64]] = field(repr=False)
    classes_used: float
    kappa: float
    collapsed: bool

    def row(self) -> dict[str, Any]:
        """One row of a table of models: each of `SUMMARY` with `_low` and `_high`, and the collapse flag."""
        cells: dict[str, Any] = {}
        for name in SUMMARY:
            estimate: Estimate = getattr(self, name)
            cells |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return {**cells, "kappa": self.kappa, "classes_used": self.classes_used, "collapsed": self.collapsed}

    def to_frame(self, transformations: TransformationSet) -> pd.DataFrame:
        """One row per transformation: `number, transformation, degrees`, and each of `CURVES` with `_low` and `_high`.

        Sets that one number describes also have `amount`, and `axis`, what it is with its unit.
        """
        import pandas as pd

        frame = pd.DataFrame({"number": range(len(transformations)), "transformation": transformations.labels})
        frame["degrees"] = angles(transformations)
        if transformations.amounts:
            frame["amount"], frame["axis"] = transformations.amounts, transformations.axis
        for name, curve in self.curves.items():
            frame[name], frame[f"{name}_low"], frame[f"{name}_high"] = curve.T
        return frame

    def at_least_frame(self) -> pd.DataFrame:
        """One row a number of transformations: `at_least` and `share` with `share_low` and `share_high`."""
        import pandas as pd

        shares = dict(zip(("share", "share_low", "share_high"), self.at_least.T, strict=True))
        return pd.DataFrame({"at_least": range(1, len(self.at_least) + 1), **shares})


def behaviour(
    predictions: Predictions,
    labels: ArrayLike | None = None,
    reference: Predictions | None = None,
    *,
    is_identity: ArrayLike | None = None,
    seed: int = 0,
) -> Behaviour:
    r"""Accuracy, flips, consistency and effective invariance of a classifier, with intervals.

        flips_j = \frac{1}{S} \#\{s : \hat y(t_j(x_s)) \ne \hat y_{ref}(t_j(x_s))\}, \quad
        c_j = \frac{1}{S} \#\{s : \hat y(t_j(x_s)) = \hat y(x_s)\}, \quad
        EI_j = \frac{1}{S} \sum_{s : \hat y(t_j(x_s)) = \hat y(x_s)} \sqrt{p(x_s) \, p(t_j(x_s))}

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite.comparison.behaviour import behaviour
        >>> from tfinv.tflite.comparison.predictions import Predictions
        >>> outputs = np.array([[[2.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [0.0, 3.0]]])
        >>> found = behaviour(Predictions.of(outputs[:, 0], outputs), [0, 1], is_identity=[True, False])
        >>> found.accuracy.value, found.transformed_accuracy.value, found.consistency.value
        (1.0, 0.5, 0.5)

    Args:
        predictions: of the model.
        labels: int `(S,)`, or `(images, K)` for K labels per image; None where there are none, and accuracies are NaN.
        reference: predictions of the reference on the same images; None for the reference itself.
        is_identity: bool `(T,)`, which transformations change nothing: they do not count as transformed. None for
            none of them.
        seed: of the resampling.

    Returns:
        All numbers with 95 % intervals.

    Raises:
        ValueError: labels or reference of another shape.

    Source: effective invariance after Deng, Gould and Zheng 2022, equation 1; kappa after Cohen 1960.
    """
    labels = predictions.truth(labels)
    if reference is not None and reference.transformed.shape != predictions.transformed.shape:
        raise ValueError(
            f"reference must have predictions of the shape {predictions.transformed.shape}. "
            f"Received: {reference.transformed.shape}"
        )
    count = predictions.transformed.shape[1]
    moved = np.ones(count, bool) if is_identity is None else ~np.asarray(is_identity, bool)
    moved = moved if moved.any() else ~moved
    curves = _curves(predictions, labels, reference)
    summary = _summary(predictions, labels, reference, curves, moved)
    bounds = intervals(predictions.by_image(np.column_stack([*summary.values(), *curves.values()])), seed=seed)
    estimates = {name: Estimate(*map(float, row)) for name, row in zip(summary, bounds, strict=False)}
    estimates |= _changes(predictions, labels, reference, moved, seed)
    estimates |= _under_all(predictions, labels, reference)
    drawn = dict(zip(curves, bounds[len(summary) :].reshape(len(curves), count, 3), strict=True))
    return Behaviour(
        **{name: estimates.get(name, NOTHING) for name in SUMMARY},
        at_least=_at_least(predictions, labels),
        curves={name: drawn.get(name, np.full((count, 3), np.nan)) for name in CURVES},
        **_concentration(predictions, labels, reference),
    )


def identities(transformations: TransformationSet) -> NDArray[np.bool_]:
    """Which transformations change nothing."""
    return np.array(
        [
            isinstance(transformation, Affine) and np.allclose(transformation.matrix, np.eye(3), atol=1e-9)
            for transformation in transformations
        ]
    )


def _curves(
    predictions: Predictions, labels: NDArray[np.int64] | None, reference: Predictions | None
) -> dict[str, NDArray[np.float64]]:
    """Float64 `(S, T)` by name of `CURVES`, those that exist."""
    same = consistent(predictions.transformed, predictions.upright)
    certain = effective_invariance(same, predictions.confidence, predictions.upright_confidence)
    curves: dict[str, Any] = {"consistency": same, "effective_invariance": certain}
    if labels is not None:
        curves["accuracy"] = correct(predictions.transformed, labels)
    if reference is not None:
        curves["flips"] = predictions.transformed != reference.transformed
    return {name: curve.astype(np.float64) for name, curve in curves.items()}


def _summary(
    predictions: Predictions,
    labels: NDArray[np.int64] | None,
    reference: Predictions | None,
    curves: dict[str, NDArray[np.float64]],
    moved: NDArray[np.bool_],
) -> dict[str, NDArray[np.float64]]:
    """Float64 `(S,)` by name of `SUMMARY`, those that exist and are no change."""
    names = {"accuracy": "transformed_accuracy", "flips": "transformed_flips"}
    summary = {names.get(name, name): curve[:, moved].mean(axis=1) for name, curve in curves.items()}
    if labels is not None:
        summary["accuracy"] = (predictions.upright == labels).astype(np.float64)
    if reference is not None:
        summary["flips"] = (predictions.upright != reference.upright).astype(np.float64)
    return summary


def _changes(
    predictions: Predictions,
    labels: NDArray[np.int64] | None,
    reference: Predictions | None,
    moved: NDArray[np.bool_],
    seed: int,
) -> dict[str, Estimate]:
    """Accuracy minus the reference's, image by image."""
    if labels is None or reference is None:
        return {}
    upright = (predictions.upright == labels).astype(np.float64) - (reference.upright == labels)
    both = (correct(model.transformed, labels)[:, moved].mean(axis=1) for model in (predictions, reference))
    changes = predictions.by_image(np.column_stack([upright, np.subtract(*both)]))
    rows = intervals(changes, signed=True, seed=seed)
    upright_change, transformed_change = (Estimate(*map(float, row)) for row in rows)
    return {"accuracy_change": upright_change, "transformed_accuracy_change": transformed_change}


def _under_all(
    predictions: Predictions, labels: NDArray[np.int64] | None, reference: Predictions | None
) -> dict[str, Estimate]:
    """What holds under every transformation at once."""
    answers = predictions.transformed
    same = (answers == answers[:, :1]).all(axis=1)
    estimates = {"consistency_all": share_of_answers(same, predictions)}
    if labels is None:
        return estimates
    always = correct(answers, labels).all(axis=1)
    estimates["worst_case_accuracy"] = share_of_answers(always, predictions)
    if reference is not None:
        change = always.astype(np.float64) - correct(reference.transformed, labels).all(axis=1)
        bounds = paired_interval(change)
        if predictions.per_image > 1:
            bounds = tuple(map(float, intervals(predictions.by_image(change[:, None]), signed=True)[0, 1:]))
        estimates["worst_case_accuracy_change"] = Estimate(float(change.mean()), *bounds)
    return estimates


def _at_least(predictions: Predictions, labels: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Shares of images that are right under at least 1, ..., T transformations, with intervals: `(T, 3)`."""
    samples, count = predictions.transformed.shape
    if labels is None:
        return np.full((count, 3), np.nan)
    times = correct(predictions.transformed, labels).sum(axis=1)
    if predictions.per_image > 1:
        return intervals(predictions.by_image(times[:, None] >= np.arange(1, count + 1)))
    reached = np.cumsum(np.bincount(times, minlength=count + 1)[::-1])[::-1][1:]
    return np.array([[number / samples, *wilson(int(number), samples)] for number in reached])


def share_of_answers(holds: NDArray[np.bool_], predictions: Predictions) -> Estimate:
    """A share of answers with its 95 % interval, Wilson's; of several per image from images drawn anew.

    Args:
        holds: bool `(S,)`, one value an answer.
        predictions: whose answers these are.
    """
    if predictions.per_image > 1:
        return Estimate(*map(float, intervals(predictions.by_image(holds[:, None]))[0]))
    count = int(holds.sum())
    return Estimate(count / len(holds), *wilson(count, len(holds)))


def _concentration(
    predictions: Predictions, labels: NDArray[np.int64] | None, reference: Predictions | None
) -> dict[str, Any]:
    """Whether the model still tells images apart."""
    truth = labels if labels is not None else None if reference is None else reference.upright
    used = _effective_classes(predictions.upright)
    if truth is None:
        return {"classes_used": used, "kappa": math.nan, "collapsed": used - 1 < FEW_CLASSES * NEAR_CHANCE}
    kappa = _kappa(predictions.upright, truth)
    few = used - 1 < FEW_CLASSES * (_effective_classes(truth) - 1)
    return {"classes_used": used, "kappa": kappa, "collapsed": bool(few and kappa < NEAR_CHANCE)}


def _effective_classes(classes: NDArray[np.int64]) -> float:
    shares = np.unique(classes, return_counts=True)[1] / len(classes)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _kappa(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Agreement beyond what two independent guessers with the same shares of classes would reach."""
    classes = np.union1d(one, other)
    shares = [(answers[:, None] == classes).mean(axis=0) for answers in (one, other)]
    chance, agreement = float(np.dot(*shares)), float((one == other).mean())
    return (agreement - chance) / (1 - chance) if chance < 1 else 1.0
