"""Workers that are processes of this machine, by loky."""

from __future__ import annotations

import os
import pickle
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfinv.engine.teams import TRIES, Promise, ended_workers
from tfinv.support.lazy import quiet_tensorflow_import
from tfinv.support.threads import THREADS

IDLE_SECONDS = 300
"""Workers that have nothing to do for so long end."""
LOOK_SECONDS = 0.005
"""How often a worker looks whether what its task needs is there."""


class Local:
    """Processes of this machine, by loky; they are used again by the next evaluation with as many.

    What they hold is in files of a temporary folder, which every one of them can read: a process that dies takes
    nothing with it. Tasks begin in the order in which they were submitted, so what a task needs was begun before it.

    Args:
        size: how many.
    """

    def __init__(self, size: int) -> None:
        self.size: int | None = size
        self.holds = True
        self._count = size
        self._folder = tempfile.TemporaryDirectory(prefix="tfinv-")
        self._files = 0
        self._pending: dict[_Retried, None] = {}  # in the order in which they were submitted
        self._pool = self._executor()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Promise:
        return self._begun(function, arguments)

    def hold(self, function: Callable[..., Any], *arguments: Any, parts: int = 0) -> Sequence[Promise]:
        keep = _Keep(tuple(self._new_path() for _ in range(max(1, parts))), parts > 0)
        task = self._begun(function, arguments, keep)
        return [_Held(task, path) for path in keep.paths]

    def share(self, content: bytes) -> Any:
        path = self._new_path()
        Path(path).write_bytes(content)
        return path

    def close(self) -> None:
        self._folder.cleanup()

    def abandon(self) -> None:
        """End the processes with whatever they do."""
        self._pool.shutdown(wait=False, kill_workers=True)

    def done(self, task: _Retried) -> None:
        """Forget a task."""
        self._pending.pop(task, None)

    def renew(self, broken: Any) -> None:
        """Replace the processes after one of them died, and begin anew what was not finished."""
        if broken is not self._pool:
            return
        self._pool = self._executor()
        for task in list(self._pending):
            task.begin_again(self._pool)

    def _begun(self, function: Callable[..., Any], arguments: tuple[Any, ...], keep: _Keep | None = None) -> _Retried:
        task = _Retried(self, function, arguments, keep)
        self._pending[task] = None
        task.begin(self._pool)
        return task

    def _new_path(self) -> str:
        self._files += 1
        return str(Path(self._folder.name) / str(self._files))

    def _executor(self) -> Any:
        from loky import get_reusable_executor

        threads = os.environ.get(THREADS, "1")
        names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", THREADS)
        env = dict.fromkeys(names, threads) | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        return get_reusable_executor(max_workers=self._count, timeout=IDLE_SECONDS, env=env, initializer=_settle_in)


def _settle_in() -> None:
    """In a new local process: keep it, however much TensorFlow, a model and its states take, while its driver lives.

    loky replaces a process that has grown by 300 MB, which it takes for a leak. Where the driver is killed, its
    processes would hold their memory until they are idle for `IDLE_SECONDS`.
    """
    from loky import process_executor

    quiet_tensorflow_import()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()

    if hasattr(process_executor, "_MAX_MEMORY_LEAK_SIZE"):
        process_executor._MAX_MEMORY_LEAK_SIZE = 2**62


