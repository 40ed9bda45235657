"""The loss for invariance: its value and gradient against NumPy, exact laws, and what training with it gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfinv import datasets, evaluate, models
from tfinv.commands.train import main as command
from tfinv.experiment import run_experiment
from tfinv.run import find_experiment, main
from tfinv.training import Distillation, InvarianceLoss, InvarianceTraining, train
from tfinv.training.invariance import layer_term
from tfinv.transformations import Affine, AffineAugmentation

SHAPE = (16, 16, 1)
SET = "rotations(4)"
IDENTITY, QUARTER = [Affine.identity()], [Affine.rotation(90)]


def few(count: int = 96) -> Any:
    return datasets.load("digits").train.subset(count, seed=0)


def tiny(seed: int = 0) -> Any:
    """A network with batch normalization and dropout."""
    keras.utils.set_random_seed(seed)
    image = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(image)
    x = keras.layers.Dropout(0.3, name="drop")(keras.layers.BatchNormalization(momentum=0.9, name="bn")(x))
    x = keras.layers.Dense(10, name="logits")(keras.layers.Flatten(name="flat")(x))
    return keras.Model(image, x, name="tiny")


def numpy_term(plain: Any, transformed: Any) -> float:
    """The formula in float64."""
    plain, transformed = (np.asarray(values, np.float64).reshape(len(values), -1) for values in (plain, transformed))
    return float(np.mean(((transformed - plain) ** 2).sum(axis=1)) / plain.var(axis=0).sum())


def compiled(model: Any, loss: InvarianceLoss, **options: Any) -> Any:
    training = InvarianceTraining(model, loss)
    training.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return training


def test_the_value_is_that_of_numpy() -> None:
    model, images = tiny(), few(24)
    watched = keras.Model(model.input, [model.get_layer(name).output for name in ("conv", "logits")])
    turned = np.rot90(images.x, 1, (1, 2))
    pairs = zip(watched(images.x, training=False), watched(turned, training=False), strict=True)
    terms = [numpy_term(plain, transformed) for plain, transformed in pairs]
    training = compiled(model, InvarianceLoss(QUARTER, ["conv", "logits"], 0.7))
    y_pred = model(images.x, training=False)
    plain_loss = training.compute_loss(images.x, images.y, y_pred, training=False)
    loss = training.compute_loss(images.x, images.y, y_pred, training=True)
    assert len(set(terms)) == 2 and float(training.metrics[-1].result()) == pytest.approx(np.mean(terms), rel=1e-5)
    assert float(loss - plain_loss) == pytest.approx(0.7 * np.mean(terms), rel=1e-4)


def test_the_gradient_is_that_of_finite_differences() -> None:
    generator = np.random.default_rng(0)
    weights = tf.Variable(generator.normal(size=(256, 3)))
    images = tf.constant(generator.random((6, *SHAPE)), tf.float32)
    loss = InvarianceLoss(QUARTER, "any")

    def activations(images: Any) -> dict[str, Any]:
        flat = tf.reshape(tf.cast(images, tf.float64), (len(images), -1))
        return {"tanh": tf.tanh(flat @ weights), "square": (flat @ weights) ** 2}

    turned = loss.transformed(images)

    def value(held: Any, held_transformed: Any) -> float:
        """The mean over both layers in float64, with what has no gradient held."""
        terms = []
        for name, b in activations(turned).items():
            a, b, was = held[name].numpy(), b.numpy(), held_transformed[name].numpy()
            root = np.sqrt(was.var(axis=0).sum() / b.var(axis=0).sum())
            terms.append(root * np.mean(((b - a) ** 2).sum(axis=1)) / a.var(axis=0).sum())
        return float(np.mean(terms))

    with tf.GradientTape() as tape:
        term = loss.term(activations, images)
    gradient = tape.gradient(term, weights).numpy()
    held, start = (activations(images), activations(turned)), weights.numpy()
    assert float(term) == pytest.approx(value(*held), rel=1e-12)
    for place in ((3, 0), (100, 1), (255, 2)):
        values = []
        for step in (1e-5, -1e-5):
            moved = start.copy()
            moved[place] += step
            weights.assign(moved)
            values.append(value(*held))
        weights.assign(start)
        assert gradient[place] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)
    assert np.abs(gradient).min() > 0


def test_the_gradient_does_not_scale_a_layer() -> None:
    activations = np.random.default_rng(0).normal(3, 1, (6, 4))
    scale = tf.Variable(1.7, dtype=tf.float64)
    with tf.GradientTape() as tape:
        term = layer_term(scale * activations, scale * activations[::-1])
    assert float(tape.gradient(term, scale)) == pytest.approx(0, abs=1e-14) and float(term) > 0.5


def test_no_gradient_flows_into_the_activations_of_the_images() -> None:
    plain, transformed = (tf.Variable(np.random.default_rng(seed).random((4, 3))) for seed in (0, 1))
    with tf.GradientTape() as tape:
        term = layer_term(plain, transformed)
    of_plain, of_transformed = tape.gradient(term, [plain, transformed])
    a, b = plain.numpy(), transformed.numpy()
    growth = (b - b.mean(axis=0)) / 4 / b.var(axis=0).sum()  # of log sqrt(v)
    expected = 2 * (b - a) / 4 / a.var(axis=0).sum() - float(term) * growth
    assert of_plain is None
    np.testing.assert_allclose(of_transformed, expected, rtol=1e-12)


def test_a_layer_that_does_not_vary_counts_as_nothing() -> None:
    plain, transformed = tf.zeros((3, 2)), tf.Variable(tf.ones((3, 2)))
    with tf.GradientTape() as tape:
        term = layer_term(plain, transformed)
    assert float(term) == 0 and not np.any(tape.gradient(term, transformed))


def trained(**options: Any) -> tuple[Any, Any]:
    model = tiny()
    data, augmentation = few(), AffineAugmentation(rotation=30)
    history = train(
        model, data, epochs=2, batch_size=40, augmentation=augmentation, seed=3, progress=False, **options
    ).history
    return model, history


def flat_loss(weight: float) -> InvarianceLoss:
    return InvarianceLoss("rotations(8)", "flat", weight)


@pytest.fixture(scope="module")
def plain() -> tuple[Any, Any]:
    return trained()


@pytest.fixture(scope="module")
def weighted() -> Any:
    return trained(invariance=flat_loss(0.1))[0]


def test_weight_0_trains_as_without_bit_for_bit(plain: tuple[Any, Any], weighted: Any) -> None:
    without, history = plain
    weightless, with_term = trained(invariance=flat_loss(0.0))
    for before, after in zip(without.get_weights(), weightless.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert history["loss"].tolist() == with_term["loss"].tolist() and (with_term["invariance"] > 0.1).all()
    assert any(np.any(a != b) for a, b in zip(without.get_weights(), weighted.get_weights(), strict=True))


def test_the_identity_alone_gives_0(plain: tuple[Any, Any]) -> None:
    model, history = trained(invariance=InvarianceLoss(IDENTITY, ["conv", "bn", "drop", "logits"], 5.0))
    assert history["invariance"].tolist() == [0.0, 0.0]
    for before, after in zip(plain[0].get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_equal_seeds_give_equal_weights_and_validation_has_no_part_in_it(weighted: Any) -> None:
    second, history = trained(invariance=flat_loss(0.1), validation=few(50))
    assert list(history) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "invariance"]
    for before, after in zip(weighted.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_what_is_trained_saves_as_the_plain_model(tmp_path: Path) -> None:
    model, data = tiny(), few()
    training = compiled(model, InvarianceLoss("rotations(8)", "flat", 0.1))
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "during.keras", monitor="loss", save_best_only=True)
    training.fit(data.x, data.y, batch_size=48, callbacks=[checkpoint], verbose=0)
    training.save(tmp_path / "after.keras")
    training.save_weights(tmp_path / "after.weights.h5")
    other = tiny(1)
    other.load_weights(tmp_path / "after.weights.h5")
    expected = model.predict(data.x, verbose=0)
    for read in (keras.models.load_model(tmp_path / name) for name in ("during.keras", "after.keras")):
        assert [layer.name for layer in read.layers] == [layer.name for layer in model.layers]
        np.testing.assert_array_equal(read.predict(data.x, verbose=0), expected)
    np.testing.assert_array_equal(other.predict(data.x, verbose=0), expected)
    np.testing.assert_array_equal(training.predict(data.x, verbose=0), expected)


def test_the_layer_becomes_invariant() -> None:
    variances = []
    data = few(400)
    for weight in (0.0, 1.0):
        model = models.build("ffnet", SHAPE, 10, seed=0)
        loss = InvarianceLoss("rotations(8)", "act2", weight)
        train(model, data, epochs=6, learning_rate=5e-3, invariance=loss, progress=False)
        result: Any = evaluate(model, data.x[:100], "rotations(8)", "NormalizedVariance", layers="act2")
        variances.append(result["NormalizedVariance"].profile()["mean"].item())
    assert variances[1] < 0.7 * variances[0]


def test_distillation_is_that_of_numpy_and_leaves_the_teacher_alone() -> None:
    teacher, model, images = tiny(1), tiny(2), few(24)
    before = teacher.get_weights()
    distillation = Distillation(teacher, weight=0.3, temperature=2.0)
    training = compiled(model, InvarianceLoss(QUARTER, "logits", 0.7, distillation=distillation))
    y_pred = model(images.x, training=False)
    plain_loss = training.compute_loss(images.x, images.y, y_pred, training=False)
    loss = training.compute_loss(images.x, images.y, y_pred, training=True)
    z_t, z_s, z_st = (
        np.asarray(network(x, training=False), np.float64)
        for network, x in ((teacher, images.x), (model, images.x), (model, np.rot90(images.x, 1, (1, 2))))
    )
    p, q = (np.exp(z / 2) / np.exp(z / 2).sum(axis=1, keepdims=True) for z in (z_t, z_s))
    divergence = float(np.mean((p * np.log(p / q)).sum(axis=1))) * 2.0**2
    expected = 0.7 * numpy_term(z_t, z_st) + 0.3 * divergence
    assert float(loss - plain_loss) == pytest.approx(expected, rel=1e-3)
    assert len(training.trainable_weights) == len(model.trainable_weights)
    history = training.fit(images.x, images.y, verbose=0).history
    assert sorted(history) == ["distillation", "invariance", "loss"]
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_bad_input_says_what_to_do() -> None:
    softmax = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    first = keras.Sequential(
        [keras.Input((1, 16, 16)), keras.layers.Conv2D(2, 3, data_format="channels_first", name="first")]
    )
    for kind, text, make in (
        (ValueError, r"layers must name .* Received: None", lambda: InvarianceLoss("rotations(4)", None)),
        (
            ValueError,
            r"weight must be .* of at least 0\. Received: -1",
            lambda: InvarianceLoss("rotations(4)", "a", -1),
        ),
        (TypeError, r"weight must be a number of .*\. Received: '1'", lambda: InvarianceLoss("rotations(4)", "a", "1")),
        (TypeError, r"transformations must be a set", lambda: InvarianceLoss(None, "a")),
        (TypeError, r"distillation must be a Dist", lambda: InvarianceLoss("rotations(4)", "a", distillation=softmax)),
        (ValueError, r"teacher must give logits\. Received: .* softmax", lambda: Distillation(softmax)),
        (ValueError, r"temperature must be .* above 0", lambda: Distillation(tiny(), temperature=0)),
        (ValueError, r"channels last", lambda: InvarianceTraining(first, InvarianceLoss("rotations(4)", "first"))),
        (ValueError, r"layers must name .*logits.* Received: 'fc'", lambda: trained(invariance=_loss("fc"))),
        (TypeError, r"invariance must be .*InvarianceLoss", lambda: trained(invariance=0.1)),
    ):
        with pytest.raises(kind, match=text):
            make()


def test_a_teacher_of_another_kind_is_refused() -> None:
    image = keras.Input(SHAPE)
    flat = keras.layers.Flatten(name="flat")(image)
    few_classes, strange, coarse = (
        keras.Model(image, keras.layers.Dense(count, name=name)(tensor))
        for count, name, tensor in (
            (7, "logits", flat),
            (10, "other", flat),
            (10, "logits", keras.layers.Flatten(name="bn")(image)),
        )
    )
    for teacher, text in (
        (few_classes, r"the outputs of the network in training, \(None, 10\)\. Received: outputs \(None, 7\)"),
        (strange, r"the layers that the loss compares: bn, logits\. Received: a model without bn, logits"),
        (coarse, r"layer 'bn' in the shape of the network in training, \(7, 7, 4\)\. Received: \(256,\)"),
    ):
        loss = InvarianceLoss("rotations(4)", ["bn", "logits"], distillation=Distillation(teacher))
        with pytest.raises(ValueError, match=f"teacher must have {text}"):
            InvarianceTraining(tiny(), loss)


def _loss(layers: Any) -> InvarianceLoss:
    return InvarianceLoss("rotations(4)", layers)


def test_it_tells_what_it_is() -> None:
    assert repr(InvarianceLoss("rotations(4)", ["a", keras.layers.Dense], 0.5)) == (
        "InvarianceLoss(rotations(4), ['a', 'Dense'], 0.5)"
    )
    assert "rotation=[-90.0, 90.0]" in repr(InvarianceLoss(AffineAugmentation(rotation=90), "a"))


def test_the_command_trains_with_it(tmp_path: Path) -> None:
    arguments = ["--data", "digits", "--architecture", "ffnet", "--epochs", "1", "--quiet", "--out", str(tmp_path)]
    arguments += ["--invariance-loss", "0.1", "--invariance-layers", "act*", "--invariance-transformations", SET]
    assert main(["train", *arguments]) == 0
    history = pd.read_csv(tmp_path / "history.csv")
    digits = datasets.load("digits")
    model = models.build("ffnet", SHAPE, 10, seed=0)
    loss = InvarianceLoss(SET, "act*", 0.1)
    expected = train(model, digits.train, epochs=1, validation=digits.test, invariance=loss, progress=False).history
    assert history["invariance"].tolist() == pytest.approx(expected["invariance"].tolist(), rel=1e-6)
    assert len(pd.read_csv(tmp_path / "accuracy.csv")) == 4
    for given, message in (
        (["--invariance-layers", "act1"], "--invariance-layers has no effect here: it belongs to --invariance-loss"),
        (["--invariance-loss", "0.1"], "--invariance-layers must name the layers"),
        (["--invariance-loss", "1", "--invariance-layers", "a"], "--invariance-transformations must be given"),
    ):
        with pytest.raises(ValueError, match=message):
            command(["--data", "digits", "--out", str(tmp_path), *given])


@pytest.mark.slow
def test_the_experiment_compares_networks_that_saw_equally_many_images(tmp_path: Path) -> None:
    finding = run_experiment(find_experiment("invariance_training"), preset="smoke", out=tmp_path, progress=False)
    assert finding is not None and finding.verdict == "inconclusive" and finding.table is not None
    names = list(finding.table["network"])
    assert names[0] == "upright, float32" and "augmented, then loss, int4" in names and len(names) == 10
    epochs = {}
    for path in (tmp_path / "cache" / "model").glob("*/config.json"):
        config = json.loads(path.read_text())
        shown = 2 if "invariance" in config else 1
        epochs[path] = shown * len(pd.read_csv(path.parent / "history.csv"))
    assert len(epochs) == 4 and len(set(epochs.values())) == 1
    for path in (tmp_path / "cache" / "keep").glob("*/figures.json"):
        assert [layer for layer, _ in json.loads(path.read_text())["profile"]][-1] == "logits", "network order"
