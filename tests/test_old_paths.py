"""Public modules that moved can be imported where they were, with a warning that says where they are."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("tfinv.accuracy", "tfinv.training", ("accuracy", "accuracy_under")),
        ("tfinv.checkpoint", "tfinv.engine.checkpoint", ("Checkpoint",)),
    ],
)
def test_a_moved_module_gives_the_same_objects(old: str, new: str, names: tuple[str, ...]):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old}: deprecated.*import from {new}"):
        module = importlib.import_module(old)
    for name in names:
        assert getattr(module, name) is getattr(importlib.import_module(new), name)
