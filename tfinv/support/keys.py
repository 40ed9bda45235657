"""Stable text keys of parameter-only dataclasses, such as `NormalizedVariance(aggregate='mean')`, and back."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any

from tfinv.support.checks import close_match


def key_of(instance: Any) -> str:
    """Class name, and the parameters that differ from their defaults, as a call that `from_key` reads back."""
    options = [
        f"{field.name}={getattr(instance, field.name)!r}"
        for field in dataclasses.fields(instance)
        if field.init and getattr(instance, field.name) != field.default
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
        raise ValueError(f"{what} must be one of {', '.join(classes)}.{close_match(name, classes)} Received: {text!r}")
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Call) and not call.args:
            return classes[name](**{str(word.arg): ast.literal_eval(word.value) for word in call.keywords})
        if not rest:
            return classes[name]()
    except (SyntaxError, TypeError) as error:
        raise ValueError(f"{what} {name} cannot be made like this: {error}. Received: {text!r}") from None
    except ValueError as error:
        raise ValueError(f"{what} {name}: {error}") from None
    raise ValueError(f"{what} must read like {name}(option=value). Received: {text!r}")
