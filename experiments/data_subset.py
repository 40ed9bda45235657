"""Whether it matters that test or training images are measured.

Source: thesis, experiment DatasetSubset.
Expected: it does not: the profiles on test and on training images are the same.

    python -m tfinv.run data_subset

Duration on 2 cores: smoke 10 s, cpu 6 min, full (a GPU is advised) 5 h.
"""

from __future__ import annotations

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import MARGIN, StandardStudy, conclude, distance, profile_table, save_profiles, standard


def answer(run: Run) -> Finding:
    """Measure plain and augmented networks on both splits."""
    study = StandardStudy(run)
    lines, checks = {}, {}
    for name, make in {"plain": study.plain, "augmented": study.rotated}.items():
        test, train = (study.profiles(make, part=part) for part in ("test", "train"))
        lines |= {f"{name}, test": test, f"{name}, training": train}
        apart = distance(test, train)
        sentence = f"on {name} networks, test and training images differ by {apart} more than seeds do"
        checks[f"{sentence}; below the margin of {MARGIN}"] = apart.below(MARGIN)
    save_profiles(run, "profile", lines)
    claim = "The measure is the same on test and on training images (thesis, DatasetSubset; expected)."
    return conclude(claim, checks, profile_table(lines), "profile")


EXPERIMENT = Experiment(
    name="data_subset",
    question="Does it matter whether test or training images are measured?",
    run=answer,
    source="thesis, DatasetSubset",
    minutes={"smoke": 0.2, "cpu": 6, "full": 300},
    **standard(),
)
