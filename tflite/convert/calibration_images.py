"""The few calibration images that reach furthest under a set of transformations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.evaluation.options import Warping
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.convert.calibration import with_transformations
from tfinv.tflite.convert.recipes import float32
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.interpreter import Runner

_BATCH = 64


def extreme_images(
    model: KerasModel, images: Images, transformations: Any, *, warping: Warping | None = None
) -> NDArray[np.float32]:
    """The transformed images that set the range of a tensor: as few calibration images as give the ranges of all.

    All images are shown under all transformations to the float file. Of each tensor, the image with the smallest and
    the one with the largest value are kept. Calibrated on these alone, a file has the ranges of minimum and maximum
    that calibration on all would give it, so that no transformation of the set is clipped on the images given.

    Example:
        >>> import numpy as np
        >>> from tfinv import models
        >>> from tfinv.tflite import extreme_images
        >>> images = np.random.default_rng(0).random((20, 16, 16, 1), "float32")
        >>> chosen = extreme_images(models.build("ffnet", (16, 16, 1), 10, seed=0), images, "rotations(8)")
        >>> len(chosen) < 20
        True

    Args:
        model: a Keras model, or its `float32` conversion.
        images: `(N, H, W, C)`.
        transformations: a `TransformationSet`, or its id such as `"rotations(16)"`.
        warping: padding and interpolation, see `tfinv.evaluate`.

    Returns:
        float32 `(n, H, W, C)`, at most two images per tensor, in the order in which `with_transformations` gives them.

    Raises:
        TypeError, ValueError: see `float32` and `with_transformations`.
    """
    reference = model if isinstance(model, Conversion) else float32(model)
    graph = reference.graph
    wanted = {str(index): index for index in dict.fromkeys((*graph.inputs, *graph.activations))}
    shown = with_transformations(images, transformations, warping=warping)
    runner = Runner(graph)
    lowest: list[NDArray[np.float32]] = []
    highest: list[NDArray[np.float32]] = []
    for start in range(0, len(shown), _BATCH):
        batch = shown[start : start + _BATCH]
        values = [np.asarray(tensor).reshape(len(batch), -1) for tensor in runner.read(batch, wanted).values()]
        lowest.append(np.stack([tensor.min(axis=1) for tensor in values]))
        highest.append(np.stack([tensor.max(axis=1) for tensor in values]))
    kept = {*np.concatenate(lowest, axis=1).argmin(axis=1), *np.concatenate(highest, axis=1).argmax(axis=1)}
    return shown[sorted(map(int, kept))]
