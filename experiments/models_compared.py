"""Which network is more invariant, and at which depth.

Source: thesis, experiment CompareModels: four networks, the layer axis in per cent.
Expected: normalized variance falls with depth; all start between .58 and .76 and end between .2 and .3 (on CIFAR-10).

    python -m tfinv.run models_compared
    python -m tfinv.run models_compared models=simple_conv,resnet

Duration on 2 cores: smoke 20 s, cpu 40 min, full (a GPU) 60 h.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import ROTATED, Interval, StandardStudy, conclude, save_profiles, standard


def answer(run: Run) -> Finding:
    """Train each network with rotations and compare profiles by relative depth."""
    study, settings = StandardStudy(run), run.settings
    widths: dict[str, dict[str, Any]] = {
        "simple_conv": {},
        "all_convolutional": {"filters": settings.filters // 2},
        "vgg16d": {"filters": settings.filters // 2, "dense": settings.dense},
        "resnet": {"filters": settings.resnet_filters, "batch_normalization": True},
        "mobilenet_small": {},
    }
    lines, rows, checks = {}, [], {}
    for name in settings.models:
        networks = {
            seed: study.trained(seed, ROTATED, architecture=name, **widths.get(name, {})) for seed in study.seeds
        }
        profiles = lines[name] = study.profiles(networks.__getitem__)
        accuracy = Interval.of_shares([study.accuracy(network).mean() for network in networks.values()])
        fall = Interval.of(profiles.iloc[:, -1] - profiles.iloc[:, 0])
        sentence = f"from the first to the last layer of {name} the normalized variance changes by {fall:+.3f}"
        checks[f"{sentence}; below zero"] = fall.below(0)
        ends = [str(Interval.of(profiles.iloc[:, place])) for place in (0, -1)]
        rows.append((name, *ends, str(Interval.of(profiles.mean(axis=1))), f"{accuracy:.1%}"))
    save_profiles(run, "profile", lines, relative_axis=True)
    columns = ["network", "first layer", "output", "mean over layers", "accuracy under rotations"]
    claim = "Normalized variance falls with depth in all networks (thesis, CompareModels on CIFAR-10)."
    return conclude(claim, checks, pd.DataFrame(rows, columns=columns), "profile")


EXPERIMENT = Experiment(
    name="models_compared",
    question="Which network is more invariant, and at which depth?",
    run=answer,
    source="thesis, CompareModels",
    minutes={"smoke": 0.3, "cpu": 40, "full": 3600},
    **standard(
        {"models": ("simple_conv", "all_convolutional"), "resnet_filters": 4},
        {"dataset": "cifar10", "resnet_filters": 64, "epochs": 30, "augmented_epochs": 60, "min_accuracy": 0.5},
        models=("simple_conv", "all_convolutional", "vgg16d", "resnet"),
        resnet_filters=8,
    ),
)
