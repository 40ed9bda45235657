"""`LieDerivative` as a measure of `evaluate`: float64 references, laws, and all that evaluations offer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from laws import assert_laws
from references import rotation, smooth_images, warp

import tfinv
from tfinv.activations import ActivationModel
from tfinv.engine import passes
from tfinv.engine.checkpoint import Checkpoint
from tfinv.evaluation.options import as_objects
from tfinv.measures import LieDerivative, parse
from tfinv.statistics.lie_error import LocalError
from tfinv.transformations.generators import GENERATORS, generator_tangent

ROTATION, SCALE = LieDerivative("rotation"), LieDerivative("scale")
STEPS = {
    "rotation": lambda e: (rotation(np.degrees(e)), np.zeros(2)),
    "scale": lambda e: (np.exp(e) * np.eye(2), np.zeros(2)),
    "translation_x": lambda e: (np.eye(2), np.array([9 * e, 0])),
    "translation_y": lambda e: (np.eye(2), np.array([0, 8 * e])),
    "shear": lambda e: (np.array([[1, e], [0, 1]]), np.zeros(2)),
}


def network(scale: float = 1.0) -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((8, 9, 1))
    x = keras.layers.Conv2D(3, 3, padding="same", activation="tanh", name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(x)
    x = keras.layers.Dense(4, activation="sigmoid", name="dense")(x)
    return keras.Model(inputs, keras.layers.Rescaling(scale, name="scaled")(x), name="small")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return smooth_images(np.random.default_rng(4), (13, 8, 9, 1)).astype(np.float32)


def run(model, images, measures=(ROTATION, SCALE), transformations="rotations(4)", **options):
    return tfinv.evaluate(model, images, transformations, measures, progress=False, **as_objects(options))


def forward(model: keras.Model, image: np.ndarray) -> dict[str, np.ndarray]:
    """The network in float64, one image `(8, 9, 1)`."""
    kernel, bias = (weight.astype(np.float64) for weight in model.get_layer("conv").get_weights())
    maps = [scipy.ndimage.correlate(image[..., 0], kernel[:, :, 0, i], mode="constant") for i in range(3)]
    conv = np.tanh(np.stack(maps, -1) + bias)
    weights, bias = (weight.astype(np.float64) for weight in model.get_layer("dense").get_weights())
    return {"conv": conv, "flat": conv.ravel(), "dense": 1 / (1 + np.exp(-(conv.ravel() @ weights + bias)))}


@pytest.mark.parametrize("generator", GENERATORS)
def test_values_equal_float64_central_differences_of_the_whole_way(model, images, generator):
    """Warp by a small step, run the network, warp feature maps back by the step: all of it in float64 NumPy."""
    step, squares = 1e-6, {"conv": 0.0, "flat": 0.0, "dense": 0.0}
    for image in images[:3].astype(np.float64):
        ends = []
        for sign in (1, -1):
            outputs = forward(model, warp(image, *STEPS[generator](sign * step), padding="nearest"))
            outputs["conv"] = warp(outputs["conv"], *STEPS[generator](-sign * step), padding="nearest")
            ends.append(outputs)
        for name in squares:
            squares[name] = squares[name] + np.square((ends[0][name] - ends[1][name]) / (2 * step)) / 3
    results = run(model, images[:3], LieDerivative(generator))
    for name, expected in squares.items():
        values = results[LieDerivative(generator)][name].values
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5 * expected.max(), err_msg=name)


@pytest.mark.parametrize("batch_size", [None, 1, 4, 13])
def test_values_equal_forward_mode_and_do_not_depend_on_blocks(model, images, batch_size):
    results = run(model, images, batch_size=batch_size)
    function = tfinv.lie_derivative(model, images, ["rotation", "scale"], contributions=False, progress=False)
    for measure in (ROTATION, SCALE):
        x = tf.constant(images)
        source = ActivationModel(model)
        with tf.autodiff.ForwardAccumulator(x, generator_tangent(x, measure.generator)) as accumulator:
            values = source(x)
        for name, layer in results[measure].items():
            error = accumulator.jvp(values[name]).numpy().astype(np.float64)
            if error.ndim == 4:
                error -= generator_tangent(values[name], measure.generator).numpy()
            expected = np.square(error).mean(0)
            np.testing.assert_allclose(layer.values, expected, rtol=1e-4, atol=1e-6 * expected.max(), err_msg=name)
            # Equal graphs round float32 derivatives differently now and then, in the seventh digit of the largest.
            np.testing.assert_allclose(
                layer.values, function[measure][name].values, rtol=1e-6, atol=1e-6 * expected.max(), err_msg=name
            )


def test_the_statistic_keeps_the_laws(rng):
    block = rng.normal(size=(9, 1, 5, 6, 2)).astype(np.float32)
    derivative = rng.normal(size=(9, 5, 6, 2)).astype(np.float32)
    assert_laws(LocalError("shear"), block, reference=block[:, 0], derivatives={"shear": derivative})


def test_a_constant_model_has_no_error_and_scaling_squares(images):
    constant = network()
    constant.get_layer("conv").set_weights([np.zeros((3, 3, 1, 3)), np.full(3, 0.3)])
    for layer in run(constant, images)[ROTATION].values():
        assert (layer.values == 0).all()
        assert (layer.status == 0).all()
    one, three = run(network(), images)[ROTATION], run(network(-3.0), images)[ROTATION]
    np.testing.assert_allclose(three["scaled"].values, 9 * one["scaled"].values, rtol=1e-5)
    np.testing.assert_allclose(one["scaled"].values, one["dense"].values, rtol=1e-6)


def test_a_perfectly_equivariant_layer_has_none():
    inputs = keras.Input((16, 16, 1))
    same = keras.Model(inputs, keras.layers.Activation("tanh", name="pointwise")(inputs))
    small = 0.05 * smooth_images(np.random.default_rng(0), (4, 16, 16, 1), waves=1).astype(np.float32)
    error = run(same, small)[ROTATION]["pointwise"].mean
    moved = np.square(generator_tangent(tf.constant(small), "rotation").numpy()).mean()
    assert error < 1e-5 * moved


def test_one_trace_and_one_pass_serve_all_generators_beside_other_measures(model, images, monkeypatch):
    traces, blocks = [], []
    add, one = passes.Gatherer.add, passes.Pass._one
    monkeypatch.setattr(
        passes.Gatherer, "add", lambda self, layer, *rest: traces.append(layer) or add(self, layer, *rest)
    )
    monkeypatch.setattr(
        passes.Pass, "_one", lambda self, batch, *rest: blocks.append(len(batch.images)) or one(self, batch, *rest)
    )
    measures = ("NormalizedVariance", "PredictionConsistency", ROTATION, SCALE)
    results = run(model, images, measures, batch_size=4)
    assert traces == 2 * ["conv", "flat", "dense", "scaled"]
    assert blocks == 2 * [4, 4, 4, 1]
    alone = run(model, images, ROTATION, "identity()")
    np.testing.assert_allclose(results[ROTATION]["scaled"].values, alone[ROTATION]["scaled"].values, rtol=1e-6)


def test_classes_intervals_and_parts_are_those_of_any_measure(model, images):
    labels = np.arange(13) % 2
    whole = run(model, images)
    by_class = run(model, images, stratified=True, labels=labels)
    for label in (0, 1):
        alone = run(model, images[labels == label])[ROTATION]["dense"].values
        np.testing.assert_allclose(by_class.of_class(label)[ROTATION]["dense"].values, alone, rtol=1e-5)
    rows = run(model, images, confidence=0.9, shards=5).profile(SCALE)
    assert ((rows.low < rows["mean"]) & (rows["mean"] < rows.high)).all()
    np.testing.assert_allclose(rows["mean"], whole.profile(SCALE)["mean"], rtol=1e-5)
    parts = [
        run(model, images[first:last], first_sample=first, keep_statistics=True) for first, last in ((0, 5), (5, 13))
    ]
    for name, layer in tfinv.merge(*parts)[SCALE].items():
        np.testing.assert_allclose(layer.values, whole[SCALE][name].values, rtol=1e-5, atol=1e-9)


def test_an_interrupted_evaluation_goes_on(model, images, tmp_path, monkeypatch):
    measures = ("NormalizedVariance", ROTATION)
    monkeypatch.setattr(Checkpoint, "SHARE", np.inf)  # save after every block
    expected, one, seen = run(model, images, measures, batch_size=2), passes.Pass._one, []

    def failing(self, *rest):
        seen.append(1)
        if len(seen) > 10:  # in the pass of the derivatives
            raise RuntimeError("power cut")
        one(self, *rest)

    monkeypatch.setattr(passes.Pass, "_one", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        run(model, images, measures, batch_size=2, checkpoint=Checkpoint(tmp_path / "state.npz", every=0))
    monkeypatch.setattr(passes.Pass, "_one", lambda self, *rest: seen.append(1) or one(self, *rest))
    seen.clear()
    results = run(model, images, measures, batch_size=2, checkpoint=Checkpoint(tmp_path / "state.npz", every=0))
    assert len(seen) == 4
    for key in expected:
        for name in expected.layers:  # oneDNN rounds the derivatives of equal graphs differently now and then
            rounding = {"rtol": 0} if key == "NormalizedVariance" else {"rtol": 1e-6, "atol": 1e-8}
            np.testing.assert_allclose(results[key][name].values, expected[key][name].values, **rounding)


class _Source:
    id, input_shape, layer_shapes = "own", (8, 9, 1), {"sum": (1,)}

    def select(self, layers):
        return self

    def __call__(self, images):
        return {"sum": images.sum((1, 2))}


def test_what_has_no_gradients_is_refused(images):
    message = r"model must be a Keras model for LieDerivative, which needs gradients: TFLite models .* Received: "
    with pytest.raises(TypeError, match=message + "_Source"):
        run(_Source(), images)
    with pytest.raises(TypeError, match=message + "_Source"):
        tfinv.lie_derivative(_Source(), images, ["rotation"], progress=False)
    with pytest.raises(TypeError, match=message + "dict"):
        tfinv.evaluate_arrays({"sum": np.zeros((3, 2, 1))}, ["NormalizedVariance", "LieDerivative"])


def test_keys_are_read_and_unknown_generators_refused():
    assert parse("LieDerivative(generator='scale')") == SCALE
    assert (ROTATION.key, SCALE.key) == ("LieDerivative", "LieDerivative(generator='scale')")
    with pytest.raises(ValueError, match=r"generator must be one of 'rotation'.*Received: 'spin'"):
        parse("LieDerivative(generator='spin')")
