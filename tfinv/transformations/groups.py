"""The groups of turns and mirror images that map the pixel grid of a square image to itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.checks import one_of
from tfinv.transformations.affine import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TurnGroup:
    r"""The four right-angle rotations, or these and their mirror images, with a number for every element.

    The element of number `4 m + r` mirrors left and right where `m = 1`, and then turns counter-clockwise `r` times:

        g = \mathrm{rot}^r \, \mathrm{mirror}^m

    Example:
        >>> from tfinv.transformations import Affine
        >>> from tfinv.transformations.groups import P4
        >>> P4.element(Affine.rotation(270)), int(P4.product[1, 3]), int(P4.inverse[1])
        (3, 0, 3)

    Args:
        name: `"p4"` or `"p4m"`.

    Raises:
        ValueError: another name.

    Source: Cohen and Welling 2016, "Group equivariant convolutional networks", section 4.
    """

    name: str

    def __post_init__(self) -> None:
        one_of("group", self.name, ("p4", "p4m"))

    @property
    def size(self) -> int:
        """How many elements the group has: 4 or 8."""
        return 8 if self.name == "p4m" else 4

    @cached_property
    def product(self) -> NDArray[np.int64]:
        """The number of `g h`, which does `h` first, by the numbers of `g` and `h`: `(G, G)`."""
        first, second = np.arange(self.size)[:, None], np.arange(self.size)[None, :]
        turns = first % 4 + np.where(first < 4, 1, -1) * (second % 4)
        return (first // 4 + second // 4) % 2 * 4 + turns % 4

    @cached_property
    def inverse(self) -> NDArray[np.int64]:
        """The number of the inverse of each element: `(G,)`."""
        return np.argmin(self.product, axis=1)

    @cached_property
    def maps(self) -> tuple[Affine, ...]:
        """The elements as maps of image content."""
        mirrored = (Affine.identity(), Affine.reflection())
        return tuple(mirrored[g // 4].compose(Affine.rotation(90 * (g % 4))) for g in range(self.size))

    def element(self, transformation: Any) -> int | None:
        """The number of a transformation; None where it does not belong to the group."""
        if not isinstance(transformation, Affine):
            return None
        for number, element in enumerate(self.maps):
            if np.allclose(transformation.coefficients, element.coefficients, atol=1e-9):
                return number
        return None

    def turned(self, values: NDArray[Any], element: int) -> NDArray[Any]:
        """An array `(H, W, ...)` under an element of the group."""
        mirrored = values[:, ::-1] if element >= 4 else values
        return np.rot90(mirrored, element % 4)

    def permutation(self, element: int, channels: int) -> NDArray[np.int64]:
        """Which channel of the maps of `x` stands at each place in the maps of `g x`; channel is `map * G + element`.

        Args:
            element: number of `g`.
            channels: how many channels there are, a multiple of the group's size.
        """
        within = self.product[self.inverse[element]]
        return (np.arange(0, channels, self.size)[:, None] + within).reshape(-1)


P4 = TurnGroup("p4")
"""The four right-angle rotations."""
P4M = TurnGroup("p4m")
"""The four right-angle rotations and their mirror images."""
GROUPS = {group.name: group for group in (P4, P4M)}
"""Both groups by name."""
