"""Whether the measure falls when training rotates images further.

Source: thesis, experiment MeasureCorrelationWithTransformation. There degrees were taken for radians, so that every
range but zero covered the whole circle, and the question stayed open.
Expected: the wider the range of angles in training, the lower the normalized variance under all rotations.

    python -m tfinv.run training_range

Duration on 2 cores: smoke 10 s, cpu 12 min, full (a GPU is advised) 30 h.
"""

from __future__ import annotations

from itertools import pairwise

import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    Interval,
    StandardStudy,
    change,
    conclude,
    profile_table,
    save_drawing,
    save_profiles,
    slope,
    standard,
)


def answer(run: Run) -> Finding:
    """Train with angles up to each range; measure each network under all rotations."""
    study = StandardStudy(run)
    lines, curves = {}, []
    for limit in run.settings.ranges:
        augmentation, label = ({"rotation": float(limit)}, f"±{limit:g}°") if limit else (None, "none")
        networks = {seed: study.trained(seed, augmentation) for seed in study.seeds}
        lines[label] = study.profiles(networks.__getitem__)
        accuracy = Interval.of_shares([study.accuracy(network).mean() for network in networks.values()])
        curves.append(("accuracy under all rotations", label, accuracy.mean, accuracy.low, accuracy.high))
        output = Interval.of(lines[label].iloc[:, -1])
        curves.append(("normalized variance of the output", label, output.mean, output.low, output.high))
    names, last = list(lines), list(lines[next(iter(lines))])[-1]
    turns = [limit / 180 for limit in run.settings.ranges]
    trend = slope(turns, list(lines.values()), last)
    sentence = f"the output's normalized variance changes by {trend:+.3f} over the full range (slope)"
    checks = {f"{sentence}; below zero": trend.below(0)}
    for before, after in pairwise(names):
        step = change(lines[before], lines[after], last)
        checks[f"from {before} to {after} it changes by {step:+.3f}; below zero"] = step.below(0)
    frame = pd.DataFrame(curves, columns=["line", "layer", "mean", "low", "high"])
    save_profiles(run, "profile", lines)
    axes = {"x_label": "range of angles in training", "y_label": "share, or normalized variance"}
    save_drawing(run, "range", "profile", frame, **axes)
    claim = "The measure falls as the range of the training transformations grows (thesis: expected, not seen)."
    return conclude(claim, checks, profile_table(lines), "range")


EXPERIMENT = Experiment(
    name="training_range",
    question="Does the measure fall when training rotates images further?",
    run=answer,
    source="thesis, MeasureCorrelationWithTransformation",
    minutes={"smoke": 0.2, "cpu": 12, "full": 1800},
    **standard({"ranges": (0, 180)}, {"ranges": (0, 30, 60, 90, 120, 150, 180)}, ranges=(0, 45, 90, 135, 180)),
)
