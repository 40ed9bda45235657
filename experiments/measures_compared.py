"""Which measures see that a network was trained to be invariant, and how far they agree.

Source: Quiroga et al. 2023, "Invariance Measures for Neural Networks"; thesis, experiment CompareMeasures.
Expected: the variance and distance measures are more sensitive than Goodfellow's and ANOVA.

    python -m tfinv.run measures_compared

Sensitivity is the mean relative change of a measure's profile from a plain to an augmented network, less what a change
of seed makes. Duration on 2 cores: smoke 20 s, cpu 10 min, full (a GPU is advised) 6 h.
"""

from __future__ import annotations

import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import MEASURE, SAME_EQUIVARIANCE, StandardStudy, conclude, distance, save_drawing, standard

MEASURES = {
    "transf. variance": "TransformationVariance(aggregate='mean')",
    "sample variance": "SampleVariance(aggregate='mean')",
    "normalized variance": MEASURE,
    "normalized distance": "NormalizedDistance(aggregate='mean')",
    "ANOVA F": "AnovaF",
    "ANOVA": "Anova",
    "Goodfellow": "Goodfellow",
    "Goodfellow (normal)": "GoodfellowNormal",
    "variance SE": SAME_EQUIVARIANCE,
    "distance SE": "SimpleDistanceSE",
}
PROPOSED, EARLIER = ("normalized variance", "normalized distance"), ("ANOVA", "Goodfellow (normal)")
"""What was compared in 2023, when Goodfellow's measure had thresholds from a normal distribution. The one of 2009,
conditioned on the images that activate a unit, is in the table alone."""


def answer(run: Run) -> Finding:
    """Measure everything in one pass, for plain and augmented networks."""
    study = StandardStudy(run)
    keys = list(MEASURES.values())
    plain = {name: study.profiles(study.plain, key, measures=keys) for name, key in MEASURES.items()}
    rotated = {name: study.profiles(study.rotated, key, measures=keys) for name, key in MEASURES.items()}
    distances = {name: distance(plain[name], rotated[name], relative=True) for name in MEASURES}
    rows = [(name, interval.mean, interval.low, interval.high) for name, interval in distances.items()]
    sensitivity = pd.DataFrame(rows, columns=["measure", "sensitivity", "low", "high"])
    save_drawing(run, "sensitivity", "bars", sensitivity, category="measure", value="sensitivity", percent=True)
    agreement = pd.DataFrame({name: profiles.mean() for name, profiles in rotated.items()}).corr(
        "spearman", min_periods=3
    )
    table = agreement.rename_axis("measure").reset_index()
    save_drawing(run, "agreement", "matrix", table, label="rank correlation over layers", limits=(-1, 1))
    checks = {
        f"the sensitivity of {old} is {distances[old]}, that of {new} {distances[new]}; higher": distances[new].exceeds(
            distances[old]
        )
        for new in PROPOSED
        for old in EARLIER
    }
    table = sensitivity.assign(**{"agrees with normalized variance": agreement["normalized variance"].to_numpy()})
    claim = (
        "The proposed measures are more sensitive to invariance than ANOVA's and Goodfellow's (Quiroga et al. 2023). "
        "Sensitivity here: by how much of its value augmentation changes a layer profile, less what another seed does."
    )
    return conclude(claim, checks, table, "sensitivity")


EXPERIMENT = Experiment(
    name="measures_compared",
    question="Which measures see that a network was trained to be invariant, and how far do they agree?",
    run=answer,
    source="Quiroga et al. 2023, comparison of measures; thesis, CompareMeasures",
    minutes={"smoke": 0.3, "cpu": 10, "full": 360},
    **standard(test_samples=100, transformations="rotations(8)"),
)
