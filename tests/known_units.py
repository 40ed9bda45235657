"""What every measure says of units whose behaviour is known: the table of docs/measures.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from laws import arrays, gathered, layer_of

import tfinv
from tfinv.measures import Measure, parse
from tfinv.results import LayerResult
from tfinv.status import Status
from tfinv.transformations import rotations

SAMPLES, TRANSFORMATIONS, UNITS = 400, 16, 200
SIDE, MAPS = 6, 8
"""Feature maps under 4 rotations, which move positions and interpolate nothing."""


def fires(share: float) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """A unit that responds at random, to a share of all transformed images, and has no invariance."""
    return lambda rng, shape: np.abs(rng.normal(size=shape)) * (rng.random(shape) < share)


KINDS: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "fires at random, always": fires(1),
    "fires at random, 20 %": fires(0.2),
    "fires at random, 1 %": fires(0.01),
    "is dead": lambda rng, shape: np.zeros(shape),
    "is exactly invariant": lambda rng, shape: np.repeat(rng.normal(size=(shape[0], 1, *shape[2:])), shape[1], 1),
    "depends on the transformation alone": lambda rng, shape: np.repeat(rng.normal(size=(1, *shape[1:])), shape[0], 0),
    "is half noise": lambda rng, shape: (
        np.sqrt(3) * rng.normal(size=(shape[0], 1, *shape[2:])) + rng.normal(size=shape)
    ),
}
INVARIANCE = (
    "NormalizedVariance",
    "NormalizedVariance(statistic='std')",
    "NormalizedVariance(statistic='variance')",
    "NormalizedDistance",
    "Goodfellow",
    "AnovaF",
    "Anova",
)
SAME_EQUIVARIANCE = (
    "NormalizedVarianceSE",
    "NormalizedVarianceSE(statistic='std')",
    "NormalizedDistanceSE",
    "LinearEquivariance",
)


def invariance(kind: str, measures: tuple[str, ...] = INVARIANCE, seed: int = 0) -> dict[str, LayerResult]:
    """What measures of invariance say of units of one kind; the first transformation is the identity."""
    block = KINDS[kind](np.random.default_rng(seed), (SAMPLES, TRANSFORMATIONS, UNITS))
    results = tfinv.evaluate_arrays({"units": block}, list(measures), reference={"units": block[:, 0]})
    return {key: results[parse(key)]["units"] for key in measures}


def same_equivariance(kind: str, seed: int = 0) -> dict[str, LayerResult]:
    """The same for maps that behave like this once the transformation is undone."""
    aligned = KINDS[kind](np.random.default_rng(seed), (SAMPLES, 4, SIDE, SIDE, MAPS)).astype(np.float32)
    # `rotations(4)` are turns by -180, -90, 0 and 90 degrees.
    block = np.stack([np.rot90(aligned[:, number], number - 2, (1, 2)) for number in range(4)], 1)
    layer = layer_of(block, transformations=rotations(4))
    return {key: measured_maps(parse(key), block, layer) for key in SAME_EQUIVARIANCE}


def measured_maps(measure: Measure, block: np.ndarray, layer: tfinv.statistics.Layer) -> LayerResult:
    """A measure on the maps `(S, T, H', W', C)` of a layer under known transformations."""
    states = {}
    for statistic in measure.requires:
        seen = np.asarray(statistic.view.apply(tf.constant(block), layer)) if statistic.view else block
        states[statistic] = wide(gathered(statistic, seen, layer=layer, reference=block[:, 2]))
    return measure.compute(states)


def wide(state: tuple) -> tuple:
    """A state as NumPy arrays, floating-point ones in float64."""
    plain = arrays(state)
    return type(plain)(*(array.astype(np.float64) if array.dtype.kind == "f" else array for array in plain))


def cell(result: LayerResult) -> str:
    """The mean over valid units; without any, what is said of most units."""
    if result.valid.size:
        return f"{result.mean:.2f}"
    most = int(np.bincount(result.status.ravel()).argmax())
    return Status(most).name.lower().replace("_", "-")


def table() -> dict[str, list[str]]:
    """Cells by measure, one for every kind of unit."""
    rows: dict[str, list[str]] = {key: [] for key in (*INVARIANCE, *SAME_EQUIVARIANCE)}
    for kind in KINDS:
        for key, result in {**invariance(kind), **same_equivariance(kind)}.items():
            rows[key].append(cell(result))
    return rows


def firing_table() -> dict[str, list[str]]:
    """Means over units that respond at random, by firing share: `"std"` at two numbers of samples, the other two."""
    rows: dict[str, list[str]] = {}
    for share in (1, 0.2, 0.05, 0.01, 0.002):
        values = []
        for samples, measures in ((250, ("std",)), (2000, ("std", "variance", "pooled_std"))):
            block = fires(share)(np.random.default_rng(1), (samples, 16, 200 if samples > 1000 else 1000))
            keys = [f"NormalizedVariance(statistic='{statistic}')" for statistic in measures]
            results = tfinv.evaluate_arrays({"units": block}, keys)
            for key in keys:
                result = results[parse(key)]["units"]
                valid = result.values[np.isin(result.status, (Status.VALID, Status.SPARSE))]
                values.append(f"{valid.mean():.2f}")
        rows[f"{100 * share:g} %"] = values
    return rows


if __name__ == "__main__":
    print("| measure | " + " | ".join(KINDS) + " |\n|---" * 1 + "|" + "---|" * (len(KINDS) + 0))
    for name, cells in table().items():
        print(f"| `{name}` | " + " | ".join(cells) + " |")
    for name, cells in firing_table().items():
        print(f"| {name} | " + " | ".join(cells) + " |")
