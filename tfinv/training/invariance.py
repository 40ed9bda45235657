"""A loss that draws what layers give for transformed images towards what they give for the images themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfinv.activations.outputs import output_activation
from tfinv.activations.sub_model import ActivationModel
from tfinv.support.checks import finite, kind_of, layer_choice, received
from tfinv.support.lazy import keras, tf
from tfinv.support.types import Images, KerasModel, Tensor
from tfinv.transformations import as_set

if TYPE_CHECKING:
    from tfinv.activations.source import LayerChoice

Activations = Callable[[Tensor], Mapping[str, Tensor]]
"""From images `(N, H, W, C)` to `{layer: (N, *U)}`, in inference mode."""

_SILENT = 1e-30
"""Variances below it count as none."""


@dataclass(frozen=True, eq=False)
class Distillation:
    """A trained network whose outputs and activations a network in training shall keep.

    Example:
        >>> from tfinv import models
        >>> from tfinv.training import Distillation, InvarianceLoss
        >>> float_model = models.build("ffnet", (16, 16, 1), 10, seed=0)
        >>> loss = InvarianceLoss("rotations(8)", "logits", 0.5, distillation=Distillation(float_model))

    Args:
        teacher: a Keras model that gives logits; it is not trained. Its layers have the names of those of the network
            in training.
        weight: of `keras.distillation.LogitsDistillation`, which compares the outputs for the training images.
        temperature: by which it divides the logits of both networks.

    Raises:
        TypeError: a teacher that is no Keras model.
        ValueError: a teacher that ends in a softmax or a sigmoid, or a number out of range.
    """

    teacher: KerasModel
    weight: float = 1.0
    temperature: float = 3.0

    def __post_init__(self) -> None:
        kind_of("teacher", self.teacher, keras.Model, "a Keras model")
        if activation := output_activation(self.teacher):
            raise ValueError(f"teacher must give logits. Received: a model that ends in a {activation}")
        finite("weight", self.weight, 0)
        finite("temperature", self.temperature, above=0)


class InvarianceLoss:
    r"""What training minimizes beside the cross entropy, so that chosen layers become invariant or stay so.

        L = \text{cross entropy} + \frac{w}{|\text{layers}|} \sum_l
            \frac{\operatorname{mean}_s \lVert f_l(t_s x_s) - \bar{f}_l(x_s) \rVert^2}
                 {\sum_u \operatorname{Var}_s \bar{f}_{l,u}(x_s)}

    `x_s` are the images of a batch, after the augmentation if there is one. `t_s` is drawn anew for every image in
    every step. The bar says that no gradient flows into what stands under it: activations of transformed images move
    towards those of the images, not the reverse. The term of a layer is 0 if the layer is invariant, and 2 on average
    if `f_l(t x)` has the distribution of `f_l(x)` and tells nothing of `x`. A layer that does not vary over the batch,
    as in a batch of one image, counts as 0.

    The layers are computed in inference mode: the term measures the network as it is used, and neither draws dropout
    nor moves the statistics of batch normalization. With weight 0 training is the same, bit for bit, as without it.

    A layer that is scaled keeps its term. The error alone would still scale the layer down, because one of its two
    halves has no gradient; a factor of value 1 takes that part out of the gradient (`layer_term`). A large weight can
    yet silence a layer before the network has learned anything: look at the accuracy too.

    With `distillation`, the activations under the bar are those of a teacher, such as the network before quantization,
    and `keras.distillation.LogitsDistillation` of the outputs is added.

    Example:
        >>> from tfinv import datasets, models
        >>> from tfinv.training import InvarianceLoss, train
        >>> few = datasets.load("digits").train.subset(100, seed=0)
        >>> model = models.build("ffnet", (16, 16, 1), 10, seed=0)
        >>> loss = InvarianceLoss("rotations(8)", "act2", 0.1)
        >>> result = train(model, few, epochs=1, invariance=loss, progress=False)
        >>> list(result.history)
        ['epoch', 'loss', 'accuracy', 'invariance']

    Args:
        transformations: a `TransformationSet`, its id such as `"rotations(16)"`, a sequence of transformations, or a
            Keras layer that draws a transformation for each image, such as `AffineAugmentation(rotation=180)`.
        layers: names, globs or types of layers, as `tfinv.activations.ActivationModel` takes them. Their terms are
            averaged. `train`, `InvarianceTraining` and `tfinv.tflite.qat_int8` look them up in the network.
        weight: `w`, at least 0.
        distillation: see above; None compares the network with itself.
        seed: of the draws; `train` and quantization-aware training set it to theirs.

    Raises:
        ValueError: a set that does not fit, no layer, or a negative weight.
        TypeError: arguments of another kind.
    """

    def __init__(
        self,
        transformations: Any,
        layers: LayerChoice,
        weight: float = 0.1,
        *,
        distillation: Distillation | None = None,
        seed: int | None = None,
    ) -> None:
        if layers is None:
            raise ValueError("layers must name the layers that shall be invariant. Received: None")
        layer_choice(layers)
        self.layers = layers
        self.weight = finite("weight", weight, 0)
        if distillation is not None:
            kind_of("distillation", distillation, Distillation, "a Distillation")
        self.distillation = distillation
        self.draw: Any = _drawing_layer(transformations, seed)
        """The Keras layer that transforms images."""

    def __repr__(self) -> str:
        layers = [self.layers] if isinstance(self.layers, (str, type)) else list(self.layers or ())
        names = [layer if isinstance(layer, str) else layer.__name__ for layer in layers]
        teacher = "" if self.distillation is None else f", teacher={self.distillation.teacher.name}"
        return f"InvarianceLoss({_text(self.draw)}, {names}, {self.weight:g}{teacher})"

    def activations_of(self, model: KerasModel) -> ActivationModel:
        """The chosen layers of a model.

        Raises:
            TypeError: a model whose layers form no graph.
            ValueError: an unknown layer, or a model with its channels first.
        """
        watched = ActivationModel(model, self.layers)
        if watched.layout != "nhwc":
            raise ValueError("model must have its channels last for an invariance loss. Received: channels first")
        return watched

    def activations_of_teacher(self, model: KerasModel) -> ActivationModel:
        """The chosen layers of the teacher, which are those of a model with the same outputs.

        Args:
            model: the network in training.

        Raises:
            ValueError: a teacher with other outputs, or without one of the layers.
        """
        assert self.distillation is not None
        teacher = self.distillation.teacher
        if teacher.output_shape != model.output_shape:
            raise ValueError(
                f"teacher must have the outputs of the network in training, {model.output_shape}. Received: outputs "
                f"{teacher.output_shape}"
            )
        shapes = self.activations_of(model).layer_shapes
        names = [name for name in shapes if name not in ActivationModel(teacher, None).layer_shapes]
        if names:
            raise ValueError(
                f"teacher must have the layers that the loss compares: {', '.join(shapes)}. Received: a model without "
                f"{', '.join(names)}"
            )
        activations = self.activations_of(teacher)
        different = [name for name, shape in shapes.items() if activations.layer_shapes.get(name) != shape]
        if different:
            name = different[0]
            raise ValueError(
                f"teacher must have layer {name!r} in the shape of the network in training, {shapes[name]}. Received: "
                f"{activations.layer_shapes.get(name)}"
            )
        return activations

    def transformed(self, images: Images) -> Tensor:
        """Each image under a transformation drawn for it: float32 `(N, H, W, C)`."""
        asks = "training" in inspect.signature(self.draw.call).parameters
        return tf.cast(self.draw(images, **({"training": True} if asks else {})), tf.float32)

    def term(self, activations: Activations, images: Tensor, teacher: Activations | None = None) -> Tensor:
        """The mean over the layers, without the weight.

        Args:
            activations: of the network in training.
            images: `(N, H, W, C)`.
            teacher: what gives the activations without gradient; None for the network itself.

        Returns:
            A scalar.
        """
        return mean_term((teacher or activations)(images), activations(self.transformed(images)))


def mean_term(plain: Mapping[str, Tensor], transformed: Mapping[str, Tensor]) -> Tensor:
    """The mean of `layer_term` over layers.

    Args:
        plain: `{layer: (N, *U)}` of the images as they are.
        transformed: the same of transformed images; its layers count.

    Returns:
        A scalar.
    """
    terms = [layer_term(plain[name], values) for name, values in transformed.items()]
    return tf.add_n(terms) / len(terms)


def layer_term(plain: Tensor, transformed: Tensor) -> Tensor:
    r"""The mean squared change of a layer in units of its variance over the batch; no gradient flows into `plain`.

        \frac{\operatorname{mean}_s \lVert b_s - \bar{a}_s \rVert^2}{\sum_u \operatorname{Var}_s \bar{a}_{su}}
        \sqrt{\frac{\bar{v}}{v}}, \qquad v = \sum_u \operatorname{Var}_s b_{su}

    `a` are the activations of the images, `b` those of the transformed images. Under a bar there is no gradient. The
    root is 1, and keeps the gradient from scaling the layer: if `b` has the mean square of `a`, the gradient along `b`
    itself is 0.

    Example:
        >>> from tfinv.training.invariance import layer_term
        >>> float(layer_term([[0.0], [2.0]], [[1.0], [2.0]]))  # the mean square is 1/2, the variance 1
        0.5

    Args:
        plain: `(N, *U)` of the images as they are.
        transformed: `(N, *U)` of transformed images.

    Returns:
        A scalar; 0 where `plain` does not vary.
    """
    plain, transformed = tf.stop_gradient(_wide(plain)), _wide(transformed)
    error = tf.reduce_mean(tf.math.squared_difference(transformed, plain), axis=0)
    variance = tf.math.reduce_variance(plain, axis=0)
    # In logarithms: the gradient of a root is infinite at 0, where a layer is silent.
    scale = tf.math.log(tf.maximum(tf.reduce_sum(tf.math.reduce_variance(transformed, axis=0)), _SILENT))
    one = tf.exp((tf.stop_gradient(scale) - scale) / 2)
    return one * tf.math.divide_no_nan(tf.reduce_sum(error), tf.reduce_sum(variance))


def _wide(values: Tensor) -> Tensor:
    """A tensor in float32, or float64 where it is so."""
    values = tf.convert_to_tensor(values)
    return values if values.dtype == tf.float64 else tf.cast(values, tf.float32)


def _drawing_layer(transformations: Any, seed: int | None) -> Any:
    if isinstance(transformations, type) or transformations is None:
        raise TypeError(f"transformations must be a set or a Keras layer. Received: {received(transformations)}")
    if not isinstance(transformations, str) and isinstance(transformations, keras.layers.Layer):
        return transformations
    from tfinv.transformations.set_augmentation import augmentation_layer  # here: it imports Keras

    return augmentation_layer(as_set(transformations), seed=seed)


def _text(layer: Any) -> str:
    """A drawing layer as a short text: the id of its set, or its class with the options that are set."""
    members = getattr(layer, "transformations", None)
    if members is not None:
        return members.id
    left_out = ("name", "dtype", "trainable", "seed")
    config = {name: value for name, value in layer.get_config().items() if name not in left_out and value is not None}
    return f"{type(layer).__name__}({', '.join(f'{name}={value!r}' for name, value in config.items())})"
