"""Activations seen after the inverse transformation, as same-equivariance needs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.statistics.base import Context, Layer, Statistic, View
from tfinv.statistics.loop_sums import LoopParts, LoopSums
from tfinv.statistics.resolution import Resolution, Unresolved
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor
from tfinv.transformations.affine import sampling_matrices
from tfinv.transformations.frame import inside_frame
from tfinv.transformations.warp import Padding, warp_each

if TYPE_CHECKING:
    from numpy.typing import NDArray


def why_not_spatial(layer: Layer) -> str:
    """Why same-equivariance does not exist on a layer; "" where it does."""
    if not layer.is_spatial or min(layer.shape[:2]) < 2:
        return f"units of shape {layer.shape} form no feature map that a transformation could act on"
    if layer.transformations is None or layer.transformations.positions is None:
        return "the transformations do not say where they move positions, so they have no inverse"
    return ""


@dataclass(frozen=True)
class InverseWarp(View):
    """Each feature map warped back: `B[s, j] = t_j^-1(f(t_j(x_s)))`, exactly, at the layer's own resolution.

    Args:
        padding: what fills positions whose source left the frame, see `transformations.warp`.
    """

    padding: Padding = "nearest"

    def applies(self, layer: Layer) -> str:
        return why_not_spatial(layer)

    def apply(self, block: Tensor, layer: Layer) -> Any:
        height, width, channels = layer.shape
        matrices = inverse_matrices(layer)
        flat = tf.reshape(tf.cast(block, tf.float32), (-1, height, width, channels))
        tiled = tf.tile(matrices, (tf.shape(block)[0], 1, 1))
        return tf.cast(tf.reshape(warp_each(flat, tiled, padding=self.padding), tf.shape(block)), block.dtype)


@dataclass(frozen=True)
class CommonFrame(View):
    """Feature maps warped back, and zero wherever any transformation moved the source out of the frame."""

    def applies(self, layer: Layer) -> str:
        return why_not_spatial(layer)

    def apply(self, block: Tensor, layer: Layer) -> Any:
        shown = np.asarray(visible(layer).all(axis=0))[..., None]
        return InverseWarp().apply(block, layer) * tf.constant(shown, block.dtype)


def visible(layer: Layer) -> NDArray[np.bool_]:
    """Where an inverse-warped map of the layer shows what was inside the frame: bool `(T, H', W')`."""
    assert layer.transformations is not None
    return inside_frame(layer.transformations, *layer.shape[:2], inverse=True)


class VisibilityState(NamedTuple):
    """`visible` bool `(T, H', W')`, the same in every state."""

    visible: Any


@dataclass(frozen=True)
class Visibility(Statistic):
    """Not gathered from activations: which positions of inverse-warped maps came from inside the frame."""

    def applies(self, layer: Layer) -> str:
        return why_not_spatial(layer)

    def init(self, layer: Layer, dtype: Any = "float32") -> VisibilityState:
        return VisibilityState(tf.constant(visible(layer)))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> VisibilityState:
        return state

    def merge(self, first: Any, second: Any) -> VisibilityState:
        return first


def inverse_matrices(layer: Layer) -> Any:
    """Sampling matrices `(T, 3, 3)`, float32, of the inverse transformations at the layer's resolution."""
    assert layer.transformations is not None and layer.transformations.positions is not None
    return sampling_matrices(layer.transformations.positions, *layer.shape[:2], inverse=True).astype(np.float32)


@dataclass(frozen=True)
class Viewed(Statistic):
    """Any statistic of blocks seen through a view.

    Args:
        statistic: what is gathered.
        through: the view.
    """

    statistic: Statistic
    through: View

    @property
    def view(self) -> View:
        return self.through

    @property
    def loop(self) -> LoopParts | None:
        return self.statistic.loop

    def from_loop(self, sums: LoopSums) -> NamedTuple:
        return self.statistic.from_loop(sums)

    def settled(self, state: Any) -> Any:
        return self.statistic.settled(state)

    def is_readable(self, state: Any) -> bool:
        return self.statistic.is_readable(state)

    def unresolved(self, state: Any, resolution: Resolution) -> Unresolved | None:
        return self.statistic.unresolved(state, resolution)

    def without_rounding(self, state: Any, units: Unresolved) -> Any:
        return self.statistic.without_rounding(state, units)

    def applies(self, layer: Layer) -> str:
        return self.through.applies(layer) or self.statistic.applies(layer)

    def init(self, layer: Layer, dtype: Any = "float32") -> NamedTuple:
        return self.statistic.init(layer, dtype)

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> NamedTuple:
        return self.statistic.update(state, block, context)

    def merge(self, first: Any, second: Any) -> NamedTuple:
        return self.statistic.merge(first, second)

    def merged_into(self, total: Any, state: Any) -> Any:
        return self.statistic.merged_into(total, state)

    @property
    def per_unit(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.statistic.per_unit

    def without(self, total: Any, part: Any) -> tuple[Any, NDArray[np.bool_]] | None:
        return self.statistic.without(total, part)

    def at_positions(self, state: Any, positions: NDArray[np.intp]) -> Any:
        return self.statistic.at_positions(state, positions)

    def resampled(self, states: Any, counts: Any) -> Iterator[Any]:
        return self.statistic.resampled(states, counts)
