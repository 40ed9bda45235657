"""What a statistic may know of the layer that it is gathered on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfinv.transformations import TransformationSet


@dataclass(frozen=True)
class Layer:
    """What a statistic may know of the layer that it is gathered on.

    Args:
        name: layer name.
        shape: unit shape `*U`.
        num_transformations: `T`.
        transformations: the set itself; None for activations that come from elsewhere.
        is_output: whether this is the model's last layer.
        num_samples: how many samples there are at most; None where that is not known.
        activation: what makes the model's output: `"softmax"`, `"sigmoid"`, `""` for another or none; None where that
            is not known.
        channel_group: the group by which transformations permute the channels: `"p4"`, `"p4m"`, `"none"`, or `""` where
            that is not known.
    """

    name: str
    shape: tuple[int, ...]
    num_transformations: int
    transformations: TransformationSet | None = None
    is_output: bool = False
    num_samples: int | None = None
    activation: str | None = None
    channel_group: str = ""

    @property
    def is_spatial(self) -> bool:
        """Whether units form feature maps `(H', W', C')`."""
        return len(self.shape) == 3
