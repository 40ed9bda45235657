"""Check that JSON values have the declared types, and say where they do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Any
"""What a value must be: a type; `[schema]`, a list of such values; `{str: schema}`, a mapping to such values;
`{"name": schema, "other?": schema}`, a mapping with these entries, those with `?` optional; a tuple of schemas, any of
them; a `Rule`. `float` takes whole numbers too, `int` no truth values, and `object` takes everything."""


@dataclass(frozen=True)
class Rule:
    """A value of some schema that obeys a rule besides.

    Args:
        schema: what the value must be first.
        holds: whether the rule holds for it.
        words: the rule in words, such as `"a number between 0 and 1"`.
    """

    schema: Schema
    holds: Callable[[Any], bool]
    words: str


def check(value: Any, schema: Schema, where: str = "it") -> None:
    """Refuse a value that is not as declared.

    Example:
        >>> from tfinv.support.schema import check
        >>> check({"name": "conv", "sizes": [3, 4]}, {"name": str, "sizes": [int], "note?": str})
        >>> check({"name": 5, "sizes": []}, {"name": str, "sizes": [int]}, "header")
        Traceback (most recent call last):
        ValueError: header.name must be text, and is a whole number

    Raises:
        ValueError: the place, what must be there, and what is there.
    """
    if isinstance(schema, Rule):
        check(value, schema.schema, where)
        if not schema.holds(value):
            raise ValueError(f"{where} must be {schema.words}, and is {value!r:.60}")
    elif isinstance(schema, tuple):
        if not any(_fits(value, one) for one in schema):
            raise ValueError(f"{where} must be {' or '.join(_words(one) for one in schema)}, and is {_kind(value)}")
    elif isinstance(schema, type):
        if not _is(value, schema):
            raise ValueError(f"{where} must be {_words(schema)}, and is {_kind(value)}")
    else:
        _check_inside(value, schema, where)


def _check_inside(value: Any, schema: Schema, where: str) -> None:
    if not isinstance(value, type(schema)):
        raise ValueError(f"{where} must be {_words(schema)}, and is {_kind(value)}")
    if isinstance(schema, list):
        for number, item in enumerate(value):
            check(item, schema[0], f"{where}[{number}]")
    elif str in schema:
        entries: Any = value
        for name, item in entries.items():
            check(item, schema[str], f"{where}.{name}")
    else:
        for name, wanted in schema.items():
            key, optional = name.removesuffix("?"), name.endswith("?")
            if key in value:
                check(value[key], wanted, f"{where}.{key}")
            elif not optional:
                raise ValueError(f"{where} lacks {key!r}")


_WORDS: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}


def _words(schema: Schema) -> str:
    if isinstance(schema, Rule):
        return schema.words
    return _WORDS[schema if isinstance(schema, type) else type(schema)]


def _kind(value: Any) -> str:
    return _WORDS.get(type(value), type(value).__name__)


def _is(value: Any, wanted: type) -> bool:
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))


def _fits(value: Any, schema: Schema) -> bool:
    try:
        check(value, schema)
    except ValueError:
        return False
    return True
