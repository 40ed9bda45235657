"""What an experiment keeps in its cache: a network that is trained, and results that are measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.results import VERSION, Results
from tfinv.support import environment
from tfinv.support.files import write_json
from tfinv.support.reading import read_bytes
from tfinv.support.types import Model

if TYPE_CHECKING:
    from tfinv.datasets import Dataset, Split


@dataclass(frozen=True)
class Training:
    """A network to be trained.

    Args:
        architecture: see `Run.trained`, as all others.
        data: the data set.
        augmentation: what training draws from.
        seed: of weights and training.
        options: of the architecture.
        invariance: of the loss for invariance.
        training: arguments of `tfinv.training.train`.
    """

    kind: ClassVar[str] = "model"
    architecture: str
    data: Dataset
    augmentation: str | Mapping[str, Any] | None
    seed: int
    options: Mapping[str, Any]
    invariance: Mapping[str, Any] | None
    training: Mapping[str, Any]

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its configuration in the cache."""
        from tfinv.models.load import is_file_name

        config: dict[str, Any] = {
            "architecture": self.architecture,
            "options": dict(self.options),
            "data": self.data.id,
            "augmentation": self.augmentation,
            "seed": self.seed,
            "training": dict(self.training),
            "versions": environment.versions("tensorflow", "keras"),
        }
        if self.invariance is not None:
            config["invariance"] = dict(self.invariance)
        if is_file_name(self.architecture) and Path(self.architecture).is_file():
            config["architecture_digest"] = hashlib.sha256(
                read_bytes(self.architecture, "a readable model file", argument="architecture")
            ).hexdigest()
        return config

    @property
    def inputs(self) -> dict[str, Any]:
        """What it is made from, by content."""
        return {"images": digest(self.data.train)}

    def __str__(self) -> str:
        augmentation = f" with {self.augmentation}" if self.augmentation else ""
        return f"{self.architecture} on {self.data.name}{augmentation}, seed {self.seed}"

    def built(self) -> Any:
        """The network before training."""
        from tfinv import models

        return models.build(self.architecture, self.data.input_shape, self.data.num_classes, **self.options)

    def make(self, folder: Path, progress: bool) -> None:
        """Train it and write it into a folder."""
        import keras

        from tfinv.training import InvarianceLoss, train
        from tfinv.transformations import AffineAugmentation

        keras.utils.set_random_seed(self.seed)
        model = self.built()
        augmentation = self.augmentation
        ranges = augmentation if isinstance(augmentation, Mapping) else {"transformations": augmentation}
        layer = None if augmentation is None else AffineAugmentation(**ranges, seed=self.seed)
        added = None
        if self.invariance is not None:
            drawn = AffineAugmentation(**self.invariance["ranges"])
            added = InvarianceLoss(drawn, self.invariance["layers"], self.invariance["weight"])
        shown = {"augmentation": layer, "invariance": added, "progress": progress}
        result = train(model, self.data.train, seed=self.seed, **shown, **self.training)
        model.save(folder / "model.keras")
        result.history.to_csv(folder / "history.csv", index=False)
        summary = {"seconds": result.seconds, "restarts": result.restarts, "accuracy": float(result.accuracy)}
        write_json(folder / "training.json", summary)

    @staticmethod
    def load(folder: Path) -> Any:
        """Read it from a folder."""
        from tfinv import models

        return models.load(folder / "model.keras")


