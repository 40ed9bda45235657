"""How often comparisons call a layer changed although nothing changed: a simulation, told in docs/measures.md.

Both networks see the same samples and are the same but for noise, so every change that is called real is a false alarm.
The activations and their normalized variance without each shard are computed here by NumPy, many layers at once; what
is called real is decided by `tfinv.uncertainty`.
"""

from __future__ import annotations

import numpy as np
import pytest
from references import normalized_variance

import tfinv
from tfinv.resampling.jackknife import Replicates
from tfinv.results import LayerResult, MeasureResult
from tfinv.status import Status
from tfinv.uncertainty import difference, layer_rows

KEY = "NormalizedVariance"
SAMPLES, SHARDS, TRANSFORMATIONS, UNITS, NOISE = 200, 20, 8, 6, 0.3


def drawn(rng: np.random.Generator, layers: int) -> np.ndarray:
    """Activations `(L, S, T, U)`: skewed effects of the samples, which units share, and effects of transformations."""
    effect = rng.lognormal(0, 0.5, (layers, SAMPLES, 1, 1)) * np.linspace(0.5, 2, UNITS)
    effect = effect + rng.normal(size=(layers, SAMPLES, 1, UNITS))
    moved = rng.normal(size=(layers, SAMPLES, TRANSFORMATIONS, UNITS))
    return effect + rng.gamma(4, 0.25, (layers, SAMPLES, 1, 1)) * moved


def pair(rng: np.random.Generator, layers: int, change: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Activations of two networks; `change` is by how much the effects of transformations grow in the second one."""
    block = drawn(rng, layers)
    other = block + change * (block - block.mean(axis=2, keepdims=True))
    noisy = [part + NOISE * rng.normal(size=block.shape) for part in (block, other)]
    return noisy[0], noisy[1]


def result(blocks: np.ndarray) -> MeasureResult:
    """Normalized variance of every layer, of all samples and without each shard of them."""

    def by_shard(values: np.ndarray) -> np.ndarray:
        return values.reshape(len(values), SHARDS, -1, *values.shape[2:]).sum(axis=2)

    def value(sums: list[np.ndarray], samples: int) -> np.ndarray:
        rows, first, second = sums
        columns = ((second - first**2 / samples) / (samples - 1)).mean(axis=-2)
        return np.sqrt(rows / samples / columns)

    shards = [by_shard(blocks.var(axis=2, ddof=1)), by_shard(blocks), by_shard(blocks**2)]
    totals = [part.sum(axis=1, keepdims=True) for part in shards]
    values = value(totals, SAMPLES)[:, 0]
    size = SAMPLES // SHARDS
    without = value([total - part for total, part in zip(totals, shards, strict=True)], SAMPLES - size).mean(axis=-1)
    valid = np.full(UNITS, Status.VALID, np.uint8)
    layers = {f"layer{number}": LayerResult(unit, valid) for number, unit in enumerate(values)}
    means = dict(zip(layers, without, strict=True))
    return MeasureResult(KEY, layers, Replicates(0.95, (size,) * SHARDS, means))


def called_real(first: MeasureResult, second: MeasureResult, network: int) -> np.ndarray:
    """What is called real `(networks, layers)` where the layers stand in networks of so many."""
    names = list(first)
    networks = [names[start : start + network] for start in range(0, len(names) - network + 1, network)]
    return np.array([[row["real"] for row in layer_rows(first, second, {n: n for n in part})] for part in networks])


def test_the_simulation_is_that_of_an_evaluation():
    first, second = pair(np.random.default_rng(3), 1, change=0.05)
    simulated = [result(part) for part in (first, second)]
    np.testing.assert_allclose(simulated[0]["layer0"].values, normalized_variance(first[0]), rtol=1e-9)
    rest = result(first)
    assert rest.replicates is not None
    alone = normalized_variance(first[0, SAMPLES // SHARDS :]).mean()
    np.testing.assert_allclose(rest.replicates.means["layer0"][0], alone, rtol=1e-9)
    evaluated = [
        tfinv.evaluate_arrays({"layer0": part[0]}, KEY, sampling=tfinv.Sampling(0.95, SHARDS))
        for part in (first, second)
    ]
    row, ours = difference(*evaluated).iloc[0], layer_rows(*simulated, {"layer0": "layer0"})[0]
    assert ours["difference"] == pytest.approx(row["difference"], rel=1e-3)
    # The shards are other ones, and a standard error of 20 shards is uncertain by a sixth.
    assert ours["high"] - ours["low"] == pytest.approx(row["high"] - row["low"], rel=0.6)


def test_nothing_is_rarely_called_a_change_and_a_change_is_seen():
    rng = np.random.default_rng(5)
    nothing = [result(part) for part in pair(rng, 400)]
    alone, together = called_real(*nothing, 1).mean(), called_real(*nothing, 10).any(axis=1).mean()
    # Four standard errors of the share that 95 % intervals promise.
    assert abs(alone - 0.05) <= 4 * (0.05 * 0.95 / 400) ** 0.5
    assert together <= 0.05 + 4 * (0.05 * 0.95 / 40) ** 0.5
    tenth = [result(part) for part in pair(rng, 100, change=0.1)]
    assert called_real(*tenth, 10).mean() > 0.95


@pytest.mark.slow
def test_the_shares_of_the_documentation():
    """Run with `-s`, it prints the numbers of the table in docs/measures.md."""
    rng, layers, part = np.random.default_rng(7), 6000, 600
    real: dict[int, list[np.ndarray]] = {1: [], 10: [], 50: []}
    for _ in range(layers // part):
        both = [result(blocks) for blocks in pair(rng, part)]
        for network, called in real.items():
            called.append(called_real(*both, network))
    for network, called in real.items():
        found = np.concatenate(called)
        share, count = float(found.any(axis=1).mean()), len(found)
        print(f"networks of {network} layers: {share:.1%} of {count}, {found.mean():.2%} of the layers")
        assert abs(share - 0.05) <= 3 * (0.05 * 0.95 / count) ** 0.5 + 0.015
    one_by_one = np.concatenate(real[1]).reshape(-1, 10).any(axis=1)
    print(f"networks of 10 layers, one by one: {one_by_one.mean():.1%}")
    assert one_by_one.mean() == pytest.approx(1 - 0.95**10, abs=0.06)
    for change in (0.01, 0.02, 0.05):
        changed = called_real(*(result(blocks) for blocks in pair(rng, 600, change)), 10).mean()
        print(f"effects of transformations {change:.0%} larger: {changed:.0%} of the layers")
