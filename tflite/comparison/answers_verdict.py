"""What a comparison found about single answers, in words: worst cases, harm, classes that pay, confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tfinv.tflite.comparison.answers import Answers
from tfinv.tflite.comparison.behaviour import Behaviour
from tfinv.tflite.comparison.flips import KINDS
from tfinv.tflite.comparison.words import percent

_NAMED = 5
"""So many classes are named."""


def sentences(answers: Answers, seen: Sequence[Behaviour], names: tuple[str, str]) -> list[str]:
    """Sentences on worst cases, flips by kind, classes that pay, and calibration; none without labels.

    Args:
        answers: of both models.
        seen: behaviour of both.
        names: what the two are called.
    """
    if not len(answers.flips):
        return []
    found = [worst_case_sentence(seen[0], seen[1], names), flips_sentence(answers), classes_sentence(answers, names)]
    return [*found, *calibration_sentences(answers, names)]


def worst_case_sentence(before: Behaviour, after: Behaviour, names: tuple[str, str]) -> str:
    """How many images are right under every transformation, beside the mean, and whether that changed."""
    worst, change = after.worst_case_accuracy, after.worst_case_accuracy_change
    noise = "" if change.excludes_zero else ": no detectable change"
    return (
        f"Right under every transformation: {percent(before.worst_case_accuracy.value)} of images with {names[0]}, "
        f"{percent(worst.value)} ({100 * worst.low:.1f} to {100 * worst.high:.1f}) with {names[1]}, whose mean "
        f"accuracy under transformation is {percent(after.transformed_accuracy.value)} ({100 * change.value:+.1f} "
        f"points, {100 * change.low:+.1f} to {100 * change.high:+.1f}{noise})."
    )


def flips_sentence(answers: Answers) -> str:
    """How the answers that changed divide into harmful, beneficial and neutral ones, over all transformations."""
    total = float(answers.flips["flips"].mean())
    if not total:
        return "No answer changed under any transformation."
    harmful, beneficial, neutral = (f"{100 * float(answers.flips[kind].mean()) / total:.0f} %" for kind in KINDS)
    return (
        f"Of the answers that changed, {harmful} went from right to wrong, {beneficial} from wrong to right, {neutral} "
        "from one wrong class to another."
    )


def classes_sentence(answers: Answers, names: tuple[str, str]) -> str:
    """Which classes lose under transformation, where every class is tested and all tests are corrected together."""
    paying = answers.classes[answers.classes["pays"].to_numpy(bool)].sort_values("change")
    if paying.empty:
        return (
            f"No class is shown to pay for {names[1]} under transformation (McNemar's exact test over images, "
            f"{len(answers.classes)} classes, Holm's correction, 5 %)."
        )
    parts = [f"{row.class_number} ({100 * row.change:+.1f} points)" for row in paying.head(_NAMED).itertuples()]
    more = f" and {len(paying) - _NAMED} more" if len(paying) > _NAMED else ""
    count = "Class" if len(paying) == 1 else "Classes"
    verb = "pays" if len(paying) == 1 else "pay"
    return (
        f"**{count} {', '.join(parts)}{more} {verb}** for {names[1]} under transformation (McNemar's exact test over "
        f"images, {len(answers.classes)} classes, Holm's correction, 5 %)."
    )


def calibration_sentences(answers: Answers, names: tuple[str, str]) -> list[str]:
    """How calibration error grows under transformation, and what temperatures fitted upright and transformed do."""
    frame = answers.calibration
    if frame.empty:
        return []
    texts = []
    for name in names:
        rows = frame[frame["model"] == name]
        upright, moved = rows[rows["number"] < 0], rows[rows["is_moved"].to_numpy(bool)]
        if rows.empty:
            continue
        mean = moved[["ece", "ece_upright_fit", "ece_transformed_fit"]].mean()
        first = upright.iloc[0]
        if not math.isfinite(float(mean["ece"])):
            continue
        texts.append(
            f"{name} {first['ece']:.3f} upright and {mean['ece']:.3f} under transformation; "
            f"{mean['ece_upright_fit']:.3f} with a temperature of {first['temperature_upright']:.2f} fitted upright, "
            f"{mean['ece_transformed_fit']:.3f} with {first['temperature_transformed']:.2f} fitted on transformed "
            "images"
        )
    return [f"Expected calibration error: {'. '.join(texts)}."] if texts else []
