"""Share of correctly classified images, upright and under transformations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.keras_graph import show
from tfinv.activations.outputs import answering_activation, output_activation
from tfinv.datasets.given import as_array, as_labels, check_finite, in_memory
from tfinv.statistics.classification import by_label, chosen, correct, threshold_of
from tfinv.support.checks import finite, received, whole_number
from tfinv.support.faults import RUNS, told
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras, tf
from tfinv.support.progress import Progress
from tfinv.support.types import Images, Model, Tensor
from tfinv.transformations import as_set, warp

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tfinv.transformations import TransformationSet

Classifier = Any
"""A Keras model, or a function from float32 images `(N, H, W, C)` to logits `(N, classes)`."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and labels that were checked against each other and against a model.

    Args:
        x: float32 `(S, H, W, C)`, finite.
        y: int64 `(S,)`; `(S, K)` of 0 and 1 for several labels of one image.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of(cls, data: Images, model: Classifier, argument: str) -> LabelledImages:
        """Take a `Split`, a pair `(x, y)` or a `tf.data.Dataset` of pairs that `model` can be shown.

        What was checked already stays as it is.

        Raises:
            ValueError: no labels, images that are not `(S, H, W, C)`, finite and of the model's input shape, or labels
                that are not class numbers of the model's output; `argument` is named.
            TypeError: neither a split nor a pair.
        """
        if isinstance(data, cls):
            return data
        if not hasattr(data, "x") and not hasattr(data, "element_spec"):
            if not isinstance(data, (tuple, list)) or len(data) != 2:
                raise TypeError(f"{argument} must be a Split or a pair (x, y). Received: {type(data).__name__}")
            data = tuple(data)
        given, labels = in_memory(data, argument)
        if labels is None:
            raise ValueError(f"{argument} must have labels. Received: images alone")
        x = as_array(given, f"the images of {argument}")
        check_finite(x, f"the images of {argument}")
        y = as_labels(labels, len(x), f"the labels of {argument}", activation=answering_activation(model))
        _check_fit(x.shape[1:], y, model, argument)
        return cls(np.ascontiguousarray(x, np.float32), y)


def accuracy(model: Classifier, data: Images, *, batch_size: int = 256) -> float:
    """The share of images whose largest logit is that of their class.

    One output unit says class 1 above 0.5 where it is a sigmoid's, and above 0 where it is a logit. Of several labels
    per image, every unit answers by that threshold, and the share is that of right answers.

    Example:
        >>> from tfinv import datasets, models
        >>> from tfinv.training.accuracy import accuracy
        >>> digits = datasets.load("digits")
        >>> 0 <= accuracy(models.build("ffnet", digits.input_shape, 10), digits.test) <= 1
        True

    Args:
        model: a Keras model, or a function from float32 images `(N, H, W, C)` to logits `(N, classes)`.
        data: a `tfinv.datasets.Split` or a pair `(x, y)`.
        batch_size: images shown to the model at a time.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: data that do not fit the model, or logits that are NaN.
    """
    images = LabelledImages.of(data, model, "data")
    return float(_right(model, images, None, batch_size, {}, progress=False).mean())


