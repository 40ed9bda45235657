"""Whether a loss for invariance gives networks invariance, and keeps it through further training and rounding.

Networks are trained on upright images, on images turned by any angle, with `tfinv.training.InvarianceLoss` on upright
images, and with both; all are measured in floating point and as files of 8 and of 4 bits. The augmented networks are
then trained further, with 4-bit weights and without rounding, on upright images, on turned ones, with the loss, with
both, and with the float network as a teacher. A step with the loss shows the network twice as many images, so trainings
without it run for twice as many epochs.

Source: this project. Its experiment `quantization` found that further training on upright images costs augmented
networks 10 % of normalized variance, with rounding and without.
Expected: the loss lowers the normalized variance of upright networks from its layer on; with it, further training on
upright images costs less invariance, with rounding and without alike.

    python -m tfinv.run invariance_training
    python -m tfinv.run invariance_training weight=0.3

Duration on 2 cores: smoke 1 min, cpu 35 min (estimated), full hours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import MARGIN, Interval, StandardStudy, change, conclude, save_profiles, standard
from tfinv.experiments._shared.invariance_trainings import ARMS, figures, trained, tuned_figures

if TYPE_CHECKING:
    import pandas as pd

FIGURES = {"upright": "upright accuracy", "mean": "accuracy under rotations", "worst": "right under all rotations"}


def answer(run: Run) -> Finding:
    """Train, quantize and train further over seeds; gather accuracies and profiles."""
    import pandas as pd

    study = StandardStudy(run)
    made: dict[str, list[dict[str, Any]]] = {}
    for seed in study.seeds:
        networks = {arm: trained(study, arm, seed) for arm in ARMS}
        for arm, network in networks.items():
            made.setdefault(f"{arm}, float32", []).append(figures(study, network, seed))
            for recipe in run.settings.recipes:
                made.setdefault(f"{arm}, {recipe}", []).append(figures(study, network, seed, recipe))
        for how in run.settings.tuned:
            for bits in (0, 4):
                name = f"augmented, then {how}, {'int4' if bits else 'float32'}"
                made.setdefault(name, []).append(tuned_figures(study, networks["augmented"], how, bits, seed))
    profiles = {name: pd.DataFrame([dict(row["profile"]) for row in rows]) for name, rows in made.items()}
    table = pd.DataFrame(
        {
            "network": name,
            **{title: f"{Interval.of_shares([row[key] for row in rows]):.1%}" for key, title in FIGURES.items()},
            "normalized variance of the output": str(Interval.of(profiles[name].iloc[:, -1])),
            "first layer below half of upright": _appears(profiles["upright, float32"], profiles[name]),
        }
        for name, rows in made.items()
    )
    run.save_table(table, "networks")
    save_profiles(run, "profile", {arm: profiles[f"{arm}, float32"] for arm in ARMS}, relative_axis=True)
    claim = "A loss for invariance makes layers invariant, and keeps them so in further training, rounded or not."
    return conclude(claim, _checks(made, profiles, study), table, "profile")


def _appears(upright: pd.DataFrame, profile: pd.DataFrame) -> str:
    """The first layer whose normalized variance is less than half of the upright network's, means over seeds."""
    for layer in upright:
        if layer in profile and profile[layer].mean() < upright[layer].mean() / 2:
            return str(layer)
    return "none"


def _checks(
    made: dict[str, list[dict[str, Any]]], profiles: dict[str, pd.DataFrame], study: StandardStudy
) -> dict[str, bool | None]:
    checks: dict[str, bool | None] = {}

    def compare(before: str, after: str, key: str) -> Interval:
        pairs = zip(made[before], made[after], strict=True)
        return Interval.of([new[key] - old[key] for old, new in pairs])

    formats = ("float32", *study.settings.recipes)
    for stored in formats:
        for plain, with_loss in (("upright", "loss"), ("augmented", "both")):
            before, after = f"{plain}, {stored}", f"{with_loss}, {stored}"
            output = _output_change(profiles, before, after)
            gain, worst = compare(before, after, "mean"), compare(before, after, "worst")
            what = f"in networks trained {plain}, {stored}, the loss changes"
            checks[f"{what} the normalized variance of the output by {output:+.3f}; below 0"] = output.below(0)
            lost = f"the accuracy under rotations by {gain:+.1pt} (right under all of them: {worst:+.1pt})"
            checks[f"{what} {lost}; above -3 points"] = gain.above(-0.03)
    costs: dict[str, Interval] = {}
    for stored in ("float32", "int4"):
        for how in ("loss", "distilled"):
            before, after = f"augmented, then upright, {stored}", f"augmented, then {how}, {stored}"
            if before in made and after in made:
                costs[f"{how}, {stored}"] = kept = _output_change(profiles, before, after)
                name = "the loss" if how == "loss" else "distillation"
                what = f"in further training on upright images, {stored}, {name} changes that variance by {kept:+.3f}"
                checks[f"{what}; below 0"] = kept.below(0)
    if {"loss, float32", "loss, int4"} <= costs.keys():
        apart = costs["loss, int4"].mean - costs["loss, float32"].mean
        outcome = abs(apart) < MARGIN if study.settings.seeds > 1 else None
        checks[f"with rounding, what the loss changes there differs by {apart:+.3f}; within ±{MARGIN}"] = outcome
    return checks


def _output_change(profiles: dict[str, pd.DataFrame], before: str, after: str) -> Interval:
    return change(profiles[before], profiles[after], list(profiles[before])[-1])


EXPERIMENT = Experiment(
    name="invariance_training",
    question="Does a loss for invariance give networks invariance, and keep it through training and rounding?",
    run=answer,
    source="this project",
    minutes={"smoke": 1, "cpu": 35, "full": 900},
    **standard(
        {"epochs": 1, "recipes": ("weight_int4",), "tuned": ("loss",), "tuned_epochs": 1, "tuned_samples": 64},
        {"tuned_samples": 20000},
        layers=("fc1_act",),
        weight=0.1,
        recipes=("static_int8", "weight_int4"),
        tuned=("upright", "augmented", "loss", "both", "distilled"),
        tuned_epochs=1,
        tuned_samples=3000,
        tuned_rate=1e-4,
    ),
)
