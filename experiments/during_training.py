"""When in training invariance appears, and where.

Source: thesis, experiment DuringTraining: profiles at savepoints, labelled with the accuracy.
Expected: the output's normalized variance falls as training with rotations goes on (no outcome was published).

    python -m tfinv.run during_training

A network of k epochs is trained anew from the same seed, which repeats the first k epochs of longer trainings.
Duration on 2 cores: smoke 10 s, cpu 8 min, full (a GPU is advised) 15 h.
"""

from __future__ import annotations

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    ROTATED,
    Interval,
    StandardStudy,
    change,
    conclude,
    correlation,
    profile_table,
    save_profiles,
    standard,
)


def answer(run: Run) -> Finding:
    """Measure networks after 0, 1, ... epochs of training with rotations."""
    study, lines, by_epoch = StandardStudy(run), {}, {}
    for epochs in run.settings.savepoints:

        def make(seed: int, epochs: int = epochs) -> object:
            if epochs == run.settings.augmented_epochs:
                return study.rotated(seed)
            return study.trained(seed, ROTATED, epochs=epochs) if epochs else study.untrained(seed)

        by_epoch[epochs] = study.profiles(make)
        accuracy = Interval.of_shares([study.accuracy(make(seed)).mean() for seed in study.seeds])
        lines[f"epoch {epochs} ({accuracy.mean:.0%})"] = by_epoch[epochs]
    first, *_, last = by_epoch
    early = next(epochs for epochs in by_epoch if epochs)
    output = list(by_epoch[first])[-1]
    total, later = (change(by_epoch[start], by_epoch[last], output) for start in (first, early))
    alike = correlation(by_epoch[early], by_epoch[last])
    sentence = f"from epoch {first} to {last} the output's normalized variance changes by {total:+.3f}"
    checks = {
        f"{sentence}; below zero": total.below(0),
        f"from epoch {early} to {last} it changes by {later:+.3f}; below zero": later.below(0),
    }
    run.say(f"profiles of epoch {early} and {last} correlate by {alike}")
    save_profiles(run, "profile", lines)
    claim = "Training with rotations makes the output more and more invariant (expected; thesis, DuringTraining)."
    return conclude(claim, checks, profile_table(lines), "profile")


EXPERIMENT = Experiment(
    name="during_training",
    question="When in training does invariance appear, and where?",
    run=answer,
    source="thesis, DuringTraining",
    minutes={"smoke": 0.2, "cpu": 8, "full": 900},
    **standard({"savepoints": (0, 1)}, {"savepoints": (0, 1, 2, 3, 5, 8, 11, 15)}, savepoints=(0, 1, 3, 10)),
)
