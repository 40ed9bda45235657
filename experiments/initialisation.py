"""Whether trained networks share a structure of invariance, whatever weights they started from.

Source: thesis, experiment RandomInitialization: networks trained from several seeds, with their mean.
Expected: profiles are remarkably stable over seeds.

    python -m tfinv.run initialisation

Duration on 2 cores: smoke 15 s, cpu 8 min, full (a GPU is advised) 20 h.
"""

from __future__ import annotations

import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import MARGIN, Interval, StandardStudy, conclude, rank_agreement, save_profiles, spread, standard


def answer(run: Run) -> Finding:
    """Train plain and augmented networks from several seeds."""
    study = StandardStudy(run)
    checks, rows, lines = {}, [], {}
    for name, make in {"plain": study.plain, "augmented": study.rotated}.items():
        profiles = lines[name] = study.profiles(make)
        alike, apart = rank_agreement(profiles), spread(profiles)
        sentence = f"profiles of {name} networks correlate by {alike} with the mean of the others"
        checks[f"{sentence}; above {1 - 2 * MARGIN}"] = alike.above(1 - 2 * MARGIN)
        sentence = f"profiles of {name} networks differ from that mean by {apart}, averaged over layers"
        checks[f"{sentence}; below the margin of {MARGIN}"] = apart.below(MARGIN)
        accuracy = Interval.of([study.accuracy(make(seed)).mean() for seed in study.seeds])
        rows.append(
            (
                name,
                str(alike),
                str(apart),
                profiles.mean().std(),
                str(Interval.of(profiles.iloc[:, -1])),
                f"{accuracy:.1%}",
            )
        )
        networks = {f"seed {seed}": profiles.loc[[seed]] for seed in profiles.index}
        save_profiles(run, f"networks_{name}", networks, title=f"{name} networks")
    save_profiles(run, "profile", lines)
    columns = ["training", "correlation", "distance", "std over layers", "output", "accuracy under rotations"]
    claim = "The invariance of trained networks is remarkably stable over random initialisations (thesis)."
    return conclude(claim, checks, pd.DataFrame(rows, columns=columns), "networks_augmented")


EXPERIMENT = Experiment(
    name="initialisation",
    question="Do trained networks share a structure of invariance, whatever weights they started from?",
    run=answer,
    source="thesis, RandomInitialization",
    minutes={"smoke": 0.3, "cpu": 8, "full": 1200},
    **standard({"seeds": 2}, {"seeds": 30}, seeds=5),
)
