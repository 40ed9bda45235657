"""Where transformations of an image move positions and maps, for outputs that move with the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.transformations.affine import Affine
from tfinv.transformations.frame import inside_frame
from tfinv.transformations.sets import TransformationSet
from tfinv.transformations.warp import warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLACK = 1e-6
"""Share of the frame by which a position may lie outside and still count as inside: rounding."""


@dataclass(frozen=True)
class Moves:
    """The moves of a set of transformations in the frame of the images.

    Positions are in pixels of the input, x to the right and y down, from the upper left corner of the frame, so that
    the centre of the first pixel is (0.5, 0.5) and the centre of the frame is `(width / 2, height / 2)`. A function of
    images counts as leaving positions where they are.

    Args:
        transformations: the set, T members.
        height: of the images in pixels.
        width: of the images in pixels.
        returned: whether every transformation is followed by its inverse: then nothing moves, and what the
            transformation had moved out of the frame counts as outside.
    """

    transformations: TransformationSet
    height: int
    width: int
    returned: bool = False

    @property
    def diagonal(self) -> float:
        """Of the frame, in pixels."""
        return float(np.hypot(self.height, self.width))

    @cached_property
    def maps(self) -> tuple[Affine, ...]:
        """The affine maps; the identity for functions of images."""
        return tuple(t if isinstance(t, Affine) else Affine.identity() for t in self.transformations)

    @cached_property
    def matrices(self) -> NDArray[np.float64]:
        """`(T, 3, 3)`, in pixel offsets from the centre of the frame."""
        return np.stack([one.pixel_matrix(self.height, self.width) for one in self.maps])

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where positions come to lie.

        Args:
            points: `(S, P, 2)`.

        Returns:
            `(S, T, P, 2)`.
        """
        if self.returned:
            return np.repeat(points[:, None], len(self.maps), axis=1)
        return self._moved(points)

    def inside(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which positions, given as they were before the move, are inside the frame after it.

        Args:
            points: `(S, P, 2)`.

        Returns:
            `(S, T, P)`.
        """
        moved, size = self._moved(points), np.array([self.width, self.height], float)
        slack = _SLACK * size
        kept = np.all((moved >= -slack) & (moved <= size + slack), axis=-1)
        if self.returned:
            kept &= np.all((points >= -slack) & (points <= size + slack), axis=-1)[:, None]
        return kept

    def fields(self, fields: NDArray[Any]) -> NDArray[np.float32]:
        """Maps `(S, H', W', C)` as they are after the move: `(S, T, H', W', C)`."""
        if self.returned:
            return np.repeat(np.asarray(fields, np.float32)[:, None], len(self.maps), axis=1)
        return warp(np.asarray(fields, np.float32), TransformationSet(self.maps)).numpy()

    def visible(self, height: int, width: int) -> NDArray[np.bool_]:
        """Which positions of a moved map `(height, width)` come from inside the frame: `(T, height, width)`."""
        return inside_frame(TransformationSet(self.maps), height, width, inverse=self.returned)

    @cached_property
    def turns(self) -> NDArray[np.float64]:
        """`(T, 2, 2)`, the rotation or reflection that is nearest to the linear part of each map."""
        if self.returned:
            return np.repeat(np.eye(2)[None], len(self.maps), axis=0)
        left, _, right = np.linalg.svd(self.matrices[:, :2, :2])
        return left @ right

    @cached_property
    def zoom(self) -> NDArray[np.float64]:
        """`(T,)`, the factor by which lengths change: the root of the factor of areas."""
        factors = np.sqrt(np.abs(np.linalg.det(self.matrices[:, :2, :2])))
        return np.ones_like(factors) if self.returned else factors

    def _moved(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        centre = np.array([self.width, self.height]) / 2
        linear, shift = self.matrices[:, :2, :2], self.matrices[:, :2, 2]
        return np.einsum("tij,spj->stpi", linear, points - centre) + shift[None, :, None] + centre


def still(count: int, height: int, width: int) -> Moves:
    """The moves of `count` transformations that do nothing."""
    return Moves(TransformationSet((Affine.identity(),) * count), height, width)
