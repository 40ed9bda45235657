"""What every kind of output is: a frozen dataclass of parameters that compares outputs of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tfinv.support.keys import key_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.outputs.moves import Moves

Quantities = dict[str, "NDArray[Any]"]
"""By name of a quantity one number per image and transformation, float64 `(S, T)`; NaN where it does not exist."""


@dataclass(frozen=True)
class OutputValues:
    """All outputs of a model for some images, seen from one of them.

    Args:
        name: of the output that is measured.
        values: by name of the output `(S, *U)`, or `(S, T, *U)` for images under transformations.
        activations: by name of the output `"softmax"`, `"sigmoid"`, or `""` for another or none.
        gallery: `(S_all, D)`, the output for all untransformed images; only for kinds that `search`.
        index: positions of these images in the gallery.
    """

    name: str
    values: Mapping[str, NDArray[Any]]
    activations: Mapping[str, str] = field(default_factory=dict)
    gallery: NDArray[Any] | None = None
    index: Sequence[int] = ()

    @property
    def array(self) -> NDArray[Any]:
        """The values of the measured output."""
        return self.values[self.name]

    @property
    def activation(self) -> str:
        """The function that makes the measured output."""
        return self.activations.get(self.name, "")


class OutputKind(ABC):
    """What an output means, and how far `f(g x)` is from what `f(x)` lets one expect.

    Subclasses are frozen dataclasses that hold only parameters; `tfinv.outputs.kind("landmarks(dimensions=3)")` reads
    one from its text.
    """

    error: ClassVar[str]
    """The quantity that a curve shows: 0 where the output is as it must be."""
    words: ClassVar[Mapping[str, str]]
    """By quantity what it is."""
    searches: ClassVar[bool] = False
    """Whether outputs are searched for among those of all images."""

    @property
    def text(self) -> str:
        """As a user writes it, such as `"landmarks(dimensions=3)"`."""
        key = key_of(self)
        return key[0].lower() + key[1:]

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of other outputs that this one is read with."""
        return ()

    @abstractmethod
    def check(self, name: str, shape: Sequence[int]) -> None:
        """Refuse an output of a shape that does not fit.

        Args:
            name: of the output.
            shape: of one image.

        Raises:
            ValueError: another shape than the kind has.
        """

    def check_values(self, upright: OutputValues, moves: Moves) -> None:  # noqa: B027  most kinds have none
        """Refuse values of untransformed images that contradict the parameters.

        Args:
            upright: of some images.
            moves: in the frame of the images.

        Raises:
            ValueError: such as positions in pixels that are said to be fractions.
        """

    @abstractmethod
    def changes(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> Quantities:
        """How far outputs are from where they should be.

        Args:
            upright: `f(x)`, arrays `(S, *U)`.
            transformed: `f(g x)`, arrays `(S, T, *U)`.
            moves: of the transformations.

        Returns:
            The quantities of `words`, each `(S, T)`.
        """

    def marks(self, upright: OutputValues, transformed: OutputValues, moves: Moves) -> dict[str, NDArray[Any]]:
        """What to draw on the images under each transformation; nothing by default.

        Args:
            upright: see `changes`.
            transformed: see `changes`.
            moves: see `changes`.

        Returns:
            Some of `points_found, points_expected` `(S, T, P, 2)`, `boxes_found, boxes_expected` `(S, T, M, 4, 2)`
            (corners, in pixels, NaN for none) and `mask_found, mask_expected` `(S, T, H, W)`, bool.
        """
        return {}


def misfit(name: str, kind: str, expected: str, shape: Sequence[int]) -> ValueError:
    """The error for an output of another shape."""
    return ValueError(f"output {name!r} as {kind} must have {expected}. Received: shape {tuple(shape)}")