@dataclass(frozen=True)
class Derived:
    """A network that an experiment makes in a way of its own, perhaps from another network.

    Args:
        name: what it is, for messages.
        config: its configuration in the cache.
        function: see `Run.derived`.
        arguments: of the function, by name.
        base_path: file of the network that it is made from; None for none.
        base: fingerprint of that network; None for none.
    """

    kind: ClassVar[str] = "model"
    name: str
    config: Mapping[str, Any]
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    base_path: str | None
    base: str | None

    @property
    def inputs(self) -> dict[str, Any]:
        """What it is made from, by content."""
        from tfinv.datasets import Dataset

        images = {name: digest(data.train) for name, data in self.arguments.items() if isinstance(data, Dataset)}
        return {"images": images, "base": self.base}

    def __str__(self) -> str:
        return self.name

    @property
    def can_be_made(self) -> bool:
        """Whether the network that it is made from is there."""
        return self.base_path is None or Path(self.base_path).is_file()

    def make(self, folder: Path, progress: bool) -> None:
        """Make it and write it into a folder."""
        self._made(progress).save(folder / "model.keras")

    def _made(self, progress: bool) -> Any:
        from tfinv import models

        base = [] if self.base_path is None else [models.load(self.base_path)]
        return self.function(*base, progress=progress, **self.arguments)

    @staticmethod
    def load(folder: Path) -> Any:
        """Read it from a folder."""
        return Training.load(folder)


@dataclass(frozen=True)
class Figures(Derived):
    """Numbers that an experiment finds in a way of its own, about a network; see `Run.figures`."""

    kind: ClassVar[str] = "keep"

    def make(self, folder: Path, progress: bool) -> None:
        write_json(folder / "figures.json", self._made(progress))

    @staticmethod
    def load(folder: Path) -> Any:
        return json.loads((folder / "figures.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Measurement:
    """Results to be measured of a network that is handed in later.

    Args:
        model: the configuration of the network in the cache, or its id.
        split: the images.
        transformations: id of the set.
        measures: keys of measures.
        samples: names the images.
        options: of `tfinv.evaluate`.
        seed: of the run, written into the results.
    """

    model: Any
    split: Split
    transformations: str
    measures: Sequence[str]
    samples: str
    options: Mapping[str, Any]
    seed: int

    @cached_property
    def config(self) -> dict[str, Any]:
        """Their configuration in the cache."""
        return {
            "model": self.model,
            "samples": self.samples,
            "count": len(self.split),
            "transformations": self.transformations,
            "measures": list(self.measures),
            "results": VERSION,
            "options": dict(self.options),
        }

    @property
    def inputs(self) -> dict[str, Any]:
        """What they are made from, by content, without the network."""
        return {"images": digest(self.split)}

    def evaluated(self, model: Model, split: Split, progress: bool, **more: Any) -> Results:
        """Measure images of a split."""
        from tfinv.evaluation import evaluate
        from tfinv.evaluation.options import as_objects

        return evaluate(
            model,
            split,
            self.transformations,
            list(self.measures),
            progress=progress,
            metadata={"dataset": self.samples, "seed": self.seed},
            **{**more, **as_objects(dict(self.options))},
        )

    def make(self, folder: Path, model: Model, progress: bool, **more: Any) -> None:
        """Measure and write the results into a folder.

        Args:
            folder: where to.
            model: the network.
            progress: show a bar.
            **more: options of `tfinv.evaluate` that change no number.
        """
        self.evaluated(model, self.split, progress, **more).save(folder / "results.npz")

    @staticmethod
    def load(folder: Path) -> Results:
        """Read them from a folder."""
        return Results.load(folder / "results.npz")


def fingerprint(model: Model) -> str:
    """A name of a network that another one has only if it has the same weights."""
    if piece := getattr(model, "tfinv_piece", None):
        return piece
    if not hasattr(model, "get_weights"):
        return model.id
    content = hashlib.blake2b(digest_size=16)
    for weight in model.get_weights():
        content.update(weight.tobytes())
    return content.hexdigest()


def digest(split: Split) -> str:
    """A hash of images and labels."""
    content = hashlib.blake2b(np.ascontiguousarray(split.x).tobytes(), digest_size=16)
    if split.y is not None:
        content.update(np.ascontiguousarray(split.y).tobytes())
    return content.hexdigest()


def plain(config: Any) -> Any:
    """A configuration as dictionaries and lists of Python, which other processes can read."""
    if isinstance(config, Mapping):
        return {key: plain(value) for key, value in config.items()}
    return [plain(value) for value in config] if isinstance(config, (list, tuple)) else config
