"""What a model answers to labelled images before it is measured: chance, collapse, and a wrong input scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.outputs import remarks
from tfinv.support.types import Model

if TYPE_CHECKING:
    from tfinv.datasets import Split

CHECKED = 500
"""Images that are asked about, at most."""
SAME = 0.95
"""A model that gives one class for this share of the images has collapsed, where the labels are more even."""
EVEN = 0.8
_FEWEST = 10


def check_answers(model: Model, images: Split) -> tuple[dict[str, Any], list[str]]:
    """Accuracy on untransformed images, and warnings where the model knows nothing of them.

    Args:
        model: an `ActivationModel` or a `TFLiteModel`, with its input scale.
        images: images in [0, 1] with labels, numbers of the model's outputs.

    Returns:
        `accuracy, accuracy_low, accuracy_high` (95 % interval), `kappa` and `answered`, the number of images, for the
        record; and warnings. Both are empty without labels, or where the output is no list of classes.
    """
    from tfinv.tflite.comparison.behaviour import NEAR_CHANCE, behaviour
    from tfinv.tflite.comparison.predictions import Predictions
    from tfinv.tflite.files.checks import check_input_scale, scores_of

    if images.y is None:
        return {}, []
    few = images if len(images) <= CHECKED else images.subset(CHECKED, 0)
    assert few.y is not None
    outputs = scores_of(model, few.x)
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        return {}, []
    several = few.y.ndim == 2
    from_logits = model.outputs[0].activation != "sigmoid" if several else None
    found = behaviour(Predictions.of(outputs, outputs[:, None], from_logits=from_logits, several=several), few.y)
    accuracy = found.accuracy
    facts = {
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "kappa": found.kappa,
        "answered": len(few),
    }
    warnings: list[str] = []
    top, share = _most_frequent(outputs.argmax(1))
    if not several and share >= SAME and _most_frequent(few.y)[1] < EVEN:
        warnings.append(f"the model answers class {top} for {share:.0%} of {len(few)} images: it tells nothing apart")
    if found.kappa < NEAR_CHANCE and len(few) >= _FEWEST:
        warnings.append(
            f"accuracy {accuracy.value:.1%} on {len(few)} images is near chance: what is measured is not what the "
            "network has learned"
        )
    if warnings:
        hint = check_input_scale(model, few.x, few.y)
        warnings += [hint] if hint else ["a wrong input scale or wrong labels look like this"]
    return facts, [*warnings, *(() if several else remarks(model.outputs[:1]))]


def _most_frequent(classes: Any) -> tuple[int, float]:
    values, counts = np.unique(classes, return_counts=True)
    return int(values[counts.argmax()]), float(counts.max() / len(classes))
