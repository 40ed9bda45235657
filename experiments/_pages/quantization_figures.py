"""Figures of the quantization experiment: answers that change, invariance lost at the output and layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfinv import plots
from tfinv.experiments._shared.evidence import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AFTER_TRAINING = (
    *("dynamic_int8", "static_int8", "static_int8_transformed", "static_int8_per_tensor", "static_int16x8"),
    "weight_int4",
)
SHOWN = (
    *("static_int8", "static_int8_transformed", "weight_int4", "qat_int8", "float32_tuned"),
    *("qat_int8_augmented", "qat_int4_augmented", "float32_tuned_augmented"),
)
"""Recipes of each kind: more bars than these cannot be told apart."""


def figures(every: Any, layers: Any) -> dict[str, Figure]:
    """All figures by name.

    Args:
        every: one row per network, seed and recipe.
        layers: one row per network, seed, recipe and layer, with its `relative` change.
    """
    untrained, shown = (every[every["recipe"].isin(names)] for names in (AFTER_TRAINING, SHOWN))
    figures = {f"flips_{kind}": _flips(rows) for kind, rows in untrained.groupby("network", sort=False)}
    figures["output_change"] = plots.bars(
        _intervals(shown, "output_change", ["recipe", "network"]),
        "recipe",
        "output_change",
        group="network",
        percent=True,
        y_label="change of normalized variance",
    )
    for recipe in ("static_int8", "weight_int4"):
        if (layers["recipe"] == recipe).any():
            figures[f"layers_{recipe}"] = _layers(layers[layers["recipe"] == recipe], recipe)
    return figures


def _flips(every: Any) -> Figure:
    columns = {"flips": "upright images", "transformed_flips": "rotated images"}
    long = every.melt(["recipe", "seed"], list(columns), "images", "share").replace({"images": columns})
    frame = _intervals(long, "share", ["recipe", "images"])
    frame["low"] = frame["low"].clip(lower=0)
    label = "answers unlike float32's"
    return plots.bars(frame, "recipe", "share", group="images", percent=True, y_label=label)


def _layers(layers: Any, recipe: str) -> Figure:
    frames = {}
    for kind, rows in layers.groupby("network", sort=False):
        frame = _intervals(rows, "relative", ["layer"]).rename(columns={"relative": "mean"})
        frames[str(kind)] = frame.assign(**{column: 100 * frame[column] for column in ("mean", "low", "high")})
    figure = plots.profile(frames, title=recipe)
    figure.axes[0].set_ylabel("change of normalized variance, %")
    return figure


def _intervals(frame: Any, value: str, by: list[str]) -> Any:
    import pandas as pd

    rows = []
    for names, group in frame.groupby(by, sort=False):
        interval = Interval.of(group[value])
        names = names if isinstance(names, tuple) else (names,)
        rows.append(
            {**dict(zip(by, names, strict=True)), value: interval.mean, "low": interval.low, "high": interval.high}
        )
    return pd.DataFrame(rows)
