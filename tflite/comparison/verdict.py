"""What a comparison found, in words: changed or not beyond noise, where, and what it costs (comparison -> report)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.resampling.images import Estimate
from tfinv.tflite.comparison.behaviour import Behaviour
from tfinv.tflite.comparison.report_parts import measure_name
from tfinv.tflite.comparison.silence import (
    from_silence,
    opposite_signs,
    paired_change,
    silence_sentence,
    units_sentence,
)
from tfinv.tflite.comparison.words import MATERIAL, percent, signed

if TYPE_CHECKING:
    import pandas as pd

OFTEN = 2.0
"""How many times more flips under transformation than upright are worth a word."""


def describe(
    differences: pd.DataFrame,
    fidelity: pd.DataFrame | None,
    before: Behaviour | None,
    after: Behaviour | None,
    names: tuple[str, str] = ("before", "after"),
) -> list[str]:
    """Sentences on one model against its reference, the most important first.

    Args:
        differences: as `compare` gives, intervals for all layers together.
        fidelity: one row a layer with `layer, sqnr_db`; None to say nothing of it.
        before: behaviour of the reference; None where models are no classifiers.
        after: of the other model.
        names: what the two are called.

    Returns:
        Sentences with Markdown emphasis.
    """
    sentences = []
    if before is not None and after is not None:
        sentences += collapse_sentences(before, after, names)
    measures = list(dict.fromkeys(differences["measure"]))
    sentences += [invariance_sentence(differences, key, names) for key in measures]
    sentences += [units_sentence(differences, key, names) for key in measures[:1]]
    if before is not None and after is not None:
        if after.accuracy_change.high < 0 and _gains(differences):
            sentences.append(
                f"Where {names[1]} is more invariant while its accuracy falls, it has lost information rather than "
                "gained robustness."
            )
        sentences += accuracy_sentences(before, after, names)
    if fidelity is not None and measures:
        sentences += ranking_sentences(differences, fidelity, measures[0])
    return [sentence for sentence in sentences if sentence]


def invariance_sentence(differences: pd.DataFrame, measure: str, names: tuple[str, str] = ("before", "after")) -> str:
    """Whether the layer profile of a measure changed, where it begins, and by how much.

    Example:
        >>> import pandas as pd
        >>> from tfinv.tflite.comparison.verdict import invariance_sentence
        >>> row = {"measure": "NormalizedVariance", "layer": "conv", "before": 0.5, "after": 0.501, "difference": 0.001}
        >>> row |= {"relative": 0.002, "relative_low": -0.001, "relative_high": 0.005, "real": False}
        >>> invariance_sentence(pd.DataFrame([row]), "NormalizedVariance")
        '**No detectable change of normalized variance**: within ±0.5 % in every layer (1 layer, 95 %).'

    Args:
        differences: as `compare` gives.
        measure: key of the measure.
        names: what the two models are called.
    """
    rows = differences[differences["measure"] == measure]
    words, known = measure_name(measure), rows[np.isfinite(rows["relative"].to_numpy(float))]
    if known.empty:
        return f"{words.capitalize()} exists in no layer of both models."
    certain = known[np.isfinite(known["relative_low"].to_numpy(float))]
    largest = known.iloc[int(known["relative"].abs().to_numpy().argmax())]
    if certain.empty:
        return (
            f"{words.capitalize()} changes by at most {signed(largest['relative'])} (at `{largest['layer']}`); no "
            "intervals were asked for, so whether this is more than noise is inconclusive."
        )
    count = f"{len(certain)} layer{'s' if len(certain) > 1 else ''}"
    within = float(certain[["relative_low", "relative_high"]].abs().to_numpy().max())
    real = certain[certain["real"].to_numpy(bool)]
    if real.empty:
        return f"**No detectable change of {words}**: within ±{percent(within)} in every layer ({count}, 95 %)."
    silent = from_silence(real)
    fallen, material = real[silent], real[~silent & (real["relative"].abs().to_numpy() >= MATERIAL)]
    if material.empty and len(fallen):
        return silence_sentence(fallen, measure, names)
    if material.empty:
        strongest = real.iloc[int(real["relative"].abs().to_numpy().argmax())]
        return (
            f"**Hardly any change of {words}**: beyond noise in {len(real)} of {count} (95 %), but small, at most "
            f"{signed(strongest['relative'])} (at `{strongest['layer']}`); no layer moves by more than "
            f"±{percent(within)}."
        )
    return " ".join(
        filter(
            None, (_changed(material, len(real), count, differences, names), silence_sentence(fallen, measure, names))
        )
    )


def _gains(differences: pd.DataFrame) -> bool:
    """Whether a layer became more invariant, beyond noise, by more than a trifle, and in units that respond in both."""
    falls = (differences["relative"].to_numpy(float) <= -MATERIAL) & ~from_silence(differences)
    return bool((differences["real"].to_numpy(bool) & falls).any())


def _changed(material: pd.DataFrame, beyond: int, count: str, differences: pd.DataFrame, names: tuple[str, str]) -> str:
    words = measure_name(str(material["measure"].iloc[0]))
    first = material.iloc[0]
    strongest = material.iloc[int(np.abs(paired_change(material)).argmax())]
    meaning = "less" if strongest["relative"] > 0 else "more"
    begins = (
        ""
        if first["layer"] == strongest["layer"]
        else (f"It begins at `{first['layer']}` ({signed(first['relative'])}) and is largest at ")
    )
    where = f"{begins or 'It is largest at '}`{strongest['layer']}`"
    means = f"{names[1]} is {meaning} invariant there."
    if float(strongest.get("lost", 0)) > 0 or float(strongest.get("gained", 0)) > 0:
        means = (
            f"over the {int(strongest['both'])} units valid in both {signed(strongest['paired_relative'])}, so {means}"
        )
    if others := opposite_signs(strongest, differences):
        means = (
            f"but {' and '.join(others)}. These are defensible numbers of the same change and disagree in sign: which "
            "model is more invariant there is inconclusive."
        )
    return (
        f"**{words.capitalize()} changes**, beyond noise in {beyond} of {count} (95 %). {where}: "
        f"{signed(strongest['relative'])} ({signed(strongest['relative_low'])} to "
        f"{signed(strongest['relative_high'])}), from {strongest['before']:.3f} to {strongest['after']:.3f}: "
        f"{means}"
    )


def accuracy_sentences(before: Behaviour, after: Behaviour, names: tuple[str, str] = ("before", "after")) -> list[str]:
    """Accuracy, flips and consistency, upright and under transformation; consistency never without accuracy."""
    sentences = []
    has_labels = math.isfinite(after.accuracy.value)
    if has_labels:
        upright = _change(before.accuracy, after.accuracy, after.accuracy_change)
        moved = _change(before.transformed_accuracy, after.transformed_accuracy, after.transformed_accuracy_change)
        sentences.append(f"Accuracy goes {upright} upright, and {moved} under transformation.")
    flips, more = after.flips, after.transformed_flips
    text = (
        f"{names[1]} answers differently from {names[0]} for {_share(flips)} of upright and {_share(more)} of "
        "transformed images"
    )
    if more.low > max(flips.high, OFTEN * flips.value):
        text = f"**{text}**: a test on upright images alone does not show it"
    sentences.append(f"{text}.")
    if has_labels:
        sentences.append(
            f"Predictions that transformations leave unchanged: {_share(before.consistency)} of {names[0]} (accuracy "
            f"{percent(before.transformed_accuracy.value)}), {_share(after.consistency)} of {names[1]} (accuracy "
            f"{percent(after.transformed_accuracy.value)})."
        )
    else:
        sentences.append(
            "Without labels there is no accuracy, and consistency is not stated: a model that always answers the same "
            "is perfectly consistent."
        )
    return sentences


def collapse_sentences(before: Behaviour, after: Behaviour, names: tuple[str, str] = ("before", "after")) -> list[str]:
    """A warning for each model that answers nearly the same whatever the image."""
    sentences = []
    for name, behaviour in zip(names, (before, after), strict=True):
        if behaviour.collapsed:
            known = math.isfinite(behaviour.accuracy.value)
            accuracy = f"accuracy {percent(behaviour.accuracy.value)}, " if known else ""
            sentences.append(
                f"**{name} has collapsed**: it answers nearly the same for every image ({accuracy}effectively "
                f"{behaviour.classes_used:.1f} classes). Its invariance and its consistency mean nothing."
            )
    return sentences


def ranking_sentences(differences: pd.DataFrame, fidelity: pd.DataFrame, measure: str) -> list[str]:
    """Whether SQNR, the usual number to find bad layers by, ranks layers as their change of invariance does."""
    agreement = rank_agreement(differences, fidelity, measure)
    if agreement is None:
        return []
    coefficient, layers = agreement
    words = measure_name(measure)
    if coefficient >= 0.7:
        verdict = f"ranks the layers much as the change of {words} does"
    elif coefficient >= 0.3:
        verdict = f"ranks the layers only partly as the change of {words} does"
    else:
        verdict = f"does not find the layers whose {words} changes"
    return [
        f"SQNR, the usual measure of quantization error, {verdict} "
        f"(rank correlation {coefficient:.2f}, {layers} layers)."
    ]


def rank_agreement(differences: pd.DataFrame, fidelity: pd.DataFrame, measure: str) -> tuple[float, int] | None:
    """Spearman's correlation of -SQNR with the absolute relative change, over layers, and their number.

    None where fewer than four layers have both, where no layer changed beyond noise (there is no order to agree
    with), or where either never varies.
    """
    from scipy.stats import spearmanr

    rows = differences[differences["measure"] == measure].merge(fidelity[["layer", "sqnr_db"]], on="layer")
    change, noise = rows["relative"].abs().to_numpy(float), -rows["sqnr_db"].to_numpy(float)
    usable = np.isfinite(change) & np.isfinite(noise)
    if usable.sum() < 4 or not rows["real"].to_numpy(bool)[usable].any():
        return None
    change, noise = change[usable], noise[usable]
    if np.ptp(change) == 0 or np.ptp(noise) == 0:
        return None
    correlation: Any = spearmanr(change, noise)
    return float(correlation.statistic), int(usable.sum())


def _change(before: Estimate, after: Estimate, change: Estimate) -> str:
    """`from 75.5 % to 75.4 % (-0.1 points, -0.4 to +0.2: no detectable change)`."""
    noise = "" if change.excludes_zero else ": no detectable change"
    points = f"{100 * change.value:+.1f} points, {100 * change.low:+.1f} to {100 * change.high:+.1f}{noise}"
    return f"from {percent(before.value)} to {percent(after.value)} ({points})"


def _share(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"
