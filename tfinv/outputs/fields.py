"""Outputs with one value per position of the image: masks and maps, which must move with the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.outputs.base import OutputKind, OutputValues, Quantities, misfit
from tfinv.statistics.classification import threshold_of
from tfinv.support.checks import share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.outputs.moves import Moves


def _check_shape(name: str, kind: str, shape: Sequence[int]) -> None:
    if len(shape) not in (2, 3) or min(shape[:2]) < 2:
        raise misfit(name, kind, "the shape (H, W) or (H, W, C), one value per position", shape)


def _with_channels(values: NDArray[Any], lead: int) -> NDArray[np.float32]:
    """`(*lead, H, W, C)`."""
    array = np.asarray(values, np.float32)
    return array[..., None] if array.ndim == lead + 2 else array


@dataclass(frozen=True)
class Mask(OutputKind):
    r"""A segmentation that must move with the image.

        IoU_{sj} = \frac{|M(t_j(x_s)) \cap t_j(M(x_s))|}{|M(t_j(x_s)) \cup t_j(M(x_s))|}

    Only positions that come from inside the frame count. With one channel `M` holds the positions above `threshold`;
    with several, every position has the class of its largest channel, and the IoU is the mean over the classes that
    occur. Where neither mask has a position, there is no IoU.

    Example:
        >>> import tfinv
        >>> tfinv.outputs.Mask(threshold=0.3).text
        'mask(threshold=0.3)'

    Args:
        threshold: probability from which a position of a mask of one channel belongs to it.

    Raises:
        ValueError: a threshold out of range.
    """

    threshold: float = 0.5

    error: ClassVar[str] = "iou_lost"
    words: ClassVar[Mapping[str, str]] = {
        "iou_lost": "1 - IoU of the mask with the moved mask of the untransformed image",
        "iou": "intersection over union of the mask with the moved mask of the untransformed image",
        "difference": "mean absolute difference of the probabilities",
        "left_out": "share of positions that do not come from inside the frame",
    }

    def __post_init__(self) -> None:
        share("threshold", self.threshold, "0.5")

    def check(self, name: str, shape: Sequence[int]) -> None:
        _check_shape(name, "mask", shape)

    def changes(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> Quantities:
        expected, found, visible = self._pair(upright, transformed, moves)
        if found.shape[-1] == 1:
            iou = _iou(found >= self.threshold, expected >= self.threshold, visible[None])[..., 0]
        else:
            first, second = found.argmax(axis=-1), expected.argmax(axis=-1)
            classes = [
                _iou((first == k)[..., None], (second == k)[..., None], visible[None])[..., 0]
                for k in range(found.shape[-1])
            ]
            iou = _mean_known(np.stack(classes))
        return {
            "iou_lost": 1 - iou,
            "iou": iou,
            "difference": _mean_visible(np.abs(found - expected).mean(axis=-1), visible),
            "left_out": np.broadcast_to(1 - visible.mean(axis=(1, 2)), iou.shape).copy(),
        }

    def marks(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> dict[str, NDArray[Any]]:
        expected, found, visible = self._pair(upright, transformed, moves)
        if found.shape[-1] > 1:
            return {}
        return {
            "mask_found": found[..., 0] >= self.threshold,
            "mask_expected": (expected[..., 0] >= self.threshold) & visible[None],
        }

    def _pair(
        self, upright: OutputValues, transformed: OutputValues, moves: Moves
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """Expected and found probabilities `(S, T, H, W, C)`, and where they can be compared `(T, H, W)`."""
        before = self._probabilities(_with_channels(upright.array, 1), upright.activation)
        found = self._probabilities(_with_channels(transformed.array, 2), upright.activation)
        return moves.fields(before), found, moves.visible(*found.shape[2:4])

    def _probabilities(self, values: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
        """Logits of one channel become probabilities; several channels are compared by their largest."""
        if activation or values.shape[-1] > 1 or (values.min() >= 0 and values.max() <= 1):
            return values
        shifted = values - np.float32(threshold_of(activation))
        return (1 / (1 + np.exp(-np.clip(shifted, -80, 80)))).astype(np.float32)


@dataclass(frozen=True)
class Map(OutputKind):
    r"""Values per position, such as a depth, that must move with the image and stay as they are.

        e_{sj} = \frac{\| f(t_j(x_s)) - t_j(f(x_s)) \|}{\| t_j(f(x_s)) \|}

    over the positions that come from inside the frame. Values that are themselves directions, such as an optical flow,
    are not turned.

    Example:
        >>> import tfinv
        >>> tfinv.outputs.Map().text
        'map'
    """

    error: ClassVar[str] = "relative_error"
    words: ClassVar[Mapping[str, str]] = {
        "relative_error": "size of the difference to the moved map of the untransformed image, over that map's",
        "difference": "mean absolute difference, in the unit of the output",
        "left_out": "share of positions that do not come from inside the frame",
    }

    def check(self, name: str, shape: Sequence[int]) -> None:
        _check_shape(name, "map", shape)

    def changes(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> Quantities:
        found = _with_channels(transformed.array, 2)
        expected = moves.fields(_with_channels(upright.array, 1))
        visible = moves.visible(*found.shape[2:4])
        difference = (found - expected).astype(np.float64)
        squares = _mean_visible((difference**2).mean(axis=-1), visible)
        reference = _mean_visible((expected.astype(np.float64) ** 2).mean(axis=-1), visible)
        return {
            "relative_error": relative(np.sqrt(squares), np.sqrt(reference)),
            "difference": _mean_visible(np.abs(difference).mean(axis=-1), visible),
            "left_out": np.broadcast_to(1 - visible.mean(axis=(1, 2)), squares.shape).copy(),
        }


def relative(size: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """A size over another; 0 where both are 0, and infinite where only the other is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((size == 0) & (reference == 0), 0.0, size / reference)


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_], visible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Over the axes of height and width; NaN where both are empty."""
    axes, seen = (2, 3), visible[..., None]
    common = (first & second & seen).sum(axis=axes)
    union = ((first | second) & seen).sum(axis=axes)
    return np.where(union > 0, common / np.maximum(union, 1), np.nan)


def _mean_visible(values: NDArray[Any], visible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Means over the visible positions of `(S, T, H, W)`; NaN where there is none."""
    count = visible.sum(axis=(1, 2))
    total = np.where(visible[None], values, 0).sum(axis=(2, 3), dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mean_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis without NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)