@guarded()
def accuracy_under(
    model: Classifier,
    x: ArrayLike,
    y: ArrayLike,
    transformations: Any,
    *,
    interpolation: str = "bilinear",
    padding: str = "constant",
    fill_value: float = 0.0,
    batch_size: int = 256,
    progress: bool = False,
) -> NDArray[np.float64]:
    """The accuracy when all images are shown under each transformation of a set.

        acc[j] = mean_s [ argmax model(t_j(x_s)) = y_s ]

    Of several labels per image, it is the share of right answers, the mean over images and labels.

    Example:
        >>> from tfinv import datasets, models
        >>> from tfinv.training.accuracy import accuracy_under
        >>> test = datasets.load("digits").test
        >>> model = models.build("ffnet", (16, 16, 1), 10)
        >>> accuracy_under(model, test.x, test.y, "rotations(8)").shape
        (8,)

    Args:
        model: a Keras model, or a function from float32 images `(N, H, W, C)` to logits `(N, classes)`.
        x: images `(S, H, W, C)`.
        y: int `(S,)`, or `(S, K)` of 0 and 1.
        transformations: a `TransformationSet`, its id, or a sequence of `Affine`.
        interpolation: see `warp`.
        padding: see `warp`.
        fill_value: see `warp`.
        batch_size: transformed images shown to the model at a time, about.
        progress: show a progress bar.

    Returns:
        float64 `(T,)` in [0, 1].

    Raises:
        ValueError: data that do not fit the model, a bad set, or logits that are NaN.
    """
    options: dict[str, Any] = {
        "interpolation": interpolation,
        "padding": padding,
        "fill_value": finite("fill_value", fill_value),
    }
    images = LabelledImages.of((x, y), model, "x")
    return _right(model, images, as_set(transformations), batch_size, options, progress).mean(axis=0)


@guarded()
def right_under(
    model: Classifier,
    x: ArrayLike,
    y: ArrayLike,
    transformations: Any,
    *,
    interpolation: str = "bilinear",
    padding: str = "constant",
    fill_value: float = 0.0,
    batch_size: int = 256,
    progress: bool = False,
) -> NDArray[np.bool_]:
    """Which images are classified right under which transformations of a set.

    The mean over images is `accuracy_under`; the share of images that are right under all is the worst case.

    Example:
        >>> from tfinv import datasets, models
        >>> from tfinv.training import right_under
        >>> test = datasets.load("digits").test
        >>> model = models.build("ffnet", (16, 16, 1), 10)
        >>> right = right_under(model, test.x, test.y, "rotations(8)")
        >>> right.shape == (len(test), 8), bool(right.all(axis=1).mean() <= right.mean(axis=0).min())
        (True, True)

    Args:
        model: see `accuracy_under`, as all that follow.
        x: images `(S, H, W, C)`.
        y: int `(S,)`, or `(S, K)` of 0 and 1.
        transformations: a `TransformationSet`, its id, or a sequence of `Affine`.
        interpolation: see `warp`.
        padding: see `warp`.
        fill_value: see `warp`.
        batch_size: transformed images shown to the model at a time, about.
        progress: show a progress bar.

    Returns:
        bool `(S, T)`; of several labels per image, whether all of them are right.

    Raises:
        ValueError: data that do not fit the model, a bad set, or logits that are NaN.
    """
    images = LabelledImages.of((x, y), model, "x")
    options = {"interpolation": interpolation, "padding": padding, "fill_value": finite("fill_value", fill_value)}
    right = _right(model, images, as_set(transformations), batch_size, options, progress)
    return np.asarray(right.reshape(len(images), -1, right.shape[-1]).all(axis=1), bool)


def _right(
    model: Classifier,
    images: LabelledImages,
    transformations: TransformationSet | None,
    batch_size: int,
    options: dict[str, Any],
    progress: bool,
) -> NDArray[np.bool_]:
    """Which answers are right under each transformation: bool `(S, T)`, or `(S * K, T)` for K labels per image."""
    threshold = threshold_of(output_activation(model) if isinstance(model, keras.Model) else None)
    right = []
    for start, logits in logits_under(model, images.x, transformations, batch_size, options, progress):
        if logits.shape[-1] == 1 and not isinstance(model, keras.Model):
            raise ValueError(
                "model must be a Keras model, or a function that gives two or more logits: a single number may be "
                "a logit or a probability. Received: a function that gives one number"
            )
        rows, labels = by_label(logits, images.y[start : start + len(logits)])
        right.append(correct(chosen(rows, threshold), labels))
    return np.concatenate(right)


