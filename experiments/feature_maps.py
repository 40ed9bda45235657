"""Whether the feature maps with the lowest measure are really invariant, to the eye and on other images.

Source: thesis, experiment VisualizeInvariantFeatureMaps: most and least invariant maps under each transformation.
Expected: maps that are invariant by the measure look alike under all transformations.

    python -m tfinv.run feature_maps

Duration on 2 cores: smoke 15 s, cpu 5 min, full (a GPU is advised) 3 h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments import MEASURE, Interval, StandardStudy, conclude, save_drawing, standard
from tfinv.results import LayerResult
from tfinv.transformations import parse


def extremes(layer: LayerResult, count: int) -> tuple[list[int], list[int]]:
    """Maps with the lowest and the highest valid values."""
    order = [int(number) for number in np.argsort(layer.values) if layer.status[number] == 0]
    return order[:count], order[-count:]


def answer(run: Run) -> Finding:
    """Choose maps by their measure on test images; look at them and measure them on training images."""
    study, settings = StandardStudy(run), run.settings
    rows = []
    for seed in study.seeds:
        network = study.rotated(seed)
        chosen_by = study.measured(network)[MEASURE]
        seen_on = study.measured(network, part="train", samples=settings.images)[MEASURE]
        for name, layer in chosen_by.items():
            if name.startswith("conv"):
                low, high = (float(seen_on[name].values[chosen].mean()) for chosen in extremes(layer, settings.maps))
                rows.append((seed, name, low, high))
    table = pd.DataFrame(rows, columns=["seed", "layer", "most invariant", "least invariant"])
    columns = ["most invariant", "least invariant"]
    by_seed: Any = table.groupby("seed")[columns].mean()
    low, high = (Interval.of(by_seed[column]) for column in columns)
    gap = Interval.of(by_seed["least invariant"] - by_seed["most invariant"])
    draw(study)
    chosen = f"the {settings.maps} most invariant maps of each layer"
    checks = {
        f"on {settings.images} other images {chosen} have a mean of {low} and the {settings.maps} least invariant ones "
        f"of {high}, a difference of {gap}; above zero": gap.above(0),
        f"{chosen} have {low}; below 0.5 (images matter twice as much as angles)": low.below(0.5),
    }
    claim = "Feature maps with a low normalized variance are invariant on the images that one looks at (thesis)."
    by_layer: Any = table.groupby("layer", sort=False)[columns].mean()
    return conclude(claim, checks, by_layer.reset_index(), "maps")


def draw(study: StandardStudy) -> None:
    """The most and the least invariant maps of one layer, of the first seed's network, on one image."""
    from tfinv.activations.sub_model import ActivationModel
    from tfinv.transformations import warp

    settings, network = study.settings, study.rotated(study.run.seed)
    layer = study.measured(network)[MEASURE][settings.layer]
    low, high = extremes(layer, settings.maps)
    transformations = parse(settings.shown)
    images = warp(study.data.train.x[:1], transformations)[0]
    maps = np.asarray(ActivationModel(network, [settings.layer])(images)[settings.layer])[..., low + high]
    save_drawing(
        study.run,
        "maps",
        "feature_maps",
        {"maps": np.moveaxis(maps, -1, 0), "scores": layer.values[low + high]},
        names=[f"map {number}" for number in low + high],
        column_labels=list(transformations.labels),
        score_label="NV",
        title=f"most and least invariant maps of {settings.layer}",
    )


EXPERIMENT = Experiment(
    name="feature_maps",
    question="Are the feature maps with the lowest measure really invariant, to the eye and on other images?",
    run=answer,
    source="thesis, VisualizeInvariantFeatureMaps",
    minutes={"smoke": 0.3, "cpu": 5, "full": 180},
    **standard({"maps": 2}, layer="conv4", maps=4, images=24, shown="rotations(8)"),
)
