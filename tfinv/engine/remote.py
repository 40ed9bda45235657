"""One pass over many samples as tasks for workers: a task gathers one piece, and pieces are merged in their order."""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tfinv.datasets.disk import ChangedError
from tfinv.engine.batches import ImageBatches, UnreadPiece
from tfinv.engine.gatherer import States
from tfinv.engine.measuring import Intervals, LayerMeasured
from tfinv.engine.passes import Pass, Setting
from tfinv.engine.pieces import Total, piece_size
from tfinv.engine.reducing import Measuring, Totals, finished, measure_part, parts_of, split, summarized
from tfinv.engine.states import LayerStates, Summary, copied, seen
from tfinv.engine.teams import Promise, Team, shared
from tfinv.measures.base import check_enough, required_statistics
from tfinv.statistics import Layer, Statistic
from tfinv.support.environment import versions
from tfinv.support.threads import THREADS, worker_threads

PACKAGES = ("tfinv", "tensorflow", "keras", "numpy")
IN_FLIGHT, WORKERS_ASSUMED = 3, 64
"""Tasks that wait or run for every worker, and workers where their number is not known."""
KEPT = 4
"""Groups of layers whose model and graph a worker keeps."""


@dataclass(frozen=True)
class Task:
    """What is the same for all pieces of a pass.

    Args:
        key: tells it from others.
        setting: a pickled `Setting`, as `Team.share` gave it.
        given: pickled states that the pass depends on, likewise.
        layers: names of the layers.
        statistics: what is gathered.
        versions: of the driver.
    """

    key: str
    setting: Any
    given: Any
    layers: tuple[str, ...]
    statistics: tuple[Statistic, ...]
    versions: Mapping[str, str]


