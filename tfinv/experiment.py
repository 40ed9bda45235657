"""One research question as a frozen description, and the run that gives it models, results and files."""

from __future__ import annotations

import ast
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tfinv.ahead import Ahead, Rehearsal
from tfinv.evaluation.distribution import team_of
from tfinv.pieces import Measurement, Training, plain
from tfinv.report import markdown
from tfinv.results import Results
from tfinv.support import environment
from tfinv.support.cache import Cache, config_hash
from tfinv.support.checks import close_match
from tfinv.support.files import atomic_write, write_json, write_text
from tfinv.support.safe_text import printable, to_csv
from tfinv.support.types import Model

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tfinv.datasets import Dataset, Split

PRESETS = ("smoke", "cpu", "full")
MODELS_KEPT = 8
"""How many networks a run keeps loaded."""


@dataclass(frozen=True)
class Finding:
    """What an experiment found, in words.

    Args:
        claim: what was claimed or expected, and by whom.
        verdict: `"holds"`, `"does not hold"`, `"partly holds"` or `"inconclusive"` from these runs.
        text: the finding in a few sentences, with numbers and intervals.
        table: the numbers behind it.
        figure: name of the figure worth putting into a paper.
    """

    claim: str
    verdict: str
    text: str
    table: pd.DataFrame | None = None
    figure: str | None = None

    def to_markdown(self, title: str, settings: Mapping[str, Any]) -> str:
        """The text of `finding.md`."""
        parts = [f"# {title}", f"**Claim.** {self.claim}", f"**Verdict: {self.verdict}.** {self.text}"]
        if self.figure:
            parts.append(f"![{title}]({self.figure}.png)")
        if self.table is not None:
            parts.append(_markdown_table(self.table))
        parts.append(settings_line(settings))
        return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class Experiment:
    """A research question that `python -m tfinv.run NAME` answers.

    Args:
        name: the command-line name; by convention the file's name.
        question: one sentence.
        run: does the work with a `Run`; returns a `Finding`, or None where the report says it all.
        settings: default settings, those of preset `cpu`; `key=value` on the command line overrides them.
        presets: what `smoke` and `full` change.
        source: figure or table of the paper that asked the question.
        minutes: documented duration on 2 cores by preset.
    """

    name: str
    question: str
    run: Callable[[Run], Finding | None]
    settings: Mapping[str, Any]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = ""
    minutes: Mapping[str, float] = field(default_factory=dict)

    def configure(self, preset: str = "cpu", overrides: Sequence[str] = ()) -> dict[str, Any]:
        """The settings of a preset with `key=value` overrides.

        Raises:
            ValueError: an unknown preset or key (the known ones are listed), or a value of the wrong type.
        """
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}. Received: {preset!r}")
        settings = {**self.settings, **self.presets.get(preset, {})}
        for text in overrides:
            key, separator, value = text.partition("=")
            if not separator or key not in settings:
                known = ", ".join(f"{name}={default!r}" for name, default in settings.items())
                hint = close_match(key, settings)
                raise ValueError(
                    f"overrides of {self.name} must be key=value with the keys {known}.{hint} Received: {text!r}"
                )
            settings[key] = _parse_value(key, value, settings[key])
        return settings


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
        """Workers that make what will be asked for; see `tfinv.ahead`."""
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
        if self.rehearsal and not self.cache.kept("model", config):
            model = self.rehearsal.trained(piece)
        else:

            def make(folder: Path) -> None:
                if self.ahead and self.ahead.make(folder, "model", piece):
                    return
                self.say(f"training {piece}")
                piece.make(folder, self.progress)

            model = self.cache.get("model", config, make, piece.load)
            model.tfinv_path = self.cache.path("model", config) / "model.keras"
            if self.ahead:
                model.tfinv_piece = config_hash(self.ahead.config(piece))
        model.tfinv_config = config
        if len(self._models) >= MODELS_KEPT:
            del self._models[next(iter(self._models))]
        self._models[key] = model
        return model

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


def settings_line(settings: Mapping[str, Any]) -> str:
    """The last line of a `finding.md`: with what settings it was found."""
    return "Settings: " + ", ".join(f"{key}={value!r}" for key, value in settings.items())


def output_folder(name: str, preset: str) -> Path:
    """Where a run goes unless `--out` says otherwise."""
    return Path("runs") / (name if preset == "cpu" else f"{name}-{preset}")


def _print(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def _parse_value(key: str, text: str, default: Any) -> Any:
    value = _literal(text)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    if isinstance(default, (tuple, list)) and not isinstance(value, (tuple, list)):
        parts = _top_level(value) if isinstance(value, str) and value == text else [value]
        value = type(default)(parts)
    if default is not None and type(value) is not type(default):
        raise ValueError(f"{key} must be of type {type(default).__name__}, like {default!r}. Received: {text!r}")
    return value


def _top_level(text: str) -> list[Any]:
    """The values of a list that was written without brackets and quotes: `a,f(1,2)` holds two."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [_literal(part.strip()) for part in parts if part.strip()] or [text]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _markdown_table(table: pd.DataFrame) -> str:
    def cell(value: Any) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    rows = [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return markdown.table(list(map(str, table.columns)), rows)
