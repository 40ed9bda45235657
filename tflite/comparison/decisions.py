"""Decisions of a comparison by intervals: unchanged within a margin, changed, or inconclusive for want of images."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.resampling.equivalence import TESTED, decide, images_needed
from tfinv.resampling.shares import paired_interval, paired_moments, quantile
from tfinv.tflite.comparison.report_parts import SHARES, measure_name
from tfinv.uncertainty import layer_rows

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tfinv.results import Results
    from tfinv.tflite.comparison.comparison import Comparison
    from tfinv.tflite.comparison.predictions import Predictions

_FORM = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(points?|%)\s*", re.IGNORECASE)
DECIDED = "**Decided by intervals"
"""How the sentence on decisions begins."""
_NAMED = 4
"""So many quantities are named in a sentence."""


@dataclass(frozen=True)
class Margins:
    """What counts as no change.

    Args:
        points: of accuracies, as a share of images (0.01 is one percentage point); None to decide nothing on them.
        relative: of the mean of a layer, as a share of what it was (0.05 is 5 %); None to decide nothing on layers.
    """

    points: float | None = None
    relative: float | None = None

    def __str__(self) -> str:
        parts = [] if self.points is None else [f"{100 * self.points:g} point{'' if self.points == 0.01 else 's'}"]
        return " and ".join(parts + ([] if self.relative is None else [f"{100 * self.relative:g} %"]))


def parse_margins(texts: str | Iterable[str]) -> Margins:
    """Read margins such as `"1 point"` and `"5%"`, at most one of each unit.

    Example:
        >>> from tfinv.tflite.comparison.decisions import parse_margins
        >>> parse_margins(["0.5 points", "5%"])
        Margins(points=0.005, relative=0.05)

    Args:
        texts: one or more; points are percentage points of accuracy, per cent are of the mean of a layer.

    Raises:
        ValueError: a margin without a unit, of 0, a second one of the same unit, or none.
    """
    values: dict[str, float] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        match = _FORM.fullmatch(str(text))
        if not match or not float(match[1]):
            raise ValueError(
                "margin must be a number above 0 with a unit: points of accuracy such as '1 point', or per cent of a "
                f"layer's mean such as '5%'. Received: {text!r}"
            )
        unit = "relative" if match[2] == "%" else "points"
        if unit in values:
            raise ValueError(f"margin must be given once for every unit. Received: {text!r} as well")
        values[unit] = float(match[1]) / 100
    if not values:
        raise ValueError("margin must be given, such as '1 point' or '5%'. Received: none")
    return Margins(**values)


def decisions(comparison: Comparison, margins: Margins) -> pd.DataFrame:
    """What a comparison decides, from the answers and layers that it holds.

    Args:
        comparison: with predictions and labels where there is a margin in points, with intervals where there is one in
            per cent.
        margins: what counts as no change.

    Returns:
        One row a quantity: `quantity` (in words), `unit` ("points" or "relative"), `change` with its 90 % interval
        `low, high`, `margin`, `decision`, `images` it was measured on, and `needed`, about how many are needed for a
        decision if the change is what was measured, `planned`, if there is none. Layers that are no number in one of
        the files are left out.

    Raises:
        ValueError: a margin that the comparison has no numbers for.
    """
    curves = comparison.curves[comparison.curves["model"] == comparison.names[0]]
    return decided(
        (comparison.before, comparison.after),
        comparison.layers,
        int(comparison.metadata["measured_samples"]),
        [comparison.predictions.get(name) for name in comparison.names],
        comparison.answers.labels,
        (curves["transformation"] != "identity").to_numpy(bool) if len(curves) else np.zeros(0, bool),
        margins,
    )


def decided(
    results: tuple[Results, Results],
    layers: pd.DataFrame,
    samples: int,
    predictions: Sequence[Predictions | None],
    labels: NDArray[np.int64] | None,
    moved: NDArray[np.bool_],
    margins: Margins,
) -> pd.DataFrame:
    """What is decided on two models.

    Args:
        results: of the reference and of the other model, layers named as in the reference.
        layers: one row a measure and layer, as `compare` gives.
        samples: images that layers were measured on.
        predictions: of both models; None for one that is no classifier.
        labels: int64 `(S,)`, of the images; None where there are none.
        moved: bool `(T,)`, which transformations count; all count where none does.
        margins: what counts as no change.

    Returns:
        See `decisions`.

    Raises:
        ValueError: a margin that there are no numbers for.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    if margins.points is not None:
        before, after = predictions
        if labels is None or before is None or after is None:
            raise ValueError("margin in points needs images with labels and classifiers. Received: no accuracies")
        changes = _changes(before, after, labels, moved if moved.any() else ~moved)
        rows += [_of_changes(name, change, margins.points) for name, change in changes.items()]
    if margins.relative is not None:
        of_layers = list(_of_layers(results, layers, samples, margins.relative))
        if not of_layers:
            raise ValueError("margin in per cent needs intervals of layer means. Received: a comparison without")
        rows += of_layers
    return pd.DataFrame(rows)


