"""Bits chosen for a trained network on some images, and looked at on others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfinv.experiments._shared.pretrained import FILES, network_of
from tfinv.experiments._shared.standard import ROTATED, StandardStudy

if TYPE_CHECKING:
    from tfinv.datasets import Split
    from tfinv.support.types import KerasModel
    from tfinv.tflite.studies.bit_choice import BitChoice

HANDSHAPES: Mapping[str, Any] = {"batch_size": 32, "min_accuracy": 0.5}
NETWORKS: Mapping[str, tuple[str | None, Mapping[str, Any] | None]] = {
    "plain": (None, None),
    "augmented": (None, ROTATED),
    "handshapes": ("lsa16", ROTATED),
    "resnet8": ("cifar10", None),
}
"""Data and augmentation by network; None for the data of the settings."""


@dataclass(frozen=True)
class Chosen:
    """A choice of bits for one network, and which conditions it misses on other images."""

    choice: BitChoice
    missed: tuple[str, ...]

    def file(self, name: str) -> Any:
        """The row of a file in `BitChoice.files`; None where there is none, as SQNR may find no file so small."""
        rows = self.choice.files[self.choice.files["file"] == name]
        return rows.iloc[0] if len(rows) else None


def choose(study: StandardStudy, name: str, seed: int) -> Chosen:
    """Train or load a network and choose its bits on some images; measure the chosen file on others."""
    from tfinv import tflite
    from tfinv.tflite.comparison.gate import metric_value
    from tfinv.tflite.studies.bit_conditions import parse_keep

    run, settings = study.run, study.settings
    network, scale = _network(study, name, seed)
    data = study.load(NETWORKS[name][0] or settings.dataset)
    some, other = _two_parts(data.test, settings.samples, seed)
    calibration = data.train.subset(min(settings.calibration, len(data.train)), seed)
    given: dict[str, Any] = {"input_scale": scale, "seed": seed, "progress": False}
    choice = tflite.choose_bits(
        network,
        tflite.with_transformations(calibration.x, settings.transformations, per_image=1, seed=seed),
        some,
        settings.transformations,
        keep=list(settings.keep),
        schemes=settings.schemes,
        output=tflite.Output(cache=run.cache, report=lambda text: run.say(f"{name}, seed {seed}: {text}")),
        **given,
    )
    folder = run.out / f"{name}-{seed}"
    choice.save(folder)
    choice.report(folder)
    comparison = tflite.compare_files(
        tflite.float32(network),
        choice.conversion,
        other,
        settings.transformations,
        measures="NormalizedVariance",
        **given,
    )
    missed = [
        str(condition)
        for condition in parse_keep(list(settings.keep))
        if not condition.holds(metric_value(condition.metric, comparison))
    ]
    return Chosen(choice, tuple(missed))


def _network(study: StandardStudy, name: str, seed: int) -> tuple[KerasModel, str]:
    """A network and the scale of its input; its activation is ReLU, because ELU has no integer kernel."""
    if name in FILES:
        return network_of(study, name, seed, trained=True).keras_model, FILES[name][1]
    dataset, augmentation = NETWORKS[name]
    settings = study.settings
    options: dict[str, Any] = {"activation": "relu"}
    if dataset is None:
        return study.trained(seed, augmentation, **options), "0..1"
    model = study.run.trained(
        "simple_conv",
        study.load(dataset),
        augmentation=augmentation,
        seed=seed,
        options={"filters": settings.filters, "dense": settings.dense, **options},
        epochs=settings.handshape_epochs,
        learning_rate=settings.learning_rate,
        **HANDSHAPES,
    )
    return model, "0..1"


def _two_parts(images: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Images to choose on, and others to look at the choice; at most half of the images each."""
    count = min(count, len(images) // 2)
    drawn = images.subset(2 * count, seed)
    return drawn.take(range(count)), drawn.take(range(count, 2 * count))
