"""What kernel sets change, in words: answers, where they part, and which number belongs to which device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.tflite.comparison.words import percent
from tfinv.tflite.files.kernels import BUILTIN, REFERENCE, TFLM, XNNPACK

if TYPE_CHECKING:
    import pandas as pd


def kernel_note(kernels: str) -> str:
    """Which kernels a table or a sentence is of: `"kernels: xnnpack"`."""
    return f"kernels: {kernels}"


def kernel_sentences(answers: pd.DataFrame, pairs: pd.DataFrame, samples: int, refused: Mapping[str, str]) -> list[str]:
    """Sentences on a comparison of kernel sets, the most important first.

    Args:
        answers: see `KernelComparison`.
        pairs: see `KernelComparison`.
        samples: how many images.
        refused: see `KernelComparison`.
    """
    said = []
    for _, rows in reversed(list(pairs.groupby("model", sort=False))):  # the quantized file comes last, and says more
        if _agree(rows):
            said.append(_agreement_sentence(rows, samples))
        else:
            records = [row for row in rows.to_dict("records") if _is_told(row, rows["first"].iloc[0])]
            said += [_pair_sentence(row, samples) for row in records]
    said += [_quantization_sentence(answers)] if answers["model"].nunique() > 1 else []
    said += [device_sentence(name, rows) for name, rows in answers.groupby("model", sort=False)]
    said += [f"Kernel set left out, {place}: {words}." for place, words in refused.items()]
    return [sentence for sentence in said if sentence]


def device_sentence(name: Any, answers: pd.DataFrame) -> str:
    """Which numbers of one file belong to a phone, and which to a microcontroller.

    Args:
        name: of the file.
        answers: its rows, one per kernel set.
    """
    rows = {row["kernels"]: row for row in answers.to_dict("records")}
    phone = next((kernel_set for kernel_set in (XNNPACK, BUILTIN) if kernel_set in rows), None)
    micro = next((kernel_set for kernel_set in (TFLM, REFERENCE) if kernel_set in rows), None)
    said = []
    if phone:
        said.append(f"the number of a phone is that of {phone}{_accuracy(rows[phone])}")
    if micro:
        stands = "" if micro == TFLM else ", which stands in for TensorFlow Lite for Microcontrollers"
        said.append(f"the number of a microcontroller is that of {micro}{_accuracy(rows[micro])}{stands}")
    missing = (
        "" if phone and micro else " No kernel set of a " + ("microcontroller" if phone else "phone") + " was run."
    )
    return f"{name}: {', and '.join(said)}.{missing}"


def _accuracy(row: Mapping[Any, Any]) -> str:
    upright, moved = (float(row.get(column, np.nan)) for column in ("accuracy", "transformed_accuracy"))
    if not np.isfinite(upright):
        return ""
    return f" (accuracy {percent(upright)} upright, {percent(moved)} transformed)"


def _is_told(pair: Mapping[Any, Any], first: str) -> bool:
    """Whether a pair is worth a sentence: one with the first kernel set, or a stand-in beside what it stands for."""
    return pair["first"] == first or {pair["first"], pair["second"]} == {REFERENCE, TFLM}


def _agree(pairs: pd.DataFrame) -> bool:
    """Whether all kernel sets give a file's answers, and differ by no more than floating point does."""
    flips = pairs[[name for name in ("flips", "transformed_flips") if name in pairs]].to_numpy(float)
    return len(pairs) > 1 and not flips.any() and not np.isfinite(pairs["max_lsb"].to_numpy(float)).any()


def _agreement_sentence(pairs: pd.DataFrame, samples: int) -> str:
    kernels = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
    names = f"{', '.join(kernels[:-1])} and {kernels[-1]}"
    return (
        f"{pairs['model'].iloc[0]}: {names} answer the same for all {samples} images, upright and transformed, and "
        f"differ by at most {pairs['max_relative_error'].max():.1g} of a layer's largest "
        "value."
    )


def _pair_sentence(pair: Mapping[Any, Any], samples: int) -> str:
    both = f"{pair['first']} and {pair['second']}"
    if not pair["part_at"]:
        return f"{pair['model']}: {both} compute the same numbers in every layer, for all {samples} images."
    answers = ""
    if np.isfinite(float(pair.get("flips", np.nan))):
        answers = (
            f"**{both} answer differently** for {_share(pair, 'flips')} of upright and "
            f"{_share(pair, 'transformed_flips')} of transformed images ({samples} images); "
        )
        if not pair["flips"] and not pair["transformed_flips"]:
            answers = f"{both} answer the same for all {samples} images, upright and transformed; "
    subject = "they" if answers else both
    first = f"`{pair['part_at']}` ({pair['part_operator']}"
    if not np.isfinite(float(pair["max_lsb"])):
        return (
            f"{pair['model']}: {answers}{subject} part first at {first}) and differ by at most "
            f"{pair['max_relative_error']:.1g} of a layer's largest value."
        )
    steps = "" if not np.isfinite(float(pair["part_lsb"])) else f", by up to {_steps(pair['part_lsb'])}"
    return (
        f"{pair['model']}: {answers}{subject} part first at {first}{steps} in {percent(pair['part_differing'])} of "
        f"values) and differ most at `{pair['max_lsb_at']}`, by {_steps(pair['max_lsb'])}."
    )


def _quantization_sentence(answers: pd.DataFrame) -> str:
    """How often the second file changes answers of the first, under every kernel set."""
    first, last = answers["model"].iloc[0], answers["model"].iloc[-1]
    if answers["model"].nunique() > 2 or "transformed_flips" not in answers:
        return ""
    rows = answers[(answers["model"] == last) & np.isfinite(answers["transformed_flips"].to_numpy(float))]
    texts = [
        f"{_share(row, 'flips')} of upright and {_share(row, 'transformed_flips')} of transformed images under "
        f"{row['kernels']}"
        for row in rows.to_dict("records")
    ]
    return f"{last} answers differently from {first} for {'; for '.join(texts)}." if texts else ""


def _steps(number: float) -> str:
    return f"{number:.0f} step{'' if number == 1 else 's'}"


def _share(row: Mapping[Any, Any], column: str) -> str:
    low, high = (100 * float(row[f"{column}{end}"]) for end in ("_low", "_high"))
    return f"{percent(float(row[column]))} ({low:.1f} to {high:.1f})"
