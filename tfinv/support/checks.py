"""Checks of what users give: one message for one kind of mistake."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROOMS = ("activations", "datasets", "measures", "outputs", "statistics", "tflite", "training", "transformations")
"""Packages whose classes are imported from them; those of others stand in `tfinv` itself."""


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number within limits; NumPy's integers count, truth values do not.

    Example:
        >>> from tfinv.support.checks import whole_number
        >>> whole_number("epochs", 3, 1)
        3

    Args:
        name: of the argument, for the error.
        value: what was given.
        least: smallest number allowed.
        most: largest number allowed; None for any.

    Raises:
        ValueError: anything else.
    """
    fits = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not fits or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be a whole number {limits}. Received: {value!r}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """A truth value, Python's or NumPy's; numbers and texts are refused.

    Example:
        >>> from tfinv.support.checks import flag
        >>> flag("shuffle", "no")
        Traceback (most recent call last):
        TypeError: shuffle must be True or False. Received: 'no'

    Args:
        name: of the argument.
        value: what was given.

    Raises:
        TypeError: something else.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False. Received: {received(value)}")
    return bool(value)


def finite(name: str, value: Any, least: float = -math.inf, *, above: float | None = None, hint: str = "") -> float:
    """A finite number within limits; texts and truth values are refused.

    Example:
        >>> from tfinv.support.checks import finite
        >>> finite("fill_value", 1)
        1.0
        >>> finite("learning_rate", 0, above=0)
        Traceback (most recent call last):
        ValueError: learning_rate must be a finite number above 0. Received: 0

    Args:
        name: of the argument.
        value: what was given.
        least: smallest number allowed.
        above: what the number must be larger than; None for any.
        hint: what else is allowed, or an example, for the error.

    Raises:
        TypeError: no number.
        ValueError: NaN, infinity or a number out of bounds.
    """
    limits = f" above {above:g}" if above is not None else f" of at least {least:g}" if least > -math.inf else ""
    if not is_number(value):
        raise TypeError(f"{name} must be a number{limits}{hint}. Received: {received(value)}")
    if not math.isfinite(value) or value < least or (above is not None and value <= above):
        raise ValueError(f"{name} must be a finite number{limits}{hint}. Received: {value!r}")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether a value is a real number; NumPy's count, truth values do not."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def numbers(name: str, value: Any) -> NDArray[np.float64]:
    """Numbers as an array; texts, objects and rows of several lengths are refused.

    Example:
        >>> from tfinv.support.checks import numbers
        >>> numbers("scores", [1, 0.5]).tolist()
        [1.0, 0.5]

    Args:
        name: of the argument.
        value: what was given.

    Raises:
        TypeError: no array of real numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of numbers. Received: {received(value)}")
    return array.astype(np.float64)


def kind_of(name: str, value: Any, kinds: type | tuple[type, ...], expected: str) -> None:
    """Refuse an object of another kind.

    Example:
        >>> from tfinv.support.checks import kind_of
        >>> kind_of("metadata", {"data": "digits"}, dict, "a mapping")

    Args:
        name: of the argument, for the error.
        value: what was given.
        kinds: the types that fit.
        expected: these types in words.

    Raises:
        TypeError: an object of another type.
    """
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {expected}. Received: {received(value)}")


def function(name: str, value: Any, expected: str) -> None:
    """Refuse what cannot be called.

    Args:
        name: of the argument, for the error.
        value: what was given.
        expected: what the function does, in words.

    Raises:
        TypeError: no function, nor another object that can be called.
    """
    if not callable(value):
        raise TypeError(f"{name} must be {expected}. Received: {received(value)}")


def path_like(name: str, value: Any) -> None:
    """Refuse what is no path, and the empty text.

    Args:
        name: of the argument, for the error.
        value: what was given.

    Raises:
        TypeError: neither text nor a path.
        ValueError: the empty text.
    """
    kind_of(name, value, (str, os.PathLike), "a path")
    if value == "":
        raise ValueError(f"{name} must be a path. Received: ''")


def mapping(name: str, value: Any, expected: str) -> None:
    """Refuse what is no mapping from text.

    Args:
        name: of the argument, for the error.
        value: what was given.
        expected: what the mapping holds, in words.

    Raises:
        TypeError: no mapping, or a key that is no text.
    """
    kind_of(name, value, Mapping, expected)
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{name} must be {expected}. Received: the key {key!r}")


def layer_choice(layers: Any) -> None:
    """Refuse what chooses no layers; None chooses all.

    Raises:
        TypeError: neither text nor a type, nor several of them.
    """
    if layers is not None:
        kind_of("layers", layers, (str, type, Iterable), "names, globs or layer types")


def measure_choice(measure: Any) -> None:
    """Refuse what names no measure; None names the only one.

    Raises:
        TypeError: neither a key nor an object with one.
    """
    if measure is not None and not hasattr(measure, "key"):
        kind_of("measure", measure, str, "a measure or its key")


def received(value: Any) -> str:
    """A value for an error: small ones as they are, others by their type.

    Example:
        >>> from tfinv.support.checks import received
        >>> received(5), received([1, 2])
        ('5', 'list')
    """
    small = value is None or isinstance(value, (bool, int, float, str, type))
    return repr(value)[:200] if small else type(value).__name__


def public_name(kind: type) -> str:
    """The name under which users import a class.

    Example:
        >>> import tfinv
        >>> from tfinv.support.checks import public_name
        >>> public_name(tfinv.Sampling), public_name(tfinv.transformations.Affine)
        ('tfinv.Sampling', 'tfinv.transformations.Affine')
    """
    package, *rooms = kind.__module__.split(".")
    room = next(iter(rooms), "")
    inside = room if room in _ROOMS else ""
    return ".".join(part for part in (package, inside, kind.__name__) if part)


def share(name: str, value: Any, such_as: str = "") -> float:
    """A number strictly between 0 and 1.

    Args:
        name: of the argument, for the error.
        value: what was given.
        such_as: an example for the error.

    Raises:
        ValueError: anything else.
    """
    if not is_number(value) or not 0 < value < 1:
        example = f", such as {such_as}" if such_as else ""
        raise ValueError(f"{name} must be a number above 0 and below 1{example}. Received: {value!r}")
    return value


def one_of(name: str, value: Any, known: Any) -> None:
    """Refuse a value that is not one of those known, and say which one is near.

    Args:
        name: of the argument, for the error.
        value: what was given.
        known: the values, or a `Literal` type of them.

    Raises:
        ValueError: another value.
    """
    values = get_args(known) or tuple(known)
    if value not in values:
        names = ", ".join(map(repr, values))
        raise ValueError(f"{name} must be one of {names}.{close_match(value, values)} Received: {value!r}")


def close_match(text: Any, known: Iterable[Any]) -> str:
    """A hint for an error: `" Did you mean 'conv'?"`; empty where nothing is near.

    Example:
        >>> from tfinv.support.checks import close_match
        >>> close_match("comv", ["conv", "dense"])
        " Did you mean 'conv'?"
    """
    close = difflib.get_close_matches(str(text), [str(name) for name in known], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
