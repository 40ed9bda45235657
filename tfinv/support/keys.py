"""Stable text keys of parameter-only dataclasses, such as `NormalizedVariance(aggregate='mean')`, and back."""

from __future__ import annotations

import ast
import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any


def key_of(instance: Any) -> str:
    """Class name, and the parameters that differ from their defaults, as a call that `from_key` reads back."""
    options = [
        f"{each.name}={getattr(instance, each.name)!r}"
        for each in dataclasses.fields(instance)
        if each.init and getattr(instance, each.name) != each.default
    ]
    name = type(instance).__name__
    return f"{name}({', '.join(options)})" if options else name


def from_key(text: str, classes: Mapping[str, type], what: str) -> Any:
    """The instance that a key names; the text is read as data, never evaluated.

    Args:
        text: a key such as `"Anova(confidence=0.95)"`; parameters by keyword with literal values.
        classes: known classes by name.
        what: what the key stands for, for the error message.

    Raises:
        ValueError: an unknown name, a text that does not parse, or unfitting parameters.
    """
    name, _, rest = text.strip().partition("(")
    if name not in classes:
        close = difflib.get_close_matches(name, classes, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{what} must be one of {', '.join(classes)}.{hint} Received: {text!r}")
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Call) and not call.args:
            return classes[name](**{str(each.arg): ast.literal_eval(each.value) for each in call.keywords})
        if not rest:
            return classes[name]()
    except (SyntaxError, TypeError) as error:
        raise ValueError(f"{what} {name} cannot be made like this: {error}. Received: {text!r}") from None
    except ValueError as error:
        raise ValueError(f"{what} {name}: {error}") from None
    raise ValueError(f"{what} must read like {name}(option=value). Received: {text!r}")
