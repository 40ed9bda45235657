"""Ordered sets of transformations with a stable text id that parses back."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tfinv.support.checks import kind_of, received, whole_number
from tfinv.support.extensions import installed, installed_names
from tfinv.transformations import framing, photometric
from tfinv.transformations.affine import Affine, finite_number
from tfinv.transformations.members import Chain, ImageFunction, Transformation, TransformationSet, label

__all__ = [
    "MAX_MEMBERS",
    "ImageFunction",
    "Transformation",
    "TransformationSet",
    "affines",
    "as_set",
    "identity",
    "label",
    "parse",
    "product",
    "radian_rotations",
    "register",
    "rotations",
    "scales",
    "translations",
]

MAX_MEMBERS = 100_000
"""More transformations than any study uses; a bound, so that a mistyped text cannot fill the memory."""


def as_set(transformations: TransformationSet | str | Transformation | Iterable[Transformation]) -> TransformationSet:
    """Whatever a user may give for a set, as a `TransformationSet`: a set, its id, one member, or several.

    Raises:
        ValueError: an empty set or a text that does not parse.
        TypeError: anything else.
    """
    return _as_set(transformations, "transformations")


def _as_set(transformations: Any, argument: str) -> TransformationSet:
    if isinstance(transformations, TransformationSet):
        return transformations
    if isinstance(transformations, str):
        return parse(transformations)
    if isinstance(transformations, (Affine, ImageFunction, Chain)):
        return TransformationSet((transformations,))
    if callable(transformations):
        return TransformationSet((ImageFunction.of(transformations),))
    if isinstance(transformations, Iterable):
        return TransformationSet(tuple(transformations))
    raise TypeError(
        f"{argument} must be a TransformationSet, its id such as 'rotations(16)', or a sequence of Affine maps. "
        f"Received: {received(transformations)}"
    )


def identity() -> TransformationSet:
    """The set that holds the identity alone."""
    return TransformationSet((Affine.identity(),), "identity()")


def rotations(n: int, max_degrees: float = 180.0) -> TransformationSet:
    """`n` rotations spread evenly over `[-max_degrees, max_degrees]`, ascending.

    Over a whole turn (`max_degrees=180`) -180 and 180 are the same rotation, so only -180 is a member: the angles are
    the multiples `k * 360 / n` for `k = -(n // 2) .. (n - 1) // 2`, which always contain 0. Below a whole turn both
    ends are members: `linspace(-max_degrees, max_degrees, n)`. `n = 1` is the identity.

    Args:
        n: number of rotations, at least 1.
        max_degrees: largest angle, in degrees, in [0, 180].

    Returns:
        A set of `n` rotations with the id `rotations(n)` or `rotations(n, max_degrees)`.

    Raises:
        ValueError: `n` or `max_degrees` out of range.
    """
    n = _count("n", n)
    limit = finite_number("max_degrees", max_degrees)
    if not 0 <= limit <= 180:
        raise ValueError(f"max_degrees must be in [0, 180]. Received: {max_degrees}")
    if n == 1:
        angles = np.zeros(1)
    elif limit == 180:
        angles = np.arange(-(n // 2), (n - 1) // 2 + 1) * (360.0 / n)
    else:
        angles = (2 * np.arange(n) - (n - 1)) * (limit / (n - 1))  # symmetric to the last bit, unlike linspace
    text = f"rotations({n})" if limit == 180 else f"rotations({n}, {limit!r})"
    members = tuple(Affine.rotation(angle) for angle in angles)
    return TransformationSet(members, text, tuple(map(float, angles)), "rotation of the image (degrees)")


def scales(n: int, low: float, high: float) -> TransformationSet:
    """`n` factors below 1, the identity, `n` factors above 1, each along y, x and both: `6n + 1` members.

    Down-scalings `linspace(low, 1, n, endpoint excluded)` come first in ascending order, then the identity, then
    `linspace(1, high, n + 1)` without its first; each factor `s` gives `(1, s), (s, 1), (s, s)`. A side without room
    (`low = 1` or `high = 1`) is left out rather than repeated as identities.

    Args:
        n: number of factors on each side, at least 1.
        low: smallest factor, in (0, 1].
        high: largest factor, at least 1.

    Returns:
        The set, with the id `scales(n, low, high)`.

    Raises:
        ValueError: an argument out of range.
    """
    n = _count("n", n)
    low, high = finite_number("low", low), finite_number("high", high)
    if not 0 < low <= 1 <= high:
        raise ValueError(f"low and high must satisfy 0 < low <= 1 <= high. Received: low={low}, high={high}")
    down = np.linspace(low, 1.0, n, endpoint=False) if low < 1 else []
    up = np.linspace(1.0, high, n + 1)[1:] if high > 1 else []

    def three(factors: Iterable[float]) -> list[Affine]:
        return [Affine.scale(*pair) for s in factors for pair in ((1.0, s), (s, 1.0), (s, s))]

    return TransformationSet((*three(down), Affine.identity(), *three(up)), f"scales({n}, {low!r}, {high!r})")


def translations(n: int, max_fraction: float) -> TransformationSet:
    """The identity, then `n` distances in 8 directions each: `8n + 1` members.

    For each distance `d` of `linspace(0, max_fraction, n + 1)` without its first, the shifts are, in order,
    `(0,d), (0,-d), (d,0), (d,d), (d,-d), (-d,0), (-d,d), (-d,-d)` in fractions of (width, height); positive moves the
    content right and down.

    Args:
        n: number of distances, at least 1.
        max_fraction: largest distance as a fraction of the image side, in (0, 1].

    Returns:
        The set, with the id `translations(n, max_fraction)`.

    Raises:
        ValueError: an argument out of range.
    """
    n = _count("n", n)
    limit = finite_number("max_fraction", max_fraction)
    if not 0 < limit <= 1:
        raise ValueError(f"max_fraction must be in (0, 1]. Received: {max_fraction}")
    members = [Affine.identity()]
    for d in np.linspace(0.0, limit, n + 1)[1:]:
        directions = ((0, d), (0, -d), (d, 0), (d, d), (d, -d), (-d, 0), (-d, d), (-d, -d))
        members += [Affine.translation(tx, ty) for tx, ty in directions]
    return TransformationSet(tuple(members), f"translations({n}, {limit!r})")


def product(*sets: TransformationSet) -> TransformationSet:
    """Every combination of one member of each set; the last set varies fastest.

    A member does the first set's transformation first: `product(rotations(8), scales(1, .5, 1.25))` rotates, then
    scales. Affine maps that follow each other are one exact composition, so an image is interpolated once.

    Args:
        *sets: sets of transformations, at least one.

    Returns:
        The set, with the id `product(<ids>)`.

    Raises:
        ValueError: no set was given, or the product is too large.
    """
    if not sets:
        raise ValueError("sets must be at least one set of transformations. Received: none")
    sets = tuple(_as_set(part, "sets") for part in sets)
    size = math.prod(len(part) for part in sets)
    if size > MAX_MEMBERS:
        raise ValueError(f"product must have at most {MAX_MEMBERS} members. Received: {size}")
    members = tuple(_chained(combination) for combination in itertools.product(*sets))
    return TransformationSet(members, f"product({', '.join(part.id for part in sets)})")


def _chained(parts: Sequence[Transformation]) -> Transformation:
    """The parts one after the other, neighbouring affine maps composed, identities left out."""
    steps: list[Affine | ImageFunction] = []
    for part in itertools.chain.from_iterable(part.steps if isinstance(part, Chain) else (part,) for part in parts):
        if isinstance(part, Affine) and steps and isinstance(steps[-1], Affine):
            steps[-1] = steps[-1].compose(part)
        else:
            steps.append(part)
    moved = [step for step in steps if step != Affine.identity()]
    if not moved:
        return Affine.identity()
    return moved[0] if len(moved) == 1 else Chain(tuple(moved))


def radian_rotations(n: int, low: float, high: float) -> TransformationSet:
    """Compatibility set: `n` rotations by `linspace(low, high, n)` RADIANS, as earlier software used them.

    The PyTorch libraries passed degrees to functions of radians, so their "rotations from 0 to 360 degrees in 4 steps"
    are `radian_rotations(4, 0, 360)`, effectively 0, 35.5, 71.0 and 106.5 degrees. Only for comparison with published
    values; use `rotations` otherwise.

    Args:
        n: number of rotations, at least 1.
        low: first angle in radians.
        high: last angle in radians, included.

    Returns:
        The set, with the id `radian_rotations(n, low, high)`.
    """
    n = _count("n", n)
    low, high = finite_number("low", low), finite_number("high", high)
    angles = np.degrees(np.linspace(low, high, n))
    return TransformationSet(
        tuple(Affine.rotation(angle) for angle in angles), f"radian_rotations({n}, {low!r}, {high!r})"
    )


def affines(coefficients: Sequence[Any]) -> TransformationSet:
    """The set of the maps with these `Affine.coefficients`; the id of a set put together by hand reads like this call.

    Raises:
        ValueError: no maps, or coefficients that are not two rows of four finite numbers.
    """
    kind_of("coefficients", coefficients, (Sequence, np.ndarray), "a sequence of two rows of four numbers each")
    return TransformationSet(tuple(Affine(coefficient) for coefficient in coefficients))


_FACTORIES: dict[str, Callable[..., TransformationSet]] = {
    family.__name__: family
    for family in (
        identity,
        rotations,
        scales,
        translations,
        product,
        radian_rotations,
        affines,
        framing.crops,
        framing.perspective,
        photometric.brightness,
        photometric.contrast,
        photometric.gamma,
        photometric.saturation,
        photometric.gaussian_blur,
        photometric.gaussian_noise,
        photometric.jpeg,
        photometric.resizing,
        photometric.resize_kernels,
    )
}
_BUILT_IN = frozenset(_FACTORIES)
GROUP = "tfinv.transformations"
"""The entry-point group in which installed packages name families."""


def register(family: Callable[..., Iterable[Transformation]]) -> Callable[..., TransformationSet]:
    """Make a family of transformations known by its name, so that `parse` reads the ids of its sets. A decorator.

    A later family of the same name takes the place of an earlier one, but for the families of tfinv.

    Example:
        >>> from tfinv.transformations import Affine, parse, register
        >>> @register
        ... def quarter_turns(n: int):
        ...     return [Affine.rotation(90 * k) for k in range(n)]
        >>> quarter_turns(2).id, parse("quarter_turns(2)") == quarter_turns(2)
        ('quarter_turns(2)', True)

    Args:
        family: a function that takes parameters, which must be literals such as numbers, and returns the members.

    Returns:
        The function that makes the `TransformationSet`, with the family's call as its id.

    Raises:
        TypeError: no function with a name.
        ValueError: the name of a family of tfinv.
    """
    name = getattr(family, "__name__", "")
    if not callable(family) or isinstance(family, type) or not name.isidentifier():
        raise TypeError(f"family must be a function with a name that returns transformations. Received: {family!r}")
    if _FACTORIES.get(name) is family:
        return family  # type: ignore[return-value]
    if name in _BUILT_IN:
        raise ValueError(f"family must not have the name of a family of tfinv. Received: {name!r}")
    signature = inspect.signature(family)

    @functools.wraps(family)
    def made(*arguments: Any, **options: Any) -> TransformationSet:
        members = family(*arguments, **options)
        if not isinstance(members, Iterable):
            raise TypeError(f"{name} must return transformations. Received: {members!r}")
        return TransformationSet(tuple(members), f"{name}({_call(signature.bind(*arguments, **options))})")

    _FACTORIES[name] = made
    return made


def _call(bound: inspect.BoundArguments) -> str:
    """The arguments of a call as text, without those that are equal to their defaults at the end."""
    positional, options = [_plain(value) for value in bound.args], dict(bound.kwargs)
    parameters = list(bound.signature.parameters.values())
    while (
        positional and len(positional) <= len(parameters) and parameters[len(positional) - 1].default == positional[-1]
    ):
        positional.pop()
    named = [f"{name}={_plain(value)!r}" for name, value in options.items()]
    return ", ".join([*map(repr, positional), *named])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _family(name: str) -> Callable[..., TransformationSet] | None:
    """The family of that name, from an installed package where it is not known yet."""
    if name not in _FACTORIES and (family := installed(GROUP, name)) is not None:
        register(family)
    return _FACTORIES.get(name)


def is_built_in(text: str) -> bool:
    """Whether an id names families of tfinv alone, so that it parses wherever tfinv is installed."""
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError):
        return False
    return {node.id for node in nodes if isinstance(node, ast.Name)} <= _BUILT_IN


def _known() -> str:
    return ", ".join(sorted({*_FACTORIES, *installed_names(GROUP)}))


def parse(text: str) -> TransformationSet:
    """The set that a text id names, such as `"rotations(16)"` or `"product(rotations(8), scales(1, 0.5, 1.25))"`.

    The text is read as data, never evaluated: only families (those of tfinv, registered ones, and
    those of the entry points `tfinv.transformations`) and literals are accepted.

    Example:
        >>> from tfinv.transformations import parse, rotations
        >>> parse("rotations(16)") == rotations(16)
        True

    Args:
        text: a call of one factory, or a factory's name where it needs no argument.

    Returns:
        The set. Its id is the canonical spelling of the text.

    Raises:
        TypeError: not a text.
        ValueError: the text is not a call of a known factory with fitting arguments.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string such as 'rotations(16)'. Received: {text!r}")
    received = f"Received: {text[:200]!r}"
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"transformations must read like 'rotations(16)'; known are {_known()}. {received}") from None
    return _build(node, received)


def _build(node: ast.expr, received: str) -> TransformationSet:
    if isinstance(node, ast.Name):
        node = ast.Call(func=node, args=[], keywords=[])
    family = _family(node.func.id) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and family):
        raise ValueError(f"transformations must be one of {_known()}. {received}")
    arguments = [_argument(value, received) for value in node.args]
    options = {str(keyword.arg): _argument(keyword.value, received) for keyword in node.keywords}
    try:
        return family(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"{node.func.id} cannot be called like this: {error}. {received}") from None


def _argument(value: ast.expr, received: str) -> Any:
    if isinstance(value, (ast.Call, ast.Name)):
        return _build(value, received)
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError):
        raise ValueError(f"the arguments of a transformation set must be numbers. {received}") from None


def _count(name: str, value: Any) -> int:
    return whole_number(name, value, 1, MAX_MEMBERS)
