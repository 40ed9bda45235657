"""How kernel, dilation, input size and width change accuracy and invariance on photographs of few people.

One setting is changed at a time, starting from 3x3 kernels, 32x32 images and the standard width; a network has two
convolutions, each with a pooling, and two dense layers. Below `TFINV_DATA` LSA16 may be of 32x32 pixels only: larger
inputs are then the same pixels enlarged, which tests the size of the network's maps and not finer detail.

Source: a student report on hyper-parameters of a convolutional network for handshapes, 138 runs on other photographs.
Expected: 2x2 kernels with dilation in the first layer beat 3x3 kernels (73.48 % against 72.37 %); inputs of 90 to 100
pixels are better than 32; kernels of 4 are best.

    python -m tfinv.run hyper_parameters            needs LSA16 below TFINV_DATA, see docs/data.md
    python -m tfinv.run hyper_parameters kernels=3,5 sizes=32,48

Duration on 2 cores: smoke 30 s, cpu 35 min, full (a GPU is advised) 10 h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    MARGIN,
    Interval,
    StandardStudy,
    change,
    conclude,
    profile_table,
    save_drawing,
    save_profiles,
    standard,
    with_interval,
)
from tfinv.experiments._shared.geometry import two_convolutions

REFERENCE = "3x3"
DILATED = "2x2, dilation 2"


def answer(run: Run) -> Finding:
    """Train every variant over seeds on the same images; accuracies and profiles, paired by seed."""
    study, settings = StandardStudy(run), run.settings
    rows, lines, accuracy = [], {}, {}
    side = study.load(settings.dataset).input_shape[0]
    for name, variant in _variants(settings, side).items():
        data = study.load(settings.dataset, size=variant["size"])
        options = {key: value for key, value in variant.items() if key != "size"}
        networks = {
            seed: study.trained(seed, data=data, architecture="tutorial_cnn", **options) for seed in study.seeds
        }
        shares = np.stack([study.accuracy(network, data=data)[study.upright] for network in networks.values()])
        profiles = study.profiles(networks.__getitem__, data=data)
        accuracy[name], lines[name] = shares, profiles
        gain = Interval.of(shares - accuracy[REFERENCE])
        moved = change(lines[REFERENCE], profiles, "logits")
        rows.append(
            {
                "variant": name,
                **two_convolutions(variant["size"], variant["kernel_size"], variant["dilation"]),
                "parameters": next(iter(networks.values())).count_params(),
                "accuracy": f"{Interval.of_shares(shares):.1%}",
                f"gain over {REFERENCE}": f"{gain:+.1pt}",
                "normalized variance of the output": str(Interval.of(profiles["logits"])),
                "its change": f"{moved:+.3f}",
            }
        )
    bars = with_interval(pd.DataFrame(accuracy)).rename(columns={"layer": "variant", "mean": "accuracy"})
    save_drawing(run, "accuracy", "bars", bars, category="variant", value="accuracy", percent=True)
    some = [REFERENCE, DILATED, *(name for name in lines if "input" in name or "4x4" in name)]
    save_profiles(run, "profile", {name: lines[name] for name in some if name in lines})
    run.save_table(profile_table(lines), "profiles")
    claim = "A dilated 2x2 kernel beats 3x3, a larger input helps, and both leave the invariance as it is."
    return conclude(claim, _checks(accuracy, lines), pd.DataFrame(rows), "accuracy")


def _variants(settings: Any, side: int) -> dict[str, dict[str, Any]]:
    """Options by variant, the reference first; inputs larger than the side of the images are named enlarged."""
    base = {"kernel_size": 3, "dilation": 1, "filters": settings.filters, "dense": settings.dense, "size": 32}
    base["size"] = min(settings.sizes)
    variants = {REFERENCE: base}
    for kernel in settings.kernels:
        if kernel != 3:
            variants[f"{kernel}x{kernel}"] = {**base, "kernel_size": kernel}
    for kernel in settings.dilated:
        variants[f"{kernel}x{kernel}, dilation 2"] = {**base, "kernel_size": kernel, "dilation": 2}
    for size in settings.sizes:
        if size != base["size"]:
            variants[f"input {size}{', enlarged' if size > side else ''}"] = {**base, "size": size}
    for filters in settings.widths:
        if filters != base["filters"]:
            variants[f"{filters} channels"] = {**base, "filters": filters}
    return variants


def _checks(accuracy: dict[str, Any], lines: dict[str, pd.DataFrame]) -> dict[str, bool | None]:
    checks: dict[str, bool | None] = {}
    for name, values in accuracy.items():
        if name != DILATED and "input" not in name:
            continue
        gain = Interval.of(values - accuracy[REFERENCE])
        checks[f"the accuracy of {name} differs from that of {REFERENCE} by {gain:+.1pt}; above zero"] = gain.above(0)
        moved = change(lines[REFERENCE], lines[name], "logits")
        sentence = f"the output's normalized variance then differs by {moved:+.3f} ({name})"
        checks[f"{sentence}; within ±{MARGIN}"] = moved.within(-MARGIN, MARGIN)
    return checks


EXPERIMENT = Experiment(
    name="hyper_parameters",
    question="How do kernel, dilation, input size and width change accuracy and invariance on few photographs?",
    run=answer,
    source="student report on hyper-parameters of a handshape network",
    minutes={"smoke": 0.5, "cpu": 35, "full": 600},
    **standard(
        {"sizes": (16, 24), "kernels": (2, 3), "dilated": (2,), "widths": (4,)},
        {"epochs": 50, "seeds": 10},
        dataset="lsa16",
        kernels=(2, 3, 4, 5),
        dilated=(2, 3),
        sizes=(32, 64, 96, 128),
        widths=(8, 16, 32),
        seeds=5,
        epochs=15,
        batch_size=32,
        min_accuracy=None,
    ),
)
