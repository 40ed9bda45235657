"""A cluster that has no workers, perhaps not yet, perhaps no more."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

LOOK_SECONDS = 3.0
"""How long to wait for a result before looking whether there are workers."""
QUIET_SECONDS, GONE_SECONDS = 20.0, 600.0
"""After how long without workers that is told, and after how long it is an error where there were some before."""


class Absence:
    """Looks after the workers of a cluster while somebody waits for what they do.

    A cluster that never had workers is waited for: jobs may wait for hours before they start.

    Args:
        cluster: what to call it.
        workers: counts them.
    """

    def __init__(self, cluster: str, workers: Callable[[], int]) -> None:
        self._cluster, self._workers = cluster, workers
        self._had_some = self._told = False
        self._since: float | None = None

    def met(self) -> None:
        """A worker gave a result."""
        self._had_some, self._told, self._since = True, False, None

    def look(self) -> None:
        """Tell once that there are no workers.

        Raises:
            RuntimeError: they are gone for good.
        """
        if self._workers():
            self.met()
            return
        now = time.monotonic()
        if self._since is None:
            self._since = now
        without = now - self._since
        if self._had_some and without >= GONE_SECONDS:
            raise RuntimeError(
                f"{self._cluster} must have workers until an evaluation ends. Received: none for {without:.0f} s. "
                "Start workers and run again; with a checkpoint what was finished is not computed again"
            )
        if without >= QUIET_SECONDS and not self._told:
            self._told = True
            last = f", at most {GONE_SECONDS:.0f} s" if self._had_some else ""
            warnings.warn(f"{self._cluster} has no worker now; waiting for one{last}", stacklevel=2)
