"""Whether augmentation alone makes a network classify rotated images, at which angles and for which classes.

Source: Quiroga et al. 2018, "Revisiting Data Augmentation for Rotational Invariance in Convolutional Neural Networks":
accuracies of networks trained and tested on plain and rotated images, and accuracy against angle and class.
Expected: SimpleConv on MNIST .993 (plain on plain), .437 (plain on rotated), .981 and .980 (rotated).

    python -m tfinv.run accuracy
    python -m tfinv.run accuracy train_samples=60000 filters=32 dense=64     the published network on all images

Duration on 2 cores: smoke 10 s, cpu 8 min, full (a GPU is advised) 10 h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import ROTATED, Interval, Study, conclude, save_drawing, standard
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


def run(run: Run) -> Finding:
    """Train each network plain and rotated, test each upright and rotated."""
    study, settings = Study(run), run.settings
    degrees = [each.degrees for each in parse(settings.transformations)]  # type: ignore[union-attr]
    whole = len(study.data.train) == len(run.dataset(settings.dataset).train)
    rows, curves, checks = [], [], {}
    for architecture in settings.models:
        found = {}
        for training, augmentation in (("plain", None), ("rotated", ROTATED)):
            networks = [study.trained(seed, augmentation, architecture=architecture) for seed in study.seeds]
            by_angle = np.stack([study.accuracy(each, samples=settings.accuracy_samples) for each in networks])
            found[f"{training}, upright"] = by_angle[:, int(np.argmin(np.abs(degrees)))]
            found[f"{training}, rotated"] = by_angle.mean(axis=1)
            for angle, values in zip(degrees, by_angle.T, strict=True):
                each = Interval.of(values)
                curves.append((f"{architecture}, {training}", angle, each.mean, each.low, each.high))
            if architecture == settings.models[0]:
                draw_classes(study, networks[0], f"classes_{training}")
        published = dict(zip(CELLS, PUBLISHED.get((study.data.name, architecture), ()), strict=False))
        for name, values in found.items():
            each, other = Interval.of(values), published.get(name, float("nan"))
            rows.append((architecture, name, each.mean, each.low, each.high, other))
            if whole and name in published:
                sentence = f"{architecture} {name} {each:.1%}, published {other:.1%}, within 2 points"
                checks[sentence] = each.within(other - 0.02, other + 0.02)
        gain = Interval.of(found["rotated, rotated"] - found["plain, rotated"])
        checks[f"training with rotations changes {architecture} on rotated images by {gain:+.1%}"] = gain.above(0)
        cost = Interval.of(found["plain, upright"] - found["rotated, rotated"])
        checks[f"against upright images of a plain network that is {cost:.1%} less, under 5 points"] = cost.below(0.05)
    frame = pd.DataFrame(curves, columns=["model", "degrees", "accuracy", "low", "high"])
    save_drawing(run, "accuracy", "accuracy_curve", frame, chance=1 / study.data.num_classes)
    table = pd.DataFrame(rows, columns=["network", "trained, tested", "accuracy", "low", "high", "published"])
    bars = {"category": "network", "value": "accuracy", "group": "trained, tested", "percent": True}
    save_drawing(run, "bars", "bars", table, **bars)
    claim = "Trained with rotations, networks classify rotated images nearly as well as upright ones (2018)."
    return conclude(claim, checks, table, "accuracy")


def draw_classes(study: Study, network: Any, name: str) -> None:
    """Table and heat map of the accuracy of one network by class and angle."""
    by_class = class_accuracies(study, network)
    options = {"label": "accuracy", "x_label": "rotation of the image", "y_label": "class", "limits": (0, 1)}
    save_drawing(study.run, name, "matrix", by_class.rename_axis("class").reset_index(), **options)


def class_accuracies(study: Study, network: Any) -> pd.DataFrame:
    """Accuracy of one network by class (rows) and angle (columns)."""
    from tfinv.transformations import warp

    test, transformations = study.data.test, parse(study.settings.transformations)
    split = test.subset(min(study.settings.accuracy_samples, 2000, len(test)), study.run.seed)
    shown = np.reshape(warp(split.x, transformations), (-1, *split.x.shape[1:]))
    guesses = network.predict(shown, batch_size=256, verbose=0).argmax(axis=-1).reshape(len(split), -1)
    correct: Any = pd.DataFrame(guesses == np.asarray(split.y)[:, None], columns=transformations.labels)
    return correct.groupby([study.data.classes[each] for each in np.asarray(split.y)]).mean()


EXPERIMENT = Experiment(
    name="accuracy",
    question="Does augmentation alone make a network classify rotated images, at which angles and for which classes?",
    run=run,
    source="Quiroga et al. 2018, accuracies with and without rotations; experiment_accuracy_vs_rotation",
    minutes={"smoke": 0.2, "cpu": 8, "full": 600},
    **standard(
        {"accuracy_samples": 60},
        {"accuracy_samples": 10000, "models": ("simple_conv", "all_convolutional")},
        models=("simple_conv",),
        accuracy_samples=2000,
    ),
)
