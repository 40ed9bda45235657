"""How far the activations of a transformed image are from what a prescribed action predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.statistics.base import Context, Layer, Statistic, share
from tfinv.statistics.views import why_not_spatial
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor
from tfinv.transformations.frame import inside_frame
from tfinv.transformations.groups import GROUPS
from tfinv.transformations.warp import warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

Permutations = tuple[tuple[int, ...], ...]


class ActionErrorState(NamedTuple):
    """`count` samples, mean over them of the squared `error` and of the squared `norm`, `(T, C)` each."""

    count: Any
    error: Any
    norm: Any


@dataclass(frozen=True)
class ActionError(Statistic):
    """Squared differences between `f(t_j(x))` and `rho(t_j) f(x)`, and squares of the latter, summed over positions.

    Args:
        action: see `tfinv.measures.RepresentationEquivariance`.
    """

    needs_reference = True

    action: str | Permutations = "layer"

    def applies(self, layer: Layer) -> str:
        action = self._action(layer)
        if not action:
            return "it is not known how transformations act on this layer, prescribe an action"
        if not isinstance(action, str):
            for permutation in action:
                if sorted(permutation) != list(range(layer.shape[-1])):
                    raise ValueError(
                        f"action must hold permutations of the {layer.shape[-1]} channels of {layer.name!r}; choose "
                        f"the layers that it acts on with layers=. Received: {permutation}"
                    )
            if len(action) != layer.num_transformations:
                raise ValueError(
                    f"action must hold a permutation for each of the {layer.num_transformations} transformations. "
                    f"Received: {len(action)}"
                )
        if action in GROUPS and (reason := _outside(action, layer)):
            return reason
        return why_not_spatial(layer) if self._moves(layer) else ""

    def _moves(self, layer: Layer) -> bool:
        """Whether the action moves positions; a turn leaves the only position of a 1x1 map where it is."""
        action = self._action(layer)
        one_position = action in GROUPS and layer.shape[:2] == (1, 1)
        return len(layer.shape) > 1 and action != "identity" and not one_position

    def _action(self, layer: Layer) -> str | Permutations:
        if self.action != "layer":
            return self.action
        if layer.channel_group == "none":
            return "spatial"
        return layer.channel_group

    def _permutations(self, layer: Layer) -> NDArray[np.int64]:
        """Which channel of `f(x)` stands at each place of `rho(t_j) f(x)`: `(T, C)`."""
        action, channels = self._action(layer), layer.shape[-1]
        if not isinstance(action, str):
            return np.array(action, np.int64)
        if action in GROUPS:
            elements = _elements(action, layer)
            return np.stack([GROUPS[action].permutation(element or 0, channels) for element in elements])
        return np.tile(np.arange(channels), (layer.num_transformations, 1))

    def init(self, layer: Layer, dtype: Any = "float32") -> ActionErrorState:
        empty = tf.zeros((layer.num_transformations, layer.shape[-1]), dtype)
        return ActionErrorState(tf.zeros((), dtype), empty, empty)

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> ActionErrorState:
        assert context is not None and context.reference is not None
        layer = context.layer
        maps = tf.cast(context.reference, block.dtype)
        moved = maps[:, None]
        if self._moves(layer):
            assert layer.transformations is not None
            moved = tf.cast(warp(maps, layer.transformations, padding="nearest"), block.dtype)
            seen = tf.constant(inside_frame(layer.transformations, *layer.shape[:2])[..., None], block.dtype)
            block, moved = block * seen, moved * seen
        else:
            moved = tf.broadcast_to(moved, tf.shape(block))
        channels = tf.constant(self._permutations(layer), tf.int32)
        columns = [tf.gather(moved[:, j], channels[j], axis=-1) for j in range(layer.num_transformations)]
        predicted = tf.stack(columns, axis=1)
        axes = tuple(range(2, 1 + len(layer.shape)))

        def squares(values: Tensor) -> Tensor:
            return tf.reduce_mean(tf.reduce_sum(tf.square(values), axis=axes), axis=0)

        count = tf.cast(tf.shape(block)[0], block.dtype)
        return self.merge(state, ActionErrorState(count, squares(block - predicted), squares(predicted)))

    def merge(self, first: Any, second: Any) -> ActionErrorState:
        weight = share(first.count, second.count)
        return ActionErrorState(
            first.count + second.count,
            first.error + (second.error - first.error) * weight,
            first.norm + (second.norm - first.norm) * weight,
        )


def _elements(group: str, layer: Layer) -> list[int | None]:
    """The numbers of the transformations among the elements of a group; None for others."""
    return [GROUPS[group].element(transformation) for transformation in layer.transformations or ()]


def _outside(group: str, layer: Layer) -> str:
    """Why a group cannot act on a layer; "" where it can."""
    if layer.transformations is None:
        return "the transformations are not known, so it is not known which channels they permute"
    if layer.shape[-1] % GROUPS[group].size:
        return f"{layer.shape[-1]} channels are no multiple of {GROUPS[group].size}, the size of {group}"
    missing = sum(element is None for element in _elements(group, layer))
    return f"{missing} of {layer.num_transformations} transformations do not belong to {group}" if missing else ""
