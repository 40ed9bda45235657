"""`evaluate` end to end: against a float64 reference, its laws, its memory plan, classes, and bad input."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from references import column_dispersion, normalized_variance, row_dispersion

import tfinv
from tfinv.engine import passes
from tfinv.evaluation.options import as_objects
from tfinv.measures import NormalizedVariance, SampleVariance, TransformationVariance
from tfinv.statistics.compiled import fused
from tfinv.status import Status
from tfinv.transformations import identity, rotations, warp

KEY = "NormalizedVariance"
ALL = ("NormalizedVariance", "AnovaF", "PredictionConsistency", "Goodfellow(percentile=0.2)", "NormalizedVarianceSE")


def build(scale: float = 1.0) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(5, name="logits")(keras.layers.Rescaling(scale, name="scaled")(x)))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((23, 12, 12, 1), dtype=np.float32)


@pytest.fixture(scope="module")
def matrices(model, images) -> dict[str, np.ndarray]:
    """The ST matrix of every layer, float64, one forward pass a transformation."""
    every = keras.Model(model.input, {layer.name: layer.output for layer in model.layers[1:]})
    columns = [every.predict(warp(images, [rotation])[:, 0], verbose=0) for rotation in rotations(6)]
    return {name: np.stack([column[name] for column in columns], axis=1).astype(np.float64) for name in columns[0]}


def run(model, images, transformations="rotations(6)", measures=KEY, **options):
    return tfinv.evaluate(model, images, transformations, measures, progress=False, **as_objects(options))


def assert_same(first: tfinv.Results, second: tfinv.Results, rtol: float = 1e-5, atol: float = 1e-7) -> None:
    assert list(first) == list(second)
    assert first.layers == second.layers
    for key, measure in first.items():
        for name, layer in measure.items():
            np.testing.assert_array_equal(layer.status, second[key][name].status, err_msg=f"{key} {name}")
            np.testing.assert_allclose(
                layer.values, second[key][name].values, rtol=rtol, atol=atol, err_msg=f"{key} {name}"
            )


@pytest.mark.parametrize("compiled", [True, False])
def test_values_equal_a_float64_reference(model, images, matrices, monkeypatch, compiled):
    monkeypatch.setattr(fused, "is_available", lambda: compiled)
    results = run(model, images, measures=[TransformationVariance(), SampleVariance(), NormalizedVariance()])
    for name, matrix in matrices.items():
        rows, columns = row_dispersion(matrix), column_dispersion(matrix)
        np.testing.assert_allclose(results["TransformationVariance"][name].values, rows, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(results["SampleVariance"][name].values, columns, rtol=1e-4, atol=1e-6)
        layer = results[KEY][name]
        valid = layer.status == Status.VALID
        np.testing.assert_allclose(layer.values[valid], normalized_variance(matrix)[valid], rtol=1e-4)
        assert valid.sum() > 0.8 * valid.size


def test_a_model_equals_its_arrays_for_every_measure(model, images, matrices):
    reference = keras.Model(model.input, {layer.name: layer.output for layer in model.layers[1:]}).predict(
        images, verbose=0
    )
    measures = ALL[:4]
    arrays = {name: matrix.astype(np.float32) for name, matrix in matrices.items()}
    assert_same(
        run(model, images, measures=measures),
        tfinv.evaluate_arrays(arrays, measures, reference=reference),
        rtol=1e-3,
        atol=1e-5,
    )


@pytest.mark.parametrize("batch_size", [1, pytest.param(4, marks=pytest.mark.slow), 23])
def test_block_size_changes_nothing(model, images, batch_size):
    assert_same(run(model, images, measures=ALL), run(model, images, measures=ALL, batch_size=batch_size), 1e-4, 1e-6)


def test_order_of_samples_and_transformations_changes_nothing(model, images):
    expected = run(model, images)
    order = np.random.default_rng(1).permutation(len(images))
    assert_same(expected, run(model, images[order]), 1e-4, 1e-6)
    turned = [list(rotations(6))[position] for position in (3, 0, 5, 1, 4, 2)]
    assert_same(expected, run(model, images, turned), 1e-4, 1e-6)


def test_the_identity_alone_twice_gives_exactly_zero(model, images):
    result = run(model, images, [*identity(), *identity()])[KEY]
    for layer in result.values():
        assert (layer.values[layer.status == Status.VALID] == 0).all()
        assert set(np.unique(layer.status)) <= {Status.VALID, Status.DEAD}
    assert result["logits"].mean == 0


def test_a_constant_model_is_dead(images):
    constant = build()
    constant.get_layer("conv").set_weights([np.zeros((3, 3, 1, 4)), np.full(4, 0.3)])
    for layer in run(constant, images)[KEY].values():
        assert (layer.status == Status.DEAD).all()
        assert (layer.values == 1).all()


def test_scaling_activations_scales_dispersions_and_not_their_quotient(images):
    measures = [TransformationVariance(), NormalizedVariance()]
    one, ten = run(build(1), images, measures=measures), run(build(-10), images, measures=measures)
    for key, factor in (("TransformationVariance", 10), (KEY, 1)):
        for name in ("scaled", "logits"):
            values = factor * one[key][name].values
            bias_free = ten[key][name].values
            np.testing.assert_allclose(bias_free, values, rtol=1e-4, atol=1e-6)


def test_one_trace_serves_all_blocks_and_the_short_last_one(model, images, monkeypatch):
    traces = []
    add = passes.Gatherer.add
    monkeypatch.setattr(
        passes.Gatherer, "add", lambda self, layer, *rest: traces.append(layer) or add(self, layer, *rest)
    )
    run(model, images, batch_size=4)
    assert traces == ["conv", "pool", "flat", "scaled", "logits"]
    traces.clear()
    run(model, images, batch_size=4, confidence=0.9, shards=4)
    assert len(traces) == 5


def test_many_short_evaluations_in_one_process_are_quiet(model, images):
    """TensorFlow warned of "retracing" from the fifth on."""
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    try:
        for _ in range(7):
            run(model, images[:4], "rotations(2)", [KEY, "NormalizedVarianceSE"], layers="conv")
    finally:
        logger.removeHandler(handler)
    assert said == []


def test_progress_tells_the_speed_and_the_time_left(model, images, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    many = np.tile(images, (20, 1, 1, 1))  # enough for tqdm, which draws ten times a second at most
    tfinv.evaluate(model, many, "rotations(6)", KEY, layers="logits", batch_size=1)
    shown = capsys.readouterr().err
    # tqdm turns the speed round below one image a second.
    assert re.search(r"measuring: .*\d+/2760 \[\d+:\d+<\d+:\d+, +[\d.]+(img/s|s/img)\]", shown)
    run(model, images, layers="logits")
    assert "measuring" not in capsys.readouterr().err


def test_without_a_terminal_progress_is_one_line(model, images, capsys):
    tfinv.evaluate(model, images, "rotations(6)", KEY, layers="logits", batch_size=1)
    assert re.fullmatch(rf"measuring: {6 * len(images)} img in \d+\.\d s\n", capsys.readouterr().err)


def test_only_the_layers_that_are_needed_are_run(model, images, monkeypatch):
    chosen = []
    select = tfinv.ActivationModel.select
    monkeypatch.setattr(
        tfinv.ActivationModel, "select", lambda self, layers: chosen.append(layers) or select(self, layers)
    )
    run(model, images, measures="PredictionConsistency")
    assert chosen == [["logits"]]
    names = {layer.name for layer in tfinv.ActivationModel(model, ["pool"]).model.layers}
    assert "logits" not in names


def test_datasets_and_arrays_agree(model, images):
    labels = np.arange(23) % 5
    measures = (KEY, "AccuracyUnder")
    expected = run(model, images, measures=measures, labels=labels)
    pairs = tf.data.Dataset.from_tensor_slices((images, labels))
    assert_same(expected, run(model, pairs, measures=measures))
    unknown = pairs.filter(lambda image, label: label < 100).batch(7)
    results = run(model, unknown, measures=measures)
    assert_same(expected, results)
    assert results.metadata["samples"] == 23


class _Source:
    """An activation source that is no Keras model."""

    id, input_shape = "own", (12, 12, 1)

    def __init__(self, layers=("half", "sum")) -> None:
        self.layer_shapes = {name: {"half": (6, 12, 1), "sum": (1,)}[name] for name in layers}
        self.calls = 0

    def select(self, layers):
        return _Source(layers)

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        self.calls += 1
        outputs = {"half": images[:, :6], "sum": images.sum((1, 2))}
        return {name: outputs[name] for name in self.layer_shapes}


@pytest.mark.parametrize("measures", [(KEY,), (KEY, "NormalizedVarianceSE")])
def test_sources_of_ones_own_are_measured(images, measures):
    results = run(_Source(), images, measures=measures)
    block = warp(images, "rotations(6)").numpy().astype(np.float64)
    expected = normalized_variance(block[:, :, :6])
    np.testing.assert_allclose(results[KEY]["half"].values, expected, rtol=1e-4)
    sums = block.sum((2, 3))
    np.testing.assert_allclose(results[KEY]["sum"].values, normalized_variance(sums), rtol=1e-4)


def test_a_small_budget_takes_more_runs_and_gives_the_same(model, images, caplog):
    expected = run(model, images, measures=ALL)
    with caplog.at_level("INFO", "tfinv"):
        results = run(model, images, measures=ALL, memory_budget="700 kB")
    text = caplog.messages[0]
    assert text.startswith("memory budget ")
    assert len(text.strip().splitlines()) > 3
    assert_same(expected, results, 1e-4, 1e-6)
    with pytest.raises(
        ValueError, match=r"memory_budget must be at least .* for layer 'conv' alone.*Received: 9\.8 KiB"
    ):
        run(model, images, memory_budget=10_000)


def test_classes_are_measured_apart_in_one_run_over_shuffled_data(model, images, monkeypatch, tmp_path):
    labels = np.random.default_rng(3).permutation(np.repeat([0, 2, 4], [8, 8, 7]))
    forwards = []
    one = passes.Pass._one
    monkeypatch.setattr(
        passes.Pass, "_one", lambda self, batch, *rest: forwards.append(len(batch.images)) or one(self, batch, *rest)
    )
    measures = (KEY, "AccuracyUnder", "PredictionConsistency")
    results = run(model, images, measures=measures, labels=labels, stratified=True)
    assert sum(forwards) == len(images)
    for label in (0, 2, 4):
        chosen = labels == label
        assert_same(
            results.of_class(label), run(model, images[chosen], measures=measures, labels=labels[chosen]), 1e-4, 1e-6
        )
    logits = np.stack([results.of_class(label)[KEY]["logits"].values for label in (0, 2, 4)])
    np.testing.assert_allclose(results[KEY]["logits"].values, logits.mean(0), rtol=1e-12)
    results.save(tmp_path / "stratified.npz")
    loaded = tfinv.Results.load(tmp_path / "stratified.npz")
    pd.testing.assert_frame_equal(loaded.of_class(2).profile(), results.of_class(2).profile())
    with pytest.raises(KeyError, match=r"no class 3 in these results; classes are 0, 2, 4"):
        results.of_class(3)


def test_units_valid_in_some_classes_are_averaged_over_those():
    def result(values, status):
        layer = tfinv.LayerResult(np.array(values, float), np.array(status))
        return tfinv.Results({KEY: tfinv.MeasureResult(KEY, {"layer": layer})})

    from tfinv.evaluation.stratified import over_classes

    first = result([1.0, np.inf, 1.0], [Status.VALID, Status.SAMPLE_CONSTANT, Status.DEAD])
    second = result([3.0, 2.0, 1.0], [Status.VALID, Status.VALID, Status.DEAD])
    mean = over_classes({0: first, 1: second}, {})[KEY]["layer"]
    assert mean.values.tolist() == [2.0, 2.0, 1.0]
    assert mean.status.tolist() == [Status.VALID, Status.VALID, Status.DEAD]
    assert mean.note == "1 units are valid in some classes only, and averaged over those"


def bad_layer(value: float) -> keras.Model:
    inputs = keras.Input((12, 12, 1))
    x = keras.layers.Conv2D(2, 3, name="fine")(inputs)
    x = keras.layers.Rescaling(value, name="broken")(x)
    return keras.Model(inputs, keras.layers.Flatten(name="last")(x))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_layer_with_nan_is_named(images, monkeypatch, compiled, value):
    monkeypatch.setattr(fused, "is_available", lambda: compiled)
    with pytest.raises(ValueError, match=r"activations must be finite. Received: NaN or infinity in layer 'broken'"):
        run(bad_layer(value), images)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"images": np.full((3, 12, 12, 1), np.nan)}, ValueError, "images must be finite.*in image 0"),
        ({"images": np.zeros((3, 12, 12, 3))}, ValueError, r"must fit the model's input.*\(12, 12, 3\)"),
        ({"images": np.zeros((3, 10, 12, 1))}, ValueError, r"must fit the model's input.*\(10, 12, 1\)"),
        ({"images": np.zeros((0, 12, 12, 1))}, ValueError, "images must hold at least one image"),
        ({"images": np.zeros((12, 12, 1))}, ValueError, r"images must have the shape \(S, H, W, C\)"),
        ({"images": [["a"]]}, TypeError, "images must be a numeric array"),
        ({"images": np.zeros((1, 12, 12, 1))}, ValueError, "images must be at least 2 .*Received: 1"),
        ({"transformations": "rotations(1)"}, ValueError, "transformations must be at least 2 .*Received: 1"),
        ({"transformations": "turns(3)"}, ValueError, "turns"),
        ({"measures": "NormalizedVarianze"}, ValueError, "Did you mean 'NormalizedVariance'"),
        ({"measures": NormalizedVariance}, TypeError, r"write NormalizedVariance\(\)"),
        ({"measures": []}, ValueError, "at least one measure"),
        ({"measures": "Anova(correction='sidak')"}, ValueError, "correction"),
        ({"measures": "AccuracyUnder"}, ValueError, "labels must be given for AccuracyUnder"),
        ({"layers": "convv"}, ValueError, "Did you mean 'conv'"),
        ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1. Received: 0"),
        ({"confidence": 95}, ValueError, "confidence must be a number above 0 and below 1.*Received: 95"),
        ({"confidence": 0.9, "shards": 1}, ValueError, "shards must be a whole number of at least 2. Received: 1"),
        ({"stratified": True}, ValueError, "labels must be given for stratified=True"),
        (
            {"stratified": True, "labels": np.arange(23)},
            ValueError,
            "at least 2 of every class.*Received: 1 of class 0",
        ),
        ({"stratified": True, "confidence": 0.9}, ValueError, "stratified cannot be combined with confidence"),
        ({"labels": np.zeros(5, int)}, ValueError, "labels must be 23 integers"),
        ({"memory_budget": "much"}, ValueError, "memory_budget must read like '8GiB'"),
        ({"model": "missing.keras"}, Exception, "missing.keras"),
        ({"model": 3}, TypeError, "model must be a Keras 3 model"),
    ],
)
def test_bad_input_is_refused_in_words(model, images, change, error, match):
    options = {"model": model, "images": images, **change}
    with pytest.raises(error, match=match):
        run(**options)


def test_an_empty_dataset_is_refused(model):
    empty = tf.data.Dataset.from_tensor_slices(np.zeros((0, 12, 12, 1), np.float32))
    with pytest.raises(ValueError, match=r"images must be at least 2 for NormalizedVariance.*Received: 0"):
        run(model, empty)
    unknown = tf.data.Dataset.from_tensor_slices(np.zeros((3, 12, 12, 1), np.float32)).filter(
        lambda image: tf.random.uniform(()) > 2
    )
    with pytest.raises(ValueError, match=r"images must be at least 2 for NormalizedVariance.*Received: 0"):
        run(model, unknown)


def test_one_image_has_no_interval_and_the_error_says_so():
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    images = np.zeros((1, 8, 8, 1), np.float32)
    arguments = (model, images, "rotations(4)", "TransformationVariance")
    assert tfinv.evaluate(*arguments, progress=False)
    with pytest.raises(ValueError, match=r"images must be at least 2 for confidence intervals.*Received: 1"):
        tfinv.evaluate(*arguments, sampling=tfinv.Sampling(confidence=0.9), progress=False)
    with pytest.raises(ValueError, match=r"images must be at least 2 for confidence intervals.*Received: 1"):
        tfinv.evaluate_arrays({"a": np.ones((1, 3, 2))}, "TransformationVariance", sampling=tfinv.Sampling(0.9))
