"""Whether a network trained with one family of transformations is invariant to another.

Source: thesis, experiment TransformationDiversity: training and measuring with rotations, scales and translations.
Expected: networks are most invariant to the family that they were trained with.

    python -m tfinv.run diversity

Duration on 2 cores: smoke 25 s, cpu 12 min, full (a GPU is advised) 15 h.
"""

from __future__ import annotations

import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import MEASURE, Interval, StandardStudy, change, conclude, save_drawing, standard


def answer(run: Run) -> Finding:
    """Train with each family, measure each network with each family."""
    study = StandardStudy(run)
    profiles = {
        (trained, measured): study.profiles(
            lambda seed, ranges=ranges: study.trained(seed, ranges), MEASURE, study.families[measured][0]
        )
        for trained, (_, ranges) in study.families.items()
        for measured in study.families
    }
    names = list(study.families)
    output = list(profiles[names[0], names[0]])[-1]
    cells = {pair: Interval.of(profile[output]) for pair, profile in profiles.items()}
    means = pd.DataFrame({m: {f"with {t}": cells[t, m].mean for t in names} for m in names})
    options = {"label": f"normalized variance of {output}", "x_label": "measured with", "y_label": "trained"}
    save_drawing(run, "families", "matrix", means.rename_axis("trained").reset_index(), **options)
    checks = {}
    for measured in names:
        for trained in names:
            if trained != measured:
                gap = change(profiles[measured, measured], profiles[trained, measured], output)
                sentence = (
                    f"measured with {measured}s, training with {trained}s instead changes the output by {gap:+.3f}"
                )
                checks[f"{sentence}; above zero"] = gap.above(0)
    table = pd.DataFrame({f"measured with {m}": {f"trained with {t}": str(cells[t, m]) for t in names} for m in names})
    claim = "Networks are most invariant to the family they were trained with (thesis, TransformationDiversity)."
    return conclude(claim, checks, table.rename_axis("network").reset_index(), "families")


EXPERIMENT = Experiment(
    name="diversity",
    question="Is a network that was trained with one family of transformations invariant to another?",
    run=answer,
    source="thesis, TransformationDiversity",
    minutes={"smoke": 0.4, "cpu": 12, "full": 900},
    **standard(families=True),
)
