"""Whether augmentation makes a network classify transformed images, at which angles and for which classes.

Source: Quiroga et al. 2018, "Revisiting Data Augmentation for Rotational Invariance in Convolutional Neural Networks":
accuracies of networks trained and tested on plain and rotated images, and accuracy against angle and class; thesis,
ModelAccuracies, with scales and translations too.
Expected: SimpleConv on MNIST .993 (plain on plain), .437 (plain on rotated), .981 and .980 (rotated).

    python -m tfinv.run accuracy
    python -m tfinv.run accuracy models=simple_conv,all_convolutional augmentations=rotation

Duration on 2 cores: smoke 10 s, cpu 8 min, full (a GPU is advised) 10 h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import Interval, StandardStudy, conclude, save_drawing, standard
from tfinv.transformations import parse

PUBLISHED = {
    ("mnist", "simple_conv"): (0.993, 0.437, 0.981, 0.980),
    ("mnist", "all_convolutional"): (0.989, 0.420, 0.972, 0.968),
    ("mnist", "resnet"): (0.994, 0.418, 0.986, 0.985),
    ("cifar10", "simple_conv"): (0.759, 0.234, 0.707, 0.726),
    ("cifar10", "all_convolutional"): (0.795, 0.297, 0.760, 0.774),
}
"""Trained plain and tested upright, on rotated; trained rotated and tested upright, on rotated."""


CELLS = ("plain, upright", "plain, rotated", "rotated, upright", "rotated, rotated")
"""What a network was trained with, and tested on."""
NAMES = {"rotation": "rotated", "scale": "scaled", "translation": "translated"}


def answer(run: Run) -> Finding:
    """Train each network plain and with each family, test each upright and with the family."""
    study, settings = StandardStudy(run), run.settings
    whole = len(study.data.train) == len(run.dataset(settings.dataset).train)
    rows, curves, checks = [], [], {}
    for architecture in settings.models:
        accuracies = {}
        for family in settings.augmentations:
            transformations, ranges = study.families[family]
            upright = parse(transformations).labels.index("identity")
            for training, augmentation in (("plain", None), (NAMES[family], ranges)):
                networks = [study.trained(seed, augmentation, architecture=architecture) for seed in study.seeds]
                options = {"samples": settings.accuracy_samples}
                measured = np.stack([study.accuracy(network, transformations, **options) for network in networks])
                accuracies[f"{training}, upright"] = measured[:, upright]
                accuracies[f"{training}, {NAMES[family]}"] = measured.mean(axis=1)
                if family == "rotation":
                    curves += by_angle(transformations, measured, f"{architecture}, {training}")
                    if architecture == settings.models[0]:
                        draw_classes(study, networks[0], f"classes_{training}")
            name = NAMES[family]
            gain = Interval.of(accuracies[f"{name}, {name}"] - accuracies[f"plain, {name}"])
            subject = f"the accuracy of {architecture} on {name} images"
            checks[f"training with {family}s changes {subject} by {gain:+.1pt}; above zero"] = gain.above(0)
            cost = Interval.of(accuracies["plain, upright"] - accuracies[f"{name}, {name}"])
            reference = f"that of a plain {architecture} on upright images"
            checks[f"it is then {cost:.1pt} lower than {reference}; below the margin of 5 points"] = cost.below(0.05)
        published = dict(zip(CELLS, PUBLISHED.get((study.data.name, architecture), ()), strict=False))
        for name, values in accuracies.items():
            interval, other = Interval.of_shares(values), published.get(name, float("nan"))
            row = (architecture, name, interval.mean, interval.low, interval.high)
            rows.append((*row, f"{other:.3f}" if name in published else ""))
            if whole and name in published:
                sentence = f"{architecture}, {name}: {interval:.1%}, published {other:.1%}"
                checks[f"{sentence}; within 2 points"] = interval.within(other - 0.02, other + 0.02)
    if curves:
        frame = pd.DataFrame(curves, columns=["model", "degrees", "accuracy", "low", "high"])
        save_drawing(run, "accuracy", "accuracy_curve", frame, chance=1 / study.data.num_classes)
    table = pd.DataFrame(rows, columns=["network", "trained, tested", "accuracy", "low", "high", "published"])
    bars = {"category": "trained, tested", "value": "accuracy", "group": "network", "percent": True}
    save_drawing(run, "bars", "bars", table, **bars)
    claim = "Trained with transformations, networks classify transformed images nearly as well as upright ones (2018)."
    return conclude(claim, checks, table, "accuracy" if curves else "bars")


def by_angle(transformations: str, accuracies: Any, name: str) -> list[tuple[str, float, float, float, float]]:
    """Rows `model, degrees, accuracy, low, high` of accuracies `(seeds, T)` under rotations."""
    degrees = [transformation.degrees for transformation in parse(transformations)]  # type: ignore[union-attr]
    intervals = [Interval.of_shares(values) for values in accuracies.T]
    return [
        (name, angle, interval.mean, interval.low, interval.high)
        for angle, interval in zip(degrees, intervals, strict=True)
    ]


def draw_classes(study: StandardStudy, network: Any, name: str) -> None:
    """Table and heat map of the accuracy of one network by class and angle."""
    by_class = class_accuracies(study, network)
    options = {"label": "accuracy", "x_label": "rotation of the image", "y_label": "class", "limits": (0, 1)}
    save_drawing(study.run, name, "matrix", by_class.rename_axis("class").reset_index(), **options)


def class_accuracies(study: StandardStudy, network: Any) -> pd.DataFrame:
    """Accuracy of one network by class (rows) and angle (columns)."""
    from tfinv.transformations import warp

    test, transformations = study.data.test, parse(study.settings.transformations)
    split = test.subset(min(study.settings.accuracy_samples, 2000, len(test)), study.run.seed)
    shown = np.reshape(warp(split.x, transformations), (-1, *split.x.shape[1:]))
    guesses = network.predict(shown, batch_size=256, verbose=0).argmax(axis=-1).reshape(len(split), -1)
    correct: Any = pd.DataFrame(guesses == np.asarray(split.y)[:, None], columns=transformations.labels)
    return correct.groupby([study.data.classes[number] for number in np.asarray(split.y)]).mean()


EXPERIMENT = Experiment(
    name="accuracy",
    question="Does augmentation make a network classify transformed images, at which angles and for which classes?",
    run=answer,
    source="Quiroga et al. 2018, accuracies with and without rotations; experiment_accuracy_vs_rotation",
    minutes={"smoke": 0.2, "cpu": 8, "full": 600},
    **standard(
        {"accuracy_samples": 60},
        {"accuracy_samples": 10000, "models": ("simple_conv", "all_convolutional")},
        families=True,
        models=("simple_conv",),
        augmentations=("rotation", "scale", "translation"),
        accuracy_samples=2000,
    ),
)
