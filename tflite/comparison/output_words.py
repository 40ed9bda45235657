"""What changed from one file to another in outputs that are no classes, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfinv.outputs.comparing import OutputComparison


def describe_outputs(outputs: OutputComparison, names: tuple[str, str]) -> Iterator[str]:
    """One sentence per output: its error before and after, whether that changed, and how far the files are apart.

    Args:
        outputs: what was found.
        names: of the two files.
    """
    first, second = names
    for row in outputs.summary().to_dict("records"):
        words = outputs.before[row["output"]].words[row["error"]]
        guess = " (guessed)" if outputs.before[row["output"]].guessed else ""
        if not np.isfinite(row["difference"]):
            yield f"Output `{row['output']}` as {row['kind']}{guess} could be compared on no image."
            continue
        is_real = row["low"] > 0 or row["high"] < 0
        interval = f" ({row['low']:+.2%} to {row['high']:+.2%})" if np.isfinite(row["low"]) else ""
        said = "a change beyond noise" if is_real else "no change beyond noise"
        yield (
            f"Output `{row['output']}` as {row['kind']}{guess}: {words} is {row['before']:.2%} in {first} and "
            f"**{row['after']:.2%}** in {second} under transformation, {row['difference']:+.2%}{interval}: {said}. "
            f"On the same image the two files differ by {row['upright_between']:.2%} upright and "
            f"{row['between']:.2%} transformed."
        )
    for name, why in outputs.before.skipped.items():
        yield f"Output `{name}` is not measured: {why}."
