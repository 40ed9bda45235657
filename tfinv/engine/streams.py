"""Activations that are gathered where a model leaves them, by several threads."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tfinv.activations.source import ImageError
from tfinv.statistics.compiled.fused import load_loops

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tfinv.activations.source import StreamSource, Worker
    from tfinv.engine.gatherer import Gatherer
    from tfinv.statistics import Layer

IMAGES, SAMPLES = 128, 8
"""What a worker should run at least at a time: column moments are read and written once for all samples of a part."""
ROUNDS = 4
"""Parts of a block for each worker: at the end of a block workers wait for each other."""


class Stream:
    """Warps, runs and gathers the parts of a block side by side; every layer sees the parts in their order.

    Args:
        source: the model.
        layers: what to gather.
        gatherer: of direct statistics only.
        warp: from images `(S_b, H, W, C)` to `(S_b, T, H, W, C)`.
        count: `T`.
    """

    def __init__(
        self,
        source: StreamSource,
        layers: Sequence[Layer],
        gatherer: Gatherer,
        warp: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        count: int,
    ) -> None:
        self._source, self._layers, self._gatherer = source, layers, gatherer
        self._warp, self._count = warp, count
        self._workers: Sequence[Worker] = ()
        self._pool = ThreadPoolExecutor()
        load_loops("integer_loop")
        self._samples = 0

    def block_size(self, samples: int) -> int:
        """Samples that a block should have where the activations of `samples` may be in memory at a time.

        Returns:
            0 where the model cannot be run in this way.
        """
        if not self._samples:
            workers = min(self._source.threads, samples)
            most = max(SAMPLES, IMAGES // self._count)
            rounds = max(1, round(samples / (workers * most)))
            self._samples = -(-samples // (workers * rounds))
            self._workers = self._source.workers(workers, self._samples * self._count)
        return ROUNDS * self._samples * len(self._workers)

    @property
    def is_ready(self) -> bool:
        """Whether `block_size` found that the model can be run in this way."""
        return bool(self._workers)

    def __call__(self, images: NDArray[np.float32]) -> None:
        """Gather a block of samples."""
        starts = range(0, len(images), self._samples)
        parts = [(number, images[start : start + self._samples]) for number, start in enumerate(starts)]
        turns, count = _Turns(), len(self._workers)
        if len(parts) == 1:
            self._run(self._workers[0], parts, turns)
            return
        running = [
            self._pool.submit(self._run, worker, parts[number::count], turns)
            for number, worker in enumerate(self._workers)
        ]
        try:
            errors = [future.exception() for future in running]
        except BaseException:  # Ctrl-C: these threads would keep the process
            turns.stop()
            for worker in self._workers:
                worker.stop()
            raise
        first = next((error for error in errors if error is not None and not isinstance(error, _StoppedError)), None)
        if first is not None:
            raise first

    def _run(self, worker: Worker, parts: Sequence[tuple[int, NDArray[np.float32]]], turns: _Turns) -> None:
        number = 0
        try:
            for number, images in parts:
                shown = self._warp(images)
                with worker.run(shown.reshape(-1, *shown.shape[2:])) as tensors:
                    for layer in self._layers:
                        with turns.of(layer.name, number):
                            block = tensors[layer.name].reshaped((len(images), self._count, *layer.shape))
                            self._gatherer.add_stored(layer.name, block)
                            del block  # the model is not run again while a view of its memory is alive
        except ImageError as error:
            turns.stop()
            raise ImageError(error.text, number * self._samples * self._count + error.position) from None
        except BaseException:
            turns.stop()
            raise


class _StoppedError(Exception):
    """Another thread failed."""


class _Turns:
    """Lets the parts of a block through in order, layer by layer, so that sums do not depend on which is ready."""

    def __init__(self) -> None:
        self._next: dict[str, int] = defaultdict(int)
        self._changed = threading.Condition()
        self._stopped = False

    @contextmanager
    def of(self, layer: str, number: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._next[layer] == number)
            if self._stopped:
                raise _StoppedError
        yield
        with self._changed:
            self._next[layer] += 1
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
