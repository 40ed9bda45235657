"""Which workers evaluations run on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from tfinv.engine.choosing import as_team
from tfinv.engine.memory import parse_budget
from tfinv.engine.pieces import piece_size
from tfinv.engine.remote import worker_name
from tfinv.engine.tasks import run_tasks
from tfinv.engine.teams import Team
from tfinv.engine.watching import watched

__all__ = [
    "Team",
    "distributed",
    "on_workers",
    "piece_size",
    "run_tasks",
    "share_of_memory",
    "team_of",
    "watched",
    "worker_name",
]

P = ParamSpec("P")
R = TypeVar("R")

_AMBIENT: ContextVar[Team | None] = ContextVar("workers", default=None)


@contextmanager
def distributed(distribute: Any) -> Iterator[None]:
    """Let every evaluation inside of the block run on workers: those of `tflite.compare` and `tflite.study` too.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> with tfinv.distributed(None):  # a number of processes, an address, or None for this process alone
        ...     results = tfinv.evaluate_arrays({"dense": np.eye(4).reshape(4, 2, 2)}, "NormalizedVariance")

    Args:
        distribute: see `evaluate`.

    Raises:
        ValueError: see `evaluate`.
        ImportError: see `evaluate`.
    """
    team = as_team(distribute)
    token = _AMBIENT.set(team)
    try:
        yield
    finally:
        _AMBIENT.reset(token)
        if team is not None:
            team.close()


@contextmanager
def team_of(distribute: Any) -> Iterator[Team | None]:
    """The workers of one evaluation: those that it names, or else those of `distributed`."""
    if distribute is None:
        yield _AMBIENT.get()
        return
    team = as_team(distribute)
    try:
        yield team
    finally:
        if team is not None:
            team.close()


def on_workers(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function that evaluates several times run inside `distributed` where it is called with `distribute`."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs.get("distribute") is None:
            return function(*args, **kwargs)
        with distributed(kwargs["distribute"]):
            return function(*args, **kwargs)

    return wrapper


def share_of_memory(budget: int | float | str | None, team: Team) -> int:
    """Bytes for one worker, of which those of this machine share the budget; see `evaluate` for what it may be."""
    return max(1, parse_budget(budget) // (team.size or 1))