def _end_with(parent: int) -> None:
    """End this process soon after its parent ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class _Retried:
    """A task of local processes, begun anew where a process dies.

    Args:
        team: whose.
        function: what it calls.
        arguments: of the function; what is `_Held` arrives as its content.
        keep: where the result goes; None where it comes to the driver.
    """

    def __init__(
        self, team: Local, function: Callable[..., Any], arguments: tuple[Any, ...], keep: _Keep | None
    ) -> None:
        self._team, self._function, self._arguments, self._keep = team, function, arguments, keep
        self._tries = 0
        self._pool: Any = None
        self._future: Any = None

    def begin(self, pool: Any) -> None:
        """Hand the task to a pool."""
        from concurrent.futures.process import BrokenProcessPool

        self._pool = pool
        self._tries += 1
        given = tuple(_File(argument.path) if isinstance(argument, _Held) else argument for argument in self._arguments)
        try:
            if self._keep is None and not any(isinstance(argument, _File) for argument in given):
                self._future = pool.submit(self._function, *given)
            else:
                self._future = pool.submit(_with_files, self._function, given, self._keep)
        except BrokenProcessPool as error:
            self._future = _Failed(error)
            return
        self._future.add_done_callback(self._finished)

    def begin_again(self, pool: Any) -> None:
        """Hand the task to a new pool, unless the old one finished it."""
        future = self._future
        if not (future.done() and future.exception() is None):
            self.begin(pool)

    def done(self) -> bool:
        """Whether a process has finished it, as far as is known."""
        return self._future.done()

    def result(self) -> Any:
        from concurrent.futures.process import BrokenProcessPool

        while True:
            try:
                return self._future.result()
            except BrokenProcessPool as error:
                if self._tries >= TRIES:
                    self._forget()
                    raise ended_workers(TRIES, " ".join(str(error).split())[:200]) from None
                pool = self._pool
                self._team.renew(pool)
                if self._pool is pool:
                    self.begin_again(self._team._pool)
            except BaseException:
                self._forget()
                raise

    def _finished(self, future: Any) -> None:
        """Nobody may ask for a result that is held, so what the task needed is let go as soon as it is there."""
        if not future.cancelled() and future.exception() is None:
            self._forget()

    def _forget(self) -> None:
        self._team.done(self)
        self._arguments = ()


class _Held:
    """A result in a file, which lasts as long as this object.

    Args:
        task: gives it.
        path: of the file.
    """

    def __init__(self, task: _Retried, path: str) -> None:
        self._task, self.path = task, path
        weakref.finalize(self, _remove, path)

    def done(self) -> bool:
        return self._task.done()

    def result(self) -> Any:
        self._task.result()
        return _File(self.path).read()


@dataclass(frozen=True)
class _File:
    """Instead of a result in the arguments of a task: the file that it is in, or will be."""

    path: str

    def read(self) -> Any:
        """The result, as soon as it is there, or the exception of the task that was to give it."""
        path, failure = Path(self.path), _failure(self.path)
        while not path.exists():
            if failure.exists():
                raise _unpickled(failure)
            if not path.parent.exists():
                raise RuntimeError("the evaluation that this task belongs to has ended")
            time.sleep(LOOK_SECONDS)
        return _unpickled(path)


@dataclass(frozen=True)
class _Keep:
    """Where a result goes.

    Args:
        paths: files.
        split: whether every part of the result has a file of its own.
    """

    paths: tuple[str, ...]
    split: bool

    def write(self, result: Any) -> None:
        """Put a result into its files."""
        for path, part in zip(self.paths, result if self.split else [result], strict=True):
            _pickle(path, part)

    def fail(self, error: BaseException) -> None:
        """Tell the tasks that need the result that there is none."""
        with suppress(OSError):  # the disk is full, or the driver has gone on without this result
            for path in self.paths:
                _pickle(str(_failure(path)), error)


class _Failed:
    """A future that failed before it began."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def done(self) -> bool:
        return True

    def exception(self) -> BaseException:
        return self._error

    def result(self) -> Any:
        raise self._error


def _with_files(function: Callable[..., Any], given: Sequence[Any], keep: _Keep | None) -> Any:
    """In a worker: call a function with results that are in files, and put its own into files."""
    try:
        result = function(*(argument.read() if isinstance(argument, _File) else argument for argument in given))
        if keep is None:
            return result
        keep.write(result)
    except BaseException as error:
        if keep is not None:
            keep.fail(error)
        raise
    return None


def _pickle(path: str, content: Any) -> None:
    """Write a file that is there whole or not at all; unlike `atomic_write` it does not wait for the disk."""
    partial = f"{path}.{os.getpid()}.part"
    with open(partial, "wb") as file:
        pickle.dump(content, file, protocol=5)
    os.replace(partial, path)


def _unpickled(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 from a worker of this driver


def _failure(path: str) -> Path:
    """The file that holds the exception of a task instead of its result."""
    return Path(f"{path}.failed")


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)