def logits_under(
    model: Classifier,
    x: NDArray[np.float32],
    transformations: TransformationSet | None,
    batch_size: int,
    options: dict[str, Any],
    progress: bool,
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Outputs for images under each transformation, block by block.

    Args:
        model: see `accuracy_under`.
        x: images `(S, H, W, C)`.
        transformations: the set; None for the images as they are.
        batch_size: transformed images shown to the model at a time, about.
        options: of `warp`.
        progress: show a progress bar.

    Yields:
        The position of a block of images, and its outputs `(S_b, T, K)`.

    Raises:
        ValueError: outputs that are NaN.
    """
    count = 1 if transformations is None else len(transformations)
    step = max(1, whole_number("batch_size", batch_size, 1) // count)
    predict = _predictor(model, x.shape[1:], transformations, options)
    with Progress("accuracy", len(x) * count, "img", shown=progress) as bar:
        for start in range(0, len(x), step):
            images = x[start : start + step]
            with told(RUNS, model) if isinstance(model, keras.Model) else nullcontext():
                logits = np.asarray(predict(images))
            if np.isnan(logits).any():
                raise ValueError("model must give finite logits. Received: NaN")
            yield start, logits.reshape(len(images), count, -1)
            bar.advance(len(images) * count)


def _predictor(
    model: Classifier, shape: tuple[int, ...], transformations: TransformationSet | None, options: dict[str, Any]
) -> Callable[[Tensor], Tensor]:
    """A function from images `(S_b, H, W, C)` to the logits `(S_b * T, classes)` of their transformed versions."""
    in_graph = isinstance(model, keras.Model)
    if not in_graph and not callable(model):
        raise TypeError(f"model must be a Keras model or a function of images. Received: {received(model)}")

    def transformed(images: Tensor) -> Tensor:
        if transformations is None:
            return images
        return tf.reshape(warp(images, transformations, **options), [-1, *shape])

    if not in_graph:
        return lambda images: model(np.asarray(transformed(images)))
    spec = tf.TensorSpec([None, *shape], tf.float32)
    predict = tf.function(lambda images: show(model, transformed(images)), input_signature=[spec], autograph=False)
    return predict.get_concrete_function()  # a call would count towards TensorFlow's warning of frequent tracing


def _shapes(model: Model) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Shapes of all inputs and of all outputs."""
    if getattr(model, "inputs", None) and getattr(model, "outputs", None):
        return [tuple(symbol.shape) for symbol in model.inputs], [tuple(symbol.shape) for symbol in model.outputs]
    try:
        return [tuple(model.input_shape)], [tuple(model.output_shape)]
    except AttributeError:
        raise ValueError(
            "model must be built: begin it with keras.Input, or rebuild it with keras.Model(inputs, outputs). "
            f"Received: {type(model).__name__} {model.name!r}"
        ) from None


def _check_fit(image_shape: tuple[int, ...], y: NDArray[Any], model: Classifier, argument: str) -> None:
    if isinstance(model, keras.Model):
        inputs, outputs = _shapes(model)
        expected, output = inputs[0], outputs[0]
        if len(inputs) != 1 or len(expected) != 4 or len(output) != 2:
            raise ValueError(
                "model must take one batch of images (N, H, W, C) and give logits (N, classes). "
                f"Received: inputs {', '.join(map(str, inputs))}, outputs {output}"
            )
        fits = all(want in (None, have) for want, have in zip(expected[1:], image_shape, strict=True))
        if not fits:
            raise ValueError(
                f"the images of {argument} must have the model's input shape {expected[1:]}. Received: {image_shape}"
            )
        if not isinstance(output[1], int):
            raise ValueError(f"model must give a known number of logits (N, classes). Received: outputs {output}")
        if y.ndim == 2:
            if y.shape[1] != output[1]:
                raise ValueError(
                    f"the labels of {argument} must have one column for each of the model's {output[1]} outputs. "
                    f"Received: shape {y.shape}"
                )
        elif y.max() >= max(2, output[1]):
            what = f"below the model's {output[1]} outputs" if output[1] > 1 else "0 or 1 for a model of one output"
            raise ValueError(f"the labels of {argument} must be {what}. Received: label {y.max()}")
    if y.min() < 0:
        raise ValueError(f"the labels of {argument} must be class numbers from 0. Received: {y.min()}")
