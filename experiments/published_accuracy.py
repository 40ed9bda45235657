"""Whether the network of 2018 reaches the accuracies that were published for it, on all of MNIST.

Source: Quiroga et al. 2018, "Revisiting Data Augmentation for Rotational Invariance in Convolutional Neural Networks",
bars of its software: SimpleConv with ReLU, 32 filters and 64 dense units, Adam with rate 0.001, batches of 64; trained
on images as they are for 5 epochs, or turned by any angle for 15; tested on images as they are or each turned by one
random angle, zeros outside.
Expected: .993 plain on upright, .437 plain on rotated, .981 rotated on upright, .980 rotated on rotated.

    python -m tfinv.run published_accuracy
    python -m tfinv.run published_accuracy augmented_epochs=15 schedule=constant     as long as was published

Here the rate falls along half a cosine, which needs fewer epochs of rotated images. A single network's intervals are
those of a share of so many test images (Wilson); they do not hold what another seed would change. Duration on 2 cores:
smoke 10 s, cpu 25 min, full 2 h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import ROTATED, Interval, StandardStudy, conclude, save_drawing
from tfinv.resampling import shares

PUBLISHED = {
    ("plain", "upright"): 0.993,
    ("plain", "rotated"): 0.437,
    ("rotated", "upright"): 0.981,
    ("rotated", "rotated"): 0.980,
}
"""What the network was trained and tested on."""


def answer(run: Run) -> Finding:
    """Train plain and with rotations, test upright and rotated."""
    from tfinv.training import accuracy
    from tfinv.transformations import AffineAugmentation

    study, settings = StandardStudy(run), run.settings
    x, y = study.data.test.x, np.asarray(study.data.test.y)
    turned = np.asarray(AffineAugmentation(**ROTATED, seed=run.seed)(x, training=True))
    tests = {"upright": (x, y), "rotated": (turned, y)}
    reached: dict[tuple[str, str], list[float]] = {cell: [] for cell in PUBLISHED}
    for training, augmentation in (("plain", None), ("rotated", ROTATED)):
        for seed in study.seeds:
            trained = network(run, study.data, augmentation, seed)
            for name, images in tests.items():
                reached[training, name].append(accuracy(trained, images))
    comparable, rows, checks = study.data.name == "mnist" and settings.train_samples is None, [], {}
    for (training, name), published in PUBLISHED.items():
        measured, label = reached[training, name], f"{training}, {name}"
        interval = Interval.of_shares(measured) if len(measured) > 1 else wilson(measured[0], len(x))
        rows.append((label, "published", published, np.nan, np.nan))
        rows.append((label, "here", interval.mean, interval.low, interval.high))
        sentence = f"{label}: {interval:.1%} ({'one seed' if len(measured) == 1 else f'{len(measured)} seeds'})"
        other = "on other images than the published ones; comparable"
        end = f"published {published:.1%}; within 2 points" if comparable else other
        checks[f"{sentence}, {end}"] = interval.within(published - 0.02, published + 0.02) if comparable else None
    table = pd.DataFrame(rows, columns=["trained, tested", "source", "accuracy", "low", "high"])
    bars = {"category": "trained, tested", "value": "accuracy", "group": "source", "percent": True}
    save_drawing(run, "accuracy", "bars", table, **bars)
    claim = "The accuracies published for SimpleConv on MNIST (Quiroga et al. 2018) are reached within 2 points."
    if len(study.seeds) == 1:
        claim += " (Intervals are those of a share of the test images; another seed may differ by more.)"
    return conclude(claim, checks, side_by_side(table, "trained, tested", "accuracy"), "accuracy")


def network(run: Run, data: Any, augmentation: Any, seed: int) -> Any:
    """The published network, trained plain or with rotations."""
    settings = run.settings
    return run.trained(
        "simple_conv",
        data,
        augmentation=augmentation,
        seed=seed,
        options={"filters": settings.filters, "dense": settings.dense, "activation": "relu"},
        epochs=settings.augmented_epochs if augmentation else settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        schedule=settings.schedule,
    )


def side_by_side(table: pd.DataFrame, what: str, value: str) -> pd.DataFrame:
    """One row for each thing compared: published, here and the difference, from rows `what, source, value`."""
    wide: Any = table.pivot(index=what, columns="source", values=value).reindex(list(dict.fromkeys(table[what])))
    return wide.assign(difference=wide["here"] - wide["published"])[["published", "here", "difference"]].reset_index()


def wilson(share: float, count: int) -> Interval:
    """The 95 % interval of a share of so many images, see `tfinv.resampling.shares.wilson`."""
    return Interval(share, *shares.wilson(share * count, count), 1)


EXPERIMENT = Experiment(
    name="published_accuracy",
    question="Does the network of 2018 reach the accuracies published for it on all of MNIST?",
    run=answer,
    source="Quiroga et al. 2018, accuracies with and without rotations",
    minutes={"smoke": 0.2, "cpu": 25, "full": 120},
    settings={
        "dataset": "mnist",
        "train_samples": None,
        "seeds": 1,
        "filters": 32,
        "dense": 64,
        "epochs": 4,
        "augmented_epochs": 6,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "schedule": "cosine",
    },
    presets={
        "smoke": {
            "dataset": "digits",
            "train_samples": 200,
            "filters": 4,
            "dense": 8,
            "epochs": 1,
            "augmented_epochs": 1,
        },
        "full": {"seeds": 3, "epochs": 5, "augmented_epochs": 15, "schedule": "constant"},
    },
)
