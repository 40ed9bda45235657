"""Whether networks that must tell how an image was transformed are more same-equivariant than networks that classify.

Networks are trained to predict the parameters of the transformation that made an image: sine and cosine of a rotation,
the factors of a scale, the shifts of a translation. Their convolutions are compared, layer by layer, with those of
classifiers and of untrained networks of the same architecture, and once more on images of another data set.

Source: thesis and the experiments of 2021, task of same-equivariance: regression of min-max scaled parameters, relative
absolute error (RAE) below 0.30 counts as trained. There inverses of composed maps were wrong and borders counted.
Expected: same-equivariance depends neither on what was learnt nor on the data: the profiles agree. Differences of
profiles are relative, and what two networks of one kind differ by is taken off (`tfinv.experiments.distance`).

    python -m tfinv.run transformation_regression
    python -m tfinv.run transformation_regression regressed=rotation seeds=5

Duration on 2 cores: smoke 30 s, cpu 25 min (10 with `--workers 2`), full (a GPU is advised) 20 h.
"""

from __future__ import annotations

import pandas as pd

from tfinv.datasets import adapt
from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    MARGIN,
    SAME_EQUIVARIANCE,
    Interval,
    StandardStudy,
    conclude,
    distance,
    profile_table,
    save_profiles,
    standard,
)
from tfinv.experiments._shared.regression import regressor, relative_error

TRAINED = 0.3
"""The relative absolute error below which the study took a network as trained."""


def answer(run: Run) -> Finding:
    """Train regressors of each family; compare their same-equivariance with other weights and on other images."""
    study, settings = StandardStudy(run), run.settings
    other = adapt(study.load(settings.other, size=settings.other_size), study.data.input_shape)
    elsewhere = f"regressor, {other.name} images"
    compared = {
        "classifier": "the classifier",
        "untrained": "the untrained network",
        elsewhere: f"the same regressor on images of {other.name}",
    }
    checks: dict[str, bool | None] = {}
    rows = []
    for family in settings.regressed:
        transformations = study.families[family][0]
        networks = {seed: regressor(study, seed, transformations) for seed in study.seeds}
        errors = {
            seed: relative_error(network, study.data.test, transformations, seed) for seed, network in networks.items()
        }
        error = Interval.of(list(errors.values()))
        checks[f"{family}s are predicted with a relative absolute error of {error}; below {TRAINED}"] = error.below(
            TRAINED
        )
        makers = {
            "regressor": (networks.__getitem__, {}),
            "classifier": (study.plain, {}),
            "untrained": (study.untrained, {}),
            elsewhere: (networks.__getitem__, {"data": other}),
        }
        lines = {
            name: study.profiles(make, SAME_EQUIVARIANCE, transformations, **options)
            for name, (make, options) in makers.items()
        }
        row = {"family": family, "relative error of the regressor": str(error)}
        for name in compared:
            apart = distance(lines["regressor"], lines[name], relative=True)
            sentence = f"under {family}s the profile of the regressor and that of {compared[name]} differ by {apart}"
            checks[f"{sentence}; below the margin of {MARGIN}"] = apart.below(MARGIN)
            row[f"from {name}"] = str(apart)
        rows.append(row)
        save_profiles(run, f"profile_{family}", lines, measure=SAME_EQUIVARIANCE)
        run.save_table(profile_table(lines), f"profiles_{family}")
    claim = (
        "Same-equivariance depends neither on the weights, whatever they were trained for, nor on the data (thesis)."
    )
    return conclude(claim, checks, pd.DataFrame(rows), f"profile_{settings.regressed[0]}")


EXPERIMENT = Experiment(
    name="transformation_regression",
    question="Are networks that must tell the transformation more same-equivariant than networks that classify?",
    run=answer,
    source="thesis and 2021 experiments, task of same-equivariance (regression of the transformation's parameters)",
    minutes={"smoke": 0.5, "cpu": 25, "full": 1200},
    **standard(
        {"other": "digits", "other_size": 4, "regression_epochs": 2, "regressed": ("rotation",)},
        {"regression_epochs": 45},
        families=True,
        other="cifar10",
        other_size=None,
        regression_epochs=25,
        regressed=("rotation", "scale", "translation"),
    ),
)
