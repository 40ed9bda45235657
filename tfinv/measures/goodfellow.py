"""Firing-rate measures of invariance after Goodfellow et al. 2009."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tfinv.measures.base import Measure
from tfinv.results import LayerResult
from tfinv.statistics import ColumnMoments
from tfinv.statistics.firing import LocalFiring, NormalFiring
from tfinv.status import Status, finite_status, quotient
from tfinv.support.checks import one_of, share, whole_number

if TYPE_CHECKING:
    from tfinv.statistics.base import Statistic

Sign = Literal[1, -1]


@dataclass(frozen=True)
class Goodfellow(Measure):
    r"""How much more often a unit fires on transformed versions of its favourite images than on any image.

        S(a) = \frac{L(a)}{G(a)},   \quad G(a) = \frac{1}{S} \#\{s : a(x_s) > \theta_a\},
        L(a) = \frac{1}{|Z_a| T} \#\{(z, j) : z \in Z_a, \; a(t_j(z)) > \theta_a\}

    The threshold makes the unit fire on the top `percentile` of the untransformed images; `Z` are the images that
    activate it most. A unit that keeps firing under every transformation reaches `1 / G`, 100 at the default
    percentile; 1 means that the transformed favourites excite it no more than any image, 0 that they never do. Large
    is invariant, unlike in most other measures.

    The threshold comes from a first pass over the untransformed images alone, `S` forwards more. It is exact for up
    to `capacity / (2 percentile)` images (3200); beyond, it is the quantile of a random subset and `G` lies within a
    relative standard error of `sqrt(4 / capacity)` of the percentile. `G` is always counted over all images, and the
    quotient uses that count. A unit that never fires, because it is constant, is dead.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> images = np.random.default_rng(0).normal(size=(100, 1))
        >>> invariant = np.repeat(images[:, None], 4, axis=1)
        >>> result = tfinv.evaluate_arrays({"unit": invariant}, "Goodfellow", reference={"unit": images})
        >>> round(float(result["Goodfellow"]["unit"].values[0]), 3)
        100.0

    Args:
        percentile: share of the untransformed images on which a unit fires, above 0 and below 1.
        sign: 1 fires above the threshold; -1 measures `-a`, units that respond by falling.
        top: how many images make up `Z`; None for all on which the unit fires.
        capacity: activations kept for each unit to find the threshold; even, at least 64.
        seed: of the random subset of images.

    Raises:
        ValueError: an option out of its range, a `top` of `capacity` or more.

    Source: Goodfellow, Le, Saxe, Lee and Ng 2009, "Measuring invariances in deep networks", section 3.
    """

    min_samples: ClassVar[int] = 2

    percentile: float = 0.01
    sign: Sign = 1
    top: int | None = None
    capacity: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        share("percentile", self.percentile)
        one_of("sign", self.sign, Sign)
        whole_number("capacity", self.capacity, 64)
        whole_number("seed", self.seed, 0)
        if self.capacity % 2:
            raise ValueError(f"capacity must be even. Received: {self.capacity}")
        if self.top is not None:
            whole_number("top", self.top, 1)
            if self.top >= self.capacity:
                raise ValueError(f"top must be below capacity, {self.capacity}. Received: {self.top}")

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return (LocalFiring(self.percentile, self.sign, self.top, self.capacity, self.seed),)

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        state = states[self.requires[0]]
        overall = state.fired / state.count
        local = state.local / np.maximum(state.strongest, 1)
        values, status = quotient(local, overall)
        fired = overall[status == Status.VALID]
        note = f"units fire on {fired.mean():.2%} of {int(state.count)} images (mean)" if fired.size else ""
        return LayerResult(values, status, note)


@dataclass(frozen=True)
class GoodfellowNormal(Measure):
    r"""The simplified firing-rate measure of earlier software, for comparison with its published values.

        GN(a) = \frac{1}{1 - \alpha} \cdot \frac{1}{S T} \#\{(s, j) : \pm A[s, j] > \theta_a\},
        \theta_a = \pm \mu_a + \sigma_a \Phi^{-1}(\alpha)

    with mean and standard deviation (ddof = 1) over all `S T` activations. It is not conditioned on the images that
    activate the unit, so it shows how heavy the upper tail is (1 for normal activations) rather than invariance: use
    `Goodfellow`. It needs a second pass over all transformations. Constant units have 0 and the status dead.

    Args:
        alpha: probability of a normal distribution below the threshold, above 0 and below 1.
        sign: 1, or -1 for `-a`.

    Raises:
        ValueError: an alpha outside (0, 1), a sign other than 1 and -1.

    Source: tmeasures 1.2, Quiroga et al. 2021.
    """

    min_samples: ClassVar[int] = 2

    alpha: float = 0.99
    sign: Sign = 1

    def __post_init__(self) -> None:
        share("alpha", self.alpha)
        one_of("sign", self.sign, Sign)

    @property
    def requires(self) -> tuple[Statistic, ...]:
        return NormalFiring(self.alpha, self.sign), ColumnMoments()

    def compute(self, states: Mapping[Statistic, Any]) -> LayerResult:
        values = states[NormalFiring(self.alpha, self.sign)].mean / (1 - self.alpha)
        std = ColumnMoments().summary(states[ColumnMoments()]).std
        return LayerResult(values, np.where(std == 0, np.uint8(Status.DEAD), finite_status(values)))
