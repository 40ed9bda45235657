"""The run of an experiment, which gives it models, results and files."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tfinv.evaluation.distribution import team_of
from tfinv.experiment.ahead import Ahead, Rehearsal
from tfinv.experiment.description import Experiment, Finding
from tfinv.experiment.pieces import Derived, Figures, Measurement, Training, fingerprint, plain
from tfinv.results import Results
from tfinv.support import environment
from tfinv.support.cache import Cache, config_hash
from tfinv.support.files import atomic_write, write_json, write_text
from tfinv.support.safe_text import printable, to_csv
from tfinv.support.types import Model

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tfinv.datasets import Dataset, Split

MODELS_KEPT = 8
"""How many networks a run keeps loaded."""


class Run:
    """What an experiment works with: settings, seeds, cached models and results, and its output folder.

    Args:
        experiment: the experiment.
        settings: from `Experiment.configure`.
        out: the output folder.
        cache: where trained models and results are kept, shared between experiments.
        seed: base seed.
        progress: show progress bars and say what happens.
    """

    def __init__(
        self,
        experiment: Experiment,
        settings: Mapping[str, Any],
        out: Path,
        cache: Cache,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        self.experiment = experiment
        self.settings = SimpleNamespace(**settings)
        self.config = dict(settings)
        self.out = out
        self.cache = cache
        self.seed = seed
        self.progress = progress
        self._datasets: dict[str, Dataset] = {}
        self.ahead: Ahead | None = None
        """Workers that make what will be asked for; see `tfinv.experiment.ahead`."""
        self.rehearsal: Rehearsal | None = None
        """Where this run only finds out what will be asked for."""
        self._models: dict[str, Any] = {}  # the last few; most experiments come back to a network at once

    def say(self, text: str) -> None:
        """Print a line for the person at the terminal."""
        if self.progress:
            _print(text)

    def dataset(self, name: str, **options: Any) -> Dataset:
        """Load a data set once."""
        from tfinv import datasets

        key = f"{name} {sorted(options.items())}"
        if key not in self._datasets:
            self._datasets[key] = datasets.load(name, **options)
        return self._datasets[key]

    def trained(
        self,
        architecture: str,
        data: Dataset,
        *,
        augmentation: str | Mapping[str, Any] | None = None,
        seed: int | None = None,
        options: Mapping[str, Any] | None = None,
        invariance: Mapping[str, Any] | None = None,
        **training: Any,
    ) -> Any:
        """A trained model, from the cache where it was trained before.

        Args:
            architecture: a name of `tfinv.models.build`, or a model file whose architecture is trained anew.
            data: the data set; its training split is used.
            augmentation: id of the transformation set that training draws from, or the ranges of an
                `AffineAugmentation` such as `{"rotation": 180.0}`; None for plain training.
            seed: default: the run's.
            options: of the architecture.
            invariance: `layers` and `weight` of an `InvarianceLoss`, and under `ranges` those of its
                `AffineAugmentation`; None trains without.
            **training: arguments of `tfinv.training.train`, such as `epochs`.

        Returns:
            A Keras model with the attributes `tfinv_config`, which names it in caches, and `tfinv_path`, its file.
        """
        piece = Training(
            architecture,
            data,
            augmentation,
            self.seed if seed is None else seed,
            dict(options or {}),
            None if invariance is None else dict(invariance),
            training,
        )
        config = piece.config
        key = config_hash(config)
        if key in self._models:
            return self._models[key]
        model = self._made(piece, piece.built)
        if len(self._models) >= MODELS_KEPT:
            del self._models[next(iter(self._models))]
        self._models[key] = model
        return model

    def derived(
        self,
        name: str,
        config: Mapping[str, Any],
        function: Callable[..., Any],
        *,
        base: Any = None,
        untrained: Callable[[], Any] | None = None,
        **arguments: Any,
    ) -> Any:
        """A network that the experiment makes in a way of its own, from the cache where it was made before.

        Args:
            name: what it is, for messages.
            config: everything that determines it, as JSON-able values.
            function: called as `function(base, progress=..., **arguments)`, without the first where there is no base;
                gives a Keras model. A function of a module, which workers call too.
            base: a network of `trained` or `derived` that it is made from; the function gets a copy.
            untrained: gives a network of the same layers, to see what will be asked for; None where `base` has them.
            **arguments: of the function.

        Returns:
            As `trained`.
        """
        path, of = (None, None) if base is None else (str(base.tfinv_path), fingerprint(base))
        piece = Derived(name, plain(config), function, arguments, path, of)
        return self._made(piece, untrained or (lambda: _copied(base)))

    def figures(
        self, name: str, config: Mapping[str, Any], function: Callable[..., Any], *, base: Any, **arguments: Any
    ) -> dict[str, Any]:
        """Numbers that the experiment finds in a way of its own, from the cache where they were found before.

        Args:
            name: see `derived`, as all others.
            config: everything that determines them.
            function: gives a mapping that JSON can hold.
            base: the network that they are about.
            **arguments: of the function.

        Returns:
            The mapping; where the experiment only finds out what it will ask for, an empty one.
        """
        piece = Figures(name, plain(config), function, arguments, str(base.tfinv_path), fingerprint(base))
        return self._made(piece, dict)

    def _made(self, piece: Training | Derived, stand_in: Callable[[], Any]) -> Any:
        config = dict(piece.config)
        is_model = piece.kind == "model"
        if self.rehearsal and not self.cache.kept(piece.kind, config):
            value = self.rehearsal.made(piece, stand_in)
        else:

            def make(folder: Path) -> None:
                if self.ahead and self.ahead.make(folder, piece.kind, piece):
                    return
                self.say(f"{'training' if is_model else 'measuring'} {piece}")
                piece.make(folder, self.progress)

            value = self.cache.get(piece.kind, config, make, piece.load)
            if is_model:
                value.tfinv_path = self.cache.path("model", config) / "model.keras"
            if is_model and self.ahead:
                value.tfinv_piece = config_hash(self.ahead.config(piece))
        if is_model:
            value.tfinv_config = config
        return value

    def measured(
        self, model: Model, split: Split, transformations: str, measures: Sequence[str], *, samples: str, **options: Any
    ) -> Results:
        """Results of `tfinv.evaluate`, from the cache where they were measured before.

        Args:
            model: a model of `trained`, or an `ActivationSource` with an `id`.
            split: the images.
            transformations: id of the set.
            measures: keys of measures.
            samples: names the images: data set, split, how many, seed; part of the cache key.
            **options: of `tfinv.evaluate`; those of `Sampling` and `Warping` by their names.
        """
        known = getattr(model, "tfinv_config", None) or model.id  # Keras made it a dictionary of its own kind
        piece = Measurement(plain(known), split, transformations, list(measures), samples, options, self.seed)
        if self.rehearsal and not self.cache.kept("results", piece.config):
            return self.rehearsal.measured(model, piece)

        def make(folder: Path) -> None:
            if self.ahead and self.ahead.make(folder, "results", piece, model):
                return
            piece.make(folder, model, self.progress)

        return self.cache.get("results", piece.config, make, piece.load)

    def rehearsed(self, rehearsal: Rehearsal) -> None:
        """Run the experiment once more into a folder that is thrown away, to see what it asks for."""
        with tempfile.TemporaryDirectory(prefix="tfinv-") as folder:
            run = Run(self.experiment, self.config, Path(folder), rehearsal.cache, self.seed, progress=False)
            run.rehearsal, run.ahead, run._datasets = rehearsal, self.ahead, self._datasets
            self.experiment.run(run)

    def save_figure(self, figure: Figure, name: str) -> None:
        """Write `<name>.png` into the output folder."""
        from tfinv import plots

        plots.save(figure, self.out / f"{name}.png")

    def save_table(self, table: pd.DataFrame, name: str) -> None:
        """Write `<name>.csv` into the output folder."""
        with atomic_write(self.out / f"{name}.csv") as file:
            file.write(to_csv(table).encode())


def run_experiment(
    experiment: Experiment,
    *,
    preset: str = "cpu",
    overrides: Sequence[str] = (),
    out: Path | None = None,
    cache: Path | None = None,
    seed: int = 0,
    force: bool = False,
    progress: bool = True,
) -> Finding | None:
    """Run an experiment and write its folder: figures, tables, `finding.md`, `config.json`, `environment.json`.

    Args:
        experiment: what to run.
        preset: `"smoke"`, `"cpu"` or `"full"`.
        overrides: `key=value` texts.
        out: output folder; default `runs/<name>`, with `-<preset>` behind it for presets other than `cpu`.
        cache: folder of trained models and results; default `runs/cache`, or `<out>/cache` where `out` is given.
        seed: base seed of everything random.
        force: make everything anew.
        progress: progress bars and messages on the terminal.

    Inside of `tfinv.distributed`, workers train and measure the networks that the experiment will ask for.

    Returns:
        The experiment's finding.

    Raises:
        ValueError: a wrong preset or override.
        OSError: a folder that cannot be written.
    """
    settings = experiment.configure(preset, overrides)
    folder = out or output_folder(experiment.name, preset)
    cache_folder = cache or (folder / "cache" if out else Path("runs/cache"))
    folder.mkdir(parents=True, exist_ok=True)
    config = {"experiment": experiment.name, "preset": preset, "seed": seed, "settings": settings}
    write_json(folder / "config.json", config)
    write_json(folder / "environment.json", environment.describe())
    (folder / "finished.json").unlink(missing_ok=True)
    start = time.monotonic()
    store = Cache(cache_folder, force=force, report=_print if progress else None)
    run = Run(experiment, settings, folder, store, seed, progress)
    with team_of(None) as team:
        if team is not None:
            run.ahead = Ahead(team, store, run.rehearsed, run.say)
        finding = experiment.run(run)
        if run.ahead:
            run.ahead.close()
    if finding is not None:
        write_text(folder / "finding.md", finding.to_markdown(experiment.question, settings))
    write_json(folder / "finished.json", {**config, "seconds": round(time.monotonic() - start, 1)})
    return finding


def output_folder(name: str, preset: str) -> Path:
    """Where a run goes unless `--out` says otherwise."""
    return Path("runs") / (name if preset == "cpu" else f"{name}-{preset}")


def _copied(model: Model) -> Any:
    import keras

    copy: Any = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _print(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)
