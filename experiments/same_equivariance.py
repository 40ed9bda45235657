"""What same-equivariance depends on: weights, images or transformations.

Source: thesis, experiments on same-equivariance. There inverses of composed maps were wrong and borders counted.
Expected: neither on the weights nor on the data set, mildly on the transformations: it belongs to the architecture.

    python -m tfinv.run same_equivariance

Duration on 2 cores: smoke 30 s, cpu 12 min, full (a GPU is advised) 8 h.
"""

from __future__ import annotations

from tfinv.datasets import adapt
from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    MARGIN,
    SAME_EQUIVARIANCE,
    StandardStudy,
    conclude,
    distance,
    profile_table,
    save_profiles,
    standard,
)


def answer(run: Run) -> Finding:
    """Change weights, images and transformations one at a time."""
    study, settings = StandardStudy(run), run.settings
    other = adapt(study.load(settings.other, size=settings.other_size), study.data.input_shape)

    lines = {
        "reference": study.profiles(study.plain, SAME_EQUIVARIANCE),
        "untrained": study.profiles(study.untrained, SAME_EQUIVARIANCE),
        "trained with rotations": study.profiles(study.rotated, SAME_EQUIVARIANCE),
        f"{other.name} images": study.profiles(study.plain, SAME_EQUIVARIANCE, data=other),
        "scales": study.profiles(study.plain, SAME_EQUIVARIANCE, settings.scales),
        "translations": study.profiles(study.plain, SAME_EQUIVARIANCE, settings.translations),
    }
    apart = {name: distance(lines["reference"], profiles, relative=True) for name, profiles in lines.items()}
    checks = {}
    for name in list(lines)[1:4]:
        checks[f"{name}: the relative difference is {apart[name]}; below the margin of {MARGIN}"] = apart[name].below(
            MARGIN
        )
    for name in list(lines)[4:]:
        checks[f"{name} in place of rotations: it is {apart[name]}; above the margin of {MARGIN}"] = apart[name].above(
            MARGIN
        )
    save_profiles(run, "profile", lines, measure=SAME_EQUIVARIANCE)
    claim = "Same-equivariance depends neither on weights nor on the data set, mildly on the transformations (thesis)."
    return conclude(claim, checks, profile_table(lines), "profile")


EXPERIMENT = Experiment(
    name="same_equivariance",
    question="What does same-equivariance depend on: weights, images or transformations?",
    run=answer,
    source="thesis, RandomWeights, DatasetTransfer and TransformationDiversity on same-equivariance",
    minutes={"smoke": 0.5, "cpu": 12, "full": 480},
    **standard({"other": "digits", "other_size": 4}, families=True, other="cifar10", other_size=None),
)
