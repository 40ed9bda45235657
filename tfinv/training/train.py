"""Train a classifier with a seed, augmentation, early stopping and restarts."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tfinv.activations.keras_graph import plain
from tfinv.activations.outputs import output_activation
from tfinv.datasets.split import as_dataset
from tfinv.support.checks import finite, function, kind_of, whole_number
from tfinv.support.faults import TRAINS, TRY_TRAINING, told
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.progress import Progress
from tfinv.support.types import KerasModel
from tfinv.training.accuracy import LabelledImages, accuracy, accuracy_under
from tfinv.training.invariance import Activations, InvarianceLoss
from tfinv.training.seeding import attempt_seed, draw_new_weights, seed_generators, seed_layer

if TYPE_CHECKING:
    import pandas as pd

Schedule = Literal["constant", "cosine"]

__all__ = ["TrainingResult", "accuracy", "accuracy_under", "train"]


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """How a training went.

    Args:
        history: one row per epoch of the attempt that was kept: `epoch` from 1, `loss`, `accuracy` (means over the
            epoch, on augmented images in training mode), with an `InvarianceLoss` its terms `invariance` and, where it
            distils, `distillation`, and with validation data `val_loss` and `val_accuracy`.
        seconds: wall time of all attempts.
        restarts: attempts that were thrown away for missing `min_accuracy`.
        accuracy: of the trained model at inference, without augmentation, on the validation data, or on the training
            data where there are none.
        converged: whether `accuracy` reached `min_accuracy`; True where none was asked for.
    """

    history: pd.DataFrame
    seconds: float
    restarts: int
    accuracy: float
    converged: bool


@dataclass(frozen=True)
class _Plan:
    """The arguments of `train` that every attempt shares, checked."""

    train: LabelledImages
    validation: LabelledImages | None
    epochs: int
    batch_size: int
    learning_rate: Any
    schedule: Schedule
    augmentation: Any
    seed: int
    patience: int | None
    min_accuracy: float | None
    max_restarts: int
    progress: bool
    callbacks: tuple[Any, ...]
    invariance: InvarianceLoss | None
    activations: Activations | None

    def __post_init__(self) -> None:
        least = {"epochs": 1, "batch_size": 1, "seed": 0, "patience": 1, "max_restarts": 0}
        for name, minimum in least.items():
            value = getattr(self, name)
            if name != "patience" or value is not None:
                whole_number(name, value, minimum)
        if self.augmentation is not None:
            function("augmentation", self.augmentation, "a function of images")
        if self.activations is not None:
            function("activations", self.activations, "a function of images")
        if self.invariance is not None:
            kind_of("invariance", self.invariance, InvarianceLoss, "an InvarianceLoss")
        rate, accuracy = self.learning_rate, self.min_accuracy
        if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            finite("learning_rate", rate, above=0, hint=" or a Keras schedule")
        if self.schedule not in get_args(Schedule):
            raise ValueError(f"schedule must be one of {get_args(Schedule)}. Received: {self.schedule!r}")
        if self.schedule == "cosine" and not isinstance(rate, (int, float)):
            raise ValueError(f"learning_rate must be a number with schedule='cosine'. Received: {rate!r}")
        if accuracy is not None:
            kind_of("min_accuracy", accuracy, (int, float), "a share within [0, 1]")
        if accuracy is not None and not 0 <= accuracy <= 1:
            raise ValueError(f"min_accuracy must be a share within [0, 1], not a percentage. Received: {accuracy!r}")
        if self.patience is not None and self.validation is None:
            raise ValueError(f"validation must be given for early stopping. Received: patience={self.patience}")

    @property
    def steps(self) -> int:
        """Updates of the weights in all epochs."""
        return self.epochs * math.ceil(len(self.train) / self.batch_size)

    def rate(self) -> Any:
        """The learning rate as the optimiser takes it."""
        if self.schedule == "cosine":
            return keras.optimizers.schedules.CosineDecay(self.learning_rate, self.steps)
        return self.learning_rate


@guarded()
def train(
    model: keras.Model,
    train: Any,
    *,
    epochs: int,
    batch_size: int = 64,
    learning_rate: Any = 1e-3,
    schedule: Schedule = "constant",
    augmentation: Callable[..., Any] | None = None,
    validation: Any = None,
    seed: int = 0,
    patience: int | None = None,
    min_accuracy: float | None = None,
    max_restarts: int = 3,
    progress: bool = True,
    callbacks: Sequence[Any] = (),
    invariance: InvarianceLoss | None = None,
    activations: Activations | None = None,
) -> TrainingResult:
    """Train a classifier in place, with Adam on the cross-entropy of its logits.

    The model starts from the weights it has. Layers are in training mode in every epoch and in inference mode in every
    validation. `seed` governs all that is random: the order of images, the draws of the augmentation, dropout, and the
    weights of restarts; equal weights, data and seed give equal weights on the same machine's CPU.

    Example:
        >>> from tfinv import datasets, models
        >>> from tfinv.training import train
        >>> few = datasets.load("digits").train.subset(100, seed=0)
        >>> model = models.build("ffnet", (16, 16, 1), 10, seed=0)
        >>> result = train(model, few, epochs=2, progress=False)
        >>> list(result.history)
        ['epoch', 'loss', 'accuracy']

    Args:
        model: a Keras model, images `(N, H, W, C)` to logits `(N, classes)`; one that ends in a softmax works too. One
            output unit, a logit or a sigmoid's, tells two classes, and binary cross-entropy trains it.
        train: a `tfinv.datasets.Split` or a pair `(x, y)`. Labels `(S, K)` of 0 and 1 tell K labels of one image, and
            binary cross-entropy trains one unit for each; rows that are all one-hot are class numbers, unless a
            sigmoid makes the output.
        epochs: passes over the training images.
        batch_size: images in a step; the last of an epoch may be smaller.
        learning_rate: of Adam, a number or a Keras schedule.
        schedule: `"constant"`, or `"cosine"` to let the rate fall from `learning_rate` to 0 over all epochs along half
            a cosine, which ends lower and varies less between seeds than a constant rate.
        augmentation: maps a batch of training images to one, such as `AffineAugmentation`. A Keras layer is seeded
            with `seed`, whatever its own seed.
        validation: as `train`; looked at after every epoch.
        seed: see above.
        patience: stop after so many epochs without a lower validation loss and go back to the best weights; needs
            `validation`. None trains all epochs and keeps the last weights.
        min_accuracy: in [0, 1]; below it, training starts again from new random weights, with a warning.
        max_restarts: how often at most. Afterwards the best attempt is kept, with a warning.
        progress: show a progress bar with loss and accuracy.
        callbacks: Keras callbacks for `fit`.
        invariance: what is added to the loss, so that layers become invariant; the history then has its term under
            `invariance`. Validation computes the plain loss.
        activations: gives the activations of the layers that `invariance` names, in inference mode; None reads them
            from the model.

    Returns:
        How it went; the weights are in `model`.

    Raises:
        ValueError: data that do not fit the model, an argument out of range, or a loss that became NaN.
        TypeError: `train` or `validation` of another kind.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras model. Received: {type(model).__name__}")
    kind_of("callbacks", callbacks, Iterable, "a sequence of Keras callbacks")
    plan = _Plan(
        train=LabelledImages.of(train, model, "train"),
        validation=None if validation is None else LabelledImages.of(validation, model, "validation"),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        augmentation=augmentation,
        seed=seed,
        patience=patience,
        min_accuracy=min_accuracy,
        max_restarts=max_restarts,
        progress=progress,
        callbacks=tuple(callbacks),
        invariance=invariance,
        activations=activations,
    )
    started = time.perf_counter()
    history, reached, restarts = _attempts(model, plan)
    converged = min_accuracy is None or reached >= min_accuracy
    return TrainingResult(history, time.perf_counter() - started, restarts, reached, converged)


