"""What the workers of a team do now, beside a bar on a terminal."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from tfinv.engine.teams import VERBS, Promise, Team
from tfinv.support.progress import Progress

SECONDS = 1.0
"""Between two looks at the tasks."""


class Watched:
    """A team that also knows which of its tasks are not finished.

    Args:
        team: the workers, which this object hands everything on to.
    """

    def __init__(self, team: Team) -> None:
        self._team = team
        self._lock = threading.Lock()
        self._open: list[tuple[str, Any]] = []
        self._begun: dict[int, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._team, name)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Promise:
        """See `Team.submit`."""
        promise = self._team.submit(function, *arguments)
        self._note(function, arguments, promise)
        return promise

    def hold(self, function: Callable[..., Any], *arguments: Any, parts: int = 0) -> Sequence[Promise]:
        """See `Team.hold`."""
        promises = self._team.hold(function, *arguments, parts=parts)
        self._note(function, arguments, promises[-1])  # the last part is the smallest that a worker holds for it
        return promises

    def _note(self, function: Callable[..., Any], arguments: tuple[Any, ...], promise: Any) -> None:
        if not callable(getattr(promise, "done", None)):
            return
        called = function.__name__
        if called not in VERBS and arguments and callable(arguments[0]):  # a task that calls another function
            called = arguments[0].__name__
        with self._lock:
            doing = f"{VERBS[called].removesuffix('e')}ing" if called in VERBS else called.strip("_").replace("_", " ")
            self._open.append((doing, promise))

    def said(self) -> str:
        """What workers do, in words; tasks begin in the order in which they were submitted.

        Returns:
            Such as `2 workers: 1 gathering (3 s), 1 idle`, with the seconds of the longest task; of workers elsewhere,
            whose number is not known, the tasks alone.
        """
        with self._lock:
            self._open = [(doing, promise) for doing, promise in self._open if not promise.done()]
            size = self._team.size
            running = self._open if size is None else self._open[:size]
            waiting = len(self._open) - len(running)
            now = time.monotonic()
            self._begun = {id(promise): self._begun.get(id(promise), now) for _, promise in running}
            longest = max((now - begun for begun in self._begun.values()), default=0.0)
        counts = Counter(doing for doing, _ in running)
        if not size:
            tasks = ", ".join(f"{count} {doing}" for doing, count in counts.items())
            return f"tasks: {tasks} ({longest:.0f} s)" if tasks else "no task"
        parts = [f"{count} {doing}" for doing, count in counts.items()]
        if parts:
            parts[-1] += f" ({longest:.0f} s)"
        idle = size - len(running)
        parts += [f"{idle} idle"] if idle else []
        left = f"; {waiting} tasks wait" if waiting > 1 else "; 1 task waits" if waiting else ""
        return f"{size} worker{'s' if size > 1 else ''}: {', '.join(parts)}{left}"


@contextmanager
def watched(team: Team | None, bar: Progress) -> Iterator[Team | None]:
    """Show beside a bar on a terminal what the workers do; elsewhere nothing is shown.

    Args:
        team: the workers; None for this process.
        bar: of the stage that they work for.

    Yields:
        The team to give tasks to.
    """
    if team is None or not bar.is_drawn:
        yield team
        return
    watching, ended = Watched(team), threading.Event()

    def look() -> None:
        while not ended.wait(SECONDS):
            bar.aside(watching.said())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield cast(Team, watching)
    finally:
        ended.set()
        thread.join()
