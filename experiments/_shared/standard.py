"""What most experiments do with a run: train networks over seeds, measure them, draw profiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfinv.experiments._shared.drawing import save_drawing
from tfinv.experiments._shared.evidence import Interval

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tfinv.datasets import Dataset
    from tfinv.experiment import Run
    from tfinv.results import Results

MEASURE = "NormalizedVariance(aggregate='mean')"
SAME_EQUIVARIANCE = "NormalizedVarianceSE(aggregate='mean')"
ROTATED: Mapping[str, Any] = {"rotation": 180.0}
LABELS = {MEASURE: "normalized variance", SAME_EQUIVARIANCE: "normalized same-equivariance"}
"""What figures call the measures."""

_CPU = {
    "dataset": "mnist",
    "train_samples": 6000,
    "test_samples": 300,
    "transformations": "rotations(16)",
    "seeds": 3,
    "filters": 16,
    "dense": 32,
    "epochs": 4,
    "augmented_epochs": 10,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "min_accuracy": 0.8,
}
_SMOKE = {
    "dataset": "digits",
    "train_samples": 200,
    "test_samples": 24,
    "transformations": "rotations(4)",
    "seeds": 1,
    "filters": 4,
    "dense": 8,
    "epochs": 1,
    "augmented_epochs": 1,
    "min_accuracy": None,
}
_FULL = {
    "train_samples": None,
    "test_samples": 1000,
    "transformations": "rotations(49)",
    "seeds": 8,
    "filters": 32,
    "dense": 64,
    "epochs": 5,
    "augmented_epochs": 15,
}


_FAMILIES = {
    "cpu": {"scales": "scales(2, 0.5, 1.25)", "translations": "translations(2, 0.15)"},
    "smoke": {"scales": "scales(1, 0.5, 1.25)", "translations": "translations(1, 0.15)"},
    "full": {"scales": "scales(8, 0.5, 1.25)", "translations": "translations(6, 0.15)"},
}


def standard(
    smoke: Mapping[str, Any] | None = None,
    full: Mapping[str, Any] | None = None,
    *,
    families: bool = False,
    **cpu: Any,
) -> dict[str, Any]:
    """`settings` and `presets` of an `Experiment`: the study's standard with changes.

    Experiments that keep the standard share their trained networks through the cache.

    Args:
        smoke: what else preset `smoke` changes.
        full: what else preset `full` changes.
        families: add the sets of scales and translations that `StandardStudy.families` needs.
        **cpu: settings of every preset, except where the standard of `smoke` or `full` says otherwise.
    """
    sets = _FAMILIES if families else {key: {} for key in _FAMILIES}
    presets = {
        "smoke": {**cpu, **_SMOKE, **sets["smoke"], **(smoke or {})},
        "full": {**cpu, **_FULL, **sets["full"], **(full or {})},
    }
    return {"settings": {**_CPU, **sets["cpu"], **cpu}, "presets": presets}


class StandardStudy:
    """A run with the study's standard ways of training and measuring.

    Args:
        run: what `Experiment.run` is given; its settings are those of `standard`.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.settings = run, run.settings
        self._data: dict[str, Dataset] = {}
        self.data = self.load(self.settings.dataset)

    @property
    def seeds(self) -> range:
        """One network of each kind is made for each of these; they also draw the test images."""
        return range(self.run.seed, self.run.seed + self.settings.seeds)

    @property
    def upright(self) -> int:
        """The position of the transformation of the set that turns images least."""
        from tfinv.transformations import parse

        return min(enumerate(parse(self.settings.transformations)), key=lambda pair: abs(pair[1].degrees))[0]  # type: ignore[union-attr]

    @property
    def families(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """The study's families: the set that measures, and the ranges that training draws from."""
        settings = self.settings
        return {
            "rotation": (settings.transformations, ROTATED),
            "scale": (settings.scales, {"scale": [0.5, 1.25]}),
            "translation": (settings.translations, {"translation": 0.15}),
        }

    def load(self, name: str, **options: Any) -> Dataset:
        """A data set with `train_samples` training images, the same for all seeds."""
        key = f"{name} {options}"
        if key not in self._data:
            data, count = self.run.dataset(name, **options), self.settings.train_samples
            if count is not None and count < len(data.train):
                data = dataclasses.replace(data, train=data.train.subset(count, 0))
            self._data[key] = data
        return self._data[key]

    def trained(
        self,
        seed: int,
        augmentation: str | Mapping[str, Any] | None = None,
        *,
        data: Dataset | None = None,
        architecture: str = "simple_conv",
        epochs: int | None = None,
        **options: Any,
    ) -> Any:
        """A trained network, from the cache where it is there; `**options` are the architecture's.

        With `epochs` given, training is taken as it comes: without a least accuracy and without restarts.
        """
        settings = self.settings
        if architecture == "simple_conv":
            options = {"filters": settings.filters, "dense": settings.dense, **options}
        return self.run.trained(
            architecture,
            data or self.data,
            augmentation=augmentation,
            seed=seed,
            options=options,
            epochs=epochs or (settings.epochs if augmentation is None else settings.augmented_epochs),
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            min_accuracy=None if epochs else settings.min_accuracy,
        )

    def plain(self, seed: int) -> Any:
        """The standard network, trained on images as they are."""
        return self.trained(seed)

    def rotated(self, seed: int) -> Any:
        """The standard network, trained on images turned by any angle."""
        return self.trained(seed, ROTATED)

    def untrained(self, seed: int, **options: Any) -> Any:
        """The standard network with random weights."""
        from tfinv import models
        from tfinv.support import environment

        options = {"filters": self.settings.filters, "dense": self.settings.dense, **options}
        shape, classes = self.data.input_shape, self.data.num_classes
        model = models.build("simple_conv", shape, classes, seed=seed, **options)
        versions = environment.versions("tensorflow", "keras")
        config = {"untrained": "simple_conv", "shape": list(shape), "classes": classes, "versions": versions}
        model.tfinv_config = {**config, "options": options, "seed": seed}
        return model

    def measured(
        self,
        model: Any,
        measures: str | Sequence[str] = MEASURE,
        transformations: str | None = None,
        *,
        data: Dataset | None = None,
        part: str = "test",
        samples: int | None = None,
        **options: Any,
    ) -> Results:
        """Measure a network on `samples` (default: `test_samples`) images of a split, drawn with the network's seed."""
        data, seed = data or self.data, model.tfinv_config["seed"]
        split = getattr(data, part)
        count = min(samples or self.settings.test_samples, len(split))
        return self.run.measured(
            model,
            split.subset(count, seed),
            transformations or self.settings.transformations,
            [measures] if isinstance(measures, str) else list(measures),
            samples=f"{data.id}, {count} of {part}, seed {seed}",
            **options,
        )

    def profiles(self, make: Callable[[int], Any], measure: str = MEASURE, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Layer profiles over seeds, one row per seed and one column per layer; layers without values are left out.

        Args:
            make: the network of a seed.
            measure: which one is taken.
            *args: of `measured`.
            **kwargs: of `measured`; `measures` where several are measured at once.
        """
        import pandas as pd

        measures = kwargs.pop("measures", measure)
        rows = {}
        for seed in self.seeds:
            profile = self.measured(make(seed), measures, *args, **kwargs)[measure].profile()
            rows[seed] = dict(zip(profile["layer"], profile["mean"], strict=True))
        return pd.DataFrame.from_dict(rows, orient="index").dropna(axis=1, how="all")

    def accuracy(self, model: Any, transformations: str | None = None, **kwargs: Any) -> NDArray[Any]:
        """Accuracy under each transformation, `(T,)`; `**kwargs` are those of `measured`."""
        result = self.measured(model, "AccuracyUnder", transformations, **kwargs)["AccuracyUnder"]
        return next(layer.values for layer in result.values() if layer.values.size)


def save_profiles(
    run: Run, name: str, lines: Mapping[str, pd.DataFrame], measure: str = MEASURE, title: str = "", **options: Any
) -> None:
    """Draw layer profiles with their intervals over seeds; `**options` are those of `plots.profile`."""
    import pandas as pd

    frames = [with_interval(profiles).assign(line=line) for line, profiles in lines.items()]
    options = {"measure": LABELS.get(measure, measure), "title": title or None, **options}
    save_drawing(run, name, "profile", pd.concat(frames, ignore_index=True), **options)


def with_interval(profiles: pd.DataFrame) -> pd.DataFrame:
    """Columns `layer, mean, low, high` of profiles over seeds."""
    import pandas as pd

    intervals = {layer: Interval.of(profiles[layer]) for layer in profiles}
    rows = [(layer, interval.mean, interval.low, interval.high) for layer, interval in intervals.items()]
    return pd.DataFrame(rows, columns=["layer", "mean", "low", "high"])


def profile_table(lines: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per layer, one column per kind of network, `mean [low, high]` in each cell."""
    import pandas as pd

    cells = {
        name: {layer: format(Interval.of(profiles[layer])) for layer in profiles} for name, profiles in lines.items()
    }
    order = list(dict.fromkeys(layer for profiles in lines.values() for layer in profiles))
    return pd.DataFrame(cells).reindex(order).fillna("").rename_axis("layer").reset_index()
