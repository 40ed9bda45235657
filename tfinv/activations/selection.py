"""Which layers a choice of names, globs and types means."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

from tfinv.activations.source import LayerChoice
from tfinv.support.checks import close_match, layer_choice


def select_names(
    types: Mapping[str, type | str], layers: LayerChoice, skipped: Mapping[str, str] | None = None
) -> list[str]:
    """The names that a choice of layers means, in network order.

    Args:
        types: layer type (class or class name) by layer name.
        layers: see `ActivationModel`.
        skipped: names that exist but cannot be measured, with the reason, for the error message.

    Returns:
        Names in the order of `types`.

    Raises:
        ValueError: nothing was asked for, or something that does not exist.
        TypeError: a choice that is neither text nor a type.
    """
    if layers is None:
        return list(types)
    layer_choice(layers)
    choices = [layers] if isinstance(layers, (str, type)) else list(layers)
    if not choices:
        raise ValueError("layers must name at least one layer. Received: none")
    chosen: set[str] = set()
    for choice in choices:
        matching = _matching(types, choice)
        if not matching:
            raise ValueError(_unknown_layer(choice, types, skipped or {}))
        chosen |= matching
    return [name for name in types if name in chosen]


def _matching(types: Mapping[str, type | str], choice: Any) -> set[str]:
    if isinstance(choice, type):
        return {name for name, kind in types.items() if isinstance(kind, type) and issubclass(kind, choice)}
    if not isinstance(choice, str):
        raise TypeError(f"layers must be names, globs or layer types. Received: {choice!r}")
    if choice in types:
        return {choice}
    calls = {name for name in types if name.split("@")[0] == choice or name.split(":")[0] == choice}
    globbed = {name for name in types if fnmatch.fnmatchcase(name, choice)}
    of_type = {n for n, kind in types.items() if choice == (kind if isinstance(kind, str) else kind.__name__)}
    return calls or globbed or of_type


def _unknown_layer(choice: Any, types: Mapping[str, Any], skipped: Mapping[str, str]) -> str:
    text = choice if isinstance(choice, str) else choice.__name__
    if text in skipped:
        return f"layer {text!r} cannot be measured: {skipped[text]}"
    return f"layers must name layers of the model: {', '.join(types)}.{close_match(text, types)} Received: {text!r}"
