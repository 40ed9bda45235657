"""Checks of a model before it is trusted: its activations, and the scale of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.foreign import ForeignModel
from tfinv.activations.sub_model import ActivationModel
from tfinv.datasets.given import as_array
from tfinv.statistics.classification import chosen
from tfinv.support.checks import kind_of
from tfinv.support.guarded import guarded
from tfinv.support.types import Images
from tfinv.tflite.files.input_scale import mismatch, saturated
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.files.self_check import SelfCheck

FIRST_BLOCK, SATURATED = 64, 0.01
"""Images that are looked at, and the share of their pixels that may be cut off without a word."""


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
    kind_of("model", model, TFLiteModel, "a TFLiteModel")
    return model.self_check(images)


def scores_of(model: TFLiteModel | ActivationModel | ForeignModel, images: Images) -> NDArray[np.float32]:
    """The first output of a model, where its classes are read: float32 `(N, *U)`.

    Args:
        model: with its input scale.
        images: `(N, H, W, C)` in [0, 1].
    """
    if not isinstance(model, TFLiteModel):
        outputs = model.predict(images)
        return next(iter(outputs.values())) if isinstance(outputs, dict) else outputs
    return model.runner.read(model.model_inputs(images), {"scores": model.scores})["scores"].copy()


@guarded()
def check_input_scale(
    model: TFLiteModel | ActivationModel | ForeignModel,
    images: Images,
    labels: Any,
    scales: Sequence[Any] = ("0..1", "0..255", "-1..1"),
) -> str:
    """A warning if another input scale gives a far better accuracy; nothing else reports this error.

    Args:
        model: the file, a Keras model as an `ActivationModel`, or a model from elsewhere, with the input scale in use.
        images: `(N, H, W, C)` in [0, 1], some dozen or more.
        labels: class numbers `(N,)`; nothing is said for several labels per image.
        scales: what to try instead.

    Returns:
        One sentence if the accuracy in use is within twice chance and another scale's is at least three times
        chance and twice as good; "" otherwise.

    Raises:
        ValueError: images and labels do not fit together.
    """
    images, labels = as_array(images), np.asarray(labels)
    if labels.ndim == 2:  # each is yes or no, which no accuracy can tell from chance
        return ""
    if labels.shape != (len(images),):
        raise ValueError(f"labels must be one class number per image, {len(images)}. Received: shape {labels.shape}")

    def accuracy(candidate: TFLiteModel | ActivationModel | ForeignModel) -> float:
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


def scale_warnings(model: TFLiteModel, images: NDArray[np.float32]) -> list[str]:
    """What is odd about the input scale that a model is fed by.

    Args:
        model: the file, with its scale.
        images: `(N, H, W, C)` in [0, 1]; the first are looked at.

    Returns:
        Sentences: a scale that the file contradicts, and pixels that its integers cut off. Empty where all is well.
    """
    found = [text] if (text := mismatch(model.input_scale, model.graph)) else []
    share = saturated(model.input_scale, model.graph, images[:FIRST_BLOCK])
    if share > SATURATED:
        found.append(
            f"{share:.0%} of the pixels of the first {min(FIRST_BLOCK, len(images))} images lie beyond what the "
            f"integers of the input can stand for, with input scale {model.input_scale.text}"
        )
    return found


def scales_of_pair(first: TFLiteModel, second: TFLiteModel) -> tuple[TFLiteModel, TFLiteModel]:
    """Two files of one network, one that tells no input scale fed by that of the other which does.

    Args:
        first: a file.
        second: the other.

    Returns:
        Both, `scale_from` of a changed one `"the other file"`.
    """
    origins = first.scale_from, second.scale_from
    if origins == ("default", "the file"):
        return first.with_input_scale(second.input_scale, "the other file"), second
    if origins == ("the file", "default"):
        return first, second.with_input_scale(first.input_scale, "the other file")
    return first, second
