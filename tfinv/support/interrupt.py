"""Ctrl-C that takes effect at once, wherever it is pressed, or at the end of a block."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AGAIN = 3.0
"""Seconds after which an interrupt that was lost is raised again."""


@contextmanager
def lasting_interrupt() -> Iterator[None]:
    """Raise `KeyboardInterrupt` again until it comes through.

    Python drops it where it strikes inside of a callback, and libraries turn it into errors of their own. Only in the
    main thread, and only where Ctrl-C has its usual meaning.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, whichever error it turned into.
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    pressed: list[Any] = []

    def interrupt(*_: Any) -> None:
        if not pressed:
            pressed.append(signal.signal(signal.SIGALRM, interrupt))
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if pressed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, pressed[0])


@contextmanager
def postponed_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets the event that this yields, so that a block of samples is never left half counted.

    A second Ctrl-C stops at once. Outside the main thread, where there are no signals, it does nothing.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.getsignal(signal.SIGINT)

    def press(number: int, frame: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
