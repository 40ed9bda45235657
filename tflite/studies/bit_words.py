"""A choice of bits in words: what was found, what costs what, what to know before trusting it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfinv.support.safe_text import printable
from tfinv.tflite.comparison.conditions import Condition
from tfinv.tflite.studies.bit_conditions import OF_FILES, Seen, amount, in_words
from tfinv.tflite.studies.bit_measuring import MeasuredFile
from tfinv.tflite.studies.bit_schemes import LayerGroup
from tfinv.tflite.studies.bit_search import SearchStep

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 4
"""So many layers are named in a sentence."""
_TINY = 1e-9
_OUTCOMES = {"fails": "**{} does not hold**", "inconclusive": "{} is inconclusive", "holds": "{} holds too"}


def to_stderr(text: str) -> None:
    """Report a step on standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def cost(conditions: Sequence[Condition], before: MeasuredFile, after: MeasuredFile) -> float:
    """What a file takes of what the conditions leave: 1 where the tightest is used up.

    Args:
        conditions: those on size and latency do not count.
        before: the float file.
        after: the file.
    """
    shares = [0.0]
    for condition in conditions:
        if condition.metric in OF_FILES:
            continue
        first, second = (file.seen[str(condition)].value for file in (before, after))
        if condition.metric == "min_sqnr_db":
            shares.append(10 ** ((condition.limit - second) / 10) if math.isfinite(second) else 0.0)
        else:
            shares.append(abs(second - first) / max(abs(condition.limit - first), _TINY))
    return math.inf if any(math.isnan(share) for share in shares) else max(shares)


def seen_in_words(condition: Condition, seen: Seen) -> str:
    """What a condition is on a file: `"flip_rate 1.2 % (0.8 % to 1.6 %), inconclusive"`."""
    text = f"{condition.metric} {_measured(condition, seen)}"
    return f"{text}, inconclusive" if seen.outcome == "inconclusive" else text


def _measured(condition: Condition, seen: Seen) -> str:
    """A value with its interval: `"1.2 % (0.8 % to 1.6 %)"`."""
    text = amount(condition.metric, seen.value)
    if seen.low != seen.high and math.isfinite(seen.low + seen.high):
        text += f" ({amount(condition.metric, seen.low)} to {amount(condition.metric, seen.high)})"
    return text


def missed(conditions: Sequence[Condition], file: MeasuredFile) -> str:
    """The conditions that a file does not meet, with what was measured."""
    texts = []
    for condition in conditions:
        seen = file.seen[str(condition)]
        if seen.outcome != "holds":
            texts.append(seen_in_words(condition, seen))
    return "; ".join(texts) or "nothing"


def verdict(
    conditions: Sequence[Condition],
    chosen: MeasuredFile,
    files: pd.DataFrame,
    groups: Sequence[LayerGroup],
    steps: Sequence[SearchStep],
) -> list[str]:
    """What was found, in sentences.

    Args:
        conditions: the conditions.
        chosen: the chosen file.
        files: see `BitChoice`.
        groups: of the model.
        steps: of the search.
    """
    sizes = dict(zip(files["file"], files["bytes"], strict=True))
    base = sizes["float32"]
    listed = "; ".join(seen_in_words(condition, chosen.seen[str(condition)]) for condition in conditions)
    if chosen.judged.holds:
        first = f"**{chosen.size:,} bytes keep the conditions**, {chosen.size / base:.0%} of float32 ({base:,} bytes)"
    else:
        unmet = [in_words(c) for c in conditions if chosen.seen[str(c)].outcome != "holds"]
        first = (
            f"**Not reached: {' and '.join(unmet)}**; the smallest file that keeps the rest has {chosen.size:,} bytes"
        )
    return [
        f"{first}: {listed} (with 90 % intervals).",
        _schemes_sentence(chosen, groups),
        *(text for text in (_against_uniform(files, chosen, conditions), _against_noise(files, conditions)) if text),
        _search_sentence(steps),
    ]


def confirmation(conditions: Sequence[Condition], again: MeasuredFile, images: int) -> list[str]:
    """What the chosen file is like on images that the search did not see: one sentence, or none to tell.

    Args:
        conditions: those on size and latency do not count.
        again: the file on the other images.
        images: how many these are.
    """
    asked = [condition for condition in conditions if condition.metric not in OF_FILES]
    seen = [(condition, again.seen[str(condition)]) for condition in asked]
    texts = [
        f"{told.format(in_words(condition))}, {_measured(condition, one)}"
        for outcome, told in _OUTCOMES.items()
        for condition, one in seen
        if one.outcome == outcome
    ]
    return [f"On {images:,} other images, which the search did not see: {'; '.join(texts)}."] if texts else []


