"""Arguments of public functions, checked against their annotations before the function runs."""

from __future__ import annotations

import builtins
import functools
import inspect
import math
import os
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from tfinv.support.checks import is_number, one_of, public_name, received, whole_number

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Fits = Callable[[Any], bool]


def guarded(*names: str, **least: int) -> Callable[[_Function], _Function]:
    """Refuse arguments that are not of the kind that their annotation names; a decorator of functions and classes.

    Truth values, text, paths, finite numbers, choices, functions, mappings, sequences and classes are told apart.
    An annotation that exists for type checkers alone, and `Any`, allow everything. Whole numbers are checked where
    `least` names them: what else is allowed of a number is for the function to say.

    Example:
        >>> from tfinv.support.guarded import guarded
        >>> @guarded(n=1)
        ... def draw(n: int, title: str | None = None, sort: bool = True): ...
        >>> draw(2, sort="no")
        Traceback (most recent call last):
        TypeError: sort must be True or False. Received: 'no'
        >>> draw(0)
        Traceback (most recent call last):
        ValueError: n must be a whole number of at least 1. Received: 0

    Args:
        names: the arguments that are checked; by default all.
        least: by argument the smallest whole number that it may be; None passes where the annotation allows it.

    Returns:
        The decorator. What it decorates raises `TypeError` for another kind, `ValueError` for a value out of bounds.
    """

    def decorate(function: Any) -> Any:
        if not inspect.isclass(function):
            return _with_checks(function, names, least)
        setattr(function, "__init__", _with_checks(function.__init__, names, least))  # noqa: B010
        return function

    return decorate


def _with_checks(function: Any, names: tuple[str, ...], least: Mapping[str, int]) -> Any:
    signature = inspect.signature(function)
    wanted = {*names, *least} if names else {*signature.parameters}

    @functools.cache
    def checks() -> dict[str, Callable[[Any], None]]:
        # At the first call: an annotation may name what stands further down in its module.
        kinds = get_type_hints(function, localns=_Names(function.__globals__))
        every = {
            parameter.name: _check(parameter, kinds.get(parameter.name, Any), least)
            for parameter in signature.parameters.values()
            if parameter.name in wanted and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        }
        return {name: check for name, check in every.items() if check is not None}

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            given = signature.bind(*arguments, **options).arguments
        except TypeError:  # an argument is missing or unknown, which Python says best of the function itself
            return function(*arguments, **options)
        for name, check in checks().items():
            if name in given:
                check(given[name])
        return function(*arguments, **options)

    return run


def _check(parameter: inspect.Parameter, kind: Any, least: Mapping[str, int]) -> Callable[[Any], None] | None:
    """The check of one argument; None where its annotation allows everything."""
    name = parameter.name
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    optional = type(None) in members or parameter.default is None
    if name in least:
        return lambda value: None if value is None and optional else _whole(name, value, least[name])
    if get_origin(kind) is Literal:
        return lambda value: one_of(name, value, kind)
    kinds = [_kind(member) for member in members]
    if any(kind is None for kind in kinds):
        return None
    fits = [kind[0] for kind in kinds if kind]
    words = list(dict.fromkeys(kind[1] for kind in kinds if kind))
    if "a path" in words:
        words.remove("text")

    def check(value: Any) -> None:
        if not any(fit(value) for fit in fits):
            expected = " or ".join(words)
            error = ValueError if isinstance(value, float) and "a finite number" in words else TypeError
            raise error(f"{name} must be {expected}. Received: {received(value)}")

    return check


def _whole(name: str, value: Any, least: int) -> None:
    whole_number(name, value, least)


def _kind(member: Any) -> tuple[_Fits, str] | None:
    """What fits a part of an annotation, and what it is called; None where everything does."""
    origin = get_origin(member) or member
    if origin in _KINDS:
        return _KINDS[origin]
    if origin is Literal:
        values = get_args(member)
        return (lambda value: value in values), " or ".join(map(repr, values))
    if not inspect.isclass(origin) or origin is object:
        return None
    if origin is os.PathLike:
        return (lambda value: isinstance(value, origin)), "a path"
    if issubclass(origin, Mapping):
        return (lambda value: isinstance(value, Mapping)), "a mapping"
    if issubclass(origin, Iterable) and origin.__module__ in ("collections.abc", "builtins"):
        return _is_sequence, "a sequence"
    if origin.__module__.split(".")[0] != "tfinv":
        return None
    return (lambda value: isinstance(value, origin)), f"a {public_name(origin)}"


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) != 0


def _is_finite(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)


_KINDS: dict[Any, tuple[_Fits, str] | None] = {
    type(None): (lambda value: value is None, "None"),
    bool: (lambda value: isinstance(value, (bool, np.bool_)), "True or False"),
    str: (lambda value: isinstance(value, str), "text"),
    bytes: (lambda value: isinstance(value, bytes), "bytes"),
    float: (_is_finite, "a finite number"),
    int: None,
    type: (inspect.isclass, "a class"),
    Callable: (callable, "a function"),
}
"""By kind: what fits, and what it is called; None for what the function itself checks."""


class _Unknown:
    """A name that exists for type checkers alone; whatever is made of it allows everything."""

    def __getattr__(self, name: str) -> _Unknown:
        return self

    def __getitem__(self, key: Any) -> _Unknown:
        return self

    def __or__(self, other: Any) -> _Unknown:
        return self

    __ror__ = __or__

    def __call__(self) -> None:
        """Nothing; only what can be called passes as a type, such as inside of `Mapping[str, ...]`."""


class _Names(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return vars(builtins).get(name, _UNKNOWN)


_UNKNOWN = _Unknown()
