"""The networks of an experiment trained and measured by workers, before the experiment asks for them.

An experiment is a function that asks for one network after the other. To know what it will ask for, it is rehearsed:
networks that are not there yet stay untrained, and are measured on a few images. What it asked for is then made by
workers, one network a task. The experiment itself runs afterwards, as ever. It takes what workers made only where that
was made from the very same images and network, so that a rehearsal that went astray costs time and changes no number.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfinv.evaluation.distribution import Team, distributed, run_tasks, share_of_memory, worker_name
from tfinv.experiment.pieces import Derived, Measurement, Training, fingerprint
from tfinv.results import Results
from tfinv.support.cache import Cache, config_hash
from tfinv.support.faults import one_line
from tfinv.support.types import Model

FEWEST = 2
"""Networks that are worth a worker; a single one is left to this process, whose measuring is distributed."""
FUTILE = 3
"""Rehearsals in a row that found fewer: no more follow."""
REHEARSED_IMAGES = 32


class NotKnownError(BaseException):
    """A rehearsal needs something that only the experiment itself can make; no experiment catches this."""


@dataclass
class Wanted:
    """A network of an experiment, and what is to be measured of it.

    Args:
        name: for messages.
        training: how it is trained, and its configuration ahead; None where it is there already.
        path: its file, where it is there.
        content: the network itself, pickled, where it has no file.
        measurings: with their configurations ahead.
    """

    name: str
    training: tuple[Training | Derived, dict[str, Any]] | None = None
    path: str | None = None
    content: bytes | None = None
    measurings: dict[str, tuple[Measurement, dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Filled:
    """What a worker did for a network: its name, seconds, and the error of what it could not do."""

    worker: str
    seconds: float
    error: str = ""
    blind: bool = False
    """Whether the worker does not see the folder of the cache."""


class Ahead:
    """Makes on workers what an experiment will ask for.

    Args:
        team: the workers.
        cache: of the experiment.
        rehearse: runs the experiment with a `Rehearsal`.
        say: prints a line.
    """

    def __init__(
        self, team: Team, cache: Cache, rehearse: Callable[[Rehearsal], None], say: Callable[[str], None]
    ) -> None:
        self._team, self._cache, self._rehearse, self._say = team, cache, rehearse, say
        self.store = Cache(cache.root / "ahead")
        self._mark = {"run": uuid.uuid4().hex} if cache.force else {}
        self._futile = 0
        self._offered: list[Path] = []

    def config(self, piece: Training | Derived | Measurement, model: Model = None) -> dict[str, Any]:
        """The configuration of a piece together with what it is made from."""
        network = {"network": fingerprint(model)} if isinstance(piece, Measurement) else {}
        return {**piece.config, **piece.inputs, **network, **self._mark}

    def make(self, folder: Path, kind: str, piece: Training | Derived | Measurement, model: Model = None) -> bool:
        """Write a piece that workers made into a folder, and let workers make it and others where it is not there yet.

        Args:
            folder: where to.
            kind: `"model"`, `"results"`, or `"keep"` for figures.
            piece: what is asked for.
            model: what is measured.

        Returns:
            Whether the piece is there; otherwise this process has to make it.
        """
        config = self.config(piece, model)
        if not self.store.has(kind, config) and self._futile < FUTILE:
            self._run_ahead()
        if not self.store.has(kind, config):
            return False
        made = self.store.path(kind, config)
        for file in made.iterdir():
            if file.name != "config.json":
                shutil.copy(file, folder / file.name)
        self._offered.append(made)
        return True

    def close(self) -> None:
        """Remove what workers made; the cache has what was asked for."""
        for folder in self._offered:
            shutil.rmtree(folder, ignore_errors=True)
            (folder.parent / f".{folder.name}.lock").unlink(missing_ok=True)
        for folder in (*{folder.parent for folder in self._offered}, self.store.root):
            with contextlib.suppress(OSError):  # another run has something in it
                folder.rmdir()

    def _run_ahead(self) -> None:
        rehearsal = Rehearsal(self)
        rehearsal.run(self._rehearse)
        networks = rehearsal.unfinished()
        if len(networks) < FEWEST:
            self._futile += 1
            return
        self._futile = 0
        self._offered += [self.store.path(kind, config) for network in networks for kind, config in _configs(network)]
        mark = self.store.root / f".{uuid.uuid4().hex}"
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        more = {"memory_budget": share_of_memory(None, self._team)} if self._team.size else {}
        start, done = time.monotonic(), []
        self._say(f"{len(networks)} networks go to the workers")

        def tell(task: tuple[int], filled: Filled) -> None:
            done.append(filled)
            left = (time.monotonic() - start) / len(done) * (len(networks) - len(done))
            after = f"; about {left:.0f} s left" if left else ""
            what = f"failed ({filled.error}), and is tried again here when its turn comes" if filled.error else "done"
            self._say(
                f"network {len(done)} of {len(networks)}: {networks[task[0]].name}: {what}, by worker {filled.worker} "
                f"in {filled.seconds:.0f} s{after}"
            )

        try:
            tasks = [(number,) for number in range(len(networks))]
            run_tasks(self._team, fill, (str(mark), networks, more), tasks, tell)
        finally:
            mark.unlink(missing_ok=True)
        blind = sorted({filled.worker for filled in done if filled.blind})
        if blind:
            self._futile = FUTILE
            warnings.warn(
                f"the cache must be a folder that all workers see, to be filled by them: {self._cache.root} is not "
                f"seen by {', '.join(blind)}",
                stacklevel=2,
            )


class Rehearsal:
    """What an experiment asked for that is not there.

    Args:
        ahead: whose pieces are left out.
    """

    def __init__(self, ahead: Ahead) -> None:
        self._ahead = ahead
        self.cache = _Known(ahead._cache)
        self._networks: dict[str, Wanted] = {}
        self._results: dict[str, Results] = {}

    def run(self, rehearse: Callable[[Rehearsal], None]) -> None:
        """Rehearse, silently, to the end or to where it cannot go on."""
        with (
            distributed(None),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.suppress(NotKnownError, Exception),
        ):
            warnings.simplefilter("ignore")  # of values that mean nothing
            rehearse(self)

    def made(self, piece: Training | Derived, stand_in: Callable[[], Any]) -> Any:
        """What workers made, or else something that stands for it, such as an untrained network."""
        config = self._ahead.config(piece)
        key = config_hash(config)
        store = self._ahead.store
        is_there = store.has(piece.kind, config)
        folder = (store if is_there else self.cache).path(piece.kind, config if is_there else piece.config)
        value = piece.load(folder) if is_there else stand_in()
        waits = not is_there and isinstance(piece, Derived) and not piece.can_be_made
        if not waits:
            self._networks.setdefault(key, Wanted(str(piece), (piece, config)))
        if piece.kind == "model":
            value.tfinv_piece, value.tfinv_path, value.tfinv_waits = key, folder / "model.keras", waits
        return value

    def measured(self, model: Model, measuring: Measurement) -> Results:
        """What workers made, or else results of a few images."""
        config = self._ahead.config(measuring, model)
        store = self._ahead.store
        if store.has("results", config):
            return measuring.load(store.path("results", config))
        if not getattr(model, "tfinv_waits", False):  # the network that it is made from comes first
            self._wanted(model).measurings[config_hash(config)] = (measuring, config)
        kind = {"model": _without_seeds(measuring.model), "options": dict(measuring.options)}
        key = config_hash({**kind, "set": measuring.transformations, "measures": list(measuring.measures)})
        if key not in self._results:
            few = measuring.split.subset(min(REHEARSED_IMAGES, len(measuring.split)), 0)
            self._results[key] = measuring.evaluated(model, few, False)
        return self._results[key]

    def unfinished(self) -> list[Wanted]:
        """The networks of which something is not there yet."""
        has = self._ahead.store.has
        return [network for network in self._networks.values() if not all(has(*which) for which in _configs(network))]

    def _wanted(self, model: Model) -> Wanted:
        key = fingerprint(model)
        if key not in self._networks:
            name = getattr(model, "name", None) or key
            if getattr(model, "tfinv_piece", None):
                self._networks[key] = Wanted(name, path=str(model.tfinv_path))
            else:
                self._networks[key] = Wanted(name, content=_pickled(model))
        return self._networks[key]


class _Known(Cache):
    """A cache that is read alone, and ends a rehearsal where something is not there."""

    def __init__(self, cache: Cache) -> None:
        super().__init__(cache.root, force=cache.force)
        self._made = cache._made

    def get(self, kind: str, config: Mapping[str, Any], make: Any, load: Callable[[Path], Any]) -> Any:
        if not self.kept(kind, config):
            raise NotKnownError(kind)
        return load(self.path(kind, config))


def fill(common: tuple[str, list[Wanted], dict[str, Any]], number: int) -> Filled:
    """In a worker: train a network and measure it, into the folder of the cache.

    Args:
        common: a file that workers which see the folder find in it, all networks, and options of `tfinv.evaluate`.
        number: of the network.
    """
    mark, networks, more = common
    start = time.monotonic()
    if not Path(mark).exists():
        return Filled(worker_name(), 0.0, blind=True)
    store, network = Cache(Path(mark).parent), networks[number]
    try:
        with distributed(None):
            if network.training:
                training, config = network.training
                model = store.get(training.kind, config, lambda folder: training.make(folder, False), training.load)
            else:
                model = _opened(network)
            for measuring, config in network.measurings.values():

                def make(folder: Path, measuring: Measurement = measuring) -> None:
                    measuring.make(folder, model, False, **more)

                store.get("results", config, make, measuring.load)
    except OSError:
        raise
    except Exception as error:  # whoever asks for the piece hears of it again
        return Filled(worker_name(), time.monotonic() - start, f"{type(error).__name__}: {one_line(error)}")
    return Filled(worker_name(), time.monotonic() - start)


def _configs(network: Wanted) -> list[tuple[str, dict[str, Any]]]:
    trained = [(network.training[0].kind, network.training[1])] if network.training else []
    return [*trained, *(("results", config) for _, config in network.measurings.values())]


def _pickled(model: Model) -> bytes:
    import cloudpickle

    return cloudpickle.dumps(model)


def _opened(network: Wanted) -> Any:
    import pickle

    from tfinv import models

    return models.load(network.path) if network.path else pickle.loads(network.content or b"")  # noqa: S301 the driver's


def _without_seeds(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {key: _without_seeds(value) for key, value in config.items() if "seed" not in key}
    return config
