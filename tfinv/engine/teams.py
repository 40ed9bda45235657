"""Workers in other processes: local ones, those of Dask or Ray, or of anything that has `submit`."""

from __future__ import annotations

import operator
import os
import queue
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tfinv.support.lazy import quiet_tensorflow_import
from tfinv.support.threads import THREADS

TRIES = 4
"""How often a task is begun where its worker dies."""
ANSWER_SECONDS = 10
NAMES = {
    "gather piece": "gather",
    "gather parts": "gather",
    "getitem": "part",
    "added": "add",
    "summarized": "summarize",
    "measure part": "measure",
}
"""What tasks are called on the dashboard of an engine."""
IDLE_SECONDS = 300
"""Local workers that have nothing to do for so long end."""


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


def as_team(distribute: Any) -> Team | None:
    """The workers that `evaluate(..., distribute=...)` names.

    Args:
        distribute: None for none; a number of local processes; `"ray"` or the address of a Dask scheduler; a Dask
            client, the module `ray`, or any object with `submit(function, *arguments)` that gives futures; a `Team`.

    Raises:
        ValueError: a number below 1, an unknown name, an address that does not answer.
        ImportError: an engine that is not installed; the extra is named.
        TypeError: something else.
    """
    if distribute is None or isinstance(distribute, Team):
        return distribute
    if isinstance(distribute, str) and distribute.isdigit():
        distribute = int(distribute)
    if isinstance(distribute, int) and not isinstance(distribute, bool):
        if distribute < 1:
            raise ValueError(f"distribute must be at least 1 process. Received: {distribute}")
        return Local(distribute)
    if isinstance(distribute, str):
        return _named(distribute)
    if getattr(distribute, "__name__", "") == "ray":
        return OnRay()
    if type(distribute).__module__.split(".")[0] == "distributed":
        return OnDask(distribute)
    if callable(getattr(distribute, "submit", None)):
        return Given(distribute)
    raise TypeError(
        "distribute must be a number of processes, 'ray', the address of a Dask scheduler, or an object with submit. "
        f"Received: {distribute!r}"
    )


def shared(content: Any) -> bytes:
    """In a worker what `Team.share` was given."""
    return content if isinstance(content, bytes) else Path(content).read_bytes()


def _named(text: str) -> Team:
    if text == "ray" or text.startswith("ray://"):
        return OnRay(None if text == "ray" else text)
    if "://" not in text:
        raise ValueError(
            "distribute must be a number of processes, 'ray', or the address of a Dask scheduler such as "
            f"'tcp://host:8786'. Received: {text!r}"
        )
    try:
        from distributed import Client  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(f"Dask must be installed to reach {text}: pip install 'tfinv[dask]'") from None
    try:
        client = _answered(lambda: Client(text, timeout=ANSWER_SECONDS, set_as_default=False))
    except (OSError, ValueError) as error:  # a timeout is an OSError
        raise ValueError(
            f"distribute must be the address of a Dask scheduler that answers within {ANSWER_SECONDS} s. "
            f"Received: {text} ({' '.join(str(error).split())[:120]})"
        ) from None
    return OnDask(client, owned=True)


