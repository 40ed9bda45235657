"""Intermediate outputs of a Keras model through a functional sub-model."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.channel_groups import channel_groups
from tfinv.activations.input_scale import InputScale
from tfinv.activations.input_scale import input_scale as parse_scale
from tfinv.activations.keras_graph import (
    at_rest,
    collect,
    flat_outputs,
    graph_of,
    layer_values,
    output_names,
    show,
    walk,
)
from tfinv.activations.layout import (
    TO_FIRST,
    TO_LAST,
    Layout,
    as_images,
    checked_layout,
    first_channels,
    input_layout,
)
from tfinv.activations.outputs import ModelOutput, output_activation, scores_behind
from tfinv.activations.selection import select_names
from tfinv.activations.source import LayerChoice
from tfinv.statistics.resolution import Computed, Resolution, resolutions
from tfinv.support.faults import RUNS, told
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import Images, KerasModel, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PREDICTED = 64
"""Images that are predicted at a time."""


@dataclass(frozen=True)
class _Tap:
    """One output tensor of one call of one layer."""

    name: str
    layer: Any
    tensor: Tensor
    channels_first: bool = False
    channel_group: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """`*U`, channels last."""
        return as_images(self.tensor.shape[1:], "nchw") if self.channels_first else tuple(self.tensor.shape[1:])


@guarded("input_shape")
class ActivationModel:
    """A functional sub-model that maps images to the outputs of chosen layers.

    Finds every layer of functional and sequential models. A layer of a nested model is called `inner/conv`, the calls
    of a layer used several times `relu@1`, `relu@2`, the outputs of a layer with several `split:0`, `split:1`. Images
    and feature maps have their channels last here, also where the model has them first. Nothing above the last chosen
    layer is computed, and the weights are the model's own.

    Example:
        >>> import keras
        >>> from tfinv.activations import ActivationModel
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        >>> x = keras.layers.Flatten(name="flat")(x)
        >>> model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> ActivationModel(model).layer_shapes
        {'conv': (6, 6, 4), 'flat': (144,), 'logits': (3,)}

    Args:
        model: a built functional or sequential Keras 3 model with one image input.
        layers: which layers: a name, a glob such as `"conv*"`, a layer type (`keras.layers.Conv2D` or `"Conv2D"`), or
            a sequence of these; None for all.
        input_shape: `(H, W, C)`, needed where the model leaves height or width open.
        input_scale: what becomes of images before the model sees them, such as `"0..255"`, see
            `tfinv.tflite.TFLiteModel`; by default nothing.
        layout: `"nhwc"` or `"nchw"`, where the model has the channels of its images; None for what its first layers, or
            else its input shape tell.

    Raises:
        TypeError: the model is not a functional or sequential Keras model.
        ValueError: an unbuilt model, several inputs, an unknown layer, or a chosen output that is not per image.
    """

    def __init__(
        self,
        model: KerasModel,
        layers: LayerChoice = None,
        *,
        input_shape: tuple[int, ...] | None = None,
        input_scale: str | Sequence[Any] | InputScale = "0..1",
        layout: Layout | None = None,
    ) -> None:
        graph = graph_of(model)
        self.keras_model = model
        self.input_scale: InputScale = parse_scale(input_scale)
        self.layout: Layout = checked_layout(layout) or input_layout(model)
        """Where the model has the channels of its images."""
        self._input_shape = _image_shape(graph, input_shape, self.layout)
        inputs = keras.Input(self._input_shape, name="images")
        usable: dict[str, _Tap] = {}
        self.skipped: dict[str, str] = {}
        """Layers that cannot be measured, and why."""
        taps, outputs = _taps(model, as_model_inputs(inputs, self.layout), self.layout)
        for tap in taps:
            if reason := _why_not_measured(tap.tensor):
                self.skipped[tap.name] = reason
            else:
                usable[tap.name] = tap
        names = select_names({name: type(tap.layer) for name, tap in usable.items()}, layers, self.skipped)
        self.outputs = _outputs(model, taps, outputs)
        """The outputs, in the order of `model.outputs`; classes are read from the first."""
        self.output_layer = self.outputs[0].layer
        """The layer that makes the model's first output, chosen or not; of class numbers, the layer they come from."""
        self.layer_types: dict[str, str] = {name: type(usable[name].layer).__name__ for name in names}
        self.channel_groups: dict[str, str] = {name: usable[name].channel_group for name in names}
        """The group that permutes the channels of a layer: `"p4"`, `"p4m"`, `"none"`, or `""` where that is unknown."""
        self._layer_shapes = {name: usable[name].shape for name in names}
        self.model: keras.Model = keras.Model(inputs, self._outputs(inputs, usable, names))

    def _outputs(self, inputs: Tensor, taps: Mapping[str, _Tap], names: Sequence[str]) -> dict[str, Tensor]:
        """The symbolic outputs of the sub-model."""
        inner = [layer.name for layer in {id(tap.layer): tap.layer for tap in taps.values()}.values()]
        if len(set(inner)) == len(inner):
            outputs = {name: taps[name].tensor for name in names}
        else:
            # Keras refuses two layers of one name in a model, which nested models may hold: run the calls in one layer.
            given = as_model_inputs(inputs, self.layout)
            outputs = _calls_layer(self.keras_model, given.shape[1:], names, self.layout)(given)
        first = {name for name in names if taps[name].channels_first}
        return {
            name: keras.ops.transpose(tensor, TO_LAST) if name in first else tensor for name, tensor in outputs.items()
        }

    @property
    def output_layers(self) -> tuple[str, ...]:
        """The layers that make the model's outputs, in the order of `model.outputs`, chosen or not."""
        return tuple(output.layer for output in self.outputs if output.layer)

    @property
    def id(self) -> str:
        """Model name, and a hash of its weights, so that results identify the model."""
        digest = hashlib.sha256()
        for weight in self.keras_model.weights:
            digest.update(weight.path.encode())
            digest.update(keras.ops.convert_to_numpy(weight).tobytes())
        return f"{self.keras_model.name}-{digest.hexdigest()[:12]}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(H, W, C)` of the images."""
        return self._input_shape

    @property
    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Unit shape `*U` by layer name, in network order."""
        return dict(self._layer_shapes)

    def __reduce__(self) -> tuple[Any, ...]:
        kinds = {type(layer) for layer in self.keras_model._flatten_layers()}
        own = [kind for kind in kinds if kind.__module__.split(".")[0] != "keras"]
        weights = [keras.ops.convert_to_numpy(weight) for weight in self.keras_model.weights]
        described = keras.saving.serialize_keras_object(self.keras_model)
        options = {"input_shape": self._input_shape, "input_scale": self.input_scale, "layout": self.layout}
        return _again, (described, weights, own, list(self._layer_shapes), options)

    def select(self, layers: LayerChoice) -> ActivationModel:
        """The sub-model for some of the layers."""
        return ActivationModel(
            self.keras_model,
            layers,
            input_shape=self._input_shape,
            input_scale=self.input_scale,
            layout=self.layout,
        )

    def with_input_scale(self, scale: str | Sequence[Any] | InputScale) -> ActivationModel:
        """The same sub-model, fed with another input scale."""
        other = copy.copy(self)
        other.input_scale = parse_scale(scale)
        return other

    def predict(self, images: Images) -> NDArray[np.float32]:
        """The (first) output of the whole model for images `(N, H, W, C)` in [0, 1], as an array."""
        parts = [images[start : start + _PREDICTED] for start in range(0, len(images), _PREDICTED)]
        scaled = (as_model_inputs(self.input_scale(np.asarray(part, np.float32)), self.layout) for part in parts)
        return np.concatenate([np.asarray(show(self.keras_model, part), np.float32) for part in scaled])

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The chosen activations, in inference mode.

        Args:
            images: float32 `(N, H, W, C)`.

        Returns:
            `{layer: tensor (N, *U)}` in network order.
        """
        with told(RUNS, self.keras_model):
            outputs = self.model(self.input_scale(images), training=False)
        return {name: outputs[name] for name in self._layer_shapes}

    def resolutions(self, images: NDArray[np.float32]) -> dict[str, Resolution]:
        """By layer the smallest variation that is more than rounding, see `tfinv.statistics.resolution`.

        Args:
            images: float32 `(N, H, W, C)` in [0, 1], a few.
        """
        steps = [
            Computed(value.name, value.value, value.value.dtype.name, value.inputs, value.kernel)
            for value in layer_values(self.keras_model, as_model_inputs(self.input_scale(images), self.layout))
        ]
        return resolutions(steps, self._layer_shapes)

    def differentiated(self, images: Tensor, tangent: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The chosen activations, and their derivatives along a tangent of the images, in forward mode.

        Args:
            images: float32 tensor `(N, H, W, C)`.
            tangent: of the same shape.

        Returns:
            Two times `{layer: tensor (N, *U)}`.
        """
        import tensorflow as tf

        with tf.autodiff.ForwardAccumulator(images, tangent) as accumulator:
            values = self(images)
        derivatives = {name: accumulator.jvp(value, tf.UnconnectedGradients.ZERO) for name, value in values.items()}
        return values, derivatives


def _again(
    described: Any, weights: Sequence[Any], own: Sequence[type], layers: list[str], options: Mapping[str, Any]
) -> ActivationModel:
    """What `ActivationModel.__reduce__` described, in this process or another one."""
    scope = {name: kind for kind in own for name in (kind.__name__, keras.saving.get_registered_name(kind))}
    model: Any = keras.saving.deserialize_keras_object(described, custom_objects=scope)
    model.set_weights(weights)
    return ActivationModel(model, layers, **options)


def as_model_inputs(images: Any, layout: Layout) -> Any:
    """Images `(N, H, W, C)`, an array or a tensor, with their channels where a model has them."""
    if layout == "nhwc":
        return images
    if isinstance(images, np.ndarray):
        return np.ascontiguousarray(images.transpose(TO_FIRST))
    return keras.ops.transpose(images, TO_FIRST)


def _image_shape(graph: Any, given: tuple[int, ...] | None, layout: Layout) -> tuple[int, ...]:
    """`(H, W, C)` of the images of a model."""
    shapes = [tuple(symbol.shape) for symbol in graph.inputs]
    expected = as_images(shapes[0][1:], layout)
    if given is not None:
        if len(given) != 3 or any(
            want is not None and want != size for want, size in zip(expected, given, strict=True)
        ):
            first = "" if layout == "nhwc" else f", channels last although the model has them first, {shapes[0][1:]}"
            raise ValueError(
                f"images must fit the model's input (H, W, C) = {expected}{first}. Received: images of {tuple(given)}"
            )
        return tuple(int(size) for size in given)
    if None in expected:
        raise ValueError(f"input_shape must be given, the model leaves it open: {expected}. Received: None")
    return expected


def _why_not_measured(tensor: Tensor) -> str:
    """Why the units of an output cannot be measured; "" where they can."""
    shape = getattr(tensor, "shape", ())
    if not shape or shape[0] is not None or None in shape[1:]:
        return f"its output shape {shape} is not one fixed-size array per image"
    if "float" not in keras.backend.standardize_dtype(tensor.dtype):
        return f"its output holds no real numbers but {tensor.dtype}, such as class numbers"
    return ""


def _outputs(model: KerasModel, taps: Sequence[_Tap], outputs: Sequence[Tensor]) -> tuple[ModelOutput, ...]:
    """The outputs of a model, with the layers that make them; an output that is the input has no layer."""
    named = {id(tap.tensor): tap.name for tap in taps}
    return tuple(
        ModelOutput(
            str(symbol.name),
            named.get(id(scores_behind(tensor)), ""),
            tuple(-1 if size is None else int(size) for size in tensor.shape[1:]),
            keras.backend.standardize_dtype(tensor.dtype),
            output_activation(model, position),
        )
        for position, (symbol, tensor) in enumerate(zip(model.outputs, outputs, strict=True))
    )


def _taps(model: KerasModel, images: Tensor, layout: Layout) -> tuple[list[_Tap], list[Tensor]]:
    """Call every layer on symbolic images; name each output, in network order, and return the model's outputs."""
    calls, outputs = collect(walk(model, [images], at_rest))
    first = first_channels(calls, images, layout)
    taps = [
        _Tap(name, call.layer, tensor, id(tensor) in first, group)
        for call, names, group in zip(calls, output_names(calls), channel_groups(calls, images), strict=True)
        for name, tensor in zip(names, call.outputs, strict=True)
    ]
    return taps, outputs


def _calls_layer(model: KerasModel, shape: Sequence[int], names: Sequence[str], layout: Layout) -> Any:
    """A layer that runs a model call by call, until it has seen the outputs named."""

    class Calls(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="calls")
            self.observed = model

        def call(self, images: Tensor) -> dict[str, Tensor]:
            seen: dict[str, Tensor] = {}
            for name, tensor in zip(order, flat_outputs(model, images), strict=False):
                seen[name] = tensor
                if seen.keys() >= wanted:
                    break
            return {name: seen[name] for name in names}

    wanted = set(names)
    order = [tap.name for tap in _taps(model, keras.KerasTensor((None, *shape)), layout)[0]]
    return Calls()
