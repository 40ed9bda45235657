"""How many samples and transformations a measurement needs.

Source: thesis, experiments DatasetSize and TransformationSampleSizes: a map of relative errors.
Expected: the measure is stable with few samples.

    python -m tfinv.run sample_sizes

The error is the mean over units of |a - b| / (|a| + |b|) against the largest sizes. Duration on 2 cores: smoke 20 s,
cpu 10 min, full (a GPU is advised) 3 h.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import MEASURE, Interval, StandardStudy, conclude, save_drawing, standard
from tfinv.results import MeasureResult


def relative_error(result: MeasureResult, reference: MeasureResult) -> float:
    """Mean over units; a unit without a finite value in either is left out."""
    a, b = (np.concatenate([layer.values.ravel() for layer in results.values()]) for results in (result, reference))
    kept = np.isfinite(a) & np.isfinite(b)
    difference, scale = np.abs(a - b)[kept], (np.abs(a) + np.abs(b))[kept]
    return float(np.divide(difference, scale, out=np.zeros_like(difference), where=scale > 0).mean())


def answer(run: Run) -> Finding:
    """Measure augmented networks with every pair of sizes."""
    study, settings = StandardStudy(run), run.settings
    most = (settings.samples[-1], settings.rotations[-1])
    errors: dict[tuple[int, int], list[float]] = {}
    for seed in study.seeds:
        network = study.rotated(seed)
        measured = {
            (s, t): study.measured(network, MEASURE, f"rotations({t})", samples=s)[MEASURE]
            for s, t in product(settings.samples, settings.rotations)
        }
        for size, result in measured.items():
            errors.setdefault(size, []).append(relative_error(result, measured[most]))
    intervals = {size: Interval.of(values) for size, values in errors.items()}
    rows = [(*size, interval.mean, interval.low, interval.high) for size, interval in intervals.items()]
    table = pd.DataFrame(rows, columns=["samples", "transformations", "error", "low", "high"])
    save_drawing(run, "errors", "relative_error_map", table)
    first, half = (settings.samples[0], most[1]), (settings.samples[-2], most[1])
    few = (most[0], settings.rotations[0])
    checks = {
        f"with {half[0]} of {most[0]} samples the error is {intervals[half]:.1%}; below the margin of 5 %": intervals[
            half
        ].below(0.05),
        f"with {first[0]} samples it is {intervals[first]:.1%}; below the margin of 10 %": intervals[first].below(0.1),
        f"with {few[1]} of {most[1]} rotations it is {intervals[few]:.1%}; below the margin of 10 %": intervals[
            few
        ].below(0.1),
    }
    return conclude("The measures are stable with small samples (thesis, DatasetSize).", checks, table, "errors")


EXPERIMENT = Experiment(
    name="sample_sizes",
    question="How many samples and transformations does a measurement need?",
    run=answer,
    source="thesis, DatasetSize and TransformationSampleSizes",
    minutes={"smoke": 0.3, "cpu": 10, "full": 180},
    **standard(
        {"samples": (12, 24), "rotations": (4, 8)},
        {"samples": (24, 48, 96, 384, 1536, 2304), "rotations": (24, 48, 96, 384, 1536, 2304)},
        samples=(24, 48, 96, 192, 384),
        rotations=(4, 8, 16, 32),
    ),
)
