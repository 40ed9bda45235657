"""Which answers every way of quantizing changes: by kind and class, worst cases, calibration, decisions, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfinv.evaluation.options import Warping
from tfinv.tflite.comparison.answers import Answers, changed_images, tables_of
from tfinv.tflite.comparison.behaviour import Behaviour, identities
from tfinv.tflite.comparison.flips import KINDS, flipped_rows, flips_by_class, flips_by_transformation, with_holm
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.tflite.studies.recipes import REFERENCE
from tfinv.transformations import TransformationSet

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.datasets import Split

_NAMED = 5
"""So many classes are named in a sentence."""


def answers_of(
    predictions: Mapping[str, Predictions],
    calibration: Sequence[pd.DataFrame],
    seen: Mapping[str, Behaviour],
    images: Split,
    transformations: TransformationSet,
    pictured: str | None,
    warping: Warping,
) -> Answers:
    """The tables of all recipes; their rows of flips and classes begin with `recipe`, those of one model with `model`.

    Args:
        predictions: by recipe, the reference among them.
        calibration: a table per recipe, see `calibration_table`.
        seen: behaviour by recipe.
        images: that all files were shown.
        transformations: under which.
        pictured: the recipe whose changed images are kept; None for no pictures.
        warping: of the transformed images.
    """
    import pandas as pd

    reference = predictions.get(REFERENCE)
    if reference is None:
        return Answers.none()
    gallery: dict[str, Any] = {}
    if pictured is not None:
        gallery = changed_images(reference, predictions[pictured], images, transformations, warping)
    labels = reference.truth(images.y)
    if labels is None:
        return Answers(**tables_of({}), **gallery)
    moved = ~identities(transformations)
    moved = moved if moved.any() else ~moved
    others = {name: answers for name, answers in predictions.items() if name != REFERENCE}
    words = list(transformations.labels)
    flips = {name: flips_by_transformation(reference, answers, labels, words) for name, answers in others.items()}
    classes = _joined({name: flips_by_class(reference, answers, labels, moved) for name, answers in others.items()})
    known = {
        "at_least": pd.concat([one.at_least_frame().assign(model=name) for name, one in seen.items()]),
        "flips": _joined(flips),
        "classes": with_holm(classes) if len(classes) else classes,
        "calibration": pd.concat([frame for frame in calibration if len(frame)] or [pd.DataFrame()]),
    }
    tables = tables_of({name: frame.reset_index(drop=True) for name, frame in known.items()})
    return Answers(**tables, labels=labels, **gallery)


def _joined(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One table of those of all recipes, which stand in its first column."""
    import pandas as pd

    for name, frame in frames.items():
        frame.insert(0, "recipe", name)
    return pd.concat(list(frames.values()), ignore_index=True) if frames else pd.DataFrame()


def most_flipped(seen: Mapping[str, Behaviour], about: Mapping[str, Any]) -> str | None:
    """The recipe without training that changes most answers under transformation; else any; None where none does."""
    changed = {name: one.transformed_flips.value for name, one in seen.items() if name != REFERENCE}
    still = {name: value for name, value in changed.items() if not about[name]["trains"]} or changed
    name = max(still, key=still.__getitem__, default=None)
    return name if name is not None and still[name] > 0 else None


def flipped(
    predictions: Mapping[str, Predictions], labels: Any, transformations: Sequence[str], recipe: str | None = None
) -> pd.DataFrame:
    """All answers that recipes change, see `tfinv.tflite.comparison.flips.flipped_rows`, with the column `recipe`.

    Args:
        predictions: by recipe.
        labels: int64 `(S,)`; None where there are none.
        transformations: their labels.
        recipe: of this one alone; None for all.
    """
    chosen = [name for name in predictions if name != REFERENCE and recipe in (None, name)]
    return _joined(
        {
            name: flipped_rows(predictions[REFERENCE], predictions[name], labels, list(transformations))
            for name in chosen
        }
    )


def sentences(answers: Answers, about: Mapping[str, Any]) -> Iterator[str]:
    """Harm, classes that pay and calibration, over all recipes without training; nothing without labels.

    Args:
        answers: of the study.
        about: facts by recipe.
    """
    if answers.flips.empty:
        return
    yield _worst_case_sentence(answers.at_least, about)
    shares = answers.flips.groupby("recipe", sort=False)[["flips", *KINDS]].mean()
    still = [name for name in shares.index if not about[name]["trains"] and shares.loc[name, "flips"] > 0]
    if still:
        listed = ", ".join(f"{name} {_parts(shares.loc[name])}" for name in still)
        yield (
            "Of the answers that changed, so many went from right to wrong / from wrong to right / from one wrong "
            f"class to another: {listed}."
        )
    yield _classes_sentence(answers.classes)
    if len(answers.calibration):
        yield _calibration_sentence(answers.calibration, about)


def _worst_case_sentence(at_least: pd.DataFrame, about: Mapping[str, Any]) -> str:
    last = at_least[at_least["at_least"] == at_least["at_least"].max()]
    listed = ", ".join(
        f"{row.model} {100 * row.share:.1f} % ({100 * row.share_low:.1f} to {100 * row.share_high:.1f})"
        for row in last.itertuples()
        if not about[row.model]["trains"]
    )
    return f"Right under every transformation, share of images: {listed}."


def _parts(row: Any) -> str:
    return " / ".join(f"{100 * row[kind] / row['flips']:.0f}" for kind in KINDS) + " %"


def _classes_sentence(classes: pd.DataFrame) -> str:
    tests = (
        f"McNemar's exact test over images, Holm's correction for all {len(classes)} tests of recipes and classes, 5 %"
    )
    paying = classes[classes["pays"].to_numpy(bool)]
    if paying.empty:
        return f"No class is shown to pay for a recipe under transformation ({tests})."
    parts = []
    for name, rows in paying.sort_values("change").groupby("recipe", sort=False):
        named = ", ".join(f"{row.class_number} ({100 * row.change:+.1f} points)" for row in rows[:_NAMED].itertuples())
        parts.append(f"{name} {named}" + (f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""))
    return f"**Classes that pay under transformation**: {'; '.join(parts)} ({tests})."


def _calibration_sentence(frame: pd.DataFrame, about: Mapping[str, Any]) -> str:
    parts = []
    for name, rows in frame.groupby("model", sort=False):
        if about[name]["trains"]:
            continue
        moved = rows[rows["is_moved"].to_numpy(bool)]
        upright = float(rows["ece"][rows["number"] < 0].iloc[0])
        parts.append(f"{name} {upright:.3f} / {moved['ece'].mean():.3f} / {moved['ece_upright_fit'].mean():.3f}")
    return (
        "Expected calibration error upright / under transformation / under transformation with a temperature fitted "
        f"upright: {', '.join(parts)}."
    )
