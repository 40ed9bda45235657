"""Whether the network of 2018 has the global invariance that was published for it.

Source: Quiroga et al. 2019, "Measuring (in)variances in Convolutional Networks", table of global invariance: SimpleConv
on MNIST under 16 rotations. There feature maps were averaged over their positions before anything was measured; each
number is the mean of the normalized variance over all units of all layers, over all images or class by class.
Expected: .732 trained plain and .686 with rotations over all images, 1.010 and .973 within classes.

    python -m tfinv.run published_global

The networks are those of `published_accuracy`. The layer that only flattens is left out: its units are not averaged and
would outnumber all others. Intervals are over draws of test images; they do not hold what another seed would change.
Duration on 2 cores: smoke 20 s, cpu 3 min after `published_accuracy`, full 1 h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import ROTATED, Interval, StandardStudy, conclude, save_drawing
from tfinv.experiments.published_accuracy import EXPERIMENT as ACCURACY
from tfinv.experiments.published_accuracy import network, side_by_side
from tfinv.results import MeasureResult

PUBLISHED = {
    ("plain", "all images"): 0.732,
    ("rotated", "all images"): 0.686,
    ("plain", "by class"): 1.010,
    ("rotated", "by class"): 0.973,
}
"""What the network was trained on, and what it was measured on."""


def answer(run: Run) -> Finding:
    """Average the maps of both networks, measure them on draws of images, and pool all units."""
    study, settings = StandardStudy(run), run.settings
    comparable, rows, checks = study.data.name == "mnist" and settings.train_samples is None, [], {}
    for (training, images), published in PUBLISHED.items():
        augmentation = ROTATED if training == "rotated" else None
        model, layers = averaged(network(run, study.data, augmentation, run.seed))
        measured = []
        for draw in range(settings.draws):
            split = study.data.test.subset(settings.test_samples, run.seed + draw)
            results = run.measured(
                model,
                split,
                settings.transformations,
                ["NormalizedVariance(statistic='std')"],
                samples=f"{study.data.id}, {settings.test_samples} of test, seed {run.seed + draw}",
                layers=layers,
                stratified=images == "by class",
            )
            measured.append(pooled(results["NormalizedVariance(statistic='std')"]))
        interval, label = Interval.of(measured), f"{training}, {images}"
        here = (interval.mean, interval.low, interval.high)
        rows += [(label, "published", published, np.nan, np.nan), (label, "here", *here)]
        sentence = f"{label}: {interval if settings.draws > 1 else f'{interval.mean:.3f}'} (one seed)"
        if comparable:
            outcome = interval.within(published - 0.1, published + 0.1)
            checks[f"{sentence}, published {published:.3f}; within 0.1"] = outcome
        else:
            checks[f"{sentence}, on other images than the published ones; comparable"] = None
    table = pd.DataFrame(rows, columns=["trained, measured", "source", "normalized variance", "low", "high"])
    bars = {"category": "trained, measured", "value": "normalized variance", "group": "source"}
    save_drawing(run, "global", "bars", table, **bars)
    claim = (
        "The global invariance published for SimpleConv on MNIST (Quiroga et al. 2019) is found again. (Intervals are "
        "over draws of test images; another seed may differ by more.)"
    )
    return conclude(claim, checks, side_by_side(table, "trained, measured", "normalized variance"), "global")


def averaged(network: Any) -> tuple[Any, list[str]]:
    """The network with the mean over positions of each feature map, and the softmax, and the names of these layers."""
    import keras

    outputs = {"softmax": keras.layers.Softmax(name="softmax")(network.output)}
    for layer in network.layers[1:]:
        if len(layer.output.shape) == 4:
            mean = keras.layers.GlobalAveragePooling2D(name=f"{layer.name}_mean")
            outputs[mean.name] = mean(layer.output)
        elif layer.name != "flatten":
            outputs[layer.name] = layer.output
    model: Any = keras.Model(network.input, list(outputs.values()))
    model.tfinv_config = {**network.tfinv_config, "averaged": True}
    return model, list(outputs)


def pooled(result: MeasureResult) -> float:
    """The mean over the finite values of all units of all layers."""
    values = np.concatenate([layer.values.ravel() for layer in result.values()])
    return float(values[np.isfinite(values)].mean())


EXPERIMENT = Experiment(
    name="published_global",
    question="Does the network of 2018 have the global invariance published for it?",
    run=answer,
    source="Quiroga et al. 2019, table of global invariance",
    minutes={"smoke": 0.3, "cpu": 3, "full": 60},
    settings={**ACCURACY.settings, "transformations": "rotations(16)", "test_samples": 500, "draws": 3},
    presets={
        "smoke": {**ACCURACY.presets["smoke"], "transformations": "rotations(4)", "test_samples": 60, "draws": 1},
        "full": {**ACCURACY.presets["full"], "test_samples": 5000},
    },
)
