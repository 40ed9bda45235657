"""Whether a network stays as invariant on images of another kind than it was trained on.

Source: thesis, experiment DatasetTransfer (MNIST and CIFAR-10, each adapted to the other's shape).
Expected: invariance depends on the data set, same-equivariance does not.

    python -m tfinv.run other_dataset
    python -m tfinv.run other_dataset dataset=cifar10 other=mnist min_accuracy=0.3     the other way round

Duration on 2 cores: smoke 20 s, cpu 9 min, full (a GPU is advised) 6 h.
"""

from __future__ import annotations

from tfinv.datasets import adapt
from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    MARGIN,
    MEASURE,
    SAME_EQUIVARIANCE,
    StandardStudy,
    change,
    conclude,
    distance,
    profile_table,
    save_profiles,
    standard,
)


def answer(run: Run) -> Finding:
    """Measure augmented networks on their own and on the other images."""
    study = StandardStudy(run)
    other = adapt(study.load(run.settings.other, size=run.settings.other_size), study.data.input_shape)
    apart, tables = {}, {}
    for name, measure in {"invariance": MEASURE, "same-equivariance": SAME_EQUIVARIANCE}.items():
        native, foreign = (study.profiles(study.rotated, measure, data=data) for data in (study.data, other))
        lines = {f"on {study.data.name}": native, f"on {other.name} images": foreign}
        tables[name] = lines
        apart[name] = distance(native, foreign, relative=True)
        save_profiles(run, name, lines, measure=measure)
    here, there = tables["invariance"].values()
    output = change(here, there, "logits")
    invariance, equivariance = apart["invariance"], apart["same-equivariance"]
    margin = f"the margin of {MARGIN}"
    checks = {
        f"on other images invariance changes by {invariance} of its value; above {margin}": invariance.above(MARGIN),
        f"at the output normalized variance changes by {output:+.3f}; above {margin}": output.above(MARGIN),
        f"same-equivariance changes by {equivariance} of its value; below {margin}": equivariance.below(MARGIN),
        f"invariance changes by {invariance}, same-equivariance by {equivariance}; more for invariance": (
            invariance.exceeds(equivariance)
        ),
    }
    claim = "Invariance depends on the data set, same-equivariance does not (thesis, DatasetTransfer)."
    return conclude(claim, checks, profile_table(tables["invariance"]), "invariance")


EXPERIMENT = Experiment(
    name="other_dataset",
    question="Does a network stay as invariant on images of another kind than it was trained on?",
    run=answer,
    source="thesis, DatasetTransfer",
    minutes={"smoke": 0.3, "cpu": 9, "full": 360},
    **standard({"other": "digits", "other_size": 4}, other="cifar10", other_size=None),
)
