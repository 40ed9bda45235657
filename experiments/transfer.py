"""How invariant networks with published weights are to light and to rotations by 45 degrees, and what training added.

ImageNet weights of `keras.applications` are downloaded by Keras, which preset `full` does. Preset `cpu` needs no
download: it takes two published networks below `TFINV_DATA`, the ResNet-8 of MLPerf Tiny, trained on CIFAR-10, and its
MobileNetV1 for visual wake words, which is the MobileNet of `keras.applications` at a quarter of the width. Both see
CIFAR-10 images; for the MobileNet these are enlarged, and its task is another one. Each network is compared with the
same architecture under random weights. There is one set of published weights: seeds draw images and random weights.

Source: ResNet-18 with ImageNet weights under 8 factors of brightness and 45-degree rotations (neuralexplorer, 2024);
the normalized variances of its blocks under brightness are .573 .413 .344 .349 .404 .414 .463 .536. Here brightness is
added, not multiplied, so the numbers themselves are not comparable.
Expected: light changes activations less than another image does, less than rotations do, and less than under random
weights.

    python -m tfinv.run transfer
    python -m tfinv.run transfer networks=keras.applications.MobileNetV2

Duration on 2 cores: smoke 20 s, cpu 12 min (estimated), full 2 h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tfinv.activations.input_scale import APPLICATIONS
from tfinv.datasets import adapt
from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import MEASURE, Interval, StandardStudy, change, conclude, save_profiles, standard
from tfinv.experiments._shared.pretrained import network_of


def answer(run: Run) -> Finding:
    """Measure each network with trained and with random weights under every set; the last set is that of rotations."""
    study, settings = StandardStudy(run), run.settings
    rows: list[dict[str, Any]] = []
    checks: dict[str, bool | None] = {}
    families = [text.split("(")[0] for text in settings.sets]
    sets = dict(zip(families if len(set(families)) == len(families) else settings.sets, settings.sets, strict=True))
    *lights, rotations = sets
    for name in settings.networks:
        trained, untrained, accuracies = {}, {}, {}
        for family, transformations in sets.items():
            trained[family], accuracies[family] = _profiles(study, name, transformations, trained=True)
            untrained[family], _ = _profiles(study, name, transformations, trained=False)
            added = change(untrained[family], trained[family])
            mean, output = Interval.of(trained[family].mean(axis=1)), Interval.of(trained[family].iloc[:, -1])
            rows.append(
                {
                    "network": name,
                    "set": transformations,
                    "normalized variance, mean over layers": str(mean),
                    "minus that under random weights": f"{added:+.3f}",
                    "of the output": str(output),
                    "accuracy": f"{accuracies[family]:.1%}",
                }
            )
            if family in lights:
                subject = f"normalized variance of {name} under {family}, averaged over layers,"
                checks[f"{subject} is {mean}; below 1"] = mean.below(1)
                checks[f"{subject} differs by {added:+.3f} from that of random weights; below zero"] = added.below(0)
        for family in lights:
            less = change(trained[rotations], trained[family])
            sentence = f"normalized variance of {name} changes by {less:+.3f} from {rotations} to {family}"
            checks[f"{sentence}; below zero"] = less.below(0)
        lines = trained | {f"{family}, random weights": untrained[family] for family in (*lights[:1], rotations)}
        save_profiles(run, _figure(name), lines, relative_axis=True, title=name)
    claim = "Trained networks are invariant to light, more so than to rotations and more so than untrained ones."
    return conclude(claim, checks, pd.DataFrame(rows), _figure(settings.networks[0]))


def _figure(name: str) -> str:
    return f"profile_{name.removeprefix(APPLICATIONS)}"


def _profiles(study: StandardStudy, name: str, transformations: str, *, trained: bool) -> tuple[pd.DataFrame, Interval]:
    """Layer profiles, one row per seed, and the accuracy; empty for a network of other classes than the data's."""
    rows, shares = {}, []
    for seed in study.seeds:
        network = network_of(study, name, seed, trained=trained)
        shape, outputs = network.keras_model.input_shape[1:], network.keras_model.output_shape[-1]
        count = min(study.settings.test_samples, len(study.data.test))
        measures = [MEASURE, "AccuracyUnder"] if outputs == study.data.num_classes else [MEASURE]
        samples = f"{study.data.id}, {count} of test, seed {seed}, as {shape}"
        split = adapt(study.data.test.subset(count, seed), shape)
        results = study.run.measured(network, split, transformations, measures, samples=samples)
        profile = results[MEASURE].profile()
        rows[seed] = dict(zip(profile["layer"], profile["mean"], strict=True))
        for result in (results[measure] for measure in measures[1:]):
            shares += [np.mean(layer.values) for layer in result.values() if layer.values.size]
    return pd.DataFrame.from_dict(rows, orient="index").dropna(axis=1), Interval.of(shares)


EXPERIMENT = Experiment(
    name="transfer",
    question="How invariant are networks with published weights to light and to rotations, and is that learnt?",
    run=answer,
    source="measurements of a pretrained ResNet-18 under brightness and 45-degree rotations (neuralexplorer)",
    minutes={"smoke": 0.3, "cpu": 12, "full": 120},
    **standard(
        {"networks": ("mobilenet_small",), "sets": ("brightness(3, 0.3)", "rotations(4)")},
        {"networks": ("resnet8", "keras.applications.MobileNetV2", "keras.applications.ResNet50V2")},
        dataset="cifar10",
        seeds=5,
        test_samples=100,
        networks=("resnet8", "mobilenet_v1"),
        sets=("brightness(9, 0.3)", "contrast(9, 0.5, 2.0)", "gamma(9, 0.5, 2.0)", "rotations(8)"),
    ),
)
