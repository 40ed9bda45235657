"""Equivariance to infinitesimal transformations, by differentiating the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfinv.measures.base import Measure
from tfinv.results import LayerResult
from tfinv.statistics.lie_error import LocalError
from tfinv.status import finite_status
from tfinv.support.checks import one_of
from tfinv.transformations.generators import Generator

if TYPE_CHECKING:
    from tfinv.statistics.base import Statistic


@dataclass(frozen=True)
class LieDerivative(Measure):
    r"""Local equivariance error: how fast a layer leaves equivariance as a transformation sets in; 0 is perfect.

        LEE(a) = E_x [ (L_X f(x))_a^2 ],   \quad
        L_X f = \frac{d}{d\epsilon} t_\epsilon^{-1}(f(t_\epsilon(x))) \Big|_0 = J_f (X x) - X f(x)

    `X` is the generator of the transformation: the velocity field times the spatial derivatives of the map. On layers
    without feature maps the transformation should do nothing, so there `L_X f = J_f (X x)` is the local invariance
    error. The derivative along the image is taken in forward mode, in a pass of its own over the untransformed images:
    the transformations of the evaluation play no part. It needs gradients, so it exists for Keras models alone.
    `tfinv.lie_derivative` also tells what each layer adds to the error of the output.

    Example:
        >>> import keras, numpy as np
        >>> import tfinv
        >>> inputs = keras.Input((12, 12, 1))
        >>> x = keras.layers.Conv2D(2, 3, activation="tanh", name="conv")(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
        >>> model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> images = np.random.default_rng(0).random((4, 12, 12, 1), dtype="float32")
        >>> measures = ["LieDerivative", "LieDerivative(generator='scale')"]
        >>> results = tfinv.evaluate(model, images, "identity()", measures, progress=False)
        >>> {name: layer.values.shape for name, layer in results["LieDerivative"].items()}
        {'conv': (10, 10, 2), 'gap': (2,), 'logits': (3,)}

    Args:
        generator: `"rotation"` (per radian), `"scale"` (per unit of log scale), `"translation_x"`, `"translation_y"`
            (per width, per height) or `"shear"` (per unit slope).

    Raises:
        ValueError: an unknown generator.

    Source: Gruver, Finzi, Goldblum and Wilson 2023, "The Lie derivative for measuring learned equivariance",
    eq. 2 and 4.
    """

    generator: Generator = "rotation"

    def __post_init__(self) -> None:
        one_of("generator", self.generator, Generator)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (LocalError(self.generator),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        values = states[self.requires[0]].mean
        return LayerResult(values, finite_status(values))
