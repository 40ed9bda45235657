"""Ctrl-C comes through where a callback drops it and where it turns into another error."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tfinv.support import interrupt


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Ctrl-C means what it usually does, also where tests run in the background."""
    monkeypatch.setattr(interrupt, "AGAIN", 0.1)
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    alarm = signal.getsignal(signal.SIGALRM)
    yield
    after = signal.signal(signal.SIGINT, outside), signal.getsignal(signal.SIGALRM)
    assert after == (signal.default_int_handler, alarm)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


class Dropping:
    def __del__(self) -> None:
        press()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dropped_interrupt_is_raised_again():
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interrupt.lasting_interrupt():
        Dropping()
        time.sleep(5)
    assert time.monotonic() - start < 4


def test_an_interrupt_that_turned_into_another_error_is_one():
    with pytest.raises(KeyboardInterrupt), interrupt.lasting_interrupt():
        try:
            press()
        except KeyboardInterrupt:
            raise ValueError("conversion failed") from None


def test_other_errors_stay_what_they_are():
    with pytest.raises(ValueError, match="own"), interrupt.lasting_interrupt():
        raise ValueError("own")


def test_where_interrupts_are_ignored_they_stay_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt.lasting_interrupt():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
