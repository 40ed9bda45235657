"""What a study found, in words: which recipes change nothing, which do, what it costs, what repairs it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.tflite.comparison.behaviour import Behaviour, behaviour
from tfinv.tflite.comparison.report_parts import measure_name
from tfinv.tflite.comparison.verdict import MATERIAL, collapse_sentences, invariance_sentence, rank_agreement
from tfinv.tflite.studies.recipes import REFERENCE
from tfinv.tflite.studies.samplers import FLOAT_SAMPLER, sampler_sentences

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.tflite.comparison.predictions import Predictions

REPAIRS = (
    ("static_int8", "static_int8_transformed", "Calibration on transformed instead of upright images"),
    ("static_int8", "static_int8_per_tensor", "One scale a kernel instead of one a channel"),
    (
        "static_int8_per_tensor",
        "static_int8_per_tensor_equalized",
        "Equalization of channel ranges (one scale a kernel)",
    ),
    ("static_int8", "qat_int8", "8-bit training on upright images instead of calibration alone"),
    ("static_int8", "qat_int8_augmented", "8-bit training on transformed images instead of calibration alone"),
    ("static_int8", FLOAT_SAMPLER, "The samplers of spatial transformers in float32 instead of int8"),
    ("float32_tuned", "qat_int8", "Rounding to 8 bits in training, against the same training without it,"),
    (
        "float32_tuned_augmented",
        "qat_int8_augmented",
        "Rounding to 8 bits in training on transformed images, against the same training without it,",
    ),
    ("qat_int8", "qat_int8_tfmot", "8-bit training by tensorflow-model-optimization instead of our own"),
    (
        "qat_int8_augmented",
        "qat_int8_tfmot_augmented",
        "8-bit training on transformed images by tensorflow-model-optimization instead of our own",
    ),
    ("weight_int4", "qat_int4", "4-bit training on upright images instead of rounding alone"),
    ("weight_int4", "qat_int4_augmented", "4-bit training on transformed images instead of rounding alone"),
)
"""Before, after, and what the second does differently."""


def describe(
    recipes: pd.DataFrame,
    layers: pd.DataFrame,
    seen: Mapping[str, Behaviour],
    predictions: Mapping[str, Predictions],
    labels: Any,
    is_identity: Any,
    metadata: Mapping[str, Any],
) -> list[str]:
    """Sentences with Markdown emphasis, the most important first.

    Args:
        recipes: see `StudyResult`.
        layers: see `StudyResult`.
        seen: behaviour by recipe.
        predictions: by recipe.
        labels: int `(S,)`; None where there are none.
        is_identity: bool `(T,)`, which transformations change nothing.
        metadata: of the study, with `measures`, `recipes` and `seed`; `samplers` names those of spatial transformers.
    """
    sentences = []
    for name, answers in seen.items():
        if name != REFERENCE:
            sentences += collapse_sentences(answers, answers, (name, name))[:1]
    if REFERENCE in seen:
        sentences += collapse_sentences(seen[REFERENCE], seen[REFERENCE], (REFERENCE, REFERENCE))[:1]
    measure = metadata["measures"][0]
    sentences += sampler_sentences(layers[layers["measure"] == measure], metadata.get("samplers", ()))
    sentences += _invariance(layers[layers["measure"] == measure], measure)
    sentences += _units(layers[layers["measure"] == measure])
    sentences += _answers(seen, metadata["recipes"])
    sentences += _repairs(predictions, labels, is_identity, metadata["seed"])
    sentences += _trade_offs(recipes)
    sentences += _ranking(layers[layers["measure"] == measure], measure)
    return sentences or ["Only the float file was made, so there is nothing to compare."]


def trade_offs(recipes: pd.DataFrame) -> pd.DataFrame:
    """Add `best_trade_off`: no other recipe is at least as good in size, accuracy under transformation and invariance.

    Better is smaller, more accurate under transformation, and of lower mean profile; a collapsed model is never best.
    Without accuracies the other two decide.
    """
    costs = np.column_stack([recipes["kib"], recipes["profile"]]).astype(float)
    if _has_accuracies(recipes):
        costs = np.column_stack([costs, -recipes["transformed_accuracy"].to_numpy(float)])
    usable = ~recipes["collapsed"].to_numpy(bool) if "collapsed" in recipes else np.ones(len(recipes), bool)
    usable &= np.isfinite(costs).all(axis=1)
    best = []
    for number, cost in enumerate(costs):
        others = costs[usable]
        beaten = ((others <= cost).all(axis=1) & (others < cost).any(axis=1)).any()
        best.append(bool(usable[number] and not beaten))
    return recipes.assign(best_trade_off=best)


def _has_accuracies(recipes: pd.DataFrame) -> bool:
    column = "transformed_accuracy"
    return column in recipes and bool(np.isfinite(recipes[column].to_numpy(float)).all())


def _invariance(layers: Any, measure: str) -> list[str]:
    """The recipes that change nothing in one sentence, each of the others in its own."""
    quiet, words, sentences = [], measure_name(measure), []
    for name, rows in layers.groupby("recipe", sort=False):
        relative = rows["relative"].to_numpy(float)
        if not np.isfinite(relative).any():
            continue
        bounds = rows[["relative_low", "relative_high"]].abs().to_numpy(float)
        real = rows["real"].to_numpy(bool) & (np.abs(relative) >= MATERIAL)
        if not real.any():
            beyond = int(rows["real"].sum())
            quiet.append((str(name), float(np.nanmax(bounds)) if np.isfinite(bounds).any() else math.nan, beyond))
        else:
            sentences.append(f"{name}: {invariance_sentence(rows, measure, (REFERENCE, str(name)))}")
    if quiet:
        listed = ", ".join(f"{name} (±{100 * bound:.2g} %)" for name, bound, _ in quiet)
        trifles = sum(beyond for *_, beyond in quiet)
        noise = "; some layers move beyond noise, but less than that" if trifles else ""
        first = (
            f"**No change of {words} worth the name** in {listed}: no layer moves by {100 * MATERIAL:.0f} % or more "
            f"beyond noise, and every layer stays within the bounds given, all layers together at 95 %{noise}."
        )
        sentences.insert(0, first)
    return sentences


def _units(layers: Any) -> list[str]:
    """How many units still respond in each recipe, where any are lost: over all layers, and where most are."""
    if "lost" not in layers:
        return []
    listed = []
    for name, rows_of_recipe in layers.groupby("recipe", sort=False):
        rows = rows_of_recipe[np.isfinite(rows_of_recipe["lost"].to_numpy(float))]
        if rows["lost"].sum():
            worst = rows.iloc[int(rows["lost"].to_numpy(float).argmax())]
            listed.append(
                f"{name} {int(rows['both'].sum())} of {int(rows['valid_before'].sum())} (most at `{worst['layer']}`: "
                f"{int(worst['both'])} of {int(worst['valid_before'])})"
            )
    return [f"Units of {REFERENCE} that still respond after quantization: {', '.join(listed)}."] if listed else []


def _answers(seen: Mapping[str, Behaviour], about: Mapping[str, Any]) -> list[str]:
    """What upright tests do not show: flips upright and transformed, never consistency without accuracy."""
    reference = seen.get(REFERENCE)
    if reference is None:
        return []
    others = {name: answers for name, answers in seen.items() if name != REFERENCE and not about[name]["trains"]}
    if not others:
        return []
    listed = ", ".join(
        f"{name} {100 * answers.flips.value:.1f} / {100 * answers.transformed_flips.value:.1f} %"
        for name, answers in others.items()
    )
    sentences = [f"Answers that differ from float32, upright / transformed images: {listed}."]
    if math.isfinite(reference.accuracy.value):
        lost = {n: e for n, e in others.items() if e.transformed_accuracy_change.high < 0}
        text = (
            f"float32 is right on {100 * reference.accuracy.value:.1f} % of upright and "
            f"{100 * reference.transformed_accuracy.value:.1f} % of transformed images."
        )
        if lost:
            words = ", ".join(
                f"{n} {100 * e.transformed_accuracy_change.value:+.1f} points "
                f"({100 * e.transformed_accuracy_change.low:+.1f} to {100 * e.transformed_accuracy_change.high:+.1f})"
                for n, e in lost.items()
            )
            text += f" Under transformation these lose accuracy beyond noise: {words}."
        else:
            text += " No post-training recipe loses accuracy under transformation beyond noise."
        sentences.append(text)
    return sentences


def _repairs(predictions: Mapping[str, Predictions], labels: Any, is_identity: Any, seed: int) -> list[str]:
    """Paired changes of accuracy between two recipes that differ in one thing."""
    sentences = []
    for before, after, what in REPAIRS:
        if labels is None or before not in predictions or after not in predictions:
            continue
        repair = behaviour(predictions[after], labels, predictions[before], is_identity=is_identity, seed=seed)
        upright, moved = repair.accuracy_change, repair.transformed_accuracy_change
        does = "raises" if moved.low > 0 else "lowers" if moved.high < 0 else "does not detectably change"
        sentences.append(
            f"{what} {does} accuracy under transformation ({100 * moved.value:+.1f} points, {100 * moved.low:+.1f} to "
            f"{100 * moved.high:+.1f}; upright {100 * upright.value:+.1f}, {100 * upright.low:+.1f} to "
            f"{100 * upright.high:+.1f}; {after} against {before})."
        )
    return sentences


def _trade_offs(recipes: Any) -> list[str]:
    best = recipes[recipes["best_trade_off"]].sort_values("kib")
    if best.empty or len(recipes) < 3:
        return []
    listed = ", ".join(f"{row.recipe} ({row.kib:.1f} KiB)" for row in best.itertuples())
    qualities = (
        "size, accuracy under transformation and invariance" if _has_accuracies(recipes) else "size and invariance"
    )
    return [f"No other recipe is at least as good in {qualities} as {listed}; differences within noise count here too."]


def _ranking(layers: Any, measure: str) -> list[str]:
    """Whether SQNR finds the layers whose invariance changes."""
    coefficients = {}
    for name, rows in layers.groupby("recipe", sort=False):
        columns = [column for column in rows.columns if column != "sqnr_db"]
        coefficient = rank_agreement(rows[columns], rows[["layer", "sqnr_db"]], measure)
        if coefficient is not None:
            coefficients[str(name)] = coefficient[0]
    if not coefficients:
        return []
    listed = ", ".join(f"{name} {value:.2f}" for name, value in coefficients.items())
    return [
        f"Rank correlation over layers of quantization noise (-SQNR) with the change of {measure_name(measure)}: "
        f"{listed} (1: SQNR finds the layers whose invariance changes; 0: it does not)."
    ]
