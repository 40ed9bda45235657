"""Whether augmentation or design is the better way to invariance, by the number of training images.

The training images are turned once by random angles and stay so, as in mnist-rot. Augmentation shows each of them under
a new angle at every step; networks without it see the images as they are. P4CNN is trained in both ways. Networks of
one seed share their images, and all trainings have as many steps (`updates`), so that few images are seen more often.

Source: Quiroga et al. 2018, abstract: augmented networks classify rotated images as well as networks with a spatial
transformer or group convolutions do, at the cost of training alone.
Expected: no network is more accurate than SimpleConv with augmentation, whether images are few or many.

    python -m tfinv.run augmentation_or_design
    python -m tfinv.run augmentation_or_design networks=p4cnn sizes=100,300,1000

Duration on 2 cores: smoke 1 min, cpu 35 min (estimated from 47 min on one core), full (a GPU) 20 h.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd

from tfinv.datasets import Dataset, Split
from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import ROTATED, Interval, StandardStudy, conclude, save_drawing, standard
from tfinv.experiments._shared.designs import designs

AUGMENTED = "simple_conv, augmented"
PLAIN = ("simple_conv", "z2cnn")
"""Networks without a design for invariance: what the others are measured against, not what the claim is about."""
SAME = 0.01
"""A difference of accuracy below this counts as none."""


def answer(run: Run) -> Finding:
    """Train every network on every number of images; compare the accuracy under rotations seed by seed."""
    study, accuracies = StandardStudy(run), {}
    for size in run.settings.sizes:
        data = {seed: turned_images(study.data, size, seed) for seed in study.seeds}
        epochs = epochs_for(run.settings.updates, size, run.settings.batch_size)
        for name, options in networks(run.settings).items():
            models = [study.trained(seed, data=data[seed], epochs=epochs, **options) for seed in study.seeds]
            accuracies[name, size] = np.array([study.accuracy(model).mean() for model in models])
    rows, points, gains = [], [], []
    for (name, size), values in accuracies.items():
        accuracy, more = Interval.of_shares(values), gain(accuracies, name, size)
        points.append((name, f"{size:,}", accuracy.mean, accuracy.low, accuracy.high))
        if name != AUGMENTED:
            gains.append((name, f"{size:,}", more.mean, more.low, more.high))
        rows.append((name, size, f"{accuracy:.1%}", "" if name == AUGMENTED else f"{more:+.1pt}"))
    columns = ["line", "layer", "mean", "low", "high"]
    axes = {"x_label": "training images", "y_label": "accuracy under rotations"}
    save_drawing(run, "accuracy", "profile", pd.DataFrame(points, columns=columns), **axes)
    axes |= {"y_label": "accuracy more than with augmentation", "reference": [0.0, AUGMENTED]}
    save_drawing(run, "gain", "profile", pd.DataFrame(gains, columns=columns), **axes)
    columns = ["network", "training images", "accuracy under rotations", "more than augmentation"]
    table = pd.DataFrame(rows, columns=columns)
    claim = (
        "Augmentation alone reaches what networks that are invariant by design reach, with few images and many (2018)."
    )
    return conclude(claim, _checks(accuracies, run.settings), table, "accuracy")


def networks(settings: Any) -> dict[str, dict[str, Any]]:
    """What `StandardStudy.trained` is given, by the name of the network; SimpleConv with augmentation is the first."""
    chosen = designs(settings)
    both = [name for name in settings.augmented if name in chosen]
    augmented = {AUGMENTED: {"architecture": "simple_conv", "augmentation": ROTATED}}
    augmented |= {f"{name}, augmented": {**chosen[name], "augmentation": ROTATED} for name in both}
    return {**augmented, **{name: dict(options) for name, options in chosen.items()}}


def turned_images(data: Dataset, count: int, seed: int) -> Dataset:
    """`data` with `count` training images, drawn with the seed and turned once by angles drawn with it.

    Raises:
        ValueError: more images than there are.
    """
    from tfinv.transformations import AffineAugmentation

    if count > len(data.train):
        raise ValueError(f"sizes must be at most {len(data.train)}, the images of {data.name}. Received: {count}")
    drawn = data.train.subset(count, seed)
    images = np.asarray(AffineAugmentation(**ROTATED, seed=seed)(drawn.x, training=True))
    train = Split(images.clip(0, 1), drawn.y)
    return dataclasses.replace(data, train=train, notes=(*data.notes, f"training images turned once, seed {seed}"))


def epochs_for(updates: int, images: int, batch_size: int) -> int:
    """Passes over the images that make up at least so many updates, an incomplete batch being one."""
    return math.ceil(updates / math.ceil(images / batch_size))


def gain(accuracies: dict[tuple[str, int], Any], name: str, size: int) -> Interval:
    """How much more accurate a network is than SimpleConv with augmentation, seed by seed."""
    return Interval.of(accuracies[name, size] - accuracies[AUGMENTED, size])


def _checks(accuracies: dict[tuple[str, int], Any], settings: Any) -> dict[str, bool | None]:
    checks: dict[str, bool | None] = {}
    for name in (name for name in networks(settings) if name not in (AUGMENTED, *PLAIN)):
        for size in (min(settings.sizes), max(settings.sizes)):
            more = gain(accuracies, name, size)
            sentence = f"with {size:,} images the accuracy of {name} differs from that of {AUGMENTED} by {more:+.1pt}"
            checks[f"{sentence}; below the margin of 1 point"] = more.below(SAME)
    return checks


EXPERIMENT = Experiment(
    name="augmentation_or_design",
    question="Which way to invariance takes fewer images: augmentation, or a network that is invariant by design?",
    run=answer,
    source="Quiroga et al. 2018, abstract; Cohen and Welling 2016 on mnist-rot",
    minutes={"smoke": 1, "cpu": 35, "full": 1200},
    **standard(
        {"sizes": (50, 200), "updates": 4, "maps": 2, "networks": ("simple_conv", "ti_pooling")},
        {"sizes": (100, 300, 1000, 3000, 10000), "updates": 5000, "maps": 10, "dropout": 0.3, "train_samples": 20000},
        sizes=(100, 1000, 10000),
        updates=800,
        augmented=("p4cnn",),
        train_samples=10000,
        maps=5,
        dropout=0.0,
        networks=("simple_conv", "st_cnn", "ti_pooling", "z2cnn", "p4cnn"),
    ),
)
