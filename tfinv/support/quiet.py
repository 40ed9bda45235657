"""Catch what converters and interpreters print, Python and C++ alike, so that a terminal shows only tfinv."""

from __future__ import annotations

import contextlib
import io
import tempfile
import threading
import warnings
from collections.abc import Iterator

from tfinv.support.descriptors import redirected

_LOCK = threading.RLock()


class Log:
    """What was printed inside a `quiet` block; read `text` after the block ends."""

    def __init__(self) -> None:
        self.text = ""


@contextlib.contextmanager
def quiet() -> Iterator[Log]:
    """Send standard output, standard error and warnings of this process to a log while the block runs.

    Works on the file descriptors, because TensorFlow and LiteRT print from C++. Progress bars and blank lines are
    left out of the log. Other threads' output is caught too, so keep the block short.

    Example:
        >>> from tfinv.support.quiet import quiet
        >>> with quiet() as log:
        ...     print("noise")
        >>> log.text
        'noise'

    Yields:
        A `Log`, filled when the block ends, with or without an error.
    """
    log = Log()
    with _LOCK, tempfile.TemporaryFile() as file, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        python = io.StringIO()
        try:
            with redirected(file.fileno()), contextlib.redirect_stdout(python), contextlib.redirect_stderr(python):
                yield log
        finally:
            file.seek(0)
            lines = [python.getvalue(), file.read().decode(errors="replace")]
            lines += [f"{warning.category.__name__}: {warning.message}" for warning in caught]
            log.text = _tidy("\n".join(lines))


def _tidy(text: str) -> str:
    lines = (line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n"))  # TFLM ends lines by "\r\n"
    return "\n".join(line for line in lines if line and "%|" not in line)
