"""Numbers published for files of well-known networks, and such files of networks with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfinv import models, tflite

if TYPE_CHECKING:
    from tfinv.datasets import Dataset
    from tfinv.experiments._shared.standard import StandardStudy


class Published(NamedTuple):
    """What was published: of float32, int8 and QAT the accuracy and the time, and the size of float32 and int8."""

    accuracy: tuple[str, str, str]
    milliseconds: tuple[float, float, float]
    megabytes: tuple[float, float]
    side: int = 224


PUBLISHED = {
    "MobileNet": Published((".709", ".657", ".70"), (124, 112, 64), (16.9, 4.3)),
    "MobileNetV2": Published((".719", ".637", ".709"), (89, 98, 54), (14.0, 3.6)),
    "InceptionV3": Published((".78", ".772", ".775"), (1130, 845, 543), (95.7, 23.9), 299),
    "ResNet101V2": Published((".770", ".768", "n/a"), (3973, 2868, np.nan), (178.3, 44.9)),
}


def files_of(study: StandardStudy, name: str, data: Dataset, seed: int) -> dict[str, tflite.Conversion]:
    """The files of a network with random weights, by kind.

    Args:
        study: gives the settings `classes` and `trained_further`.
        name: a key of `PUBLISHED`.
        data: images that calibrate and train; they set the input's shape.
        seed: of the weights.
    """
    settings = study.settings
    model = models.build(f"keras.applications.{name}", data.input_shape, settings.classes, seed=seed)
    images = data.train.x
    files = {"float32": tflite.float32(model), "int8": tflite.static_int8(model, images)}
    if name in settings.trained_further:
        files["QAT"] = tflite.qat_int8(model, data.train, 1, batch_size=8, seed=seed, progress=study.run.progress)
    return files
