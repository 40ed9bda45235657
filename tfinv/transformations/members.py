"""Members of sets: affine maps and functions of images, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfinv.transformations.affine import Affine
from tfinv.transformations.labels import affine_label


@dataclass(frozen=True)
class ImageFunction:
    """Any function of a batch of images used as a transformation: brightness, blur, noise.

    Args:
        function: maps a float32 tensor `(N, H, W, C)` to one of the same shape, with TensorFlow operations.
        name: stands for the function in ids and plots.
    """

    function: Callable[[Any], Any] = field(compare=False)
    name: str

    @classmethod
    def of(cls, function: Callable[[Any], Any]) -> ImageFunction:
        """Wrap a function under its own name."""
        return cls(function, getattr(function, "__name__", type(function).__name__))


Transformation = Affine | ImageFunction


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
            factories are; only sets with functions of images have an id that does not.

    Raises:
        ValueError: the set is empty.
        TypeError: a member is neither an `Affine` nor an `ImageFunction` nor callable.
    """

    members: tuple[Transformation, ...]
    id: str = ""

    def __post_init__(self) -> None:
        members = tuple(_as_transformation(member) for member in self.members)
        if not members:
            raise ValueError("members must hold at least one transformation. Received: an empty set")
        object.__setattr__(self, "members", members)
        if not self.id:
            object.__setattr__(self, "id", _id_of(members))

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: Any) -> Any:
        return TransformationSet(self.members[index]) if isinstance(index, slice) else self.members[index]

    def __iter__(self) -> Iterator[Transformation]:
        return iter(self.members)

    @property
    def is_affine(self) -> bool:
        """Whether every member is an `Affine`."""
        return all(isinstance(member, Affine) for member in self.members)

    @property
    def labels(self) -> list[str]:
        """A short text for each member, for axes and titles."""
        return [label(member) for member in self.members]


def label(transformation: Transformation) -> str:
    """A short text for one transformation, such as `-90°`, `x1.25`, `shift (0.1, 0)`; see `affine_label`."""
    return transformation.name if isinstance(transformation, ImageFunction) else affine_label(transformation)


def _as_transformation(value: Any) -> Transformation:
    if isinstance(value, (Affine, ImageFunction)):
        return value
    if callable(value):
        return ImageFunction.of(value)
    raise TypeError(f"a transformation must be an Affine or a function of images. Received: {value!r}")


def _id_of(members: tuple[Transformation, ...]) -> str:
    if all(isinstance(member, Affine) for member in members):
        return f"affines({[member.coefficients for member in members if isinstance(member, Affine)]!r})"
    return f"functions({', '.join(label(member) for member in members)})"