def sentence(frame: pd.DataFrame, margins: str) -> str:
    """The decisions in words, what is not unchanged first.

    Args:
        frame: see `decisions`.
        margins: what they are called.
    """
    parts = []
    for decision in ("changed", "inconclusive", "unchanged"):
        rows = frame[frame["decision"] == decision]
        if rows.empty:
            continue
        if decision == "unchanged":
            parts.append(f"unchanged: {len(rows)} of {len(frame)} quantities")
            continue
        more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        parts.append(f"{decision}: {named(frame, decision)}{more}")
    return f"{DECIDED}, margin {margins}** (two one-sided tests at 5 %): {'; '.join(parts)}."


def named(frame: pd.DataFrame, decision: str) -> str:
    """The first quantities of one decision, with their change and interval."""
    rows = frame[frame["decision"] == decision].to_dict("records")
    return ", ".join(_named(row, decision) for row in rows[:_NAMED])


def _named(row: dict[Any, Any], decision: str) -> str:
    scale = "points" if row["unit"] == "points" else "%"
    text = f"{row['quantity']} ({100 * row['change']:+.2g} {scale}, {100 * row['low']:+.2g} to {100 * row['high']:+.2g}"
    if decision == "inconclusive" and math.isfinite(row["needed"]):
        return f"{text}; needs about {int(row['needed']):,} images)"
    return f"{text})"


def _changes(
    before: Predictions, after: Predictions, labels: NDArray[np.int64], moved: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """By quantity what changed for every image, in [-1, 1]."""
    labels = np.reshape(labels, -1)
    right = [answers.transformed == labels[:, None] for answers in (before, after)]
    upright = [answers.upright == labels for answers in (before, after)]

    def change(first: Any, second: Any) -> NDArray[np.float64]:
        return second.astype(np.float64) - first

    changes = {
        "accuracy": change(*upright),
        "transformed_accuracy": change(*right)[:, moved].mean(axis=1),
        "worst_case_accuracy": change(*(table.all(axis=1) for table in right)),
    }
    return {name: before.by_image(values) for name, values in changes.items()}


def _of_changes(name: str, change: NDArray[np.float64], margin: float) -> dict[str, Any]:
    tested, wider = paired_interval(change, TESTED), paired_interval(change, 0.95)
    _, mean, deviation = paired_moments(change)
    return {
        "quantity": SHARES[name],
        "unit": "points",
        "change": float(change.mean()),
        "low": tested[0],
        "high": tested[1],
        "margin": margin,
        "decision": decide(tested, wider, margin),
        "images": len(change),
        "needed": float(images_needed(deviation, margin, mean)),
        "planned": float(images_needed(deviation, margin)),
    }


def _of_layers(
    results: tuple[Results, Results], layers: pd.DataFrame, samples: int, margin: float
) -> Iterable[dict[str, Any]]:
    """A row for every layer that has an interval; that it changed is said with intervals that hold for all at once."""
    before, after = results
    for measure in dict.fromkeys(layers["measure"]):
        known = layers[layers["measure"] == measure].set_index("layer")
        pairs = {str(layer): str(layer) for layer in known.index}
        for row in layer_rows(before[measure], after[measure], pairs, TESTED, simultaneous=False):
            tested = float(row["relative_low"]), float(row["relative_high"])
            if not math.isfinite(sum(tested)):
                continue
            wider = known.loc[row["layer"], ["relative_low", "relative_high"]].to_numpy(np.float64)
            deviation = (tested[1] - tested[0]) / 2 / quantile(TESTED) * math.sqrt(samples)
            yield {
                "quantity": f"{measure_name(measure)} of {row['layer']}",
                "unit": "relative",
                "change": float(row["relative"]),
                "low": tested[0],
                "high": tested[1],
                "margin": margin,
                "decision": decide(tested, (float(wider[0]), float(wider[1])), margin),
                "images": samples,
                "needed": float(images_needed(deviation, margin, float(row["relative"]))),
                "planned": float(images_needed(deviation, margin)),
            }