def _attempts(model: KerasModel, plan: _Plan) -> tuple[pd.DataFrame, float, int]:
    """Train until `min_accuracy` is reached; leave the best attempt's weights in the model."""
    best: tuple[float, Any, Any] = (-1.0, None, None)
    for attempt in range(plan.max_restarts + 1):
        seed = attempt_seed(plan.seed, attempt)
        if attempt:
            draw_new_weights(model, seed)
        history = _fit(model, plan, seed)
        diverged = not math.isfinite(history["loss"].iloc[-1])
        last = plan.min_accuracy is None or attempt == plan.max_restarts
        if diverged and last and best[2] is None:
            raise ValueError(
                "learning_rate must be small enough for a finite loss, which was lost in epoch "
                f"{len(history)}. Received: {plan.learning_rate!r}"
            )
        reached = 0.0 if diverged else accuracy(model, plan.validation or plan.train)
        if plan.min_accuracy is None or reached >= plan.min_accuracy:
            return history, reached, attempt
        if reached > best[0] and not diverged:
            best = (reached, history, model.get_weights())
        what = "starting again from new weights" if attempt < plan.max_restarts else "keeping the best attempt"
        warnings.warn(
            f"training of {model.name} reached accuracy {reached:.3f}, below the {plan.min_accuracy:g} asked for "
            f"(attempt {attempt + 1} of {plan.max_restarts + 1}): {what}",
            stacklevel=4,
        )
    model.set_weights(best[2])
    return best[1], best[0], plan.max_restarts