def _answered(connect: Callable[[], Any]) -> Any:
    """What a connection gives; whoever takes it and says nothing keeps `connect` longer than it was told to wait.

    Raises:
        TimeoutError: no answer.
    """
    answers: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put((connect(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        made, error = answers.get(timeout=ANSWER_SECONDS + 1)
    except queue.Empty:
        raise TimeoutError("no answer") from None
    if error is not None:
        raise error
    return made


class _Sending:
    """A team whose results come to the driver."""

    holds = False

    def hold(self, function: Callable[..., Any], *arguments: Any, parts: int = 0) -> Sequence[Promise]:
        raise NotImplementedError("these workers send their results to the driver")


class Local(_Sending):
    """Processes of this machine, by loky; they are used again by the next evaluation with as many.

    Args:
        size: how many.
    """

    def __init__(self, size: int) -> None:
        self.size: int | None = size
        self._count = size
        self._folder = tempfile.TemporaryDirectory(prefix="tfinv-")
        self._shared = 0
        self._pending: set[_Retried] = set()
        self._pool = self._executor()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Promise:
        task = _Retried(self, function, arguments)
        self._pending.add(task)
        task.begin(self._pool)
        return task

    def share(self, content: bytes) -> Any:
        path = Path(self._folder.name) / str(self._shared)
        self._shared += 1
        path.write_bytes(content)
        return str(path)

    def close(self) -> None:
        self._folder.cleanup()

    def abandon(self) -> None:
        """End the processes with whatever they do."""
        self._pool.shutdown(wait=False, kill_workers=True)

    def done(self, task: _Retried) -> None:
        """Forget a task."""
        self._pending.discard(task)

    def renew(self, broken: Any) -> None:
        """Replace the processes after one of them died, and begin anew what was not finished."""
        if broken is not self._pool:
            return
        self._pool = self._executor()
        for task in list(self._pending):
            task.begin_again(self._pool)

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
    """A task of local processes, begun anew where a process dies."""

    def __init__(self, team: Local, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._team, self._function, self._arguments = team, function, arguments
        self._tries = 0
        self._pool: Any = None
        self._future: Any = None

    def begin(self, pool: Any) -> None:
        """Hand the task to a pool."""
        from concurrent.futures.process import BrokenProcessPool

        self._pool = pool
        self._tries += 1
        try:
            self._future = pool.submit(self._function, *self._arguments)
        except BrokenProcessPool as error:
            self._future = _Failed(error)

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
                value = self._future.result()
                break
            except BrokenProcessPool as error:
                if self._tries >= TRIES:
                    self._team.done(self)
                    raise RuntimeError(
                        f"a task must not end its worker: it did {TRIES} times, perhaps for want of memory "
                        f"({' '.join(str(error).split())[:200]})"
                    ) from None
                pool = self._pool
                self._team.renew(pool)
                if self._pool is pool:
                    self.begin_again(self._team._pool)
            except BaseException:
                self._team.done(self)
                raise
        self._team.done(self)
        return value


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


class OnDask:
    """The workers of a Dask cluster, which runs a task again where its worker dies.

    Args:
        client: a `distributed.Client`.
        owned: whether to close it at the end.
    """

    def __init__(self, client: Any, *, owned: bool = False) -> None:
        self.size: int | None = None
        self.holds = True
        self._client, self._owned = client, owned

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Promise:
        return self._begin(function, arguments)

    def hold(self, function: Callable[..., Any], *arguments: Any, parts: int = 0) -> Sequence[Promise]:
        whole = self._begin(function, arguments)
        return [self._begin(operator.getitem, (whole, part)) for part in range(parts)] if parts else [whole]

    def _begin(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        name = function.__name__.replace("_", " ")
        with warnings.catch_warnings():
            # The images of a piece travel with their task, so that they survive the death of a worker.
            warnings.filterwarnings("ignore", message="Sending large graph")
            warnings.filterwarnings("ignore", message="Large object")
            key = f"tfinv {NAMES.get(name, name)}-{uuid.uuid4().hex}"  # the dashboard groups by what stands before
            return self._client.submit(function, *arguments, key=key, pure=False, retries=0)

    def share(self, content: bytes) -> Any:
        return content if len(content) < 2**16 else self._client.submit(bytes, content, pure=True)

    def close(self) -> None:
        if self._owned:
            self._client.close()


class OnRay:
    """The workers of Ray, which runs a task again where its worker dies.

    Args:
        address: of a cluster; None for the one that runs, or else a local one.
    """

    def __init__(self, address: str | None = None) -> None:
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ImportError("Ray must be installed for distribute='ray': pip install 'tfinv[ray]'") from None
        self.size: int | None = None
        self.holds = True
        self._ray = ray
        if not ray.is_initialized():
            try:
                ray.init(address=address, log_to_driver=False, include_dashboard=None)
            except ConnectionError as error:
                raise ValueError(
                    f"distribute must be the address of a Ray cluster that answers. Received: {address} ({error})"
                ) from None
        self._run = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_called)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Promise:
        return self.hold(function, *arguments)[0]

    def hold(self, function: Callable[..., Any], *arguments: Any, parts: int = 0) -> Sequence[Promise]:
        name = function.__name__.replace("_", " ")
        run = self._run.options(num_returns=max(1, parts), name=f"tfinv {NAMES.get(name, name)}")
        given = [argument.reference if isinstance(argument, _OfRay) else argument for argument in arguments]
        references: Any = run.remote(function, *given)
        return [_OfRay(self._ray, reference) for reference in (references if parts > 1 else [references])]

    def share(self, content: bytes) -> Any:
        return self._ray.put(content)

    def close(self) -> None:
        """Nothing to take back: Ray counts references."""


class _OfRay:
    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self.reference = ray, reference

    def done(self) -> bool:
        return bool(self._ray.wait([self.reference], timeout=0)[0])

    def result(self) -> Any:
        try:
            return self._ray.get(self.reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else RuntimeError(str(error)) from None


def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class Given(_Sending):
    """Whatever has `submit`; every task carries what is shared.

    Args:
        executor: such as a `concurrent.futures.Executor`.
    """

    def __init__(self, executor: Any) -> None:
        self.size: int | None = getattr(executor, "_max_workers", None)
        self._executor = executor

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Promise:
        return self._executor.submit(function, *arguments)

    def share(self, content: bytes) -> Any:
        return content

    def close(self) -> None:
        """Nothing to take back."""
