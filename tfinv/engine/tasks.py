"""One function called by workers for many arguments, with something large that all calls have in common."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tfinv.engine.remote import errors_with_worker, one_thread, pickled
from tfinv.engine.teams import Team, shared

R = TypeVar("R")


def run_tasks(
    team: Team,
    function: Callable[..., R],
    common: Any,
    tasks: Sequence[tuple[Any, ...]],
    done: Callable[[tuple[Any, ...], R], Any] = lambda task, result: None,
) -> list[R]:
    """The results of `function(common, *task)` for every task, from workers.

    Args:
        team: the workers.
        function: what a worker calls; one task at a time.
        common: it goes to a worker once.
        tasks: the other arguments.
        done: called with one task after the other and its result when that is there.
    """
    content = pickled(common)
    key, shared_content = hashlib.blake2b(content, digest_size=12).hexdigest(), team.share(content)
    promises = [team.submit(run_task, function, key, shared_content, *task) for task in tasks]
    results = []
    try:
        for promise, task in zip(promises, tasks, strict=True):
            results.append(promise.result())
            done(task, results[-1])
    except KeyboardInterrupt:
        if abandon := getattr(team, "abandon", None):  # a task may take hours, and Python waits for processes
            abandon()
        raise
    return results


def run_task(function: Callable[..., R], key: str, content: Any, *task: Any) -> R:
    """In a worker: see `run_tasks`."""
    with _LOCK, errors_with_worker():
        if key not in _KNOWN:
            one_thread()
            _KNOWN.clear()
            _KNOWN[key] = pickle.loads(shared(content))  # noqa: S301 from the driver, as this function is
        return function(_KNOWN[key], *task)


_LOCK = threading.Lock()
_KNOWN: dict[str, Any] = {}
"""In a worker: what the tasks have in common."""
