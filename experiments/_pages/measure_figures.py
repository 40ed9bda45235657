"""Draw each measure of a plain and an augmented network.

``python -m tfinv.experiments._pages.measure_figures [FOLDER [FIGURE ...]]``

Two small networks are trained on scikit-learn's digits from one seed, one of them on randomly rotated images, and
measured under 16 rotations; docs/measures.md shows the figures. Two minutes on 2 cores.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv import plots
from tfinv.experiments._pages.findings import _reduce as reduce_colours
from tfinv.plots.axes import layer_axis
from tfinv.plots.figure import legend, new_figure, set_plot_height
from tfinv.plots.profile import draw_line, profile_limits
from tfinv.plots.style import MUTED, styled
from tfinv.resampling.shares import wilson
from tfinv.results import MeasureResult, Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FOLDER = Path("docs/figures/measures")
ROTATIONS, SAMPLES, EPOCHS, SEED = "rotations(16)", 300, 25, 0
NETWORKS: Mapping[str, Mapping[str, float] | None] = {"plain": None, "rotated in training": {"rotation": 180.0}}
FLOOR = "identity network (the warp's own error)"


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Args:
        measures: keys by the title of their panel, drawn one below the other.
        axis: what x is: layers, or the transformations, counts of them or classes of measures of the output, or, for
            measures that are one share of the images, the measures themselves.
        logarithmic: keys of measures whose values span orders of magnitude.
    """

    measures: Mapping[str, str]
    axis: str = "layer, from input to output"
    logarithmic: Sequence[str] = ()


def _family(pattern: str, options: str) -> Drawing:
    kinds = ("Transformation", "Sample", "Normalized")
    return Drawing({pattern.format(kind): pattern.format(kind) + options for kind in kinds})


_MEAN = "(aggregate='mean')"
DRAWINGS: Mapping[str, Drawing] = {
    "variance": _family("{}Variance", _MEAN),
    "distance": _family("{}Distance", _MEAN),
    "anova": Drawing({"AnovaF": "AnovaF", "Anova": "Anova"}),
    "goodfellow": Drawing({"Goodfellow": "Goodfellow", "GoodfellowNormal": "GoodfellowNormal"}),
    "firing_share": Drawing({"FiringShare": "FiringShare"}),
    "predictions": Drawing(
        {measure: measure for measure in ("AccuracyUnder", "PredictionConsistency", "EffectiveInvariance")}, "rotation"
    ),
    "under_all": Drawing({measure: measure for measure in ("WorstCaseAccuracy", "ConsistencyAll")}, "measure"),
    "accuracy_at_least": Drawing({"AccuracyAtLeast": "AccuracyAtLeast"}, "k, the number of rotations"),
    "logit_variance": Drawing({"LogitVariance": "LogitVariance"}, "class"),
    "variance_se": _family("{}VarianceSE", _MEAN),
    "distance_se": _family("{}DistanceSE", "(per_map=True)"),
    "simple_distance_se": Drawing({"SimpleDistanceSE": "SimpleDistanceSE"}),
    "linear_equivariance": Drawing({"LinearEquivariance": "LinearEquivariance"}),
    "representation_equivariance": Drawing(
        {"RepresentationEquivariance": "RepresentationEquivariance(action='spatial')"}
    ),
    "lie_derivative": Drawing(
        {"LieDerivative": "LieDerivative", "LieContribution, of tfinv.lie_derivative": "LieContribution"},
        logarithmic=("LieDerivative",),
    ),
}


def make(folder: Path = FOLDER, only: Sequence[str] = ()) -> list[Path]:
    """Train, measure, and write figures.

    Args:
        folder: for the figures, made where it is missing.
        only: names of `DRAWINGS`; none for all.

    Returns:
        The files.

    Raises:
        ValueError: an unknown name.
    """
    if unknown := [name for name in only if name not in DRAWINGS]:
        raise ValueError(f"figures must be among {', '.join(DRAWINGS)}. Received: {', '.join(unknown)}")
    drawings = {name: drawing for name, drawing in DRAWINGS.items() if not only or name in only}
    keys = [key for drawing in drawings.values() for key in drawing.measures.values()]
    results = {name: _measured(augmentation, keys) for name, augmentation in NETWORKS.items()}
    written = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, drawing in drawings.items():
            made = plots.save(draw(drawing, results), Path(scratch, f"{name}.png"))
            reduce_colours(made, folder / made.name)
            written.append(folder / made.name)
    return written


