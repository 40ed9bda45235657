"""Answers that differ between two models: which of them do harm, and which classes pay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.measures.anova import correct as corrected
from tfinv.resampling.shares import paired_interval
from tfinv.tflite.comparison.behaviour import share_of_answers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from tfinv.tflite.comparison.predictions import Predictions

KINDS: tuple[str, ...] = ("harmful", "beneficial", "neutral")
"""Right to wrong, wrong to right, and from one wrong class to another."""
SIGNIFICANCE = 0.05
"""A class pays if its corrected p-value is below this."""


def flip_kinds(before: ArrayLike, after: ArrayLike, labels: ArrayLike) -> NDArray[np.int8]:
    """What became of every answer: 0 the same, and 1, 2, 3 for `KINDS`.

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite.comparison.flips import flip_kinds
        >>> flip_kinds([[3, 3, 5, 5]], [[3, 5, 3, 4]], [3]).tolist()
        [[0, 1, 2, 3]]

    Args:
        before: classes `(S, T)`, of the reference.
        after: classes `(S, T)`, of the other model on the same images.
        labels: `(S,)`.

    Returns:
        int8 `(S, T)`.
    """
    before, after, truth = np.asarray(before), np.asarray(after), np.asarray(labels)[:, None]
    kinds = np.where(before == truth, 1, np.where(after == truth, 2, 3))
    return np.where(before == after, 0, kinds).astype(np.int8)


def flips_by_transformation(
    before: Predictions, after: Predictions, labels: NDArray[np.int64], names: list[str]
) -> pd.DataFrame:
    """How many answers differ under each transformation, and in what way.

    Args:
        before: of the reference.
        after: of the other model.
        labels: int `(S,)`.
        names: of the transformations.

    Returns:
        One row a transformation: `number, transformation, flips`, and the shares `harmful`, `beneficial`, `neutral`,
        which add up to `flips`, each with its 95 % interval as `_low` and `_high`, see `share_of_answers`.
    """
    import pandas as pd

    kinds = flip_kinds(before.transformed, after.transformed, labels)
    rows = []
    for number, name in enumerate(names):
        row: dict[str, Any] = {"number": number, "transformation": name, "flips": float((kinds[:, number] > 0).mean())}
        for code, kind in enumerate(KINDS, 1):
            share = share_of_answers(kinds[:, number] == code, before)
            row |= {kind: share.value, f"{kind}_low": share.low, f"{kind}_high": share.high}
        rows.append(row)
    return pd.DataFrame(rows)


def flips_by_class(
    before: Predictions, after: Predictions, labels: NDArray[np.int64], moved: NDArray[np.bool_]
) -> pd.DataFrame:
    r"""Which classes lose under transformation from one model to another.

    McNemar's exact test asks whether more went from right to wrong than from wrong to right. Answers to one image under
    several transformations are no independent observations, so the test counts images: those with more harmful than
    beneficial flips against those with more beneficial ones,

        p = \min\left(1, 2 \sum_{i \le \min(b, c)} \binom{b + c}{i} 2^{-(b + c)}\right).

    With one transformation this is McNemar's test itself. The p-values of all classes are corrected together (Holm).

    Args:
        before: of the reference.
        after: of the other model.
        labels: int `(S,)`.
        moved: bool `(T,)`, the transformations that count.

    Returns:
        One row a class, or one a label where images have several: `class_number, images`;
        `accuracy_before, accuracy_after` under the transformations and their `change` with its 95 % interval
        `low, high`; the shares of answers `harmful, beneficial, neutral`; `worse, better`, images with more harmful and
        with more beneficial flips; `p_value` and `p_holm`; `pays`, whether the class loses and `p_holm` is below 0.05.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions"; Holm 1979, "A
    simple sequentially rejective multiple test procedure".
    """
    import pandas as pd

    kinds = flip_kinds(before.transformed, after.transformed, labels)[:, moved]
    right = before.transformed[:, moved] == labels[:, None], after.transformed[:, moved] == labels[:, None]
    rows = []
    # Of several labels per image, every label is tested by itself: its answers to the images are independent.
    groups = labels if before.per_image == 1 else np.arange(len(labels)) % before.per_image
    for number in np.unique(groups):
        members = groups == number
        part = kinds[members]
        change = (right[1][members].astype(np.float64) - right[0][members]).mean(axis=1)
        low, high = paired_interval(change)
        worse, better = int((change < 0).sum()), int((change > 0).sum())
        row: dict[str, Any] = {"class_number": int(number), "images": int(members.sum())}
        row |= {"accuracy_before": float(right[0][members].mean()), "accuracy_after": float(right[1][members].mean())}
        row |= {"change": float(change.mean()), "low": low, "high": high}
        row |= {kind: float((part == code).mean()) for code, kind in enumerate(KINDS, 1)}
        row |= {"worse": worse, "better": better, "p_value": mcnemar(worse, better)}
        rows.append(row)
    return with_holm(pd.DataFrame(rows))


def with_holm(classes: pd.DataFrame) -> pd.DataFrame:
    """Rows of `flips_by_class`, of one pair of models or of several, with `p_holm` and `pays` for all rows together."""
    p_holm = corrected(classes["p_value"].to_numpy(np.float64), "holm")
    return classes.assign(p_holm=p_holm, pays=(p_holm < SIGNIFICANCE) & (classes["worse"] > classes["better"]))


def mcnemar(worse: int, better: int) -> float:
    """The two-sided p-value of McNemar's exact test: a fair coin falls `worse` to `better`, or less evenly.

    Example:
        >>> from tfinv.tflite.comparison.flips import mcnemar
        >>> mcnemar(5, 0), mcnemar(3, 3)
        (0.0625, 1.0)
    """
    from scipy.stats import binom

    return min(1.0, 2 * float(binom.cdf(min(worse, better), worse + better, 0.5))) if worse + better else 1.0


def flipped_rows(
    before: Predictions, after: Predictions, labels: NDArray[np.int64] | None, names: list[str]
) -> pd.DataFrame:
    """All answers that differ: one row an image and transformation.

    Args:
        before: of the reference.
        after: of the other model.
        labels: int `(S,)`; None where there are none.
        names: of the transformations.

    Returns:
        `image` (its position in the test images), of several labels per image the `column` of the one that is
        answered, `label`, `number, transformation`; the answers `before, after` with
        `confidence_before, confidence_after`; and `kind`, one of `KINDS`, or "unknown" without labels.
    """
    import pandas as pd

    images, numbers = np.nonzero(before.transformed != after.transformed)
    places = images, numbers
    frame: dict[str, Any] = {"image": images // before.per_image}
    if before.per_image > 1:
        frame["column"] = images % before.per_image
    if labels is not None:
        frame["label"] = labels[images]
    frame |= {"number": numbers, "transformation": [names[number] for number in numbers]}
    for side, answers in (("before", before), ("after", after)):
        frame[side], frame[f"confidence_{side}"] = answers.transformed[places], answers.confidence[places]
    if labels is None:
        frame["kind"] = ["unknown"] * len(images)
    else:
        codes = flip_kinds(before.transformed, after.transformed, labels)[places]
        frame["kind"] = [KINDS[code - 1] for code in codes]
    return pd.DataFrame(frame)
