"""What goes wrong inside TensorFlow, a runtime or a user's own code, in words that say what to do."""

from __future__ import annotations

SHOWN = 300
"""Characters of foreign words that an error shows."""


def one_line(error: BaseException | str, longest: int | None = None) -> str:
    """The words of an error in one line; its kind where it has no words.

    Example:
        >>> from tfinv.support.faults import one_line
        >>> one_line(ValueError("first\\n  second")), one_line(KeyError())
        ('first second', 'KeyError')

    Args:
        error: the error, or its text.
        longest: how many characters to keep; None for all.
    """
    text = " ".join(str(error).split())
    if longest is not None and len(text) > longest:
        text = text[:longest].rstrip() + " ..."
    return text or type(error).__name__
