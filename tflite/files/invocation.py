"""One run of an interpreter, which can be left if it does not end, and whose errors say where."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Any

from tfinv.tflite.files.flatbuffer import Graph

LIMIT = 300.0
"""Seconds that one run of a file may take, where the environment variable `VARIABLE` says nothing."""
VARIABLE = "TFINV_RUN_SECONDS"
QUICK = 0.02
"""A file without loops whose last run took less, in seconds, runs in the calling thread, which cannot be left."""
_LOOPING = ("WHILE", "CUSTOM")
_LOOK = 0.1
_NODE = re.compile(r"\s*Node number (\d+) \((.*?)\) failed to invoke\.?.*", re.DOTALL)


class Invocation:
    """Runs an interpreter; each call is one run.

    A run that may take long is made in a thread of its own while the caller waits: Ctrl-C ends the waiting, and so do
    `stop` and the time limit. Such a thread is left behind, and the interpreter cannot be used before it ends.

    Args:
        interpreter: of LiteRT, its tensors allocated and its input written.
        graph: the file.
        name: of the file, for errors.
    """

    def __init__(self, interpreter: Any, graph: Graph, name: str) -> None:
        self._interpreter, self._graph, self._name = interpreter, graph, name
        self._loops = [operator for operator in graph.operators if operator.name.startswith(_LOOPING)]
        self._is_quick = False
        self._stopped = threading.Event()
        self._running: threading.Thread | None = None

    @property
    def is_left(self) -> bool:
        """Whether a run is still going on that nobody waits for."""
        return self._running is not None and self._running.is_alive()

    def stop(self) -> None:
        """Let a caller in another thread wait no longer."""
        self._stopped.set()

    def check_free(self) -> None:
        """Refuse to touch the interpreter while a run that was left goes on.

        Raises:
            ValueError: it goes on.
        """
        if self.is_left:
            raise ValueError(f"the file {self._name} still runs on earlier images; open it anew for others")

    def __call__(self) -> None:
        """Run once.

        Raises:
            ValueError: the run takes longer than `limit()`; the loops that the file holds are named.
            RuntimeError: the interpreter's own error.
            InterruptedError: another thread called `stop`.
        """
        start = time.perf_counter()
        if self._is_quick:
            run(self._interpreter)
        else:
            self._wait()
        self._is_quick = not self._loops and time.perf_counter() - start < QUICK

    def _wait(self) -> None:
        raised: list[BaseException] = []

        def one() -> None:
            try:
                run(self._interpreter)
            except BaseException as error:
                raised.append(error)

        self._stopped.clear()
        seconds = limit()
        self._running = threading.Thread(target=one, name="tflite", daemon=True)
        self._running.start()
        end = time.monotonic() + seconds
        while self._running.is_alive():
            self._running.join(_LOOK)
            if self._stopped.is_set():
                raise InterruptedError(f"the run of the file {self._name} was left")
            if time.monotonic() > end:
                raise ValueError(
                    f"the file {self._name} did not end a run in {seconds:g} s{self._suspects()}. "
                    f"If it only needs longer, set {VARIABLE} to more seconds"
                )
        self._running = None
        if raised:
            raise raised[0]

    def _suspects(self) -> str:
        if not self._loops:
            return ""
        named = ", ".join(place(self._graph, operator.index) for operator in self._loops)
        return f"; it holds what may have no end: {named}"


def limit() -> float:
    """Seconds that one run of a file may take.

    Raises:
        ValueError: the environment variable holds no number above 0.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return LIMIT
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(f"{VARIABLE} must be a number of seconds above 0. Received: {text!r}")
    return seconds


def run(interpreter: Any) -> None:
    """Run an allocated interpreter, whoever still refers to its memory.

    `Interpreter.invoke` refuses while any Python object does. A profiler or debugger in another thread, such as that
    of a Dask worker, keeps frames that it has seen for a while, and with them arrays that nobody reads any more.
    Nothing here reads an array after the next run, see `Runner.invoked`, and fixed shapes leave the memory in place.
    """
    interpreter._interpreter.Invoke()


def place(graph: Graph, number: int) -> str:
    """An operator in words, with the tensor that it makes."""
    if not 0 <= number < len(graph.operators):  # of a loop's inner graph, or what a delegate runs
        return f"operator {number}"
    operator = graph.operators[number]
    made = f", which makes {graph.tensors[operator.outputs[0]].name!r}" if operator.outputs else ""
    return f"operator {number} ({operator.name}{made})"


def reason(graph: Graph, error: RuntimeError) -> str:
    """An error of the interpreter in words: what is wrong, and at which operator.

    Args:
        graph: the file.
        error: such as "Division by 0Node number 7 (FLOOR_DIV) failed to invoke."
    """
    text = " ".join(str(error).split())
    node = _NODE.search(text)
    if node is None:
        return text
    number, kind = int(node[1]), node[2]
    known = 0 <= number < len(graph.operators) and graph.operators[number].name == kind
    where = place(graph, number) if known else f"an operator {kind}"
    what = text[: node.start()].strip().rstrip(".") or "it failed"
    return f"{what}, at {where}"
