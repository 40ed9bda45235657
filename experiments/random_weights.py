"""Whether untrained networks share a structure of invariance, whatever their weights.

Source: thesis, experiment RandomWeights: many untrained networks, with their mean.
Expected: the structure (the shape of the layer profile) does not depend on the exact weights.

    python -m tfinv.run random_weights

Weights are drawn as PyTorch does, as the original's were. Duration on 2 cores: smoke 10 s, cpu 5 min, full 1 h.
"""

from __future__ import annotations

import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    MARGIN,
    MEASURE,
    Interval,
    StandardStudy,
    conclude,
    rank_agreement,
    save_profiles,
    spread,
    standard,
)


def answer(run: Run) -> Finding:
    """Measure networks that were never trained, with each family."""
    study = StandardStudy(run)
    checks, rows, lines = {}, [], {}
    for family, (transformations, _) in study.families.items():
        profiles = study.profiles(lambda seed: study.untrained(seed, initializer="torch"), MEASURE, transformations)
        lines[f"{family}s"] = profiles
        alike = rank_agreement(profiles)
        sentence = f"profiles under {family}s correlate by {alike} with the mean of the others"
        checks[f"{sentence}; above {1 - 2 * MARGIN}"] = alike.above(1 - 2 * MARGIN)
        apart = spread(profiles)
        sentence = f"profiles under {family}s differ from that mean by {apart}, averaged over layers"
        checks[f"{sentence}; below the margin of {MARGIN}"] = apart.below(MARGIN)
        ends = [str(Interval.of(profiles.iloc[:, place])) for place in (0, -1)]
        rows.append((family, str(alike), str(apart), profiles.mean().std(), *ends))
    save_profiles(run, "profile", lines)
    first = next(iter(lines.values()))
    networks = {f"weights {seed}": first.loc[[seed]] for seed in first.index}
    save_profiles(run, "networks", networks, title=f"{len(networks)} untrained networks")
    columns = ["family", "correlation", "distance", "std over layers", "first layer", "output"]
    claim = "Among random networks the structure of invariance does not depend on the exact weights (thesis)."
    return conclude(claim, checks, pd.DataFrame(rows, columns=columns), "profile")


EXPERIMENT = Experiment(
    name="random_weights",
    question="Do untrained networks share a structure of invariance, whatever their weights?",
    run=answer,
    source="thesis, RandomWeights",
    minutes={"smoke": 0.2, "cpu": 5, "full": 60},
    **standard({"seeds": 2}, {"seeds": 30}, families=True, seeds=10),
)