def _fit(model: KerasModel, plan: _Plan, seed: int) -> pd.DataFrame:
    import pandas as pd

    keras.utils.set_random_seed(seed)  # tf.data shuffles depend on the global seed too
    seed_generators(model, seed)
    if isinstance(plan.augmentation, keras.layers.Layer):
        seed_layer(plan.augmentation, plan.train.x[:1], seed)
    data: Any = plan.train
    batches = as_dataset(data, plan.batch_size, True, seed, False, plan.augmentation, True)
    validation: Any = plan.validation
    if validation is not None:
        validation = as_dataset(validation, max(256, plan.batch_size), False, None, False, None, True)
    fitted_model = plain(model)
    several = plan.train.y.ndim == 2
    objective = _objective(output_activation(fitted_model), fitted_model.output_shape[-1], several)
    if plan.invariance is not None:
        fitted_model = _with_invariance(fitted_model, plan, plan.invariance, seed)
    fitted_model.compile(
        optimizer=keras.optimizers.Adam(plan.rate()),
        **objective,
        jit_compile=False,  # XLA compiles for 20 s what trains in 10, and lacks the warp
    )
    with told(TRAINS, model, way_out=TRY_TRAINING):
        _make_variables(fitted_model, plan.train)
    callbacks = [keras.callbacks.TerminateOnNaN(), *plan.callbacks]
    if plan.patience is not None:
        callbacks.append(keras.callbacks.EarlyStopping("val_loss", patience=plan.patience, restore_best_weights=True))
    with Progress(f"training {model.name}", plan.steps, "step", shown=plan.progress) as bar:
        if plan.progress:
            callbacks.append(_progress(bar, model.name, plan.epochs))
        with warnings.catch_warnings(), told(TRAINS, model, way_out=TRY_TRAINING):
            warnings.filterwarnings("ignore", "`shuffle=True` was passed")
            fitted = fitted_model.fit(
                batches, epochs=plan.epochs, validation_data=validation, callbacks=callbacks, verbose=0, shuffle=False
            )
    history = pd.DataFrame(fitted.history, index=pd.RangeIndex(len(fitted.epoch)))
    history["epoch"] = np.arange(1, len(history) + 1)
    first = [name for name in ("epoch", "loss", "accuracy", "val_loss", "val_accuracy") if name in history]
    return history.reindex(columns=[*first, *(name for name in history if name not in first)])


def _with_invariance(model: KerasModel, plan: _Plan, invariance: InvarianceLoss, seed: int) -> KerasModel:
    from tfinv.training.invariance_training import InvarianceTraining  # here: it imports Keras

    seed_layer(invariance.draw, plan.train.x[:1], seed + 1)  # apart from the augmentation
    return InvarianceTraining(model, invariance, plan.activations)


def _make_variables(model: KerasModel, train: LabelledImages) -> None:
    """Make the variables of optimizer and metrics before the first step; made within it, they have it traced twice."""
    model.optimizer.build(model.trainable_variables)
    some = slice(0, 2)  # a model may refuse a single image
    model.compute_metrics(train.x[some], train.y[some], model(train.x[some], training=False))


def _objective(activation: str, units: int, several: bool) -> dict[str, Any]:
    """Loss and accuracy for the output of a classifier; one unit tells two classes, as all do of several labels."""
    if units > 1 and not several:
        return {
            "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=activation != "softmax"),
            "metrics": ["accuracy"],
        }
    is_logit = activation != "sigmoid"
    return {
        "loss": keras.losses.BinaryCrossentropy(from_logits=is_logit),
        "metrics": [keras.metrics.BinaryAccuracy("accuracy", threshold=0.0 if is_logit else 0.5)],
    }


def _progress(bar: Progress, name: str, epochs: int) -> Any:
    def start(epoch: int, logs: Any = None) -> None:
        bar.describe(f"training {name}, epoch {epoch + 1}/{epochs}")

    def step(batch: int, logs: Any = None) -> None:
        bar.show(_figures(logs), redraw=False)
        bar.advance()

    def end(epoch: int, logs: Any = None) -> None:
        bar.show(_figures(logs))

    return keras.callbacks.LambdaCallback(on_epoch_begin=start, on_train_batch_end=step, on_epoch_end=end)


def _figures(logs: Any) -> dict[str, str]:
    shown = ("loss", "accuracy", "val_accuracy")
    return {name: f"{float(logs[name]):.3f}" for name in shown if logs and name in logs}
