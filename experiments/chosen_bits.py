"""How small a file can be that keeps the invariance of a network, with bits chosen by layer.

SimpleConv on MNIST, trained upright and with rotations, SimpleConv on handshapes, trained with rotations, and MLPerf
Tiny's ResNet-8 on CIFAR-10, whose weights are the same for every seed. `choose_bits` chooses on some test images; what
it chose is then measured on others. Beside it stand the float file, uniform int8 and int4, and the file that the ratio
of signal to quantization noise chooses within the same bytes.

Source: this project; tools that choose bits go by signal-to-noise ratio, divergence or squared error.
Expected: the chosen file is smaller than int8; the file that signal-to-noise ratio chooses within the same bytes misses
a condition; on other images the chosen file still meets the conditions.

    python -m tfinv.run chosen_bits
    python -m tfinv.run chosen_bits networks=plain seeds=1

The handshapes are LSA16 and the ResNet-8 a file of MLPerf Tiny, both below TFINV_DATA, see docs/data.md.
Duration on 2 cores: smoke 1 min, cpu 30 min, full 10 h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import ROTATED, Interval, StandardStudy, conclude, save_drawing, standard
from tfinv.experiments._shared.pretrained import FILES, network_of
from tfinv.support.checks import close_match

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
FIGURES = ("uniform int8", "uniform int4", "same bytes by SQNR", "chosen")


@dataclass(frozen=True)
class Chosen:
    """A choice of bits for one network, and which conditions it misses on other images."""

    choice: BitChoice
    missed: tuple[str, ...]

    def file(self, name: str) -> Any:
        """The row of a file in `BitChoice.files`; None where there is none, as SQNR may find no file so small."""
        rows = self.choice.files[self.choice.files["file"] == name]
        return rows.iloc[0] if len(rows) else None


def answer(run: Run) -> Finding:
    """Choose the bits of every network with every seed; gather sizes and what holds."""
    study, settings = StandardStudy(run), run.settings
    wrong = [name for name in settings.networks if name not in NETWORKS]
    if wrong or not settings.networks:
        hint = close_match(wrong[0], NETWORKS) if wrong else ""
        raise ValueError(f"networks must be among {', '.join(NETWORKS)}.{hint} Received: {settings.networks!r}")
    chosen = {name: [choose(study, name, seed) for seed in study.seeds] for name in settings.networks}
    rows, bars = [], []
    for name, choices in chosen.items():
        for file in ("float32", *FIGURES):
            sizes = [one.file(file)["bytes"] for one in choices if one.file(file) is not None]
            holds = [bool(one.file(file)["holds"]) for one in choices if one.file(file) is not None]
            if not sizes:
                continue
            share = Interval.of([one.file(file)["size_ratio"] for one in choices if one.file(file) is not None])
            rows.append((name, file, f"{sum(sizes) / len(sizes):,.0f}", f"{sum(holds)} of {len(holds)}"))
            if file != "float32":
                bars.append((name, file, share.mean, share.low, share.high))
    frame = pd.DataFrame(bars, columns=["network", "file", "size", "low", "high"])
    axes = {
        "category": "network",
        "value": "size",
        "group": "file",
        "percent": True,
        "y_label": "size (% of the float file)",
    }
    save_drawing(run, "size", "bars", frame, **axes)
    claim = f"Bits chosen by layer make smaller files than int8 that keep {' and '.join(settings.keep)}."
    table = pd.DataFrame(rows, columns=["network", "file", "bytes", "meets the conditions"])
    return conclude(claim, checks(chosen), table, "size")


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
    settings, options = study.settings, {"activation": "relu"}
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


def checks(chosen: Mapping[str, list[Chosen]]) -> dict[str, bool | None]:
    """What was expected of every network."""
    found: dict[str, bool | None] = {}
    for name, choices in chosen.items():
        count = len(choices)
        share = Interval.of([one.file("chosen")["bytes"] / one.file("uniform int8")["bytes"] for one in choices])
        found[f"the chosen file of {name} takes {share:.1%} of the bytes of int8; below 100 %"] = share.below(1)
        noise = [one.file("same bytes by SQNR") for one in choices]
        missing = sum(row is None or not row["holds"] for row in noise)
        sentence = (
            f"what SQNR chooses for {name} within the same bytes misses a condition in {missing} of {count} networks"
        )
        found[f"{sentence}; in all"] = _all_or_none(missing, count)
        kept = sum(not one.missed for one in choices)
        sentence = f"on other images the chosen file of {name} meets all conditions in {kept} of {count} networks"
        found[f"{sentence}; in all"] = _all_or_none(kept, count)
    return found


def _all_or_none(number: int, count: int) -> bool | None:
    """True for all, False for none, None between them or for a single network."""
    return None if count == 1 else {count: True, 0: False}.get(number)


EXPERIMENT = Experiment(
    name="chosen_bits",
    question="How small can a file be that keeps the invariance of a network?",
    run=answer,
    source="this project",
    minutes={"smoke": 1, "cpu": 30, "full": 600},
    **standard(
        {"samples": 40, "calibration": 20, "networks": ("plain",), "schemes": ("int8", "float16")},
        {"samples": 1000, "transformations": "rotations(16)"},
        transformations="rotations(4)",
        networks=("plain", "augmented", "handshapes"),
        keep=("output_profile_increase<5%", "flip_rate<5%"),
        schemes=("int4", "int8", "int16x8", "float16", "float32"),
        samples=400,
        calibration=200,
        handshape_epochs=40,
    ),
)
