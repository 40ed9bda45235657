"""Checks of what users give: one message for one kind of mistake."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, get_args

import numpy as np


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


def share(name: str, value: Any, such_as: str = "") -> float:
    """A number strictly between 0 and 1.

    Args:
        name: of the argument, for the error.
        value: what was given.
        such_as: an example for the error.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
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
