"""What four well-known networks weigh and cost as float32, int8 and QAT files, beside the published numbers.

Networks have random weights: those of ImageNet are not at hand. Sizes, operators and memory do not depend on them, and
times hardly. Accuracies cannot be remade without weights and images, and are quoted alone. Latencies were published for
one core of a phone; here they are those of one thread of this machine: only quotients of int8 and float32 are compared.
Files of quantization-aware training (QAT) come from a few steps on a few images: they show size and cost, and not what
the training is worth; networks that are not in `trained_further` have none.

Source: a course text's table, which is that of the TFLite documentation on model optimization (Pixel 2).
Expected: int8 files are a quarter as large and take .90, 1.10, .75 and .72 of the time of float32 (MobileNetV1 and V2,
InceptionV3, ResNet101V2). For invariance nothing was published.

    python -m tfinv.run deployment_table
    python -m tfinv.run deployment_table networks=MobileNet,MobileNetV2 seeds=2

Duration on 2 cores: smoke 1 min, cpu 12 min, full 60 min.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd

from tfinv import tflite
from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import MARGIN, MEASURE, Interval, StandardStudy, conclude, save_drawing, standard
from tfinv.experiments._shared.deployment import PUBLISHED, files_of

KINDS = ("float32", "int8", "QAT")


def answer(run: Run) -> Finding:
    """Convert every network in every way; size, operators, time, memory and invariance of each file."""
    study, settings = StandardStudy(run), run.settings
    rows, bars, checks = [], [], {}
    for name in settings.networks:
        seen: dict[tuple[str, str], list[float]] = defaultdict(list)
        operators: dict[str, str] = {}
        for seed in study.seeds:
            for kind, file in files_of(study, name, _data(study, name), seed).items():
                source: Any = tflite.TFLiteModel(file)
                source.tfinv_config = {"file": source.id, "seed": seed}
                seen[kind, "MB"].append(len(file.content) / 1e6)
                seen[kind, "ms"].append(tflite.latency(source, repeats=settings.repeats).milliseconds)
                seen[kind, "working MB"].append(tflite.memory_estimate(source).working / 1e6)
                profile = study.measured(source, data=_data(study, name))[MEASURE].profile()["mean"].dropna()
                seen[kind, "variance"].append(float(profile.iloc[-1]))
                floats = len(file.float_operators)
                operators[kind] = f"{sum(file.operators.values())}" + (f", {floats} float" if kind != "float32" else "")
        intervals = {key: Interval.of_amounts(values) for key, values in seen.items()}
        for place, kind in enumerate(kind for kind in KINDS if kind in operators):
            told = PUBLISHED[name]
            rows.append(
                {
                    "network": name,
                    "file": kind,
                    "MB": f"{intervals[kind, 'MB'].mean:.1f}",
                    "published MB": told.megabytes[min(place, 1)],
                    "operators": operators[kind],
                    "ms, this machine": f"{intervals[kind, 'ms']:.1f}",
                    "published ms, phone": told.milliseconds[place],
                    "working memory, MB": f"{intervals[kind, 'working MB'].mean:.1f}",
                    "normalized variance of the output": str(intervals[kind, "variance"]),
                    "published accuracy (not remade)": told.accuracy[place],
                }
            )
            if place:
                share = Interval.of_amounts(np.divide(seen[kind, "ms"], seen["float32", "ms"]))
                bars.append((name, f"{kind}, here", share.mean, share.low, share.high))
                bars.append(
                    (name, f"{kind}, published", told.milliseconds[place] / told.milliseconds[0], *2 * [np.nan])
                )
        checks |= _checks(name, {key: np.array(values) for key, values in seen.items()})
    frame = pd.DataFrame(bars, columns=["network", "file", "time relative to float32", "low", "high"])
    save_drawing(run, "latency", "bars", frame, category="network", value="time relative to float32", group="file")
    claim = "Int8 files are a quarter as large and as much faster as was published, at the same invariance."
    return conclude(claim, checks, pd.DataFrame(rows), "latency")


def _data(study: StandardStudy, name: str) -> Any:
    side = study.settings.side or PUBLISHED[name].side
    return study.load(study.settings.dataset, size=side, channels=3, max_samples=study.settings.images)


def _checks(name: str, seen: dict[tuple[str, str], Any]) -> dict[str, bool | None]:
    """Sizes and times of int8 by those of float32, beside the published ones; and what int8 does to the output."""
    told = PUBLISHED[name]
    smaller = Interval.of(seen["int8", "MB"] / seen["float32", "MB"])
    faster = Interval.of_amounts(seen["int8", "ms"] / seen["float32", "ms"])
    moved = Interval.of(seen["int8", "variance"] - seen["float32", "variance"])
    size, time = told.megabytes[1] / told.megabytes[0], told.milliseconds[1] / told.milliseconds[0]
    return {
        f"the int8 file of {name} has {smaller:.3f} of the size (published {size:.3f}); within ±0.05 of that": (
            smaller.within(size - 0.05, size + 0.05)
        ),
        f"the int8 file of {name} takes {faster:.2f} of the time (published {time:.2f}); below that": faster.below(
            time
        ),
        f"with random weights the normalized variance of its output changes by {moved:+.3f}; within ±{MARGIN}": (
            moved.within(-MARGIN, MARGIN)
        ),
    }


EXPERIMENT = Experiment(
    name="deployment_table",
    question="What do well-known networks weigh and cost as float32, int8 and QAT files, and how invariant are they?",
    run=answer,
    source="table of the TFLite documentation on model optimization (Pixel 2)",
    minutes={"smoke": 1, "cpu": 12, "full": 60},
    **standard(
        {"networks": ("MobileNet",), "trained_further": ("MobileNet",), "side": 32, "images": 8, "classes": 10}
        | {"test_samples": 4, "repeats": 3},
        dataset="cifar10",
        networks=tuple(PUBLISHED),
        trained_further=("MobileNet", "MobileNetV2"),
        side=None,
        classes=1000,
        images=32,
        test_samples=8,
        transformations="rotations(4)",
        repeats=30,
    ),
)
