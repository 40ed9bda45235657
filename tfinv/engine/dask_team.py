"""Workers of a Dask cluster."""

from __future__ import annotations

import operator
import queue
import threading
import uuid
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tfinv.engine.absence import LOOK_SECONDS, Absence
from tfinv.engine.teams import Promise, ended_workers, task_name

ANSWER_SECONDS = 10
"""How long a scheduler may take to answer."""


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
        self._absence = Absence(f"the Dask scheduler {client.scheduler.address}", lambda: len(client.nthreads()))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Promise:
        return self._begin(function, arguments)

    def hold(self, function: Callable[..., Any], *arguments: Any, parts: int = 0) -> Sequence[Promise]:
        whole = self._begin(function, arguments)
        return [self._begin(operator.getitem, (whole, part)) for part in range(parts)] if parts else [whole]

    def _begin(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> _OfDask:
        given = [argument.future if isinstance(argument, _OfDask) else argument for argument in arguments]
        with warnings.catch_warnings():
            # The images of a piece travel with their task, so that they survive the death of a worker.
            warnings.filterwarnings("ignore", message="Sending large graph")
            warnings.filterwarnings("ignore", message="Large object")
            key = f"{task_name(function)}-{uuid.uuid4().hex}"  # the dashboard groups by what stands before
            future = self._client.submit(function, *given, key=key, pure=False, retries=0)
        return _OfDask(future, self._absence)

    def share(self, content: bytes) -> Any:
        return content if len(content) < 2**16 else self._client.submit(bytes, content, pure=True)

    def close(self) -> None:
        if self._owned:
            self._client.close()


class _OfDask:
    """The result of a task of Dask.

    Args:
        future: of Dask.
        absence: looks after the workers meanwhile.
    """

    def __init__(self, future: Any, absence: Absence) -> None:
        self.future, self._absence = future, absence

    def done(self) -> bool:
        return self.future.done()

    def result(self) -> Any:
        from distributed import CancelledError, KilledWorker  # pyright: ignore[reportMissingImports]

        while True:
            try:
                value = self.future.result(timeout=LOOK_SECONDS)
                break
            except TimeoutError:
                if self.future.done():  # the task itself took too long for something
                    raise
                self._absence.look()
            except CancelledError as error:
                raise RuntimeError(f"the Dask scheduler lost a task: {' '.join(str(error).split())[:200]}") from None
            except KilledWorker as error:
                last = f"the last time on worker {error.last_worker.address}"
                raise ended_workers(error.allowed_failures + 1, last) from None
        self._absence.met()
        return value


def connected(address: str) -> OnDask:
    """The workers of the scheduler at an address.

    Args:
        address: such as `"tcp://host:8786"`.

    Raises:
        ImportError: Dask is not installed.
        ValueError: nothing answers there.
    """
    try:
        from distributed import Client  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(f"Dask must be installed to reach {address}: pip install 'tfinv[dask]'") from None
    try:
        client = _answered(lambda: Client(address, timeout=ANSWER_SECONDS, set_as_default=False))
    except (OSError, ValueError) as error:  # a timeout is an OSError
        raise ValueError(
            f"distribute must be the address of a Dask scheduler that answers within {ANSWER_SECONDS} s. "
            f"Received: {address} ({' '.join(str(error).split())[:120]})"
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
