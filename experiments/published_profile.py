"""Whether a small network gives the layer profile that was published for it.

Source: result files of earlier software (2020): a network of two convolutions on MNIST, one epoch with rotations,
measured with 4 rotations whose degrees were taken for radians (0, 35.5, 71 and 106.5 degrees), borders repeated. Images
were normalized; black is not 0 then, and the zeros around a convolution's input leave a seam that rotations move.
Expected: the published means by layer; two runs of the same setting differed by up to .02.

    python -m tfinv.run published_profile

How the published network was trained is known in part: here it is Adam, there it may have been Adadelta. Duration on
2 cores: smoke 10 s, cpu 8 min, full 15 min.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from tfinv.datasets import channel_statistics
from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import (
    ROTATED,
    Interval,
    StandardStudy,
    conclude,
    correlation,
    save_drawing,
    standard,
    with_interval,
)

LAYERS = ("conv1", "act1", "pool1", "conv2", "act2", "pool2", "flatten", "fc1", "fc1_act", "logits")
ORIGINAL = "NormalizedVariance(statistic='std', aggregate='mean')"
PUBLISHED = {
    "NormalizedVariance(statistic='std')": (0.598, 0.536, 0.586, 0.792, 0.649, 0.756, 0.756, 0.532, 0.408, 0.173),
    ORIGINAL: (0.819, 0.739, 0.793, 0.883, 0.794, 0.862, 0.754, 0.550, 0.422, 0.167),
    "NormalizedVarianceSE(statistic='std', border='keep')": (1.499, 1.311, 0.753, 0.721, 0.600, 0.702),
}


def answer(run: Run) -> Finding:
    """Train, measure as was done then, and compare layer by layer."""
    study = StandardStudy(run)

    statistics = [round(float(values[0]), 4) for values in channel_statistics(study.data.train)]
    options = {"filters": run.settings.filters, "dense": run.settings.dense, "normalization": statistics}

    def make(seed: int) -> object:
        return study.trained(seed, ROTATED, architecture="tutorial_cnn", **options)

    checks, rows = {}, {}
    for measure, values in PUBLISHED.items():
        ours: Any = study.profiles(make, measure, measures=list(PUBLISHED), padding="nearest")
        theirs = pd.DataFrame([values] * len(ours), index=ours.index, columns=list(LAYERS[: len(values)]))
        ours = ours[list(theirs)]
        apart = Interval.of((ours - theirs).abs().mean(axis=1))
        alike = correlation(ours, theirs)
        sentence = f"{measure} differs from the published profile by {apart}, averaged over layers"
        checks[f"{sentence}; below the margin of 0.1"] = apart.below(0.1)
        checks[f"{measure} correlates with the published profile by {alike}; above 0.9"] = alike.above(0.9)
        rows[measure] = pd.Series(
            {layer: f"{theirs[layer].iloc[0]:.3f} / {Interval.of(ours[layer])}" for layer in ours}
        )
        if measure == ORIGINAL:
            published = pd.DataFrame({"line": "published", "layer": list(theirs), "mean": values})
            lines = pd.concat([published, with_interval(ours).assign(line="ours")])
            save_drawing(run, "profile", "profile", lines, measure="normalized variance")
    table = pd.DataFrame(rows).reindex(LAYERS).fillna("").rename_axis("layer: published / ours").reset_index()
    return conclude("The layer profiles published with earlier software.", checks, table, "profile")


EXPERIMENT = Experiment(
    name="published_profile",
    question="Does a small network give the layer profile that was published for it?",
    run=answer,
    source="result files of earlier software for its documentation's network (2020)",
    minutes={"smoke": 0.2, "cpu": 8, "full": 15},
    **standard(
        {"transformations": "radian_rotations(4, 0, 360)"},
        {"transformations": "radian_rotations(4, 0, 360)", "test_samples": 9984, "augmented_epochs": 1, "dense": 128},
        transformations="radian_rotations(4, 0, 360)",
        train_samples=None,
        test_samples=2000,
        filters=32,
        dense=128,
        augmented_epochs=1,
        batch_size=256,
    ),
)
