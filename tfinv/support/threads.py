"""How many threads a worker process may use."""

from __future__ import annotations

import os

THREADS = "TFINV_WORKER_THREADS"
"""Environment variable of the threads of one worker."""


def worker_threads() -> int | None:
    """The threads of this process where it is a worker; None elsewhere."""
    value = os.environ.get(THREADS, "")
    return int(value) if value.isdigit() and int(value) else None
