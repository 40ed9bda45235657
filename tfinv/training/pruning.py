"""Pruning by magnitude while a model trains: the smallest weights of every kernel become zero and stay zero."""

from __future__ import annotations

import keras
import numpy as np

from tfinv.support.checks import finite, kind_of, whole_number
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import KerasModel, Tensor

select_tensorflow_backend()


class Pruning(keras.callbacks.Callback):
    r"""Sets the smallest weights of every kernel to zero while `train` or `fit` trains the rest.

    The share of zeros grows from `initial` to `sparsity` between the fractions `begin` and `end` of the training,

        s(t) = s_f + (s_i - s_f) \left( 1 - \frac{t - t_0}{t_1 - t_0} \right)^3

    and stays there. Every `frequency` steps the masks are drawn anew from the weights as they are; after every step
    masked weights are zero. Kernels of all layers are pruned, nested ones too, kernel by kernel; biases and batch
    normalization are left alone. A `P4Conv2D` or `P4MConv2D` is pruned in its base kernel, of which its bank holds
    turned copies, so that it stays equivariant. The zeros remain in the file, whose compressed size falls.

    A map whose whole kernel is zero gives its bias everywhere. Batch normalization takes any constant away, so that the
    bias has no gradient, and Adam makes steps of full size out of what rounding leaves of it. The moving mean lags
    behind, and the trained network, but not the one in training, would pass a wrong constant on. The bias of such a map
    is therefore held at the moving mean.

    Example:
        >>> from tfinv import datasets, models
        >>> from tfinv.training import Pruning, sparsity, train
        >>> model = models.build("ffnet", (16, 16, 1), 10, seed=0)
        >>> few = datasets.load("digits").train.subset(100, seed=0)
        >>> _ = train(model, few, epochs=4, callbacks=[Pruning(0.8)], progress=False)
        >>> {name: round(share, 2) for name, share in sparsity(model).items()}
        {'fc1/kernel': 0.8, 'fc2/kernel': 0.8, 'logits/kernel': 0.8}

    Args:
        sparsity: share of zeros at the end, at least 0 and less than 1.
        initial: share of zeros at the beginning, at most `sparsity`.
        begin: fraction of all steps before which nothing is pruned.
        end: fraction of all steps at which `sparsity` is reached; the rest trains what is left.
        frequency: steps between two drawings of the masks.

    Raises:
        ValueError: shares or fractions out of range; a sparsity of 1 would leave no weight.

    M. Zhu, S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017.
    """

    def __init__(
        self,
        sparsity: float,
        *,
        initial: float = 0.0,
        begin: float = 0.0,
        end: float = 0.5,
        frequency: int = 10,
    ) -> None:
        super().__init__()
        for name, value in (("sparsity", sparsity), ("initial", initial), ("begin", begin), ("end", end)):
            finite(name, value)
        if not 0 <= sparsity < 1:
            raise ValueError(
                f"sparsity must be at least 0 and less than 1: at 1 no weight would be left. Received: {sparsity!r}"
            )
        if not 0 <= initial <= sparsity:
            raise ValueError(f"initial must be between 0 and sparsity, {sparsity:g}. Received: {initial!r}")
        if not 0 <= begin < end <= 1:
            raise ValueError(f"begin and end must be fractions, 0 <= begin < end <= 1. Received: {begin!r}, {end!r}")
        self.sparsity, self.initial, self.begin, self.end = sparsity, initial, begin, end
        self.frequency = whole_number("frequency", frequency, 1)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Find the kernels and translate fractions into steps."""
        steps = self.params["epochs"] * (self.params["steps"] or 1)
        self._first, self._last = self.begin * steps, max(self.end * steps, 1.0)
        self._step = 0
        self._kernels = prunable(self.model)
        self._normalized = normalized_biases(self.model)
        self._masks: list[Tensor] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Draw the masks where it is time, and set what they hide to zero."""
        self._step += 1
        if self._step < self._first:
            return
        if not self._masks or (self._step <= self._last and self._step % self.frequency == 0):
            self._draw()
        self._hide()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reach the final share where the end fell between two drawings."""
        if self._step >= self._last:
            self._draw()

    def _draw(self) -> None:
        share = polynomial_sparsity(self._step, self._first, self._last, self.initial, self.sparsity)
        self._masks = [
            keras.ops.convert_to_tensor(magnitude_mask(keras.ops.convert_to_numpy(kernel), share), kernel.dtype)
            for kernel in self._kernels
        ]
        self._hide()

    def _hide(self) -> None:
        """Set to zero what the masks hide, and hold the biases of maps that have no weight left."""
        for kernel, mask in zip(self._kernels, self._masks, strict=True):
            kernel.assign(kernel * mask)
        for kernel, bias, mean in self._normalized:
            dead = keras.ops.all(keras.ops.reshape(kernel == 0, (-1, bias.shape[0])), axis=0)
            bias.assign(keras.ops.where(dead, keras.ops.cast(mean, bias.dtype), bias))


def polynomial_sparsity(step: float, first: float, last: float, initial: float, final: float) -> float:
    """The share of zeros at a step; see `Pruning`."""
    progress = min(1.0, max(0.0, (step - first) / (last - first)))
    return final + (initial - final) * (1 - progress) ** 3


def magnitude_mask(weights: np.ndarray, share: float) -> np.ndarray:
    """True for the weights that stay: `max(1, round((1 - share) n))` of `n`, the largest by magnitude.

    Weights as large as the smallest of these stay too.
    """
    magnitudes = np.abs(weights)
    kept = max(1, int(np.round(np.float32(magnitudes.size) * np.float32(1 - share))))
    return magnitudes >= np.partition(magnitudes.ravel(), magnitudes.size - kept)[magnitudes.size - kept]


def prunable(model: KerasModel) -> list[keras.Variable]:
    """The kernels of a model's layers, nested ones too; kernels that are frozen are left out.

    Raises:
        ValueError: a model without kernels to train.
    """
    kernels = [weight for weight in model.trainable_variables if weight.name.endswith("kernel")]
    if not kernels:
        raise ValueError(f"the model must have layers with trainable kernels. Received: {model.name!r}")
    return kernels


def normalized_biases(model: KerasModel) -> list[tuple[keras.Variable, keras.Variable, keras.Variable]]:
    """Kernel, bias and moving mean of the layers whose output goes to batch normalization as it is."""
    found = []
    for layer in model._flatten_layers(include_self=False):
        kernels = [weight for weight in layer.trainable_variables if weight.name.endswith("kernel")]
        bias, activation = getattr(layer, "bias", None), getattr(layer, "activation", None)
        readers = {node.operation for node in getattr(layer, "_outbound_nodes", ())}
        means = [getattr(reader, "moving_mean", None) for reader in readers]
        if len(kernels) == len(means) == 1 and activation in (None, keras.activations.linear):
            (kernel,), (mean,) = kernels, means
            if bias is not None and mean is not None and bias.shape == mean.shape:
                found.append((kernel, bias, mean))
    return found


def sparsity(model: KerasModel) -> dict[str, float]:
    """The share of zeros in every kernel of a model, by the kernel's path.

    Example:
        >>> from tfinv import models
        >>> from tfinv.training import sparsity
        >>> sparsity(models.build("ffnet", (16, 16, 1), 10, seed=0))
        {'fc1/kernel': 0.0, 'fc2/kernel': 0.0, 'logits/kernel': 0.0}

    Args:
        model: a Keras model.

    Returns:
        Shares in [0, 1]; kernels that are not trainable are left out.
    """
    kind_of("model", model, keras.Model, "a Keras model")
    return {kernel.path: float(np.mean(keras.ops.convert_to_numpy(kernel) == 0)) for kernel in prunable(model)}
