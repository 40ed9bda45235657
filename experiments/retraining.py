"""Which layers of a trained network can take up invariance, and whether it can sit in different ones.

A network is trained on upright images. Then it is trained further on rotated ones, once for each set of layers: each
layer alone, all convolutions, all dense layers, all. The other layers keep their weights, and their BatchNormalization
(`batch_normalization=True`) its moving statistics; a normalization is trained together with the layer before it.

Source: Quiroga et al. 2018, experiment_retraining; thesis: retraining different sets of layers reaches the same
accuracy, so invariance can be placed in different layers.
Expected: all convolutions, or all dense layers, recover what retraining all layers does, with other profiles.

    python -m tfinv.run retraining
    python -m tfinv.run retraining sets="'conv1', 'conv5', 'fc1'"

Duration on 2 cores: smoke 20 s, cpu 25 min (estimated), full (a GPU is advised) 10 h.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    MARGIN,
    ROTATED,
    Interval,
    StandardStudy,
    conclude,
    distance,
    profile_table,
    save_drawing,
    save_profiles,
    standard,
)
from tfinv.experiments._shared.retraining import (
    ALL,
    CONVOLUTIONS,
    DENSE,
    NONE,
    chosen_sets,
    recovery,
    retrained,
)
from tfinv.transformations import parse

SAME = 0.03
"""A difference of accuracy below this counts as none."""


def answer(run: Run) -> Finding:
    """Retrain each set of layers; compare accuracy, recovery and profile with those of retraining all."""
    study, settings = StandardStudy(run), run.settings
    options: dict[str, Any] = {"batch_normalization": True} if settings.batch_normalization else {}
    plain = {seed: study.trained(seed, **options) for seed in study.seeds}
    sets = chosen_sets(plain[run.seed], settings.sets)
    upright = int(np.argmin([abs(turn.degrees) for turn in parse(settings.transformations)]))  # type: ignore[union-attr]
    training = {key: getattr(settings, key) for key in ("batch_size", "learning_rate")}
    accuracies, lines = {}, {}
    for name, layers in sets.items():
        models = {
            seed: retrained(
                run, plain[seed], layers, study.data, ROTATED, epochs=settings.retraining_epochs, seed=seed, **training
            )
            for seed in study.seeds
        }
        accuracies[name] = np.stack([study.accuracy(model) for model in models.values()])
        lines[name] = study.profiles(models.__getitem__)
    rotated = {name: values.mean(axis=1) for name, values in accuracies.items()}
    rows, bars = [], []
    for name in sets:
        tests = {"upright": accuracies[name][:, upright], "rotated": rotated[name]}
        recovered = Interval.of(recovery(rotated, name))
        intervals = {test: Interval.of_shares(values) for test, values in tests.items()}
        bars += [(name, test, one.mean, one.low, one.high) for test, one in intervals.items()]
        rows.append(
            (name, *(f"{one:.1%}" for one in intervals.values()), f"{recovered:.0%}", largest_fall(lines, name))
        )
    frame = pd.DataFrame(bars, columns=["retrained layers", "test images", "accuracy", "low", "high"])
    axes = {"category": "retrained layers", "value": "accuracy", "group": "test images", "percent": True}
    save_drawing(run, "accuracy", "bars", frame, **axes)
    shown = {name: lines[name] for name in (NONE, *settings.shown, ALL) if name in lines}
    save_profiles(run, "profile", shown)
    run.save_table(profile_table(lines), "profiles")
    columns = ["retrained layers", "upright", "rotated", "recovery", "largest fall of normalized variance"]
    claim = "Retraining different layers reaches the same accuracy, with invariance in other layers (2018, thesis)."
    return conclude(claim, _checks(rotated, lines), pd.DataFrame(rows, columns=columns), "accuracy")


def largest_fall(lines: dict[str, pd.DataFrame], name: str) -> str:
    """The layer at which retraining lowers the profile most, and by how much; the mean over seeds chooses it."""
    fall = lines[name] - lines[NONE]
    layer = str(fall.mean().idxmin())
    return f"{layer}: {Interval.of(fall[layer]):+.3f}" if name != NONE and fall[layer].mean() < 0 else ""


def _checks(rotated: dict[str, Any], lines: dict[str, pd.DataFrame]) -> dict[str, bool | None]:
    checks: dict[str, bool | None] = {}
    for name in (CONVOLUTIONS, DENSE):
        if name in rotated:
            apart = Interval.of(rotated[name] - rotated[ALL])
            sentence = (
                f"accuracy on rotated images after retraining {name} differs by {apart:+.1pt} from that after all"
            )
            checks[f"{sentence}; within ±3 points"] = apart.within(-SAME, SAME)
    for one, other in itertools.combinations([name for name in (CONVOLUTIONS, DENSE, ALL) if name in lines], 2):
        apart = distance(lines[one], lines[other])
        sentence = f"the profiles after retraining {one} and {other} differ by {apart} more than seeds do"
        checks[f"{sentence}; above the margin of {MARGIN}"] = apart.above(MARGIN)
    return checks


EXPERIMENT = Experiment(
    name="retraining",
    question="Which layers can take up invariance by retraining, and can it sit in different ones?",
    run=answer,
    source="Quiroga et al. 2018, experiment_retraining; thesis",
    minutes={"smoke": 0.3, "cpu": 25, "full": 600},
    **standard(
        {"retraining_epochs": 1, "sets": ("conv1", "all conv", "all dense")},
        {"retraining_epochs": 7},
        retraining_epochs=5,
        sets=(),
        shown=("conv1", "conv5", "fc1", "all conv", "all dense"),
        batch_normalization=False,
    ),
)
