"""Equivariance under an action that is known or prescribed, rather than fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tfinv.measures.base import Measure
from tfinv.results import LayerResult
from tfinv.statistics.action_error import ActionError, Permutations
from tfinv.status import quotient

if TYPE_CHECKING:
    from tfinv.statistics.base import Statistic

Action = Literal["layer", "p4", "p4m", "spatial", "identity"]


@dataclass(frozen=True)
class RepresentationEquivariance(Measure):
    r"""Error against a prescribed action on the layer, one value per feature map: 0 is perfectly equivariant.

        RE(c) = \sqrt{\frac{\sum_{s, j} \|f(t_j(x_s))_c - (\rho(t_j) f(x_s))_c\|^2}
        {\sum_{s, j} \|(\rho(t_j) f(x_s))_c\|^2}},   \quad 0/0 \to 1, \; x/0 \to \infty

    The number of a layer is the same quotient of sums over all its valid maps, so that every map counts by its size:

        RE = \sqrt{\frac{\sum_c \sum_{s, j} \|f(t_j(x_s))_c - (\rho(t_j) f(x_s))_c\|^2}
        {\sum_c \sum_{s, j} \|(\rho(t_j) f(x_s))_c\|^2}}

    A plain mean over maps would hang on those that hardly respond to the untransformed images: their quotients may be
    hundreds. A map that does not respond to them at all has no value (`SAMPLE_CONSTANT`) and does not count.

    Two unrelated maps of mean 0 and equal size read `sqrt(2)`, and a map that vanishes under transformations reads 1.

    The action `rho` moves the positions of feature maps as the transformation moves those of the image, and may permute
    channels. Positions whose source left the frame do not count.

    Args:
        action: `"layer"` takes what the layers of a Keras model know: convolutions of `tfinv.layers` and what keeps
            their channels in place, such as activations and pooling; other layers are not applicable. `"p4"` and
            `"p4m"` permute the channels of all layers by that group, `"spatial"` permutes none (same-equivariance),
            and `"identity"` neither permutes channels nor moves positions (invariance). Or a permutation for each
            transformation, `((0, 1, 2), (2, 0, 1), ...)`: which channel of `f(x)` stands at each place.

    Raises:
        ValueError: an unknown action, or, when a layer is measured, permutations of another number of channels or
            transformations.

    Source: Cohen and Welling 2016, "Group equivariant convolutional networks", section 2, for the definition.
    """

    action: str | Permutations = "layer"

    def __post_init__(self) -> None:
        if not isinstance(self.action, str):
            try:
                rows = tuple(tuple(int(number) for number in row) for row in self.action)
            except (TypeError, ValueError):
                rows = ()
            if not rows:
                raise ValueError(
                    f"action must be one of {get_args(Action)}, or a permutation for each transformation. "
                    f"Received: {self.action!r}"
                )
            object.__setattr__(self, "action", rows)
        elif self.action not in get_args(Action):
            raise ValueError(
                f"action must be one of {get_args(Action)}, or a permutation for each transformation. "
                f"Received: {self.action!r}"
            )

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (ActionError(self.action),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        state = states[self.requires[0]]
        error, norm = (squares.sum(axis=0) for squares in (state.error, state.norm))
        return LayerResult(*quotient(np.sqrt(error), np.sqrt(norm)), weights=norm)
