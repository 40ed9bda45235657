"""Pruning: masks and schedule against tensorflow-model-optimization, zeros that stay, equivariance that survives."""

from __future__ import annotations

import gzip
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfinv import datasets, models, tflite
from tfinv.training import Pruning, sparsity, train
from tfinv.training.pruning import magnitude_mask, polynomial_sparsity, prunable

SHARES = (0.0, 0.1, 0.5, 0.8, 0.9, 0.999)
ORACLE = """
import sys
import numpy as np
import tensorflow as tf
from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl, pruning_schedule

folder, *shares = sys.argv[1:]
weights = np.load(folder + "/weights.npy")
for number, share in enumerate(shares):
    constant = pruning_schedule.ConstantSparsity(float(share), 0)
    pruning = pruning_impl.Pruning(lambda: 1, lambda: [], constant, (1, 1), "AVG")
    np.save(f"{folder}/mask{number}.npy", pruning._update_mask(tf.constant(weights))[1].numpy())
schedule = pruning_schedule.PolynomialDecay(0.1, 0.9, 20, 120, frequency=1)
np.save(folder + "/schedule.npy", [float(schedule(tf.constant(step))[1]) for step in range(0, 140, 7)])
"""


@pytest.fixture(scope="module")
def digits() -> datasets.Split:
    return datasets.load("digits").train.subset(160, seed=0)


def pruned(name: str, images: datasets.Split, share: float, **options: Any) -> keras.Model:
    model = models.build(name, images.x.shape[1:], 10, seed=0, **options)
    train(model, images, epochs=2, batch_size=32, callbacks=[Pruning(share, frequency=2)], progress=False)
    return model


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_model_optimization") is None, reason="the extra tfmot is not installed"
)
def test_masks_and_schedule_are_those_of_tfmot(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(3, 3, 7, 11)).astype(np.float32)
    np.save(tmp_path / "weights.npy", weights)
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", ORACLE, str(tmp_path), *map(str, SHARES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for number, share in enumerate(SHARES):
        np.testing.assert_array_equal(magnitude_mask(weights, share), np.load(tmp_path / f"mask{number}.npy"))
    ours = [polynomial_sparsity(step, 20, 120, 0.1, 0.9) for step in range(0, 140, 7)]
    np.testing.assert_allclose(ours, np.load(tmp_path / "schedule.npy"), rtol=1e-5)


def test_masks_keep_the_largest() -> None:
    weights = np.array([[0.1, -0.5], [0.3, -0.2]])
    np.testing.assert_array_equal(magnitude_mask(weights, 0.5), [[False, True], [True, False]])
    assert magnitude_mask(weights, 0.99).sum() == 1, "one weight stays"
    assert magnitude_mask(weights, 0.0).all()


def test_schedule_rises_and_stays() -> None:
    values = [polynomial_sparsity(step, 10, 20, 0.2, 0.8) for step in range(30)]
    assert values[:11] == pytest.approx([0.2] * 11) and values[20:] == pytest.approx([0.8] * 10)
    assert values[15] == pytest.approx(0.8 - 0.6 * 0.5**3) and (np.diff(values) >= 0).all()


@pytest.mark.slow
def test_kernels_are_pruned_and_nothing_else(digits: datasets.Split) -> None:
    model = pruned("mobilenet_small", digits, 0.75, filters=4)
    shares = sparsity(model)
    kernels = [weight for weight in model.weights if weight.name.endswith("kernel")]
    assert len(shares) == len(kernels) == 14 and sum(tuple(kernel.shape)[3:] == (1,) for kernel in kernels) == 6, (
        "depthwise too"
    )
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        if weight.path in shares:
            zeros = round(values.size * 0.75)
            assert abs((values == 0).sum() - zeros) <= 1, weight.path
        elif "moving_variance" in weight.path or "gamma" in weight.path:
            assert (values != 0).all()


def test_what_is_left_trains_on_and_zeros_stay(digits: datasets.Split) -> None:
    model = models.build("ffnet", (16, 16, 1), 10, seed=0, hidden=(12,))
    seen: list[np.ndarray] = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(keras.ops.convert_to_numpy(prunable(self.model)[0]).copy())

    callbacks = [Pruning(0.6, end=0.4, frequency=1), Watch()]
    train(model, digits, epochs=4, batch_size=32, callbacks=callbacks, progress=False)
    zeros = [float((kernel == 0).mean()) for kernel in seen]
    assert zeros[0] > 0.1 and (np.diff(zeros) >= -1e-9).all() and zeros[-1] == pytest.approx(0.6, abs=1e-3)
    masks = [kernel == 0 for kernel in seen[8:]]
    assert all((mask == masks[-1]).all() for mask in masks), "the masks are fixed after the end"
    moved = np.abs(seen[-1] - seen[8])[~masks[-1]] > 0
    assert moved.mean() > 0.8, "weights that stay go on learning, but for pixels that are always black"


