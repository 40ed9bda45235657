"""Members of sets: affine maps and functions of images, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfinv.support.checks import kind_of, whole_number
from tfinv.support.guarded import guarded
from tfinv.transformations.affine import Affine
from tfinv.transformations.labels import affine_label

MOST_FUNCTIONS = 1000
"""Members of a family of functions, of which every one is an operation of its own in a graph."""


@guarded()
@dataclass(frozen=True)
class ImageFunction:
    """Any function of a batch of images used as a transformation: brightness, blur, noise.

    Args:
        function: maps a float32 tensor `(N, H, W, C)` to one of the same shape, with TensorFlow operations.
        name: stands for the function in ids and plots.
        positions: where the function moves what the image shows: the identity where only values change, None where
            that is unknown, and then same-equivariance does not exist.
    """

    function: Callable[[Any], Any] = field(compare=False)
    name: str
    positions: Affine | None = None

    @classmethod
    def of(cls, function: Callable[[Any], Any]) -> ImageFunction:
        """Wrap a function under its own name."""
        return cls(function, getattr(function, "__name__", type(function).__name__))


@guarded()
@dataclass(frozen=True)
class Chain:
    """Several transformations, one after the other, as `product` makes them of maps and functions.

    Args:
        steps: what is done, in order.
    """

    steps: tuple[Affine | ImageFunction, ...]

    @property
    def name(self) -> str:
        """The names of the steps."""
        return ", ".join(label(step) for step in self.steps)

    @property
    def positions(self) -> Affine | None:
        """Where the whole chain moves what the image shows."""
        total = Affine.identity()
        for step in self.steps:
            moved = _positions(step)
            if moved is None:
                return None
            total = total.compose(moved)
        return total


Transformation = Affine | ImageFunction | Chain


@guarded()
@dataclass(frozen=True)
class TransformationSet(Sequence[Transformation]):
    """An ordered, finite set of transformations `t_1 .. t_T`.

    Example:
        >>> from tfinv.transformations import rotations
        >>> four = rotations(4)
        >>> len(four), four.id, [round(each.degrees) for each in four]
        (4, 'rotations(4)', [180, -90, 0, 90])

    Args:
        members: the transformations, in order.
        id: text that names the set in results. By default a text that `parse` reads back, as the ids of the
            factories are; only sets with functions of the user's own have an id that does not.
        amounts: one number for each member, for the axis of a plot; empty where no single number describes a member.
        axis: what the amounts are, with their unit.

    Raises:
        ValueError: the set is empty, or there is not one amount for each member.
        TypeError: a member is neither an `Affine` nor an `ImageFunction` nor callable.
    """

    members: tuple[Transformation, ...]
    id: str = ""
    amounts: tuple[float, ...] = field(default=(), compare=False)
    axis: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        members = tuple(_as_transformation(member) for member in self.members)
        if not members:
            raise ValueError("members must hold at least one transformation. Received: an empty set")
        if self.amounts and len(self.amounts) != len(members):
            raise ValueError(f"amounts must hold {len(members)} numbers. Received: {len(self.amounts)}")
        object.__setattr__(self, "members", members)
        if not self.id:
            object.__setattr__(self, "id", _id_of(members))

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return TransformationSet(self.members[index], amounts=self.amounts[index], axis=self.axis)
        return self.members[index]

    def __iter__(self) -> Iterator[Transformation]:
        return iter(self.members)

    @property
    def is_affine(self) -> bool:
        """Whether every member is an `Affine`."""
        return all(isinstance(member, Affine) for member in self.members)

    @property
    def positions(self) -> tuple[Affine, ...] | None:
        """Where each member moves what the image shows; None if that is unknown for one of them."""
        maps = [_positions(member) for member in self.members]
        known = tuple(affine for affine in maps if affine is not None)
        return known if len(known) == len(maps) else None

    @property
    def labels(self) -> list[str]:
        """A short text for each member, for axes and titles."""
        return [label(member) for member in self.members]


def label(transformation: Transformation) -> str:
    """A short text for one transformation, such as `-90°`, `x1.25`, `shift (0.1, 0)`; see `affine_label`."""
    kind_of("transformation", transformation, (Affine, ImageFunction, Chain), "an Affine, an ImageFunction or a Chain")
    return affine_label(transformation) if isinstance(transformation, Affine) else transformation.name


def _positions(transformation: Transformation) -> Affine | None:
    return transformation if isinstance(transformation, Affine) else transformation.positions


def _as_transformation(value: Any) -> Transformation:
    if isinstance(value, (Affine, ImageFunction, Chain)):
        return value
    if callable(value):
        return ImageFunction.of(value)
    raise TypeError(f"a transformation must be an Affine or a function of images. Received: {value!r}")


def _id_of(members: tuple[Transformation, ...]) -> str:
    if all(isinstance(member, Affine) for member in members):
        return f"affines({[member.coefficients for member in members if isinstance(member, Affine)]!r})"
    return f"functions({', '.join(label(member) for member in members)})"


def member_count(n: int) -> int:
    """The number of members that a family of functions is asked for, checked."""
    return whole_number("n", n, 1, MOST_FUNCTIONS)
