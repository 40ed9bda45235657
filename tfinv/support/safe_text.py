"""Names that come out of files, made safe for a terminal and for a spreadsheet that opens a CSV file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# Control characters but newline and tab, and the marks that turn the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def printable(text: str) -> str:
    r"""Text whose control characters a terminal shows instead of obeying; line breaks and tabs stay.

    Example:
        >>> from tfinv.support.safe_text import printable
        >>> print(printable("conv\x1b[2J"))
        conv\x1b[2J
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def to_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV without its index; a text that a spreadsheet would run as a formula begins with an apostrophe.

    Example:
        >>> import pandas as pd
        >>> from tfinv.support.safe_text import to_csv
        >>> print(to_csv(pd.DataFrame({"layer": ["=1+1", "conv"], "change": [-0.5, 0.25]})), end="")
        layer,change
        '=1+1,-0.5
        conv,0.25

    Args:
        frame: numbers, truth values and texts.
    """
    safe = frame.rename(columns=_cell)
    for position in range(safe.shape[1]):
        column = safe.iloc[:, position]
        if column.dtype.kind not in "biufcmM":
            safe.isetitem(position, column.map(_cell))
    return safe.to_csv(index=False)


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return printable(f"'{value}" if value.startswith(_FORMULA) and not _is_number(value) else value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
