"""Find what users add: an object in a `.py` file, in a module, or in an installed package's entry points."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from tfinv.support.reading import read_bytes

_PLACE = re.compile(r"(?:^|(?<=[(,]))([^(),'\"]+):([A-Za-z_]\w*)(?=[(),]|\s*$)")


def load_object(text: str, what: str) -> Any:
    """The object that `"path/to/file.py:Name"` or `"package.module:Name"` names. Runs the file or module.

    Only for texts that the user typed: a text from a file of results or of a model must never come here.

    Example:
        >>> from tfinv.support.extensions import load_object
        >>> load_object("math:sqrt", "function")(9.0)
        3.0

    Args:
        text: the place and the name, with a colon between them. A relative path counts from the current folder.
        what: what the object is for, such as `"measure"`; named in errors.

    Returns:
        The object.

    Raises:
        ValueError: another form of text, no such file, module or name, or a file that fails when it runs.
    """
    place, separator, name = text.strip().rpartition(":")
    if not separator or not place or not name.isidentifier():
        raise ValueError(f"{what} must read like file.py:Name or package.module:Name. Received: {text!r}")
    module = load_file(place, what) if place.endswith(".py") else _load_module(place, what)
    if not hasattr(module, name):
        defined = [known for known in vars(module) if not known.startswith("_")]
        raise ValueError(
            f"{what} must be a name that {place} defines, one of {', '.join(defined) or '(none)'}. Received: {text!r}"
        )
    return getattr(module, name)


def load_file(path: str, what: str) -> ModuleType:
    """The module that a `.py` file makes when it runs; the same file with the same content runs once.

    Raises:
        ValueError: no such file, or one that fails when it runs.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{what} must be an existing file. Received: {path!r}")
    # The name holds the content, so an edited file runs again. Dataclasses look their module up in sys.modules.
    content = read_bytes(file, "a file of Python code", argument=what)
    digest = hashlib.sha256(str(file.resolve()).encode() + b"\0" + content).hexdigest()[:16]
    name = f"_tfinv_extension_{digest}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if not isinstance(error, Exception):
                raise
            raise ValueError(f"{what} file {path} fails when it runs: {type(error).__name__}: {error}") from error
    return sys.modules[name]


def _load_module(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, TypeError, ValueError) as error:
        raise ValueError(
            f"{what} must name a .py file or a module that can be imported: {error}. Received: {name!r}"
        ) from error


def load_named(text: str, what: str, register: Callable[[Any], str]) -> str:
    """Load and register every `place:Name` in a text, and leave the names alone.

    `"product(mine.py:shears(3, 0.2), rotations(4))"` becomes `"product(shears(3, 0.2), rotations(4))"`. Paths that
    hold parentheses, commas or quotation marks are not recognized.

    Args:
        text: what the user typed.
        what: what the objects are for; named in errors.
        register: takes a loaded object and returns the name under which it is known from now on.

    Raises:
        ValueError: see `load_object`, and whatever `register` raises.
    """

    def registered(match: re.Match[str]) -> str:
        return register(load_object(f"{match[1].strip()}:{match[2]}", what))

    return _PLACE.sub(registered, text.strip())


def installed_names(group: str) -> list[str]:
    """The names that installed packages add to an entry-point group such as `"tfinv.measures"`, sorted."""
    return sorted(entry_points(group=group).names)


def installed(group: str, name: str) -> Any | None:
    """The object that an installed package adds to a group under a name; None where there is none.

    Raises:
        ValueError: several packages add that name, or the package cannot be imported.
    """
    points = list(entry_points(group=group, name=name))
    if not points:
        return None
    values = sorted({point.value for point in points})
    if len(values) > 1:
        raise ValueError(f"{name} must be added to {group} by one package. Received: {', '.join(values)}")
    try:
        return points[0].load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name} of {group} cannot be loaded from {values[0]}: {error}") from error
