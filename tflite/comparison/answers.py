"""What two classifiers answer to the same images: worst cases, flips, the classes that pay, calibration, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.evaluation.options import Warping
from tfinv.support.archive import member
from tfinv.tflite.comparison.behaviour import Behaviour, identities
from tfinv.tflite.comparison.confidence import Scores, calibration_table
from tfinv.tflite.comparison.flips import flipped_rows, flips_by_class, flips_by_transformation
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.transformations import TransformationSet, warp

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tfinv.datasets import Split

SHOWN = (("harmful", 8), ("beneficial", 2), ("neutral", 2), ("unknown", 12))
"""How many changed images of a kind are kept as pictures, at most."""
_FRAMES = ("at_least", "flips", "classes", "calibration", "decisions")
_PREFIX = "answers."


@dataclass(frozen=True)
class Answers:
    """Tables on the answers of two files; those of a study begin with the column `recipe`, the name of the second file.

    Args:
        at_least: one row a model and k: share of images that are right under at least k transformations.
        flips: one row a transformation, see `flips.flips_by_transformation`; empty without labels.
        classes: one row a class, see `flips.flips_by_class`; empty without labels.
        calibration: see `confidence.calibration_table`; empty without labels.
        decisions: see `decisions.decisions`; empty before `Comparison.decide`.
        labels: int64 `(S,)`, of the images; None where there are none.
        shown: int64 `(N, 2)`, image and transformation of every picture.
        pictures: uint8 `(N, 2, H, W, C)`, the image upright and transformed.
    """

    at_least: pd.DataFrame = field(repr=False)
    flips: pd.DataFrame = field(repr=False)
    classes: pd.DataFrame = field(repr=False)
    calibration: pd.DataFrame = field(repr=False)
    decisions: pd.DataFrame = field(repr=False)
    labels: NDArray[np.int64] | None = field(default=None, repr=False)
    shown: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64), repr=False)
    pictures: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 2, 1, 1, 1), np.uint8), repr=False)

    @classmethod
    def none(cls) -> Answers:
        """Empty tables."""
        return cls(**tables_of({}))

    def to_frames(self) -> dict[str, pd.DataFrame]:
        """The tables by the name that a file gives them."""
        return {f"{_PREFIX}{name}": getattr(self, name) for name in _FRAMES}

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by the name that a file gives them."""
        arrays: dict[str, NDArray[Any]] = {f"{_PREFIX}shown": self.shown, f"{_PREFIX}pictures": self.pictures}
        return arrays if self.labels is None else {**arrays, f"{_PREFIX}labels": self.labels}

    @classmethod
    def from_parts(cls, frames: Mapping[str, pd.DataFrame], arrays: Mapping[str, NDArray[Any]]) -> Answers:
        """What `to_frames` and `to_arrays` gave, from a file that may hold anything, or be older than they are.

        Raises:
            ValueError: an array of another dtype or shape.
        """
        if f"{_PREFIX}shown" not in arrays:
            return cls.none()
        shown = member(arrays, f"{_PREFIX}shown", "int64", (None, 2))
        pictures = member(arrays, f"{_PREFIX}pictures", "uint8", (len(shown), 2, None, None, None))
        given = f"{_PREFIX}labels" in arrays
        labels = member(arrays, f"{_PREFIX}labels", "int64", (None,)) if given else None
        tables = tables_of({name: frames[f"{_PREFIX}{name}"] for name in _FRAMES if f"{_PREFIX}{name}" in frames})
        return cls(**tables, labels=labels, shown=shown, pictures=pictures)


def answers_of(
    predictions: Mapping[str, Predictions],
    names: tuple[str, str],
    images: Split,
    transformations: TransformationSet,
    seen: Sequence[Behaviour],
    scores: Mapping[str, Scores],
    warping: Warping,
) -> Answers:
    """All tables, from what the comparison has already asked of the models; nothing is shown to them again.

    Args:
        predictions: of both models.
        names: of the models, the reference first.
        images: that the models were shown.
        transformations: under which.
        seen: behaviour of both models.
        scores: outputs kept for calibration, by model.
        warping: of the transformed images.
    """
    import pandas as pd

    before, after = (predictions[name] for name in names)
    labels, words = before.truth(images.y), list(transformations.labels)
    gallery = changed_images(before, after, images, transformations, warping)
    if labels is None:
        return Answers(**tables_of({}), **gallery)
    moved = ~identities(transformations)
    moved = moved if moved.any() else ~moved
    frames = [behaviour.at_least_frame().assign(model=name) for name, behaviour in zip(names, seen, strict=True)]
    tables = {
        "at_least": pd.concat(frames, ignore_index=True),
        "flips": flips_by_transformation(before, after, labels, words),
        "classes": flips_by_class(before, after, labels, moved),
        "calibration": calibration_table(scores, labels, words, moved),
    }
    return Answers(**tables_of(tables), labels=labels, **gallery)


def changed_images(
    before: Predictions,
    after: Predictions,
    images: Split,
    transformations: TransformationSet,
    warping: Warping,
) -> dict[str, NDArray[Any]]:
    """`shown` and `pictures` of `Answers`: images that two models answer differently.

    Args:
        before: of the reference.
        after: of the other model.
        images: that both were shown.
        transformations: under which.
        warping: of the transformed images.
    """
    shown = _chosen(flipped_rows(before, after, before.truth(images.y), list(transformations.labels)))
    return {"shown": shown, "pictures": _pictures(images.x, shown, transformations, warping)}


def tables_of(known: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Every table by name; those that are not known are empty."""
    import pandas as pd

    return {name: known.get(name, pd.DataFrame()) for name in _FRAMES}


def _chosen(rows: pd.DataFrame) -> NDArray[np.int64]:
    """The changes that are shown: every image once, those first of which both models are most certain."""
    certain = rows["confidence_before"].to_numpy(np.float64) * rows["confidence_after"].to_numpy(np.float64)
    order = np.argsort(-certain, kind="stable")
    ranked = rows.iloc[order].drop_duplicates("image")
    parts = [ranked[ranked["kind"] == kind].head(most) for kind, most in SHOWN]
    return np.concatenate([part[["image", "number"]].to_numpy(np.int64).reshape(-1, 2) for part in parts])


def _pictures(
    x: Any, shown: NDArray[np.int64], transformations: TransformationSet, warping: Warping
) -> NDArray[np.uint8]:
    """The images that are shown, upright and transformed; none where they are neither gray nor in colour."""
    pairs = []
    if x.shape[-1] in (1, 3):
        for image, number in shown:
            upright = np.asarray(x[image], np.float32)[None]
            one = transformations[int(number) : int(number) + 1]
            turned = warp(upright, one, padding=warping.padding, interpolation=warping.interpolation)
            turned = np.asarray(turned)[0, 0]
            pairs.append(np.stack([upright[0], turned]))
    shape = (len(pairs), 2, *(x.shape[1:] if pairs else (1, 1, 1)))
    return np.round(255 * np.clip(np.array(pairs).reshape(shape), 0, 1)).astype(np.uint8)