def right_answers(reference: MeasuredFile, chosen: MeasuredFile) -> list[str]:
    """How often float32 and the chosen file are right: one sentence; none without labels."""
    if math.isnan(reference.accuracy):
        return []
    upright, transformed = (
        [amount(name, getattr(file, name)) for file in (reference, chosen)]
        for name in ("accuracy", "transformed_accuracy")
    )
    return [
        f"float32 answers {upright[0]} of the images rightly, and {transformed[0]} of them transformed; the chosen "
        f"file {upright[1]} and {transformed[1]}."
    ]


def _schemes_sentence(chosen: MeasuredFile, groups: Sequence[LayerGroup]) -> str:
    by_scheme: dict[str, list[str]] = {}
    for group, name in zip(groups, chosen.schemes, strict=True):
        by_scheme.setdefault(name, []).append(group.name if not group.outputs else f"`{group.name}`")
    parts = []
    for name, layers in by_scheme.items():
        more = f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else ""
        parts.append(f"{name}: {', '.join(layers[:_NAMED])}{more}")
    return f"Chosen: {'; '.join(parts)}."


def _keeps(row: Mapping[Any, Any], conditions: Sequence[Condition]) -> str:
    """Whether a file of the table keeps the conditions, as the end of a sentence."""
    if row["holds"]:
        return "keeps them too"
    fails = any(row[f"{condition} outcome"] == "fails" for condition in conditions)
    return "does not keep them" if fails else "is not shown to keep them (inconclusive)"


def _against_uniform(files: pd.DataFrame, chosen: MeasuredFile, conditions: Sequence[Condition]) -> str:
    texts = []
    for row in files.to_dict("records"):
        if row["file"] not in ("uniform int8", "uniform int4"):
            continue
        share = chosen.size / row["bytes"] - 1
        keeps = _keeps(row, conditions)
        texts.append(f"{row['file']} has {row['bytes']:,} bytes (the choice: {share:+.0%}) and {keeps}")
    text = "; ".join(texts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _against_noise(files: pd.DataFrame, conditions: Sequence[Condition]) -> str:
    """Whether SQNR would have chosen as well."""
    rows = files[files["file"] == "same bytes by SQNR"]
    if rows.empty:
        return "No file within the same bytes could be made by SQNR."
    row, chosen = dict(rows.iloc[0]), files.iloc[0]
    listed = "; ".join(
        f"{condition.metric} {amount(condition.metric, float(row[str(condition)]))}"
        for condition in conditions
        if condition.metric not in OF_FILES
    )
    columns = ["bytes", "output_sqnr_db", *map(str, conditions)]
    told = _keeps(row, conditions)
    if all(row[name] == chosen[name] for name in columns):
        told += ": it is the same file or one like it"
    elif row["holds"]:
        told += ": here SQNR does as well"
    return f"Within the same bytes, the choice by SQNR ({int(row['bytes']):,} bytes; {listed}) {told}."


def _search_sentence(steps: Sequence[SearchStep]) -> str:
    tried = [step for step in steps if step.group >= 0]
    kept = sum(step.outcome == "kept" for step in tried)
    return f"The search tried {len(tried)} changes on the whole file: {kept} were kept, {len(tried) - kept} undone."


def warnings(conditions: Sequence[Condition], path: pd.DataFrame, measured: int, images: int, others: int) -> list[str]:
    """What to know before trusting a choice.

    Args:
        conditions: the conditions.
        path: see `BitChoice`.
        measured: number of files that were measured.
        images: number of images that were searched on.
        others: number of other images on which the file was measured once more.
    """
    chosen = f"The file was chosen among {measured} that were measured on the same {images:,} images, so its intervals"
    if others:
        texts = [f"{chosen} there are somewhat too good; those on {others:,} other images are not."]
    else:
        advice = "measure it on other images before you ship it (`python -m tfinv.run compare`)"
        texts = [f"{chosen} are somewhat too good; {advice}."]
    undone = path[(path["outcome"] == "undone")]
    for condition in conditions:
        rows = undone[(undone[f"{condition} outcome"] == "inconclusive")]
        if rows.empty:
            continue
        needed = rows[f"{condition} needed"]
        told = f"; deciding the nearest takes about {int(needed.min()):,} images" if needed.notna().any() else ""
        texts.append(
            f"{len(rows)} file(s) were undone because {in_words(condition)} was inconclusive with so few images{told}."
        )
    if any(condition.metric == OF_FILES[1] for condition in conditions):
        texts.append("Latency was measured on this machine; another run may choose another file.")
    return texts