def _measured(augmentation: Mapping[str, float] | None, keys: Sequence[str]) -> Results:
    """Measures of one network, those of `lie_derivative` among them."""
    from tfinv import datasets, models
    from tfinv.evaluation.evaluate import evaluate
    from tfinv.evaluation.lie_derivative import lie_derivative
    from tfinv.evaluation.options import Sampling
    from tfinv.training.train import train
    from tfinv.transformations import AffineAugmentation

    data = datasets.load("digits")
    model = models.build("simple_conv", (16, 16, 1), 10, filters=16, activation="relu", seed=SEED)
    turned = AffineAugmentation(**augmentation) if augmentation else None
    train(model, data.train, epochs=EPOCHS, learning_rate=5e-3, schedule="cosine", augmentation=turned, seed=SEED)
    images = data.test.subset(SAMPLES, SEED)
    banded = [key for key in keys if "Variance" in key]
    others = [key for key in keys if key not in (*banded, "LieContribution")]
    parts = [evaluate(model, images, ROTATIONS, banded, sampling=Sampling(0.95))] if banded else []
    parts += [evaluate(model, images, ROTATIONS, others)] if others else []
    floors = {key: floor for part in parts for key, floor in part.metadata["interpolation_floor"].items()}
    if "LieContribution" in keys:
        parts = [lie_derivative(model, images.x, ["rotation"]), *parts]
    measures = {key: measure for part in parts for key, measure in part.measures.items()}
    return Results(measures, {"interpolation_floor": floors})


@styled()
def draw(drawing: Drawing, results: Mapping[str, Results]) -> Figure:
    """One panel per measure, one line per network; bars where a measure is one share of the images.

    Args:
        drawing: what to draw.
        results: by name of the network.
    """
    if drawing.axis == "measure":
        return _bars(drawing, results)
    figure = new_figure()
    panels = list(figure.subplots(len(drawing.measures), sharex=True, squeeze=False)[:, 0])
    handles, names = [], list(results)
    for axes, (title, key) in zip(panels, drawing.measures.items(), strict=True):
        frames = {name: _frame(result[key], drawing) for name, result in results.items()}
        handles = [
            draw_line(axes, np.arange(len(frame)), frame, frame if "low" in frame else None, name, index)
            for index, (name, frame) in enumerate(frames.items())
        ]
        profile_limits(axes, frames.values(), [frame for frame in frames.values() if "low" in frame])
        axes.set_title(title, fontsize=10)
        floor = next(iter(results.values())).metadata["interpolation_floor"].get(key)
        if floor and title.startswith(("Transformation", "Normalized", "Simple")):
            values = [floor.get(layer, np.nan) for layer in frames[names[0]]["layer"]]
            handles += axes.plot(np.arange(len(values)), values, color=MUTED, linestyle=(0, (2, 2)), linewidth=1.2)
        if key in drawing.logarithmic:
            axes.set_yscale("log")
            axes.autoscale(axis="y")
            axes.yaxis.set_major_formatter("{x:g}")
        if drawing.axis == "class":
            for line in axes.lines:
                line.set_linestyle("none")
    floored = len(handles) > len(names)
    layer_axis(panels[-1], list(_frame(results[names[0]][key], drawing)["layer"]))
    panels[-1].set_xlabel(drawing.axis)
    legend(figure, handles, [*names, FLOOR] if floored else names)
    set_plot_height(figure, panels, 1.25 * len(panels) + 0.25)
    return figure


def _bars(drawing: Drawing, results: Mapping[str, Results]) -> Figure:
    """One bar per measure and network, with Wilson's 95 % interval."""
    import pandas as pd

    rows = []
    for title, key in drawing.measures.items():
        for name, result in results.items():
            share = float(_frame(result[key], drawing)["mean"].iloc[0])
            rows.append((title, name, share, *wilson(share * SAMPLES, SAMPLES)))
    frame = pd.DataFrame(rows, columns=["measure", "network", "share", "low", "high"])
    return plots.bars(frame, "measure", "share", group="network", percent=True, y_label="share of images")


def _frame(measure: MeasureResult, drawing: Drawing) -> pd.DataFrame:
    """`layer, mean` and maybe `low, high`: of the layers that have values, or one row a value of the output."""
    import pandas as pd

    if drawing.axis.startswith("layer"):
        return measure.profile().dropna(subset="mean").reset_index(drop=True)
    values = next(reversed([layer.values for layer in measure.values() if layer.values.size]))
    return pd.DataFrame({"layer": _names(drawing.axis, len(values)), "mean": values})


def _names(axis: str, count: int) -> Sequence[Any]:
    from tfinv.transformations import parse

    if axis == "rotation":
        return parse(ROTATIONS).labels
    first = 1 if axis.startswith("k,") else 0
    return [str(position) for position in range(first, first + count)]


if __name__ == "__main__":
    for path in make(*map(Path, sys.argv[1:2]), only=sys.argv[2:]):
        print(path)
