"""Workers in other processes: what every kind of them can do, and what has nothing but `submit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

TRIES = 4
"""How often a task is begun where its worker dies."""
VERBS = {
    "gather_piece": "gather",
    "gather_parts": "gather",
    "getitem": "part",
    "added": "add",
    "summarized": "summarize",
    "measure_part": "measure",
    "measure_file": "measure",
    "show_blocks": "compare",
    "_search_in_worker": "search",
}
"""What tasks do, by the name of the function that they run."""


class Promise(Protocol):
    """What will be the result of a task."""

    def result(self) -> Any:
        """The result, or the exception of the task, as soon as there is one."""
        ...


@runtime_checkable
class Team(Protocol):
    """Workers that run functions."""

    size: int | None
    """Workers on this machine, which share its memory; None where they are elsewhere."""
    holds: bool
    """Whether results can stay with the workers, see `hold`."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Promise:
        """Run a function on a worker; what `share` gave arrives there as what `shared` reads."""
        ...

    def share(self, content: bytes) -> Any:
        """Something small that stands for the content in the arguments of many tasks."""
        ...

    def hold(self, function: Callable[..., Any], *arguments: Any, parts: int = 0) -> Sequence[Promise]:
        """Run a function whose result stays with the workers; what stands for it can be an argument of further tasks.

        Args:
            function: gives a tuple where there are `parts`.
            *arguments: as in `submit`.
            parts: how many results there are; 0 for a single one that is no tuple.

        Returns:
            Promises of the results, which are fetched only where they are asked for.
        """
        ...

    def close(self) -> None:
        """Take back what was shared; the workers live on."""
        ...


def shared(content: Any) -> bytes:
    """In a worker what `Team.share` was given."""
    return content if isinstance(content, bytes) else Path(content).read_bytes()


def task_name(function: Callable[..., Any]) -> str:
    """What tasks of a function are called on the dashboard of an engine."""
    return f"tfinv {VERBS.get(function.__name__, function.__name__.replace('_', ' '))}"


def ended_workers(times: int, last: str) -> RuntimeError:
    """The error of a task that ends whichever worker it runs on.

    Args:
        times: how often it was begun.
        last: what is known of the last time.
    """
    return RuntimeError(f"a task must not end its worker: it did {times} times, perhaps for want of memory ({last})")


class Given:
    """Whatever has `submit`; every task carries what is shared.

    Args:
        executor: such as a `concurrent.futures.Executor`.
    """

    def __init__(self, executor: Any) -> None:
        self.size: int | None = getattr(executor, "_max_workers", None)
        self.holds = False
        self._executor = executor

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Promise:
        return self._executor.submit(function, *arguments)

    def hold(self, function: Callable[..., Any], *arguments: Any, parts: int = 0) -> Sequence[Promise]:
        raise NotImplementedError("these workers send their results to the driver")

    def share(self, content: bytes) -> Any:
        return content

    def close(self) -> None:
        """Nothing to take back."""
