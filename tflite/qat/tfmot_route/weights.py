"""Weights on their way to the tfmot process and back into a Keras 3 model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.convert.batch_norm_folding import Fold, channel_affine

WeightArrays = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Carried:
    """Weights of one layer in the tfmot process.

    Args:
        keys: names of the arrays.
        arrays: the values, in the order of the layer's weights there.
        back: from tuned arrays to `[(layer of the user, position among its weights, value)]`.
    """

    keys: tuple[str, ...]
    arrays: tuple[NDArray[np.float32], ...]
    back: Callable[[WeightArrays], list[tuple[Any, int, NDArray[Any]]]]


def carry(
    name: str, arrays: WeightArrays, back: Callable[[WeightArrays], list[tuple[Any, int, NDArray[Any]]]]
) -> Carried:
    """Name the arrays of a layer."""
    keys = tuple(f"{name}/{position}" for position in range(len(arrays)))
    return Carried(keys, tuple(np.asarray(array, np.float32) for array in arrays), back)


def as_they_are(name: str, layer: Any, positions: Sequence[int]) -> Carried:
    """Some weights of a layer, unchanged there and back."""
    weights = layer.get_weights()
    return carry(
        name,
        [weights[position] for position in positions],
        lambda tuned: [(layer, position, value) for position, value in zip(positions, tuned, strict=True)],
    )


def product_and_sum(name: str, layer: Any) -> tuple[Carried, Carried]:
    """A batch normalization as `scale * x` and `x + offset`.

    gamma = scale * sqrt(variance + epsilon),   beta = offset + scale * mean      on the way back
    """
    scale, offset = channel_affine(layer)
    mean, variance = (np.asarray(weight, np.float64) for weight in layer.get_weights()[-2:])
    tuned_scale: list[NDArray[Any]] = [scale]

    def scale_back(tuned: WeightArrays) -> list[tuple[Any, int, NDArray[Any]]]:
        tuned_scale[0] = np.asarray(tuned[0], np.float64)
        return [(layer, 0, tuned_scale[0] * np.sqrt(variance + layer.epsilon))] if is_free(layer) else []

    def offset_back(tuned: WeightArrays) -> list[tuple[Any, int, NDArray[Any]]]:
        return [(layer, 1, tuned[0] + tuned_scale[0] * mean)] if is_free(layer) else []

    return carry(f"{name}_scale", [scale], scale_back), carry(name, [offset], offset_back)


def is_free(layer: Any) -> bool:
    """Whether a normalization can express any scale and offset."""
    return bool(layer.scale and layer.center)


def folded_dense(name: str, dense: Any, fold: Fold) -> Carried:
    """A dense layer with the normalizations after it merged; on the way back they keep all but the last offset.

    kernel = folded kernel / scale,   beta += change of the folded bias
    """
    kernel = np.asarray(dense.get_weights()[0], np.float64)
    scale = np.prod([channel_affine(call.layer)[0] for call in fold.normalizations], axis=0)
    last = fold.normalizations[-1].layer
    position = 1 if last.scale else 0
    beta = np.asarray(last.get_weights()[position], np.float64)

    def back(tuned: WeightArrays) -> list[tuple[Any, int, NDArray[Any]]]:
        with np.errstate(divide="ignore", invalid="ignore"):
            tuned_kernel = np.where(scale == 0, kernel, tuned[0] / scale)
        return [(dense, 0, tuned_kernel), (last, position, beta + (tuned[1] - fold.bias))]

    return carry(name, [fold.kernel, fold.bias], back)
