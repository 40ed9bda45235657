"""Whether it matters when feature maps are aggregated, and whether distances tell the same as variances.

Source: thesis, experiments AggregationBeforeAfter, AggregationFunctionsVariance and DistanceApproximation.
Expected: the normalized distance of units approximates their normalized variance; aggregating before or after the
quotient gives profiles of one shape.

    python -m tfinv.run aggregation

Duration on 2 cores: smoke 20 s, cpu 7 min, full (a GPU is advised) 5 h.
"""

from __future__ import annotations

import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    MARGIN,
    Interval,
    StandardStudy,
    conclude,
    correlation,
    profile_table,
    save_profiles,
    standard,
)

LINES = {
    "mean, then quotient": "NormalizedVariance(statistic='std', aggregate='mean')",
    "quotient, then mean": "NormalizedVariance(statistic='std')",
    "maximum, then quotient": "NormalizedVariance(statistic='std', aggregate='max')",
    "distance of units": "NormalizedDistance(aggregate='mean')",
    "distance of maps": "NormalizedDistance(per_map=True)",
    "distance of normed maps": "NormalizedDistance(normalize=True, per_map=True)",
}


def answer(run: Run) -> Finding:
    """Measure augmented networks in six ways, in one pass."""
    study = StandardStudy(run)
    keys = list(LINES.values())
    lines = {name: study.profiles(study.rotated, key, measures=keys) for name, key in LINES.items()}
    variance, units = lines["mean, then quotient"], lines["distance of units"]
    apart = Interval.of(((variance - units).abs() / variance).mean(axis=1))
    alike = {name: correlation(variance, profiles) for name, profiles in lines.items()}
    after, largest = alike["quotient, then mean"], alike["maximum, then quotient"]
    wanted = f"above {1 - 2 * MARGIN}"
    checks = {
        f"distances of units differ from variances by {apart:.1%}; below the margin of 10 %": apart.below(0.1),
        f"the profile of means over positions correlates by {after} with that of means of quotients; {wanted}": (
            after.above(1 - 2 * MARGIN)
        ),
        f"it correlates by {largest} with that of maxima over positions; {wanted}": largest.above(1 - 2 * MARGIN),
    }
    save_profiles(run, "profile", lines, measure="normalized measure")
    rows = [(name, LINES[name], str(interval)) for name, interval in alike.items()]
    run.save_table(pd.DataFrame(rows, columns=["line", "measure", "correlation with the first"]), "correlations")
    claim = "Distances approximate variances, and the order of aggregation keeps the profile's shape (thesis)."
    return conclude(claim, checks, profile_table(lines), "profile")


EXPERIMENT = Experiment(
    name="aggregation",
    question="Does it matter when feature maps are aggregated, and do distances tell the same as variances?",
    run=answer,
    source="thesis, AggregationBeforeAfter, AggregationFunctionsVariance, DistanceApproximation",
    minutes={"smoke": 0.3, "cpu": 7, "full": 300},
    **standard(test_samples=100, transformations="rotations(8)"),
)
