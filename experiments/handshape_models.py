"""Which network recognises handshapes best, and how much it helps to cut the hand out of its background.

Networks are trained on upright hands of eight people and tested on two others, on the photographs and on images whose
background is black (there hands are also turned upright).

Source: comparison of networks on LSA16 (2017): LeNet, VGG16, ResNet, Inception, with and without segmentation.
Expected: VGG16 is best and LeNet close to it; segmentation of the hand helps a lot.

    python -m tfinv.run handshape_models            needs LSA16 below TFINV_DATA, see docs/data.md

Duration on 2 cores: smoke 40 s, cpu 20 min, full (a GPU is advised) 10 h.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import Interval, StandardStudy, conclude, profile_table, save_drawing, save_profiles, standard

CLOSE = 0.05
"""Of two accuracies, what counts as close."""


def answer(run: Run) -> Finding:
    """Train every network on every version of the data; accuracy upright and rotated, and the profile."""
    study, settings = StandardStudy(run), run.settings
    options: dict[str, dict[str, Any]] = {
        "vgg16d": {"filters": settings.filters, "dense": 2 * settings.dense, "dropout": settings.dropout},
        "resnet": {"filters": settings.resnet_filters},
    }
    rows, lines, accuracy = [], {}, {}
    for version, name in product(settings.versions, settings.models):
        data = study.load(version)
        networks = {
            seed: study.trained(seed, data=data, architecture=name, **options.get(name, {})) for seed in study.seeds
        }
        shares = np.stack([study.accuracy(network, data=data) for network in networks.values()])
        accuracy[version, name] = shares[:, study.upright]
        profiles = study.profiles(networks.__getitem__, data=data)
        if version == settings.versions[0]:
            lines[name] = profiles
        parameters = next(iter(networks.values())).count_params()
        upright_share, rotated = Interval.of_shares(shares[:, study.upright]), Interval.of_shares(shares.mean(axis=1))
        output = str(Interval.of(profiles.iloc[:, -1]))
        rows.append((version, name, parameters, upright_share, rotated, output))
    columns = ["data", "network", "parameters", "accuracy, upright", "rotated", "normalized variance of the output"]
    bars = pd.DataFrame(
        [(data, name, share.mean, share.low, share.high) for data, name, _, share, _, _ in rows],
        columns=["data", "network", "accuracy", "low", "high"],
    )
    chance = 1 / study.load(settings.versions[0]).num_classes
    save_drawing(
        run, "accuracy", "bars", bars, category="network", value="accuracy", group="data", percent=True, chance=chance
    )
    save_profiles(run, "profile", lines, relative_axis=True)
    run.save_table(profile_table(lines), "profiles")
    table = pd.DataFrame([(*row[:3], f"{row[3]:.1%}", f"{row[4]:.1%}", row[5]) for row in rows], columns=columns)
    claim = "VGG16 recognises handshapes best, LeNet comes close, and segmentation of the hand helps a lot (2017)."
    return conclude(claim, _checks(accuracy, settings.versions, settings.models), table, "accuracy")


def _checks(accuracy: dict[tuple[str, str], Any], versions: Any, models: Any) -> dict[str, bool | None]:
    """The published order on the first version of the data, and what the other versions change."""
    checks: dict[str, bool | None] = {}
    first, best = versions[0], "vgg16d"
    for name in models if best in models else ():
        if name == best:
            continue
        ahead = Interval.of(accuracy[first, best] - accuracy[first, name])
        outcome = ahead.within(-CLOSE, CLOSE) if name == "lenet" else ahead.above(0)
        what = f"within ±{100 * CLOSE:.0f} points" if name == "lenet" else "above zero"
        checks[f"the accuracy of {best} differs from that of {name} on {first} by {ahead:+.1pt}; {what}"] = outcome
    for version, name in product(versions[1:], models):
        helped = Interval.of(accuracy[version, name] - accuracy[first, name])
        sentence = f"images of {version} in place of {first} change the accuracy of {name} by {helped:+.1pt}"
        checks[f"{sentence}; above zero"] = helped.above(0)
    return checks


EXPERIMENT = Experiment(
    name="handshape_models",
    question="Which network recognises handshapes best, and how much does segmentation of the hand help?",
    run=answer,
    source="comparison of networks on LSA16 (2017)",
    minutes={"smoke": 0.7, "cpu": 20, "full": 600},
    **standard(
        {"versions": ("digits",), "models": ("lenet", "vgg16d", "simple_conv"), "resnet_filters": 4},
        {"epochs": 100, "resnet_filters": 64},
        dataset="lsa16",
        versions=("lsa16", "lsa16_upright"),
        models=("lenet", "vgg16d", "resnet", "inception", "simple_conv"),
        resnet_filters=8,
        dropout=0.25,
        epochs=30,
        batch_size=32,
        min_accuracy=0.5,
    ),
)
