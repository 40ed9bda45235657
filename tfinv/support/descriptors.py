"""Redirect what a process prints through its file descriptors, from Python and C++ alike."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

STANDARD = {1: "stdout", 2: "stderr"}


@contextlib.contextmanager
def redirected(target: int, descriptors: Sequence[int] = (1, 2)) -> Iterator[None]:
    """Let standard output, standard error or both go to another descriptor while the block runs.

    A descriptor that the process does not have stays as it is.

    Args:
        target: where to.
        descriptors: 1 for standard output, 2 for standard error.
    """
    saved = []
    for descriptor in descriptors:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            getattr(sys, STANDARD[descriptor]).flush()
        with contextlib.suppress(OSError):
            saved.append((descriptor, os.dup(descriptor)))
            os.dup2(target, descriptor)
    try:
        yield
    finally:
        for descriptor, copy in saved:
            os.dup2(copy, descriptor)
            os.close(copy)
