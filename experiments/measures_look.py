"""What the measures look like, layer by layer and unit by unit, with and without augmentation.

Source: Quiroga et al. 2019, "Measuring (in)variances in Convolutional Networks": heat maps and collapsed line plots;
thesis, experiment VisualizeMeasures.
Expected: training with rotations lowers the normalized variance, mostly in the last layers.

    python -m tfinv.run measures_look

Duration on 2 cores: smoke 20 s, cpu 6 min, full (a GPU is advised) 5 h.
"""

from __future__ import annotations

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    MEASURE,
    Interval,
    StandardStudy,
    change,
    conclude,
    profile_table,
    save_drawing,
    save_profiles,
    standard,
)

UNITS = ("NormalizedVariance", "Goodfellow")


def answer(run: Run) -> Finding:
    """Measure a plain and an augmented network; draw every unit of the first seed's."""
    study = StandardStudy(run)
    networks = {"plain": study.plain, "augmented": study.rotated}
    lines = {name: study.profiles(make) for name, make in networks.items()}
    for name, make in networks.items():
        results = study.measured(make(run.seed), UNITS)
        for measure in UNITS:
            figure = f"heatmap_{measure.lower()}_{name}"
            save_drawing(run, figure, "heatmap", results, measure=measure, title=f"{name} network")
    save_profiles(run, "profile", lines)
    layers = list(lines["plain"])
    gain = lines["plain"] - lines["augmented"]
    late, early = (gain[part].mean(axis=1) for part in (layers[len(layers) // 2 :], layers[: len(layers) // 2]))
    output, more = change(lines["plain"], lines["augmented"], layers[-1]), Interval.of(late - early)
    checks = {
        f"augmentation changes {MEASURE} of the output by {output:+.3f}; below zero": output.below(0),
        f"it lowers the later half of the layers by {more} more than the earlier half; above zero": more.above(0),
    }
    claim = "Training with rotations lowers normalized variance, mostly in the last layers (Quiroga et al. 2019)."
    return conclude(claim, checks, profile_table(lines), "profile")


EXPERIMENT = Experiment(
    name="measures_look",
    question="What do the measures look like, with and without augmentation?",
    run=answer,
    source="Quiroga et al. 2019, heat maps and line plots; thesis, VisualizeMeasures",
    minutes={"smoke": 0.3, "cpu": 6, "full": 300},
    **standard(),
)
