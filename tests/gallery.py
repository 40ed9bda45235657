"""Realistic made-up results, and one of every figure, for the tests of plots and reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tfinv import plots
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.status import Status

KEY = "NormalizedVariance"
SHORT = [f"{kind}_{block}" for block in "abcde" for kind in ("conv", "elu")]
SHORT = [*SHORT[:4], "pool_b", *SHORT[4:8], "pool_d", *SHORT[8:], "flatten", "dense_f", "elu_f", "logits", "softmax"]
LONG = [
    "conv_stem",
    *(
        f"features/block{b}_{part}"
        for b in range(1, 14)
        for part in ["depthwise", "depthwise_bn", "depthwise_relu", "project", "project_bn", "project_relu"]
    ),
    "logits",
]


def made_up(layers: list[str], slope: float, holes: tuple[str, ...] = (), seed: int = 0) -> Results:
    """Values that fall towards the output by `slope`; some dead maps, and no valid unit at all in `holes`."""
    rng = np.random.default_rng(seed)
    values_of = {}
    for i, name in enumerate(layers):
        depth = i / len(layers)
        dense = "dense" in name or "logits" in name or "softmax" in name
        shape: tuple[int, ...] = (10,) if dense else (max(1, 8 - int(8 * depth)),) * 2 + (8 * 2 ** int(4 * depth),)
        values = np.abs((0.75 - 0.1 * np.sin(i) - slope * depth**2) * (1 + 0.25 * rng.normal(size=shape)))
        status = np.zeros(shape, np.uint8)
        if "elu" in name:
            dead = rng.random(shape[-1]) < 0.1
            values[..., dead], status[..., dead] = 1.0, Status.DEAD
            values[..., 0], status[..., 0] = np.inf, Status.SAMPLE_CONSTANT
        if name in holes:
            values[:], status[:] = 1.0, Status.DEAD
        values_of[name] = LayerResult(values, status)
    return Results({KEY: MeasureResult(KEY, values_of)})


def curves() -> pd.DataFrame:
    """Accuracy against 16 angles of two models, with intervals."""
    degrees = np.arange(-180, 180, 22.5)
    rows = []
    for model, width in (("plain", 40.0), ("augmented", 1000.0)):
        share = 0.2 + 0.78 * np.exp(-((degrees / width) ** 2))
        rows.append(pd.DataFrame({"model": model, "degrees": degrees, "accuracy": share}))
    frame = pd.concat(rows, ignore_index=True)
    return frame.assign(low=frame["accuracy"] - 0.02, high=np.minimum(1, frame["accuracy"] + 0.02))


def recipes() -> pd.DataFrame:
    """Sizes and accuracies that lie close together, as those of quantized models do."""
    rows = [
        ("float32", 541.2, 0.951),
        ("float16", 271.0, 0.951),
        ("dynamic_int8", 140.0, 0.949),
        ("static_int8", 141.5, 0.945),
        ("static_int8, per tensor", 139.0, 0.93),
        ("static_int16x8", 150.0, 0.9505),
        ("weight_int4", 85.0, 0.88),
        ("qat_int8 (keras)", 141.0, 0.952),
        ("qat_int8 (tfmot)", 142.0, 0.9515),
    ]
    return pd.DataFrame(rows, columns=["recipe", "kib", "accuracy"])


def differences(layers: list[str]) -> pd.DataFrame:
    """Differences with intervals, half of which exclude zero."""
    values = np.linspace(-0.01, 0.03, len(layers))
    return pd.DataFrame({"layer": layers, "difference": values, "low": values - 0.01, "high": values + 0.01})


def _bars() -> pd.DataFrame:
    models, tests = ("SimpleConv", "AllConvolutional", "VGG16D", "ResNet18"), ("upright", "rotated", "scaled")
    rows = [(model, test, 0.99 - 0.2 * j) for model in models for j, test in enumerate(tests)]
    frame = pd.DataFrame(rows, columns=["model", "test", "accuracy"])
    return frame.assign(low=frame["accuracy"] - 0.03, high=frame["accuracy"] + 0.01)


def _errors() -> pd.DataFrame:
    rows = [(s, t, 1.2 / np.sqrt(s) + 0.5 / t) for s in (24, 100, 400, 1000, 5000) for t in (4, 9, 16, 25, 49)]
    return pd.DataFrame(rows, columns=["samples", "transformations", "error"])


def _by_layers(layers: list[str]) -> dict[str, Callable[[], Any]]:
    plain, augmented = made_up(layers, 0.0, holes=(layers[5],)), made_up(layers, 0.6, seed=1)
    before, after = augmented.profile(), made_up(layers, 0.59, seed=1).profile()
    reference = (1.0, "as much as between images")
    title = f"{len(layers)} layers"
    return {
        "profile": lambda: plots.profile({"plain": plain, "augmented": augmented}, reference=reference, title=title),
        "heatmap": lambda: plots.heatmap(plain, title=title),
        "change": lambda: plots.change_heatmap(plain, augmented, title=title),
        "before_after": lambda: plots.before_after(before, after, differences(layers), title=title),
    }


def figures() -> dict[str, Callable[[], Any]]:
    """A maker of every kind of figure, by name; those over layers with 17 and with 80 of them."""
    rng = np.random.default_rng(0)
    makers = {f"{name}-{len(layers)}": make for layers in (SHORT, LONG) for name, make in _by_layers(layers).items()}
    many = {f"model number {i}": made_up(SHORT, i / 9, seed=i) for i in range(10)}
    digits, angles = rng.random((4, 16, 8, 8, 1)), [f"{a:g}°" for a in np.arange(-180, 180, 22.5)]
    texts = [f"digit {i}" for i in range(4)]
    return makers | {
        "profile-many": lambda: plots.profile(many),
        "profile-relative": lambda: plots.profile(
            {"short": made_up(SHORT, 0.5), "long": made_up(LONG, 0.3)}, relative_axis=True
        ),
        "accuracy": lambda: plots.accuracy_curve(curves(), chance=0.1, title="Accuracy"),
        "accuracy-polar": lambda: plots.accuracy_curve(curves(), chance=0.1, polar=True, title="Accuracy"),
        "bars": lambda: plots.bars(_bars(), "model", "accuracy", group="test", percent=True, chance=0.1, title="Bars"),
        "pareto": lambda: plots.pareto(recipes(), title="Size and accuracy"),
        "relative-error": lambda: plots.relative_error_map(_errors(), title="Relative error"),
        "images": lambda: plots.image_grid(digits, texts, angles, title="Digits under rotations(16)"),
        "feature-maps": lambda: plots.feature_maps(rng.random((5, 8, 6, 6)), np.linspace(0, 1, 5), title="conv_a"),
        "feature-maps-dense": lambda: plots.feature_maps(rng.normal(size=(5, 8)), np.linspace(0, 1, 5)),
    }
