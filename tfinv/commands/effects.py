"""Which options a user has given, and errors for those that change nothing."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from tfinv.support.checks import whole_number

_UNSET = object()


class Whole:
    """The type of an option that is a whole number, at least so large; `parse` refuses smaller ones."""

    __name__ = "int"  # of what argparse says where it is none

    def __init__(self, least: int) -> None:
        self.least = least

    def __call__(self, text: str) -> int:
        return int(text)


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse arguments; the result has an attribute `given` with the names of those that the user wrote.

    Example:
        >>> import argparse
        >>> from tfinv.commands.effects import parse
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("--seed", type=int, default=0)
        >>> _ = parser.add_argument("--epochs", type=int, default=1)
        >>> options = parse(parser, ["--seed", "0"])
        >>> options.seed, options.epochs, sorted(options.given)
        (0, 1, ['seed'])

    Args:
        parser: of a command.
        arguments: what the user wrote.

    Raises:
        ValueError: a number below the least of its option, see `Whole`.
    """
    names = [action.dest for action in parser._actions if action.dest != "help"]
    blank = argparse.Namespace(**dict.fromkeys(names, _UNSET))
    options = parser.parse_intermixed_args(arguments, blank)
    optional = {action.dest for action in parser._actions if action.option_strings}
    given = frozenset(
        name
        for name in names
        if getattr(options, name) is not _UNSET
        and (name in optional or getattr(options, name) not in ([], parser.get_default(name)))
    )
    for name in names:
        if getattr(options, name) is _UNSET:
            setattr(options, name, parser.get_default(name))
    options.given = given
    for action in parser._actions:
        if isinstance(action.type, Whole) and action.dest in given:
            value = getattr(options, action.dest)
            for number in value if isinstance(value, list) else [value]:
                whole_number(action.option_strings[0], number, action.type.least)
    return options


def refuse_idle(options: argparse.Namespace, reasons: Mapping[str, str | bool | None]) -> None:
    """Refuse options that were given and have no effect.

    Args:
        options: as `parse` gives them.
        reasons: by name of an option why it has no effect; empty or false where it has one.

    Raises:
        ValueError: the first such option, with the reason.
    """
    for name, reason in reasons.items():
        if reason and name in options.given:
            flag = "--" + name.replace("_", "-")
            value = getattr(options, name)
            received = flag if value is True else f"{flag} {_words(value)}"
            raise ValueError(f"{flag} has no effect here: {reason}; leave it out. Received: {received}")


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
