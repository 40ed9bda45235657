"""The Keras model that `fit` trains where a loss for invariance is added."""

from __future__ import annotations

from typing import Any

from tfinv.support.checks import function, kind_of
from tfinv.support.faults import TRAINS, TRY_TRAINING, told
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import KerasModel, Tensor
from tfinv.training.invariance import Activations, InvarianceLoss

select_tensorflow_backend()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402


class InvarianceTraining(keras.Model):
    """A model in training, with the term of an `InvarianceLoss` added to its loss: for `compile` and `fit`.

    It has the layers and weights of the model, gives what the model gives, and saves as the model. The history of `fit`
    has the term, without its weight, under `invariance`, and `distillation` where there is one. Validation computes the
    plain loss.

    Example:
        >>> import keras
        >>> from tfinv import datasets, models
        >>> from tfinv.training import InvarianceLoss, InvarianceTraining
        >>> few = datasets.load("digits").train.subset(100, seed=0)
        >>> model = models.build("ffnet", (16, 16, 1), 10, seed=0)
        >>> training = InvarianceTraining(model, InvarianceLoss("rotations(8)", "act2", seed=0))
        >>> training.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = training.fit(few.x, few.y, verbose=0)
        >>> training.save("model.keras")  # the model itself
        >>> type(keras.models.load_model("model.keras")).__name__
        'Functional'

    Args:
        model: a functional or sequential Keras 3 model of images `(N, H, W, C)`; it is trained in place.
        added: the loss.
        activations: gives the layers' activations in inference mode; None reads them from the model.

    Raises:
        TypeError: a model whose layers form no graph.
        ValueError: an unknown layer, or a model with its channels first.
    """

    def __init__(self, model: KerasModel, added: InvarianceLoss, activations: Activations | None = None) -> None:
        kind_of("model", model, keras.Model, "a Keras model")
        kind_of("added", added, InvarianceLoss, "an InvarianceLoss")
        if activations is not None:
            function("activations", activations, "a function of images")
        super().__init__(name=model.name)
        self.trained = model
        self.added = added
        self._invariance = keras.metrics.Mean(name="invariance")
        self._activations = activations or added.activations_of(model)
        self._teacher: Any = None
        self._distilled: Any = None
        if added.distillation is not None:
            self._distilled = keras.metrics.Mean(name="distillation")
            # Given as text, as it is by default, Keras 3.15 applies the divergence to logits, without a softmax.
            divergence = keras.losses.KLDivergence()
            self._logits_loss = keras.distillation.LogitsDistillation(added.distillation.temperature, divergence)
            teacher = added.distillation.teacher
            # Activations that are given are those of a copy, whose layers may have other names.
            taught = added.activations_of_teacher(model) if activations is None else added.activations_of(teacher)
            self._teacher = _Untracked(teacher, taught)
        self.built = model.built

    def fit(self, *args: Any, **options: Any) -> Any:
        """As Keras' `fit`; what fails inside the model is told in one sentence.

        Raises:
            ModelFault: the model, or a callback, fails.
        """
        with told(TRAINS, self.trained, way_out=TRY_TRAINING):
            return super().fit(*args, **options)

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        """What the model gives."""
        return self.trained(images, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss of the model, in training with the term."""
        loss: Any = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        teacher = None if self._teacher is None else self._teacher.activations
        term = self.added.term(self._activations, x, teacher)
        self._invariance.update_state(term, tf.shape(x)[0])
        loss += self.added.weight * tf.cast(term, loss.dtype)
        if self.added.distillation is not None and self._teacher is not None:
            distilled = self._logits_loss.compute_loss(self._teacher.model(x, training=False), y_pred)
            self._distilled.update_state(distilled, tf.shape(x)[0])
            loss += self.added.distillation.weight * tf.cast(distilled, loss.dtype)
        return loss

    def test_step(self, data: Any) -> Any:
        """Validation, which computes no term."""
        logs: Any = super().test_step(data)
        return {name: value for name, value in logs.items() if name not in ("invariance", "distillation")}

    def save(self, filepath: Any, *args: Any, **options: Any) -> Any:
        """Save the model that is trained."""
        return self.trained.save(filepath, *args, **options)

    def save_weights(self, filepath: Any, *args: Any, **options: Any) -> Any:
        """Save the weights of the model that is trained."""
        return self.trained.save_weights(filepath, *args, **options)

    def load_weights(self, filepath: Any, *args: Any, **options: Any) -> Any:
        """Load weights into the model that is trained."""
        return self.trained.load_weights(filepath, *args, **options)

    def export(self, filepath: Any, *args: Any, **options: Any) -> Any:
        """Export the model that is trained."""
        return self.trained.export(filepath, *args, **options)


class _Untracked:
    """Holds a teacher, so that Keras does not count its weights as those of the model in training."""

    def __init__(self, model: KerasModel, activations: Activations) -> None:
        self.model, self.activations = model, activations
