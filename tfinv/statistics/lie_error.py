"""The error of a layer under an infinitesimal transformation: its directional derivative."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfinv.statistics.base import Context, Layer, Statistic, resampled_means, share
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor
from tfinv.transformations.generators import Generator, generator_tangent


def acted(values: Any, generator: Generator) -> Any:
    """How a transformation acts on a layer `(N, *U)`: on feature maps as on images, on anything else not at all."""
    spatial = values.shape.rank == 4 and min(values.shape[1:3]) > 1
    return generator_tangent(values, generator) if spatial else tf.zeros_like(values)


class LocalErrorState(NamedTuple):
    """`count` samples seen, `mean` (`*U`) of their squared errors."""

    count: Any
    mean: Any


@dataclass(frozen=True)
class LocalError(Statistic):
    r"""Mean over the untransformed images of the squared local equivariance error.

        mean_s (L_X f(x_s))_a^2,   \quad L_X f = J_f (X x) - X f(x)

    Args:
        generator: `X`.
    """

    needs_reference = True
    reference_only = True

    generator: Generator = "rotation"

    @property
    def along(self) -> Generator:
        return self.generator

    def init(self, layer: Layer, dtype: Any = "float32") -> LocalErrorState:
        return LocalErrorState(tf.zeros((), dtype), tf.zeros(layer.shape, dtype))

    def update(self, state: Any, block: Tensor, context: Context | None = None) -> LocalErrorState:
        assert context is not None and context.reference is not None
        error = context.derivatives[self.generator] - acted(context.reference, self.generator)
        count = tf.cast(tf.shape(error)[0], error.dtype)
        return self.merge(state, LocalErrorState(count, tf.reduce_mean(tf.square(error), axis=0)))

    def merge(self, first: Any, second: Any) -> LocalErrorState:
        mean = first.mean + (second.mean - first.mean) * share(first.count, second.count)
        return LocalErrorState(first.count + second.count, mean)

    def resampled(self, states: Any, counts: Any) -> Iterator[Any]:
        return resampled_means(states, counts)
