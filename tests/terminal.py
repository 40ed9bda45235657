"""A terminal for programs that tests run."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios


def shown_on_terminal(program: str, columns: int) -> str:
    """What a program of Python, which must end without an error, writes to a terminal as its standard error.

    Args:
        program: its text.
        columns: how wide the terminal is.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    process = subprocess.Popen([sys.executable, "-c", program], stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()
