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

from tfinv import plots
from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import ROTATED, Interval, Study, conclude, matrix, standard

PUBLISHED = {
    ("mnist", "simple_conv"): (0.993, 0.437, 0.981, 0.980),
    ("mnist", "all_convolutional"): (0.989, 0.420, 0.972, 0.968),
    ("mnist", "resnet"): (0.994, 0.418, 0.986, 0.985),
    ("cifar10", "simple_conv"): (0.759, 0.234, 0.707, 0.726),
    ("cifar10", "all_convolutional"): (0.795, 0.297, 0.760, 0.774),
}
"""Trained plain and tested upright, on rotated; trained rotated and tested upright, on rotated."""


def run(run: Run) -> Finding:
    """Train each network plain and rotated, test each upright and rotated."""
    from tfinv.transformations import parse

    study, samples = Study(run), run.settings.accuracy_samples
    degrees = [each.degrees for each in parse(run.settings.transformations)]  # type: ignore[union-attr]
    upright = int(np.argmin(np.abs(degrees)))
    rows, curves, checks = [], [], {}
    for architecture in run.settings.models:
        cells = []
        for training, augmentation in (("plain", None), ("rotated", ROTATED)):
            networks = [study.trained(seed, augmentation, architecture=architecture) for seed in study.seeds]
            found = np.stack([study.accuracy(each, samples=samples) for each in networks])
            for test, values in (("upright", found[:, upright]), ("rotated", found.mean(axis=1))):
                cells.append(Interval.of(values))
                rows.append((architecture, f"{training}, {test}", cells[-1].mean, cells[-1].low, cells[-1].high))
            for angle, values in zip(degrees, found.T, strict=True):
                each = Interval.of(values)
                curves.append((f"{architecture}, {training}", angle, each.mean, each.low, each.high))
            if architecture == run.settings.models[0]:
                by_class = class_accuracies(study, networks[0])
                run.save_table(by_class.rename_axis("class").reset_index(), f"classes_{training}")
                run.save_figure(
                    matrix(by_class, "accuracy", x_label="rotation of the image", y_label="class", limits=(0, 1)),
                    f"classes_{training}",
                )
        for cell, value, name in zip(cells, PUBLISHED.get((study.data.name, architecture), ()), _NAMES, strict=False):
            checks[f"{architecture} trained and tested {name}: {cell:.1%}, published {value:.1%}, within 2 points"] = (
                cell.within(value - 0.02, value + 0.02)
            )
        gap = cells[0].mean - cells[3].mean
        wide = Interval(gap, cells[0].low - cells[3].high, cells[0].high - cells[3].low, cells[0].count)
        checks[f"{architecture} loses {wide:.1%} by having to classify all angles, under 5 points"] = wide.below(0.05)
    frame = pd.DataFrame(curves, columns=["model", "degrees", "accuracy", "low", "high"])
    run.save_table(frame, "accuracy")
    run.save_figure(plots.accuracy_curve(frame, chance=1 / study.data.num_classes), "accuracy")
    table = pd.DataFrame(rows, columns=["network", "trained, tested", "accuracy", "low", "high"])
    run.save_figure(plots.bars(table, "network", "accuracy", group="trained, tested", percent=True), "bars")
    claim = "Trained with rotations, networks classify rotated images nearly as well as upright ones (2018)."
    return conclude(claim, checks, table, "accuracy")


_NAMES = ("plain on upright", "plain on rotated", "rotated on upright", "rotated on rotated")


def class_accuracies(study: Study, network: Any) -> pd.DataFrame:
    """Accuracy of one network by class (rows) and angle (columns)."""
    from tfinv.transformations import parse, warp

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
