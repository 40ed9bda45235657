"""Training: it learns, repeats by seed, stops early, restarts; accuracies against NumPy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pytest

from tfinv import datasets, models
from tfinv.datasets import Split
from tfinv.training import TrainingResult, train
from tfinv.training.accuracy import accuracy, accuracy_under
from tfinv.training.seeding import attempt_seed, draw_new_weights
from tfinv.transformations import AffineAugmentation

SHAPE = (16, 16, 1)


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load("digits")


@pytest.fixture(scope="module")
def noise() -> tuple[Split, Split]:
    """Images without any relation to their labels: can be learned by heart, never generalised."""
    rng = np.random.default_rng(0)
    first, second = (Split(rng.random((64, *SHAPE), np.float32), rng.integers(0, 4, 64)) for _ in range(2))
    return first, second


def quiet(model: keras.Model, data: Any, **options: Any) -> TrainingResult:
    return train(model, data, progress=False, **options)


def tiny() -> keras.Model:
    """Batch normalization and dropout, quickly trained."""
    keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(image)
    x = keras.layers.Dropout(0.3, name="drop")(keras.layers.BatchNormalization(momentum=0.9, name="bn")(x))
    x = keras.layers.Dense(10, name="logits")(keras.layers.Flatten(name="flat")(x))
    return keras.Model(image, x, name="tiny")


def log_softmax(logits: Any) -> np.ndarray[Any, Any]:
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_learns_digits_and_says_how_well(digits: datasets.Dataset) -> None:
    model = models.build("ffnet", SHAPE, 10, seed=0)
    result = quiet(model, digits.train, epochs=6, learning_rate=5e-3, validation=digits.test)
    assert list(result.history) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert result.history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    logits = np.asarray(model(digits.test.x))
    share = (logits.argmax(axis=1) == digits.test.y).mean()
    assert result.accuracy == pytest.approx(share) and share > 0.9
    assert result.accuracy == pytest.approx(result.history["val_accuracy"].iloc[-1])
    loss = -log_softmax(logits)[np.arange(len(digits.test)), digits.test.y].mean()
    assert result.history["val_loss"].iloc[-1] == pytest.approx(loss, rel=1e-4)
    assert (result.restarts, result.converged) == (0, True) and result.seconds > 0


@pytest.mark.slow
def test_augmented_training_withstands_rotation(digits: datasets.Dataset) -> None:
    test = digits.test.subset(200, seed=0)
    under = []
    assert test.y is not None
    for augmentation in (None, AffineAugmentation("rotations(8)")):
        model = models.build("simple_conv", SHAPE, 10, filters=8, dense=32, seed=0)
        options = {"learning_rate": 5e-3, "schedule": "cosine", "augmentation": augmentation}
        quiet(model, digits.train, epochs=4, **options)
        under.append(accuracy_under(model, test.x, test.y, "rotations(8)").mean())
    assert under[1] > under[0] + 0.2


def test_seed_repeats_every_weight(digits: datasets.Dataset) -> None:
    """With batch normalization, dropout and augmentation, in one process, whatever ran in between."""
    few = digits.train.subset(200, seed=0)

    def weights(seed: int) -> list[np.ndarray[Any, Any]]:
        model = tiny()
        quiet(model, few, epochs=2, seed=seed, augmentation=augmentation)
        return model.get_weights()

    augmentation = AffineAugmentation(rotation=180)
    first = weights(1)
    augmentation.draw(7)
    np.random.default_rng().random(3)
    assert all(np.array_equal(a, b) for a, b in zip(first, weights(1), strict=True))
    assert not np.array_equal(first[0], weights(2)[0])


def test_layers_are_in_training_mode_in_every_epoch(digits: datasets.Dataset) -> None:
    """Validation between epochs must not leave batch statistics frozen or dropout off."""
    few = digits.train.subset(100, seed=0)
    model = tiny()
    normalize = model.get_layer("bn")
    means = [normalize.get_weights()[2]]
    remember = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: means.append(normalize.get_weights()[2]))
    quiet(model, few, epochs=4, validation=few, callbacks=[remember])
    assert len(means) == 5
    assert all(np.abs(after - before).max() > 1e-6 for before, after in pairwise(means))


def test_dropout_drops_in_every_epoch() -> None:
    """A model of nothing but dropout and a fixed readout: its loss is exact without dropout, higher with it."""
    image = keras.Input((2, 2, 1))
    dropped = keras.layers.Dropout(0.5, name="drop")(keras.layers.Flatten(name="flat")(image))
    readout = keras.layers.Dense(2, name="logits", trainable=False)
    model = keras.Model(image, readout(dropped))
    readout.set_weights([np.array([[3, -3]] * 4, np.float32), np.zeros(2, np.float32)])
    data = Split(np.ones((64, 2, 2, 1), np.float32), np.zeros(64, np.int64))
    history = quiet(model, data, epochs=4, validation=data).history
    exact = np.log1p(np.exp(-24))
    assert history["val_loss"].to_numpy() == pytest.approx(np.full(4, exact), abs=1e-6)
    losses = history["loss"].to_numpy()
    assert losses.min() > 0.01 and len(set(losses)) == 4


def test_early_stopping_triggers_and_restores_the_best_weights(noise: tuple[Split, Split]) -> None:
    model = models.build("ffnet", SHAPE, 4, seed=0)
    result = quiet(model, noise[0], epochs=60, learning_rate=1e-2, validation=noise[1], patience=3)
    losses = result.history["val_loss"].to_numpy()
    assert len(losses) < 60 and losses.argmin() == len(losses) - 4
    loss = -log_softmax(model(noise[1].x))[np.arange(64), noise[1].y].mean()
    assert loss == pytest.approx(losses.min(), rel=1e-4)
    assert result.accuracy == pytest.approx(result.history["val_accuracy"].iloc[losses.argmin()])


def test_best_weights_are_restored_when_training_runs_to_its_end(noise: tuple[Split, Split]) -> None:
    model = models.build("ffnet", SHAPE, 4, seed=0)
    result = quiet(model, noise[0], epochs=6, learning_rate=1e-2, validation=noise[1], patience=6)
    losses = result.history["val_loss"].to_numpy()
    assert len(losses) == 6 and losses.argmin() < 5
    loss = -log_softmax(model(noise[1].x))[np.arange(64), noise[1].y].mean()
    assert loss == pytest.approx(losses.min(), rel=1e-4)


def test_a_dead_network_is_started_again_and_converges(digits: datasets.Dataset) -> None:
    model = models.build("ffnet", SHAPE, 10, activation="relu", seed=0)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    options = {"epochs": 6, "learning_rate": 5e-3, "min_accuracy": 0.8}
    with pytest.warns(UserWarning, match=r"0\.1\d\d, below the 0\.8 asked for \(attempt 1 of 4\): starting again"):
        result = quiet(model, digits.train, **options)
    assert (result.restarts, result.converged) == (1, True)
    assert result.accuracy == accuracy(model, digits.train) > 0.8
    assert len(result.history) == 6


def test_the_best_attempt_is_kept_when_none_is_good_enough(noise: tuple[Split, Split]) -> None:
    model = models.build("ffnet", SHAPE, 4, seed=0)
    ends: list[float] = []
    note = keras.callbacks.LambdaCallback(on_train_end=lambda logs: ends.append(accuracy(model, noise[1])))
    options = {"validation": noise[1], "min_accuracy": 0.99, "max_restarts": 2, "callbacks": [note]}
    with pytest.warns(UserWarning) as warned:
        result = quiet(model, noise[0], epochs=1, **options)
    assert len(warned) == 3 and "keeping the best attempt" in str(warned[-1].message)
    assert len(ends) == 3 and len(set(ends)) > 1
    assert result.accuracy == max(ends) == accuracy(model, noise[1])
    assert (result.restarts, result.converged) == (2, False)
    assert result.history["val_accuracy"].iloc[-1] == pytest.approx(max(ends))


def test_restarts_have_seeds_of_their_own() -> None:
    seeds = [attempt_seed(seed, attempt) for seed in range(50) for attempt in range(4)]
    assert len(set(seeds)) == 200 and [attempt_seed(seed, 0) for seed in range(50)] == list(range(50))


def test_new_weights_are_those_of_a_model_never_trained(noise: tuple[Split, Split]) -> None:
    model = tiny()
    quiet(model, noise[0], epochs=1)
    trained = model.get_weights()
    draw_new_weights(model, 5)
    first = model.get_weights()
    draw_new_weights(model, 5)
    assert all(np.array_equal(a, b) for a, b in zip(first, model.get_weights(), strict=True))
    kernel, bias, scale, offset, mean, variance, readout, _ = first
    assert np.abs(kernel - trained[0]).max() > 0.1 and np.abs(readout - trained[6]).max() > 0.1
    assert not bias.any() and not offset.any() and not mean.any() and (scale == 1).all() and (variance == 1).all()
    assert readout.std() == pytest.approx(np.sqrt(2 / (196 + 10)), rel=0.1)


def test_a_loss_that_becomes_nan_is_an_error(noise: tuple[Split, Split]) -> None:
    model = models.build("ffnet", SHAPE, 4, seed=0)
    with pytest.raises(ValueError, match=r"learning_rate must be small enough.*epoch \d.* 1e\+30"):
        quiet(model, noise[0], epochs=5, learning_rate=1e30)
    with pytest.warns(UserWarning, match="starting again"), pytest.raises(ValueError, match="small enough"):
        quiet(model, noise[0], epochs=5, learning_rate=1e30, min_accuracy=0.5, max_restarts=1)


@pytest.mark.parametrize("head", [None, "softmax"])
def test_models_with_and_without_softmax_get_the_same_loss(head: str | None, noise: tuple[Split, Split]) -> None:
    image = keras.Input(SHAPE)
    x = keras.layers.Dense(4, name="dense", activation=head)(keras.layers.Flatten(name="flat")(image))
    model = keras.Model(image, x)
    kernel = np.random.default_rng(1).normal(size=(256, 4)).astype(np.float32)
    model.get_layer("dense").set_weights([kernel, np.zeros(4, np.float32)])
    wanted = -log_softmax(noise[0].x.reshape(64, -1) @ kernel)[np.arange(64), noise[0].y].mean()
    result = quiet(model, noise[0], epochs=1, learning_rate=1e-9)
    assert result.history["loss"].iloc[0] == pytest.approx(wanted, rel=1e-3)


def test_cosine_schedule_ends_at_zero(noise: tuple[Split, Split]) -> None:
    model, rates = models.build("ffnet", SHAPE, 4, seed=0), []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(float(np.asarray(model.optimizer.learning_rate)))
    )
    quiet(model, noise[0], epochs=4, batch_size=24, learning_rate=0.01, schedule="cosine", callbacks=[note])
    steps = np.arange(1, 13)
    np.testing.assert_allclose(rates, 0.005 * (1 + np.cos(np.pi * steps / 12)), atol=1e-8)


def test_progress_shows_loss_and_accuracy(noise: tuple[Split, Split], capsys: Any) -> None:
    model = models.build("ffnet", SHAPE, 4, seed=0)
    quiet(model, noise[0], epochs=2)
    output = capsys.readouterr()
    assert output.out == "" and "training" not in output.err
    train(model, noise[0], epochs=2, validation=noise[1])
    output = capsys.readouterr()
    assert output.out == "" and "training ffnet, epoch 2/2" in output.err
    assert "loss=" in output.err and "accuracy=" in output.err


def quadrant_model() -> keras.Model:
    """Class k = the brightest quadrant, in reading order."""
    image = keras.Input((6, 6, 1))
    x = keras.layers.AveragePooling2D(3, name="quadrants")(image)
    return keras.Model(image, keras.layers.Flatten(name="logits")(x))


def test_accuracy_under_quarter_turns_against_numpy() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.random((50, 6, 6, 1), np.float32), rng.integers(0, 4, 50)
    model = quadrant_model()
    wanted = []
    for turns in (2, 3, 0, 1):  # 180, -90, 0, 90 degrees
        turned = np.rot90(x, turns, axes=(1, 2)).reshape(50, 2, 3, 2, 3).mean(axis=(2, 4)).reshape(50, 4)
        wanted.append((turned.argmax(axis=1) == y).mean())
    assert len(set(wanted)) > 2
    for batch_size in (1, 13, 256):
        got = accuracy_under(model, x, y, "rotations(4)", batch_size=batch_size)
        np.testing.assert_allclose(got, wanted)
    by_function = accuracy_under(lambda batch: np.asarray(model(batch)), x, y, "rotations(4)")
    np.testing.assert_allclose(by_function, wanted)
    assert accuracy(model, (x, y)) == pytest.approx(wanted[2])


def test_accuracy_passes_padding_on() -> None:
    x = np.zeros((1, 6, 6, 1), np.float32)
    x[0, :3, :3] = 1
    shifted = "affines([((1, 0, 0.99, 0), (0, 1, 0, 0)), ((1, 0, 0, 0), (0, 1, 0, 0.0))])"
    assert accuracy_under(quadrant_model(), x, [0], shifted).tolist() == [0, 1]
    assert accuracy_under(quadrant_model(), x, [0], shifted, padding="nearest").tolist() == [1, 1]


def bad(x: Any = None, y: Any = None) -> tuple[Any, Any]:
    return np.ones((4, *SHAPE), np.float32) if x is None else x, np.zeros(4, np.int64) if y is None else y


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (
            bad(np.ones((4, 8, 8, 1))),
            {},
            r"images of train must have the model's input shape \(16, 16, 1\).*\(8, 8, 1\)",
        ),
        (bad(np.ones((4, 16, 16, 3))), {}, r"input shape \(16, 16, 1\).*\(16, 16, 3\)"),
        (bad(np.full((4, *SHAPE), np.nan)), {}, "images of train must be finite.*image 0"),
        (bad(np.ones((4, 16, 16))), {}, r"images of train must have the shape \(S, H, W, C\).*\(4, 16, 16\)"),
        (bad(np.ones((0, *SHAPE)), np.zeros(0, int)), {}, "at least one image"),
        (bad(y=np.array([0, 1, 2, 10])), {}, "labels of train must be below the model's 10 outputs.* label 10"),
        (bad(y=np.array([0, 1, 2, -1])), {}, "labels of train must be class numbers from 0.* -1"),
        (bad(y=np.zeros(3, int)), {}, r"labels of train must be 4 integers.*\(3,\)"),
        (bad(y=np.zeros(4)), {}, "labels of train must be 4 integers.*float64"),
        (Split(bad()[0]), {}, "train must have labels"),
        (bad(), {"validation": bad(y=np.full(4, 11))}, "labels of validation must be below .* 11"),
        (bad(), {"epochs": 0}, "epochs must be a whole number of at least 1.* 0"),
        (bad(), {"batch_size": 2.5}, "batch_size must be a whole number.* 2.5"),
        (bad(), {"learning_rate": -1.0}, "learning_rate must be a finite number above 0 or a Keras schedule.* -1.0"),
        (bad(), {"schedule": "step"}, "schedule must be one of.*'step'"),
        (bad(), {"seed": -1}, "seed must be a whole number.* -1"),
        (bad(), {"min_accuracy": 90}, "min_accuracy must be a share.*not a percentage.* 90"),
        (bad(), {"patience": 3}, "validation must be given for early stopping.*patience=3"),
        (bad(), {"max_restarts": -1}, "max_restarts must be a whole number of at least 0.* -1"),
    ],
)
def test_refuses(data: Any, options: dict[str, Any], message: str) -> None:
    model = models.build("ffnet", SHAPE, 10, hidden=(4,))
    with pytest.raises(ValueError, match=message):
        quiet(model, data, **({"epochs": 1} | options))


def test_refuses_other_kinds_of_models_and_data() -> None:
    with pytest.raises(TypeError, match=r"model must be a Keras model.*str"):
        quiet("model.keras", bad(), epochs=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"train must be a Split or a pair \(x, y\).*ndarray"):
        quiet(models.build("ffnet", SHAPE, 10), bad()[0], epochs=1)
    image = keras.Input(SHAPE)
    with pytest.raises(ValueError, match="give logits"):
        quiet(keras.Model(image, keras.layers.Conv2D(2, 3)(image)), bad(), epochs=1)
    with pytest.raises(ValueError, match=r"finite logits.*NaN"):
        accuracy(lambda x: np.full((len(x), 10), np.nan), bad())
    with pytest.raises(ValueError, match=r"batch_size must be a whole number.* 0"):
        accuracy(models.build("ffnet", SHAPE, 10), bad(), batch_size=0)


def test_models_that_take_and_give_dicts_are_trained_and_judged_alike() -> None:
    image = keras.Input(SHAPE, name="image")
    probabilities = keras.layers.Dense(3, "softmax", name="probs")(keras.layers.Flatten()(image))
    plain, named = keras.Model(image, probabilities), keras.Model({"image": image}, {"probs": probabilities})
    x = np.random.default_rng(0).random((30, *SHAPE), np.float32)
    y = np.arange(30) % 3
    assert accuracy(named, (x, y)) == accuracy(plain, (x, y))
    np.testing.assert_array_equal(
        accuracy_under(named, x, y, "rotations(4)"), accuracy_under(plain, x, y, "rotations(4)")
    )
    start = named.get_weights()
    first = quiet(named, (x, y), epochs=3)
    trained = named.get_weights()
    assert not np.allclose(trained[0], start[0])
    plain.set_weights(start)
    second = quiet(plain, (x, y), epochs=3)
    np.testing.assert_array_equal(plain.get_weights()[0], trained[0])
    assert first.history.equals(second.history) and first.accuracy == second.accuracy
