"""How often right-angle turns change what a network answers, and what one answer costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.types import KerasModel

if TYPE_CHECKING:
    from numpy.typing import NDArray


def changed_answers(model: KerasModel, images: NDArray[np.float32]) -> float:
    """Share of images whose predicted class one of the turns by 90, 180 and 270 degrees changes.

    Args:
        model: gives logits.
        images: `(N, H, W, C)`, square; their pixels move exactly.
    """
    return _changed([model.predict(turned, verbose=0) for turned in _turned(images)])


def changed_answers_int8(model: KerasModel, images: NDArray[np.float32]) -> float:
    """The same for the static int8 file of a model, calibrated on the images and their turns.

    Args:
        model: see `changed_answers`.
        images: see `changed_answers`.
    """
    from tfinv import tflite

    network = tflite.TFLiteModel(tflite.static_int8(model, np.concatenate(_turned(images))))
    output = network.outputs[0].layer
    return _changed([network(turned)[output] for turned in _turned(images)])


def multiplications(model: KerasModel) -> int:
    """Multiplications of all convolutions and dense layers for one image.

    The trunk of a `TIPooling` layer counts once for each transformation, the sampler of a spatial transformer not at
    all.
    """
    total = 0
    for layer in model.layers:
        if hasattr(layer, "trunk"):
            total += len(layer.transformations) * multiplications(layer.trunk)
        elif getattr(layer, "kernel", None) is not None:
            total += math.prod(layer.output.shape[1:]) * math.prod(layer.kernel.shape[:-1])
    return total


def _turned(images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [np.ascontiguousarray(np.rot90(images, turns, (1, 2))) for turns in range(4)]


def _changed(logits: list[Any]) -> float:
    answers = np.stack([np.asarray(values).argmax(axis=-1) for values in logits])
    return float((answers != answers[0]).any(axis=0).mean())