def test_a_network_of_turns_stays_invariant(digits: datasets.Split) -> None:
    model = pruned("p4cnn", digits, 0.9, filters=6)
    for layer in model.layers:
        if hasattr(layer, "bank"):
            base, bank = (np.asarray(keras.ops.convert_to_numpy(part)) for part in (layer.kernel, layer.bank()))
            assert (base == 0).mean() == pytest.approx(0.9, abs=0.02) == pytest.approx((bank == 0).mean(), abs=0.02)
    images = digits.x[:40]
    upright = model.predict(images, verbose=0)
    assert np.ptp(upright, axis=0).max() > 1e-3
    for turns in (1, 2, 3):
        turned = model.predict(np.ascontiguousarray(np.rot90(images, turns, (1, 2))), verbose=0)
        np.testing.assert_allclose(turned, upright, atol=1e-5)


def test_zeros_survive_int8(digits: datasets.Split) -> None:
    model = pruned("ffnet", digits, 0.8, hidden=(16,), activation="relu")
    graph = tflite.TFLiteModel(tflite.static_int8(model, digits.x))
    floats = sparsity(model)
    dense = models.build("ffnet", (16, 16, 1), 10, seed=0, hidden=(16,), activation="relu")
    sizes = [len(gzip.compress(tflite.static_int8(m, digits.x).content)) for m in (model, dense)]
    assert sizes[0] < 0.75 * sizes[1], "zeros compress"
    assert min(floats.values()) > 0.79 and graph.outputs[0].layer == "logits"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, r"sparsity must be .* at 1 no weight would be left. Received: 1.0"),
        ({"sparsity": -0.1}, r"sparsity must be at least 0.* Received: -0.1"),
        ({"sparsity": 0.5, "initial": 0.6}, r"initial must be between 0 and sparsity, 0.5. Received: 0.6"),
        ({"sparsity": 0.5, "begin": 0.5, "end": 0.5}, r"begin and end must be fractions.* Received: 0.5, 0.5"),
        ({"sparsity": 0.5, "frequency": 0}, r"frequency must be a whole number of at least 1. Received: 0"),
    ],
)
def test_pruning_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pruning(**options)


def test_a_model_without_kernels_is_refused() -> None:
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image), name="mean")
    with pytest.raises(ValueError, match=r"must have layers with trainable kernels. Received: 'mean'"):
        sparsity(model)


@pytest.mark.parametrize("architecture", ["plain", "p4cnn"])
def test_a_map_without_weights_gives_after_training_what_it_gave_in_training(architecture):
    keras.utils.set_random_seed(0)
    few = datasets.load("digits").train.subset(200, seed=0)
    if architecture == "p4cnn":
        model, names = models.build("p4cnn", (16, 16, 1), 10, filters=4, seed=0), ("conv1", "bn1")
    else:
        inputs = x = keras.Input((16, 16, 1))
        x = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(6, 3, name="conv")(x))
        x = keras.layers.GlobalMaxPooling2D()(keras.layers.ReLU()(x))
        model, names = keras.Model(inputs, keras.layers.Dense(10)(x)), ("conv", "bn")
    train(model, few, epochs=12, batch_size=20, learning_rate=0.02, callbacks=[Pruning(0.95)], seed=0, progress=False)
    conv, norm = (model.get_layer(name) for name in names)
    dead = (keras.ops.convert_to_numpy(conv.kernel).reshape(-1, conv.bias.shape[0]) == 0).all(axis=0)
    assert dead.any() and not dead.all()
    mean, bias = (keras.ops.convert_to_numpy(values)[dead] for values in (norm.moving_mean, conv.bias))
    np.testing.assert_allclose(mean, bias, atol=1e-6)
    inner = keras.Model(model.inputs, norm.output)
    outputs = keras.ops.convert_to_numpy(inner(few.x[:64]))
    maps = np.ptp(outputs, axis=(0, 1, 2)) < 1e-4  # those that are the same everywhere
    beta = keras.ops.convert_to_numpy(norm.beta)[dead]
    assert maps.sum() == dead.sum() * (4 if architecture == "p4cnn" else 1)
    np.testing.assert_allclose(np.unique(outputs[0, 0, 0, maps].round(4)), np.unique(beta.round(4)), atol=2e-4)
