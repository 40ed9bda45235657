"""Checks of a model before it is trusted: its activations, and the scale of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.sub_model import ActivationModel
from tfinv.statistics.classification import chosen
from tfinv.support.types import Images
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.files.self_check import SelfCheck


def self_check(model: TFLiteModel, images: Images = None) -> SelfCheck:
    """Compare a model's outputs with and without preserved tensors, and its activations with the built-in kernels.

    The model records the result as `model.check`.

    Args:
        model: the model; a sample of its selected layers, spread over its depth, is checked.
        images: `(N, H, W, C)` in [0, 1], a few; None for eight seeded random ones.

    Returns:
        The result of the check; `passed` says whether activations of this file can be trusted.

    Raises:
        ValueError: images that do not fit.
    """
    return model.self_check(images)


def scores_of(model: TFLiteModel | ActivationModel, images: Images) -> NDArray[np.float32]:
    """The first output of a model, where its classes are read: float32 `(N, *U)`.

    Args:
        model: with its input scale.
        images: `(N, H, W, C)` in [0, 1].
    """
    if not isinstance(model, TFLiteModel):
        return model.predict(images)
    return model.runner.read(model.model_inputs(images), {"scores": model.scores})["scores"].copy()


def check_input_scale(
    model: TFLiteModel | ActivationModel, images: Any, labels: Any, scales: Sequence[Any] = ("0..1", "0..255", "-1..1")
) -> str:
    """A warning if another input scale gives a far better accuracy; nothing else reports this error.

    Args:
        model: the file, or a Keras model as an `ActivationModel`, with the input scale in use.
        images: `(N, H, W, C)` in [0, 1], some dozen or more.
        labels: class numbers `(N,)`.
        scales: what to try instead.

    Returns:
        One sentence if the accuracy in use is within twice chance and another scale's is at least three times
        chance and twice as good; "" otherwise.

    Raises:
        ValueError: images and labels do not fit together.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(images),):
        raise ValueError(f"labels must be one class number per image, {len(images)}. Received: shape {labels.shape}")

    def accuracy(candidate: TFLiteModel | ActivationModel) -> float:
        outputs = scores_of(candidate, images).reshape(len(labels), -1)
        return float((chosen(outputs, candidate.outputs[0].threshold) == labels).mean())

    chance = 1.0 / max(2, len(np.unique(labels)))
    used = accuracy(model)
    if used > 2 * chance:
        return ""
    tried = [scale for scale in scales if scale != model.input_scale.text]
    others = {str(scale): accuracy(model.with_input_scale(scale)) for scale in tried}
    best = max(others, key=lambda scale: others[scale], default=None)
    if best is None or others[best] < max(3 * chance, 2 * used):
        return ""
    return (
        f"input scale {model.input_scale.text} looks wrong: accuracy {used:.1%}, near chance, "
        f"against {others[best]:.1%} with {best}"
    )
