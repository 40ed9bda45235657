"""What a classifier says about single images, and whether it is right, unchanged and sure: the same everywhere.

All functions take NumPy arrays and tensors alike, inside compiled functions too. `S` are samples, `T` transformations,
`K` classes. A classifier of several labels gives `K` answers per image, one per label: `by_label` makes a row of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfinv.support.lazy import tf
from tfinv.support.types import Tensor


def threshold_of(activation: str | None) -> float:
    """The value above which one unit says yes: 0.5 for a sigmoid's, 0 for a logit."""
    return 0.5 if activation == "sigmoid" else 0.0


def chosen(outputs: Tensor, threshold: float) -> Tensor:
    r"""The predicted class of each image; of a single unit, class 1 above a threshold.

        \hat y = \arg\max_k f_k \text{ for } K > 1, \quad \hat y = [f > \theta] \text{ for } K = 1

    Example:
        >>> import numpy as np
        >>> from tfinv.statistics.classification import chosen
        >>> chosen(np.array([[0.2], [0.7]]), 0.5), chosen(np.array([[2.0, 1.0]]), 0.5)
        (array([0, 1]), array([0]))

    Args:
        outputs: `(..., K)`.
        threshold: for K = 1 alone.

    Returns:
        Class numbers int64 `(...)`.
    """
    ops = _operations(outputs)
    if outputs.shape[-1] == 1:
        return ops.where(outputs[..., 0] > threshold, np.int64(1), np.int64(0))
    return ops.argmax(outputs, axis=-1)


def by_label(outputs: Tensor, labels: Tensor | None) -> tuple[Tensor, Any]:
    """One row per answer, where every unit of an output tells a label of its own.

    Example:
        >>> import numpy as np
        >>> from tfinv.statistics.classification import by_label
        >>> outputs, labels = by_label(np.array([[[0.2, 0.7]], [[0.6, 0.9]]]), np.array([[0, 1], [1, 0]]))
        >>> outputs.shape, labels
        ((4, 1, 1), array([0, 1, 1, 0]))

    Args:
        outputs: `(S, ..., K)`.
        labels: `(S, K)` of 0 and 1; class numbers `(S,)` or None change nothing.

    Returns:
        Outputs `(S * K, ..., 1)`, the labels of an image one after the other, and labels `(S * K,)`.

    Raises:
        ValueError: another number of labels than of units.
    """
    if labels is None or len(labels.shape) == 1:
        return outputs, labels
    units, rank = outputs.shape[-1], len(outputs.shape)
    if labels.shape[-1] != units:
        raise ValueError(
            f"labels must have one column for each of the model's {units} outputs. Received: {labels.shape[-1]} columns"
        )
    ops = _operations(outputs)
    ahead = ops.transpose(outputs, (0, rank - 1, *range(1, rank - 1)))
    rows = ops.reshape(ahead, (-1, *outputs.shape[1:-1], 1))
    return rows, _operations(labels).reshape(labels, (-1,))


def predicted(outputs: Tensor, *, from_logits: bool, threshold: float | None = None) -> tuple[Tensor, Tensor]:
    r"""The predicted class of each image, and how sure the classifier is of it.

        \hat y = \arg\max_k f_k, \quad \hat p = \max_k p_k, \quad p = \mathrm{softmax}(f) \text{ or } f

    A single unit gives the probability `p` of class 1, as it is or by the sigmoid, and `1 - p` is that of class 0.

    Example:
        >>> import numpy as np
        >>> from tfinv.statistics.classification import predicted
        >>> predicted(np.array([[0.0, np.log(3.0)]]), from_logits=True)
        (array([1]), array([0.75]))

    Args:
        outputs: `(..., K)`.
        from_logits: whether outputs are logits, to which softmax is applied; otherwise they are probabilities, and
            what rounding to 8 bits puts outside of [0, 1] is clipped.
        threshold: of a single unit; None for a probability of 0.5.

    Returns:
        Class numbers int64 `(...)`, and confidences `(...)` in [0, 1] of the dtype of `outputs`.
    """
    ops = _operations(outputs)
    if outputs.shape[-1] == 1:
        classes = chosen(outputs, (0.0 if from_logits else 0.5) if threshold is None else threshold)
        positive = _probability(outputs[..., 0], from_logits)
        return classes, ops.where(classes == 1, positive, 1 - positive)
    largest = ops.max(outputs, axis=-1)
    if from_logits:
        certain = 1 / ops.sum(ops.exp(outputs - largest[..., None]), axis=-1)
    else:
        certain = ops.minimum(ops.maximum(largest, ops.zeros_like(largest)), ops.ones_like(largest))
    return ops.argmax(outputs, axis=-1), certain


def correct(classes: Tensor, labels: Tensor) -> Tensor:
    """Which predictions are the label of their image.

    Args:
        classes: int64 `(S, T)`, the predicted class under each transformation.
        labels: int64 `(S,)`.

    Returns:
        Bool `(S, T)`; its mean over samples is the accuracy under each transformation.
    """
    return _operations(classes).equal(classes, labels[:, None])


def consistent(classes: Tensor, upright: Tensor) -> Tensor:
    """Which predictions are that of the untransformed image.

    Args:
        classes: int64 `(S, T)`, the predicted class under each transformation.
        upright: int64 `(S,)`, the predicted class of the untransformed image.

    Returns:
        Bool `(S, T)`; its mean over samples is the consistency under each transformation.
    """
    return _operations(classes).equal(classes, upright[:, None])


def effective_invariance(same: Tensor, confidence: Tensor, upright: Tensor) -> Tensor:
    r"""Consistency weighted by confidence: `\sqrt{\hat p_s \hat p_{sj}}` where the class survives, 0 elsewhere.

    Args:
        same: bool `(S, T)`, see `consistent`.
        confidence: `(S, T)`, of the predictions under each transformation.
        upright: `(S,)`, of those of the untransformed images.

    Returns:
        `(S, T)` in [0, 1], of the dtype of `confidence`.

    Source: Deng, Gould and Zheng 2022, "On the strong correlation between model invariance and generalization",
    equation 1.
    """
    ops = _operations(confidence)
    certain = ops.sqrt(confidence * upright[:, None])
    return ops.where(same, certain, ops.zeros_like(certain))


def _probability(values: Tensor, from_logits: bool) -> Tensor:
    """The probability that a single unit gives."""
    ops = _operations(values)
    if not from_logits:
        return ops.minimum(ops.maximum(values, ops.zeros_like(values)), ops.ones_like(values))
    larger = 1 / (1 + ops.exp(-ops.abs(values)))  # does not overflow
    return ops.where(values > 0, larger, 1 - larger)


def _operations(array: Any) -> Any:
    """NumPy, or TensorFlow's operations under NumPy's names."""
    return np if isinstance(array, np.ndarray) else tf.experimental.numpy
