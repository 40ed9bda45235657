"""Gathering without copies: the compiled warp, integer sums, parts of a block side by side; against plain float64."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tflite_models import digits, plain_network, trained

from tfinv import Warping, evaluate
from tfinv.engine.gatherer import Gatherer
from tfinv.engine.streams import Stream
from tfinv.statistics import ColumnMoments, Layer, RowDispersion
from tfinv.statistics.compiled import integer_loop as integer_kernel
from tfinv.statistics.compiled.stored import Stored
from tfinv.tflite import TFLiteModel, float32, static_int8
from tfinv.transformations import parse, warp
from tfinv.transformations.table_warp import TableWarp

STD, VARIANCE, COLUMNS = RowDispersion("std"), RowDispersion("variance"), ColumnMoments()


@pytest.mark.parametrize("shape", [(9, 9, 1), (8, 13, 3)])
@pytest.mark.parametrize("name", ["rotations(7)", "translations(1, 0.3)", "product(rotations(3), scales(1, 0.7, 1.4))"])
def test_compiled_warp_is_tensorflows_to_the_last_bit(rng, shape, name):
    images, transformations = rng.random((4, *shape), "float32"), parse(name)
    assert_array_equal(TableWarp(transformations, shape)(images), warp(images, transformations).numpy())
    assert TableWarp.serves(transformations, "constant", "bilinear")
    assert not TableWarp.serves(transformations, "reflect", "bilinear")


@pytest.mark.parametrize(("transformations", "units", "blocks"), [(1, 3, (2,)), (2, 5, (1, 4)), (5, 1000, (3, 8, 6))])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_statistics_of_integers_are_those_of_the_real_numbers(rng, transformations, units, blocks, dtype):
    limits = np.iinfo(dtype)
    stored = rng.integers(limits.min, limits.max + 1, (sum(blocks), transformations, units), dtype)
    stored[..., 0] = limits.min  # a unit that never moves
    real = (stored.astype(np.float64) - 7) * 0.03
    layer = Layer("layer", (units,), transformations)
    gatherer = Gatherer([STD, VARIANCE, COLUMNS], [layer])
    for part in np.split(stored, np.cumsum(blocks)[:-1]):
        gatherer.add_stored("layer", Stored(part, 0.03, 7))
    states = gatherer.states_of("layer")
    spread = real.std(axis=1, ddof=1) if transformations > 1 else np.zeros((sum(blocks), units))
    assert_allclose(states[STD].mean, spread.mean(0), rtol=1e-5, atol=1e-12)
    assert_allclose(states[VARIANCE].mean, np.square(spread).mean(0), rtol=1e-5, atol=1e-12)
    assert_allclose(states[COLUMNS].mean, real.mean(0), rtol=1e-5, atol=1e-6 * np.abs(real).max())
    assert_allclose(states[COLUMNS].m2, np.square(real - real.mean(0)).sum(0), rtol=1e-5, atol=1e-9)
    assert states[STD].mean[0] == 0 and (states[COLUMNS].m2[:, 0] == 0).all()


def test_integer_sums_never_leave_32_bits(rng, monkeypatch):
    """At the extremes, and when sums become moments because there are too many samples for more."""
    extreme = np.full((8, integer_kernel.MOST_TRANSFORMATIONS, 2), -128, np.int8)
    extreme[:, ::2, 1] = 127
    layer = Layer("layer", (2,), extreme.shape[1])
    gatherer = Gatherer([STD, COLUMNS], [layer])
    monkeypatch.setattr(integer_kernel, "MOST_SAMPLES", 11)
    for _ in range(3):
        gatherer.add_stored("layer", Stored(extreme, 1.0, 0))
    states = gatherer.states_of("layer")
    assert_allclose(states[STD].mean, extreme[0].astype(float).std(axis=0, ddof=1), rtol=1e-6)
    assert float(states[COLUMNS].count) == 24 and (states[COLUMNS].m2 == 0).all()
    assert_array_equal(states[COLUMNS].mean, extreme[0])
    assert 128**2 * 131071 < 2**31 <= 128**2 * 131072


class Copied:
    """The same model without workers: activations are copied, as from any source."""

    def __init__(self, model: TFLiteModel) -> None:
        self._model = model
        self.id, self.input_shape, self.layer_shapes = model.id, model.input_shape, model.layer_shapes
        self.output_layer = model.output_layer

    def select(self, layers: Any) -> Copied:
        return Copied(self._model.select(layers))

    def __call__(self, images: Any) -> Any:
        return self._model(images)


@pytest.fixture(scope="module")
def models():
    network, images = trained(plain_network), digits()[0]
    return {"float32": TFLiteModel(float32(network)), "int8": TFLiteModel(static_int8(network, images[:50]))}


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize(("name", "samples"), [("rotations(5)", 41), ("rotations(60)", 3)])
def test_streamed_measures_are_those_of_copied_activations(models, kind, name, samples):
    images, keys = digits()[0][:samples], ["NormalizedVariance", "NormalizedVarianceSE"]
    results, again = (evaluate(models[kind], images, name, keys, progress=False) for _ in range(2))
    expected = evaluate(Copied(models[kind]), images, name, keys, progress=False)
    for key in keys:
        assert list(results[key]) == list(expected[key])
        for layer, values in expected[key].items():
            assert_array_equal(results[key][layer].status, values.status)
            assert_array_equal(results[key][layer].values, again[key][layer].values)
            assert_allclose(results[key][layer].values, values.values, rtol=2e-4, atol=1e-6)
            assert results[key][layer].mean == pytest.approx(values.mean, rel=1e-5, nan_ok=True)


def test_other_ways_to_warp_are_streamed_too(models):
    images, options = digits()[0][:12], {"warping": Warping(padding="reflect"), "progress": False}
    values, expected = (
        evaluate(model, images, "rotations(3)", "NormalizedVariance", **options)["NormalizedVariance"]["logits"].values
        for model in (models["float32"], Copied(models["float32"]))
    )
    assert_allclose(values, expected, rtol=1e-5)


def test_interpreters_are_built_once(models):
    model, images = models["int8"], digits()[0]
    evaluate(model, images[:32], "rotations(4)", "NormalizedVariance", progress=False)
    kept = list(model._crew.values())
    evaluate(model.select(["logits"]), images[32:64], "rotations(4)", "NormalizedVariance", progress=False)
    assert len(kept) == 1 and list(model._crew.values()) == kept


class Failing:
    """A source whose second part fails."""

    threads = 2

    def workers(self, count: int, images: int) -> list[Any]:
        return [self] * count

    @contextmanager
    def run(self, images: Any) -> Any:
        if images[0, 0, 0, 0] > 0:
            raise RuntimeError("the interpreter stopped")
        yield {"layer": Stored(images.reshape(len(images), -1))}


def test_error_of_one_worker_ends_all():
    layer = Layer("layer", (4,), 2)
    transformations = parse("rotations(2)")
    stream = Stream(Failing(), [layer], Gatherer([COLUMNS], [layer]), TableWarp(transformations, (2, 2, 1)), 2)
    images = np.zeros((stream.block_size(256), 2, 2, 1), np.float32)
    images[len(images) // 4 :] = 1
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the interpreter stopped"):
            stream(images)
