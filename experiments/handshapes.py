"""How well networks recognise handshapes of unseen people at any angle, and where they are invariant.

Source: the application of the thesis; LSA16 handshapes of the Argentinian Sign Language, subjects 9 and 10 held out.
Expected: training with rotations costs little accuracy upright and keeps it at all angles; segmenting the hand from its
background helps a lot (comparison of networks on LSA16, 2017).

    python -m tfinv.run handshapes            needs LSA16 below TFINV_DATA, see docs/data.md

Duration on 2 cores: smoke 20 s, cpu 15 min, full (a GPU is advised) 4 h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    ROTATED,
    Interval,
    StandardStudy,
    change,
    conclude,
    profile_table,
    save_drawing,
    save_profiles,
    standard,
)


def answer(run: Run) -> Finding:
    """Train each network plain and augmented on each version of the data; test upright and rotated."""
    study, settings = StandardStudy(run), run.settings
    rows, lines, accuracies, checks = [], {}, {}, {}
    for version in settings.versions:
        data = study.load(version)
        for name in settings.models:
            for training, augmentation in (("plain", None), ("augmented", ROTATED)):
                networks = {s: study.trained(s, augmentation, data=data, architecture=name) for s in study.seeds}
                shares = np.stack([study.accuracy(network, data=data) for network in networks.values()])
                for test, values in (("upright", shares[:, study.upright]), ("rotated", shares.mean(axis=1))):
                    accuracies[version, name, training, test] = values
                    interval = Interval.of_shares(values)
                    rows.append((version, name, f"{training}, {test}", interval.mean, interval.low, interval.high))
                if name == settings.models[0]:
                    lines[f"{version}, {training}"] = study.profiles(networks.__getitem__, data=data)
    first, name = settings.versions[0], settings.models[0]
    gained = Interval.of(accuracies[first, name, "augmented", "rotated"] - accuracies[first, name, "plain", "rotated"])
    cost = Interval.of(accuracies[first, name, "plain", "upright"] - accuracies[first, name, "augmented", "rotated"])
    checks[f"augmentation changes the accuracy on rotated hands by {gained:+.1pt}; above zero"] = gained.above(0)
    reference = "that of a plain network on upright hands"
    checks[f"it is then {cost:.1%} lower than {reference}; below the margin of 10 points"] = cost.below(0.1)
    output = change(lines[f"{first}, plain"], lines[f"{first}, augmented"], "logits")
    checks[f"the output's normalized variance changes by {output:+.3f}; below zero"] = output.below(0)
    for version in settings.versions[1:]:
        helped = Interval.of(
            accuracies[version, name, "plain", "upright"] - accuracies[first, name, "plain", "upright"]
        )
        sentence = f"images of {version} in place of {first} change the accuracy on upright hands by {helped:+.1pt}"
        checks[f"{sentence}; above zero"] = helped.above(0)
    table = pd.DataFrame(rows, columns=["data", "network", "trained, tested", "accuracy", "low", "high"])
    run.save_table(table, "accuracies")
    shown: Any = table[table["network"] == name]
    bars = {"category": "data", "value": "accuracy", "group": "trained, tested", "percent": True}
    save_drawing(run, "accuracy", "bars", shown, **bars)
    save_profiles(run, "profile", lines)
    run.save_table(profile_table(lines), "profiles")
    claim = "Augmented networks recognise handshapes at all angles nearly as well as upright, and segmentation helps."
    return conclude(claim, checks, table, "accuracy")


EXPERIMENT = Experiment(
    name="handshapes",
    question="Do networks recognise handshapes of unseen people at any angle, and where are they invariant?",
    run=answer,
    source="thesis, DataAugmentationHandshape; comparison of networks on LSA16 (2017)",
    minutes={"smoke": 0.3, "cpu": 15, "full": 240},
    **standard(
        {"versions": ("digits",), "batch_size": 64},
        {"epochs": 50, "augmented_epochs": 100, "models": ("simple_conv", "all_convolutional", "mobilenet_small")},
        dataset="lsa16",
        versions=("lsa16", "lsa16_upright"),
        models=("simple_conv",),
        epochs=20,
        augmented_epochs=40,
        batch_size=32,
        min_accuracy=0.5,
    ),
)
