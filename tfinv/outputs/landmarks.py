"""Landmarks: points that must move with the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tfinv.outputs.base import OutputKind, OutputValues, Quantities, misfit
from tfinv.support.checks import one_of, share, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.outputs.moves import Moves

PointUnit = Literal["pixels", "fractions", "metres"]
_FAR, _NEAR = 3.0, 1.5
"""Fractions hardly exceed the first, positions in pixels of a frame hardly all stay below the second."""


@dataclass(frozen=True)
class Landmarks(OutputKind):
    r"""Points, such as those of a face, that must move with the image.

        d_{sj} = \frac{1}{P} \sum_p \frac{\| f_p(t_j(x_s)) - t_j(f_p(x_s)) \|}{\sqrt{H^2 + W^2}}

    Points that `t_j` moves out of the frame are left out of the mean and counted. Points in metres have an origin of
    their own: they turn with the image, about it, without scaling or shifting, and distances are shares of the
    diagonal of the box around the points of the untransformed image. A third coordinate is compared apart, as a share
    of its range over the points of the untransformed image.

    Example:
        >>> import tfinv
        >>> tfinv.outputs.Landmarks(dimensions=3).text
        'landmarks(dimensions=3)'

    Args:
        dimensions: numbers per point, of which the first two are x and y: 2, 3 or more (others are not compared).
        unit: `"pixels"` of the input (0 is the centre of the first), `"fractions"` of its width and height (0 is the
            edge of the frame), or `"metres"`.
        order: `"xy"` or `"yx"`.
        within: a point counts as in place up to this share of the diagonal.

    Raises:
        ValueError: a parameter out of range.
    """

    dimensions: int = 2
    unit: PointUnit = "pixels"
    order: Literal["xy", "yx"] = "xy"
    within: float = 0.05

    error: ClassVar[str] = "distance"
    words: ClassVar[Mapping[str, str]] = {
        "distance": "mean distance of the points from where they should be, over the diagonal",
        "in_place": "share of points near where they should be",
        "left_out": "share of points that the transformation moves out of the frame",
        "depth": "mean difference of the third coordinate, over its range",
    }

    def __post_init__(self) -> None:
        whole_number("dimensions", self.dimensions, 2)
        one_of("unit", self.unit, PointUnit)
        one_of("order", self.order, ("xy", "yx"))
        share("within", self.within, "0.05")

    def check(self, name: str, shape: Sequence[int]) -> None:
        size = math.prod(shape)
        if size < self.dimensions or size % self.dimensions:
            raise misfit(name, "landmarks", f"a multiple of {self.dimensions} numbers (dimensions)", shape)

    def check_values(self, upright: OutputValues, moves: Moves) -> None:
        values = np.abs(self._read(upright.array, 1)[..., :2])
        largest = float(np.quantile(values, 0.9)) if values.size else 0.0
        received = f"Received: nine of ten coordinates up to {largest:.4g}, in a frame of {moves.width}x{moves.height}"
        if self.unit == "fractions" and largest > _FAR:
            raise ValueError(
                f"output {upright.name!r} must be landmarks in fractions of the frame; unit='pixels' reads pixels. "
                f"{received}"
            )
        if self.unit == "pixels" and largest < _NEAR < min(moves.width, moves.height) / 4:
            raise ValueError(
                f"output {upright.name!r} must be landmarks in pixels; unit='fractions' reads fractions of the frame, "
                f"'metres' points with an origin of their own. {received}"
            )

    def changes(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> Quantities:
        before, after = self._read(upright.array, 1), self._read(transformed.array, 2)
        found, expected, kept = self._pixels(after, moves), *self._expected(before, moves)
        if self.unit == "metres":
            size = np.linalg.norm(np.ptp(before[..., :2], axis=1), axis=-1)[:, None, None]
        else:
            size = moves.diagonal
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.linalg.norm(found - expected, axis=-1) / size
        quantities = {
            "distance": _mean(distance, kept),
            "in_place": _mean(distance <= self.within, kept),
            "left_out": 1 - kept.mean(axis=-1),
        }
        if self.dimensions > 2:
            depth, reach = before[..., 2], np.ptp(before[..., 2], axis=1)[:, None, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                quantities["depth"] = _mean(np.abs(after[..., 2] - depth[:, None]) / reach, kept)
        return quantities

    def marks(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> dict[str, NDArray[Any]]:
        if self.unit == "metres":
            return {}
        expected, kept = self._expected(self._read(upright.array, 1), moves)
        found = self._pixels(self._read(transformed.array, 2), moves)
        return {"points_found": found, "points_expected": np.where(kept[..., None], expected, np.nan)}

    def _read(self, values: NDArray[Any], lead: int) -> NDArray[np.float64]:
        """Points `(*lead, P, dimensions)` with x before y, of values `(*lead, *U)`."""
        points = np.asarray(values, np.float64).reshape(*values.shape[:lead], -1, self.dimensions)
        return points if self.order == "xy" else points[..., [1, 0, *range(2, self.dimensions)]]

    def _pixels(self, points: NDArray[np.float64], moves: Moves) -> NDArray[np.float64]:
        if self.unit == "pixels":
            return points[..., :2] + 0.5
        scale = np.array([moves.width, moves.height]) if self.unit == "fractions" else 1.0
        return points[..., :2] * scale

    def _expected(self, before: NDArray[np.float64], moves: Moves) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Where points should be `(S, T, P, 2)`, and which of them are inside the frame `(S, T, P)`."""
        points = self._pixels(before, moves)
        if self.unit == "metres":
            expected = np.einsum("tij,spj->stpi", moves.turns, points)
            return expected, np.ones(expected.shape[:3], np.bool_)
        return moves.points(points), moves.inside(points)


def _mean(values: NDArray[Any], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over the last axis of those that are kept; NaN where none is."""
    count = kept.sum(axis=-1)
    total = np.where(kept, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