class RemotePasses:
    """Runs the passes over a group of layers on a team; see `Setting.gather`.

    Args:
        team: the workers.
        setting: the evaluation, of the group alone.
        layers: the group.
    """

    def __init__(self, team: Team, setting: Setting, layers: Sequence[Layer]) -> None:
        self._team, self._setting = team, setting
        bare = replace(setting, checkpoint=None, advance=_nothing, gather=None, measure=None, given={}, pieces=False)
        content = pickled(bare)
        self._key = hashlib.blake2b(content, digest_size=12).hexdigest()
        self._content = team.share(content)
        self._layers = layers
        self._versions = versions(*PACKAGES)

    def __call__(
        self, run: Pass, shards: Sequence[ImageBatches], given: States, label: str
    ) -> Iterator[Mapping[str, LayerStates]]:
        """By layer the states of one shard after the other."""
        if not run.layers:
            yield from ({} for _ in shards)
            return
        task = self._task(run, given)
        totals = [self._begun(run, f"{label}/{position}") for position in range(len(shards))]
        waiting: deque[tuple[int, ImageBatches | UnreadPiece, Promise]] = deque()
        tasks = self._tasks(task, shards, totals)
        most = self._most
        checkpoint = self._setting.checkpoint
        for position, batches in enumerate(shards):
            total, part = totals[position], f"{label}/{position}"
            self._setting.advance(total.samples * run.images_per_sample)
            while True:
                while len(waiting) < most and (begun := next(tasks, None)) is not None:
                    waiting.append(begun)
                if not waiting or waiting[0][0] != position:
                    break
                _, piece, promise = waiting.popleft()
                try:
                    total.add(promise.result(), piece.count or 0)
                except BaseException:
                    if checkpoint and len(total):  # what was finished survives
                        checkpoint.tick(part, total.samples, total.arrays, now=True)
                    raise
                self._setting.advance((piece.count or 0) * run.images_per_sample)
                if checkpoint:
                    checkpoint.tick(part, total.samples, total.arrays)
            if checkpoint and len(total):
                checkpoint.put(part, total.arrays())
            if not len(total) and not batches.count:  # a shard of which this part holds no sample
                total.add(run.run(batches, given, ""), 0)
            yield total.states()

    def measure(
        self,
        layers: Sequence[Layer],
        shards: Sequence[ImageBatches],
        passes: Sequence[Pass],
        given: States,
        intervals: Intervals | None,
    ) -> dict[str, LayerMeasured] | None:
        """What is measured on layers, by their names, from states that never leave the workers.

        Args:
            layers: the group.
            shards: disjoint samples.
            passes: over the samples.
            given: finished states that the passes depend on.
            intervals: see `measure_layer`.

        Returns:
            None where the states must come to the driver: for a checkpoint, for results that keep them, for images
            that the driver reads, and for workers that hold nothing.
        """
        setting = self._setting
        if setting.keep_statistics or setting.checkpoint or not getattr(self._team, "holds", False):
            return None
        if not all(shard.count and shard.stays_readable for shard in shards):
            return None
        check_enough(setting.measures, sum(shard.count or 0 for shard in shards), len(setting.transformations))
        parts, finished_states = parts_of(layers), dict(given)
        by_pass = []
        for number, run in enumerate(passes):
            held = [self._held(run, shard, finished_states, parts) for shard in shards] if run.layers else []
            by_pass += held
            later = {needed for rest in passes[number + 1 :] for other in rest.statistics for needed in other.depends}
            wanted = tuple(sorted(later.intersection(run.statistics).difference(given), key=lambda other: other.key))
            for statistic, by_layer in self._summaries(wanted, held).items():
                finished_states[statistic] = {**finished_states.get(statistic, {}), **by_layer}
        by_name = {layer.name: layer for layer in layers}
        needed = tuple(required_statistics(setting.measures))
        promises = []
        for number, names in enumerate(parts):
            chosen = tuple(by_name[name] for name in names)
            resolutions = {name: setting.resolutions[name] for name in names if name in setting.resolutions}
            how = Measuring(tuple(setting.measures), chosen, needed, intervals, resolutions, len(shards))
            totals = [held[number] for held in by_pass]
            promises.append(self._team.submit(measure_part, how, *totals))
        measured = {name: layer for promise in promises for name, layer in promise.result().items()}
        return {layer.name: measured[layer.name] for layer in layers}

    def _held(
        self, run: Pass, batches: ImageBatches, given: States, parts: Sequence[tuple[str, ...]]
    ) -> Sequence[Promise]:
        """Gather the states of some samples, which stay with the workers; part by part what stands for them."""
        task, totals = self._task(run, given), Totals(self._team, len(parts))

        def begun() -> Iterator[Promise]:
            for piece in batches.pieces(self._size(batches)):
                bare = replace(task, setting=None, given=None)
                arguments = (bare, task.setting, task.given, piece, parts)
                *states, samples = self._team.hold(gather_parts, *arguments, parts=len(parts) + 1)
                totals.add(states)
                yield samples

        for samples in finished(begun(), self._most):
            self._setting.advance(samples * run.images_per_sample)
        return totals.by_part()

    def _summaries(self, wanted: tuple[Statistic, ...], held: Sequence[Sequence[Promise]]) -> States:
        """What later passes read of some statistics, of all shards together."""
        if not wanted or not held:
            return {}
        promises = [self._team.submit(summarized, wanted, *totals) for totals in zip(*held, strict=True)]
        by_name = {name: states for promise in promises for name, states in promise.result().items()}
        return {
            statistic: {name: states[statistic] for name, states in by_name.items() if statistic in states}
            for statistic in wanted
        }

    def _task(self, run: Pass, given: States) -> Task:
        needed = {statistic for gathered in run.statistics for statistic in gathered.depends}
        names = tuple(layer.name for layer in run.layers)
        states = {
            statistic: {name: Summary(seen(statistic, state)) for name, state in by_layer.items() if name in names}
            for statistic, by_layer in given.items()
            if statistic in needed
        }
        shared_states = self._team.share(pickled(states))
        return Task(self._key, self._content, shared_states, names, tuple(run.statistics), self._versions)

    @property
    def _most(self) -> int:
        """Tasks that wait or run at a time."""
        return IN_FLIGHT * (self._team.size or WORKERS_ASSUMED)

    def _size(self, batches: ImageBatches) -> int:
        """Samples in a piece."""
        return (piece_size(batches.count, batches.batch_size) if self._setting.pieces else batches.count) or 1

    def _begun(self, run: Pass, part: str) -> Total:
        """What the checkpoint knows of a shard."""
        total, checkpoint = Total(run.layers, run.statistics), self._setting.checkpoint
        if checkpoint:
            finished, progress = checkpoint.get(part), checkpoint.progress(part)
            total.restore(finished or (progress[1] if progress else {}))
        return total

    def _tasks(
        self, task: Task, shards: Sequence[ImageBatches], totals: Sequence[Total]
    ) -> Iterator[tuple[int, ImageBatches | UnreadPiece, Promise]]:
        """Begin the tasks of all shards, one after the other."""
        for position, (batches, total) in enumerate(zip(shards, totals, strict=True)):
            done = len(total)
            for number, piece in enumerate(batches.pieces(self._size(batches)) if batches.count != 0 else ()):
                if number >= done:
                    # What is shared must be an argument of its own: engines fetch those.
                    bare = replace(task, setting=None, given=None)
                    yield position, piece, self._team.submit(gather_piece, bare, task.setting, task.given, piece)


