"""How often a classifier of several labels is right: label by label, and for all labels of an image at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.outputs import output_activation
from tfinv.datasets.given import as_array, check_finite, in_memory
from tfinv.statistics.classification import threshold_of
from tfinv.support.checks import finite
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.training.accuracy import Classifier, logits_under
from tfinv.transformations import as_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.support.types import Images


@dataclass(frozen=True)
class LabelAccuracy:
    """How often a classifier of several labels is right under each transformation.

    Args:
        labels: float64 `(T, K)`, the share of images for which a label is right.
        exact: float64 `(T,)`, the share of images for which all labels are right.
    """

    labels: NDArray[np.float64]
    exact: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean over labels, `(T,)`."""
        return self.labels.mean(axis=1)


@guarded()
def label_accuracy(
    model: Classifier,
    data: Images,
    transformations: Any = None,
    *,
    threshold: float | None = None,
    interpolation: str = "bilinear",
    padding: str = "constant",
    batch_size: int = 256,
    progress: bool = False,
) -> LabelAccuracy:
    r"""The accuracy of a classifier that tells several labels of one image, one unit per label.

        acc_{jk} = mean_s [ [f_k(t_j(x_s)) > \theta] = y_{sk} ], \quad
        exact_j = mean_s \prod_k [ [f_k(t_j(x_s)) > \theta] = y_{sk} ]

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.training import label_accuracy
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="sigmoid")]
        >>> x, y = np.zeros((5, 8, 8, 1), "float32"), np.zeros((5, 3), int)
        >>> label_accuracy(keras.Sequential(layers), (x, y), "rotations(4)").labels.shape
        (4, 3)

    Args:
        model: a Keras model, or a function from float32 images `(N, H, W, C)` to `(N, K)`, one number per label.
        data: a pair `(x, y)` of images `(S, H, W, C)` and labels `(S, K)` of 0 and 1, or a `tf.data.Dataset` of them.
        transformations: a `TransformationSet`, its id, or a sequence of `Affine`; None for the images as they are.
        threshold: above which a unit says yes; None for 0.5 where a sigmoid makes the output, otherwise 0.
        interpolation: see `warp`.
        padding: see `warp`.
        batch_size: transformed images shown to the model at a time, about.
        progress: show a progress bar.

    Raises:
        ValueError: labels that are no matrix of 0 and 1 with one column per unit, data that do not fit, or outputs
            that are NaN.
    """
    given, labels = in_memory(data, "data")
    x = as_array(given, "the images of data")
    check_finite(x, "the images of data")
    y = _matrix(labels, len(x))
    if threshold is not None:
        finite("threshold", threshold)
    if threshold is None:
        threshold = threshold_of(output_activation(model) if isinstance(model, keras.Model) else None)
    members = None if transformations is None else as_set(transformations)
    options = {"interpolation": interpolation, "padding": padding}
    right = []
    for start, outputs in logits_under(model, np.asarray(x, np.float32), members, batch_size, options, progress):
        if outputs.shape[-1] != y.shape[1]:
            raise ValueError(
                f"labels must have one column for each of the model's {outputs.shape[-1]} outputs. Received: shape "
                f"{y.shape}"
            )
        right.append((outputs > threshold) == y[start : start + len(outputs), None])
    found = np.concatenate(right)
    return LabelAccuracy(found.mean(axis=0), found.all(axis=-1).mean(axis=0))


def _matrix(labels: Any, count: int) -> NDArray[np.bool_]:
    """Labels as a matrix of truth values."""
    expected = f"labels must be a matrix of 0 and 1, one row for each of {count} images and one column per label"
    if labels is None:
        raise ValueError(f"{expected}. Received: images alone")
    try:
        array = np.asarray(labels)
    except ValueError:
        raise ValueError(f"{expected}. Received: rows of several lengths") from None
    if array.ndim != 2 or len(array) != count or array.dtype.kind not in "fiub":
        raise ValueError(f"{expected}. Received: {array.dtype} of shape {array.shape}")
    if not ((array == 0) | (array == 1)).all():
        raise ValueError(f"{expected}. Received: values from {array.min():g} to {array.max():g}")
    return array.astype(bool)
