"""The continuous transformations that a search may choose from: angles, scales, shears and shifts as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.checks import close_match, mapping
from tfinv.transformations import Affine
from tfinv.transformations.draws import MapRanges

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FAMILIES = ("rotation", "scale", "shear", "translation")
_NEUTRAL = {"rotation": 0.0, "scale": 1.0, "shear": 0.0, "shift_x": 0.0, "shift_y": 0.0}
"""The value of each parameter that changes nothing; their order is that in which a grid grows."""


@dataclass(frozen=True)
class SearchSpace:
    """Ranges of parameters.

    Args:
        names: of the parameters: `rotation` and `shear` (degrees), `scale`, `shift_x` and `shift_y` (fractions of the
            width and of the height).
        low: float64 `(P,)`.
        high: float64 `(P,)`.
    """

    names: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, ranges: Any) -> SearchSpace:
        """The ranges as a user gives them, see `worst_case`.

        Raises:
            ValueError: no range, an unknown one, one without width or in the wrong order.
            TypeError: no mapping, or bounds that are no numbers.
        """
        mapping("ranges", ranges, "a mapping from rotation, scale, shear or translation to bounds")
        for name in ranges:
            if name not in _FAMILIES:
                hint = close_match(name, _FAMILIES)
                raise ValueError(f"ranges must name some of {', '.join(_FAMILIES)}.{hint} Received: {name!r}")
        rotation, scale, translation, shear = (
            ranges.get(name) for name in ("rotation", "scale", "translation", "shear")
        )
        given = MapRanges.of(rotation, scale, translation, shear, None)
        bounds = {name: getattr(given, name) for name in ("rotation", "scale", "shear")}
        bounds |= {"shift_x": given.translation, "shift_y": given.translation}
        chosen = {name: bounds[name] for name in _NEUTRAL if bounds[name] is not None}
        if not chosen or any(low >= high for low, high in chosen.values()):
            raise ValueError(f"ranges must hold at least one range, and each must have a width. Received: {ranges!r}")
        low, high = np.array(list(chosen.values()), np.float64).T
        return cls(tuple(chosen), low, high)

    @property
    def neutral(self) -> NDArray[np.float64]:
        """The parameters that change nothing, whether they lie in the ranges or not."""
        return np.array([_NEUTRAL[name] for name in self.names])

    @property
    def holds_identity(self) -> bool:
        """Whether the untransformed image is one of those that the search may choose."""
        return bool(((self.low <= self.neutral) & (self.neutral <= self.high)).all())

    def grid(self, points: int) -> NDArray[np.float64]:
        """A regular grid of at most so many points, ends included: `(G, P)`.

        Every parameter gets one more level in turn, the rotation first, as long as the product allows it; a parameter
        of one level stands in the middle of its range.
        """
        levels = np.ones(len(self.names), int)
        grown = True
        while grown:
            grown = False
            for axis in range(len(levels)):
                more = levels.copy()
                more[axis] += 1
                if more.prod() <= points:
                    levels, grown = more, True
        axes = [
            np.linspace(low, high, count) if count > 1 else np.array([(low + high) / 2])
            for low, high, count in zip(self.low, self.high, levels, strict=True)
        ]
        return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)

    def coefficients(self, parameters: NDArray[np.float64]) -> NDArray[np.float32]:
        r"""`Affine.coefficients` of many maps: scale, shear, rotation and shift in this order.

            p \mapsto s R(\alpha) Sh(\gamma) p + (W t_x, H t_y)

        Args:
            parameters: float64 `(N, P)`.

        Returns:
            float32 `(N, 2, 4)`.
        """
        values = {name: np.full(len(parameters), neutral) for name, neutral in _NEUTRAL.items()}
        values |= dict(zip(self.names, parameters.T, strict=True))
        angle, slope = np.radians(values["rotation"]), np.tan(np.radians(values["shear"]))
        cosine, sine, zero = values["scale"] * np.cos(angle), values["scale"] * np.sin(angle), np.zeros(len(parameters))
        rows = (
            (cosine, cosine * slope + sine, 2 * values["shift_x"], zero),
            (-sine, cosine - sine * slope, zero, 2 * values["shift_y"]),
        )
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=1).astype(np.float32)

    def affine(self, parameters: NDArray[np.float64]) -> Affine:
        """One map, as an `Affine`."""
        first, second = self.coefficients(np.asarray(parameters, np.float64)[None])[0].astype(float).tolist()
        return Affine((tuple(first), tuple(second)))  # type: ignore[arg-type]

    def words(self, parameters: NDArray[np.float64]) -> str:
        """`"rotation 12.3°, shift_x +0.05"`."""
        forms: Mapping[str, str] = {"rotation": "{:+.1f}°", "shear": "{:+.1f}°", "scale": "{:.2f}"}
        texts = [
            f"{name} {forms.get(name, '{:+.3f}').format(value)}"
            for name, value in zip(self.names, parameters, strict=True)
            if not math.isclose(value, _NEUTRAL[name], abs_tol=1e-9)
        ]
        return ", ".join(texts) or "identity"