def gather_parts(
    task: Task, setting: Any, given: Any, piece: ImageBatches | UnreadPiece, parts: Sequence[tuple[str, ...]]
) -> tuple[Any, ...]:
    """In a worker: the states of one piece in parts of the layers, see `reducing.split`.

    Args:
        task: see `gather_piece`.
        setting: see `gather_piece`.
        given: see `gather_piece`.
        piece: see `gather_piece`.
        parts: the layers of every part.
    """
    return split(gather_piece(task, setting, given, piece), piece.count or 0, parts)


def gather_piece(
    task: Task, setting: Any, given: Any, piece: ImageBatches | UnreadPiece
) -> dict[str, dict[Statistic, Any]]:
    """In a worker: by layer the states of one piece.

    Args:
        task: which pass.
        setting: see `Task`.
        given: see `Task`.
        piece: the samples.

    Raises:
        ValueError: other versions than those of the driver; see `Pass.run` for others.
        OSError: with the name of the worker.
    """
    with _LOCK, errors_with_worker():
        known = _PASSES.get(task.key, {})
        run = known.get(task.statistics)
        if run is None:
            run = _made(task, shared(setting))
            _PASSES[task.key] = {**known, task.statistics: run}
        _PASSES.move_to_end(task.key)
        while len(_PASSES) > KEPT:
            _PASSES.popitem(last=False)
        states = run.run(piece.opened(), pickle.loads(shared(given)), "")  # noqa: S301 from the driver, as this is
        return {
            layer: {statistic: copied(state) for statistic, state in by_statistic.items()}
            for layer, by_statistic in states.items()
        }


@contextmanager
def errors_with_worker() -> Iterator[None]:
    """Let errors of files and of memory end with the name of this process."""
    try:
        yield
    except MemoryError as error:
        raise MemoryError(f"{error} on worker {worker_name()}".strip()) from None
    except ChangedError as error:
        raise ValueError(f"{error} on worker {worker_name()}") from None
    except OSError as error:
        text = f"{error.strerror or error} on worker {worker_name()}"
        raise (OSError(text) if error.errno is None else OSError(error.errno, text, error.filename)) from None


def worker_name() -> str:
    """What to call this process in an error."""
    return f"{socket.gethostname()}:{os.getpid()}"


_LOCK = threading.Lock()
_PASSES: OrderedDict[str, dict[tuple[Statistic, ...], Pass]] = OrderedDict()


def _made(task: Task, content: bytes) -> Pass:
    here = versions(*PACKAGES)
    if here != task.versions:
        different = [name for name in PACKAGES if here.get(name) != task.versions.get(name)]
        said = ", ".join(f"{name} {here.get(name)} and not {task.versions.get(name)}" for name in different)
        raise ValueError(f"workers must have the versions of the driver. Received: {said} on worker {worker_name()}")
    one_thread()
    known = next(iter(_PASSES.get(task.key, {}).values()), None)
    setting = known.setting if known else pickle.loads(content)  # noqa: S301 from the driver, as this function is
    layers = [layer for layer in setting.layers if layer.name in task.layers]
    return Pass(setting, layers, task.statistics)


def one_thread() -> None:
    """As many threads as a worker may use, where TensorFlow has not begun yet."""
    import tensorflow as tf

    os.environ.setdefault(THREADS, "1")
    threads = worker_threads() or 1
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        pass  # it has begun, with the threads that whoever began it wanted


def pickled(content: Any) -> bytes:
    """What a worker reads with `pickle`, functions of scripts and notebooks included."""
    import cloudpickle

    return cloudpickle.dumps(content)


def _nothing(images: int) -> None:
    """Instead of a progress bar."""
