"""Parts of layers that Keras looks up: initializers and regularizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfinv.support.checks import received
from tfinv.support.lazy import keras


def initializer_of(name: str, value: Any) -> Any:
    """An initializer of Keras by its name, its settings or itself.

    Args:
        name: of the argument, for the error.
        value: what was given.

    Raises:
        ValueError: Keras does not know it.
    """
    return _get(keras.initializers.get, name, value, "an initializer")


def regularizer_of(name: str, value: Any) -> Any:
    """A regularizer of Keras by its name, its settings or itself; None stays None.

    Args:
        name: of the argument, for the error.
        value: what was given.

    Raises:
        ValueError: Keras does not know it.
    """
    return _get(keras.regularizers.get, name, value, "a regularizer")


def _get(get: Callable[[Any], Any], name: str, value: Any, kind: str) -> Any:
    try:
        return get(value)
    except (ValueError, TypeError):
        raise ValueError(f"{name} must be {kind} that Keras knows. Received: {received(value)}") from None
