"""Local equivariance error: derivatives along infinitesimal transformations, by layer (evaluation).

Needs gradients, so it does not exist for TFLite models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv._lazy import LazyModule
from tfinv.activations import ActivationModel, walk_calls
from tfinv.batches import ImageBatches
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.status import finite_status

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import NDArray
else:
    tf = LazyModule("tensorflow")

GENERATORS = ("rotation", "scale", "translation_x", "translation_y", "shear")
EXACT_OUTPUTS = 32
"""Up to this many outputs the layer contributions are exact; above, they are estimated with random probes."""


def lie_derivative(
    model: Any,
    images: Any,
    generators: Sequence[str] = GENERATORS,
    *,
    contributions: bool = True,
    probes: int = 32,
    batch_size: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> Results:
    r"""Local equivariance error of every layer, and how much each layer adds to that of the output.

        LEE(a) = E_x [ (L_X f(x))_a^2 ],   \quad
        L_X f = \frac{d}{d\epsilon} t_\epsilon^{-1}(f(t_\epsilon(x))) \Big|_0 = J_f (X x) - X f(x)

    `X` is the generator of the transformation: the velocity field times the spatial derivatives of the map. On layers
    without feature maps the transformation should do nothing, so there `L_X f = J_f (X x)` is the local invariance
    error. The derivative along the image is taken in forward mode.

    The contribution of layer `i` is its own error carried to the output, `J_{out,i} (J_i X h_{i-1} - X h_i)`; over all
    layers these add up exactly to `L_X f` of the output (Gruver et al. 2023, eq. 7), although their squares do not.

    Example:
        >>> import keras, numpy as np
        >>> import tfinv
        >>> inputs = keras.Input((12, 12, 1))
        >>> x = keras.layers.Conv2D(2, 3, activation="tanh", name="conv")(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
        >>> model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> images = np.random.default_rng(0).random((4, 12, 12, 1), dtype="float32")
        >>> results = tfinv.lie_derivative(model, images, ["rotation"], progress=False)
        >>> list(results), list(results["LieDerivative(rotation)"])
        (['LieDerivative(rotation)', 'LieContribution(rotation)'], ['conv', 'gap', 'logits'])

    Args:
        model: a functional or sequential Keras model, or an `ActivationModel`, whose layers are then reported.
        images: array `(S, H, W, C)`, a `Split` or a `tf.data.Dataset`.
        generators: any of `"rotation"` (per radian), `"scale"` (per unit of log scale), `"translation_x"`,
            `"translation_y"` (per width, per height), `"shear"` (per unit slope).
        contributions: also compute what each layer adds to the output's error; costs one backward pass an output.
        probes: for models with more than 32 outputs, random directions in output space.
        batch_size: images at a time.
        seed: of the probes.
        progress: show a progress bar.

    Returns:
        `Results` with `LieDerivative(<generator>)`: per unit `(*U)` the mean square over samples; and
        `LieContribution(<generator>)`: per layer one number, the mean square over samples and outputs.

    Raises:
        ValueError: an unknown generator, images that do not fit.
        TypeError: a model without gradients, such as a TFLite model, or without a graph of layers.

    Source: Gruver, Finzi, Goldblum and Wilson 2023, "The Lie derivative for measuring learned equivariance",
    eq. 2, 4 and 7.
    """
    from tqdm.auto import tqdm

    unknown = [each for each in generators if each not in GENERATORS]
    if unknown or not generators:
        raise ValueError(f"generators must be some of {', '.join(GENERATORS)}. Received: {list(generators)}")
    batches = ImageBatches(images, batch_size)
    source = model if isinstance(model, ActivationModel) else _activation_model(model, batches.shape)
    squares = {each: _Mean() for each in generators}
    added = {each: _Mean() for each in generators}
    forward = tf.function(lambda x, tangent: _forward_mode(source, x, tangent), reduce_retracing=True)
    samples = 0
    total = None if batches.count is None else batches.count
    with tqdm(total=total, unit="img", desc="Lie derivatives", disable=not progress, leave=False) as bar:
        for batch in batches:
            x = tf.constant(batch.images)
            tangents = {each: generator_tangent(x, each) for each in generators}
            for each, tangent in tangents.items():
                values, derivatives = forward(x, tangent)
                errors = {name: derivatives[name] - _acted(values[name], each) for name in derivatives}
                squares[each].add({name: np.square(error.numpy()) for name, error in errors.items()})
            if contributions:
                for each, layers in _contributions(source, x, generators, probes, seed).items():
                    added[each].add(layers)
            samples += len(batch.images)
            bar.update(len(batch.images))
    measures = {}
    for each in generators:
        for name, means in (("LieDerivative", squares[each]), ("LieContribution", added[each])):
            if means.total:
                measures[f"{name}({each})"] = _result(f"{name}({each})", means)
    metadata = {"model": source.id, "samples": samples, "generators": list(generators), "image_shape": [*batches.shape]}
    return Results(measures, metadata)


def generator_tangent(maps: Any, generator: str) -> Any:
    r"""Derivative of transformed feature maps with respect to the transformation's parameter, at the identity.

        X h (p) = \frac{d}{d\epsilon} h(t_\epsilon^{-1}(p)) = - v(p) \cdot \nabla h(p)

    The spatial derivative is the central difference, which is exactly the symmetric derivative of a bilinear warp;
    outside the frame the border is repeated.

    Args:
        maps: float32 `(N, H, W, C)`.
        generator: one of `GENERATORS`.

    Returns:
        float32 `(N, H, W, C)`.
    """
    height, width = maps.shape[1:3]
    padded = tf.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)), "SYMMETRIC")
    along_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    along_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    velocity_x, velocity_y = _velocity(generator, height, width)
    return -(velocity_x[..., None] * along_x + velocity_y[..., None] * along_y)


def _velocity(generator: str, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each position moves, in pixels per unit of the parameter: `(H, W)` along x and along y."""
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    zero = np.zeros_like(x)
    fields = {
        "rotation": (y, -x),
        "scale": (x, y),
        "translation_x": (zero + width, zero),
        "translation_y": (zero, zero + height),
        "shear": (y, zero),
    }
    velocity_x, velocity_y = fields[generator]
    return velocity_x.astype(np.float32), velocity_y.astype(np.float32)


@dataclass
class _Mean:
    """Running mean over samples of arrays by layer, in float64."""

    count: int = 0
    total: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def add(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name, array in arrays.items():
            summed = array.sum(axis=0, dtype=np.float64)
            self.total[name] = self.total.get(name, 0.0) + summed
        self.count += len(next(iter(arrays.values())))


def _result(key: str, means: _Mean) -> MeasureResult:
    layers = {}
    for name, total in means.total.items():
        values = np.asarray(total / means.count)
        layers[name] = LayerResult(values, finite_status(values))
    return MeasureResult(key, layers)


def _activation_model(model: Any, shape: tuple[int, ...]) -> ActivationModel:
    if hasattr(model, "layer_shapes") and not hasattr(model, "weights"):
        raise TypeError(
            "model must be a Keras model: the Lie derivative needs gradients, which TFLite models do not have. "
            f"Received: {type(model).__name__}"
        )
    return ActivationModel(model, input_shape=shape)


def _forward_mode(source: ActivationModel, images: Any, tangent: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Activations of every layer and their derivatives along a tangent of the images."""
    with tf.autodiff.ForwardAccumulator(images, tangent) as accumulator:
        values = source(images)
    derivatives = {}
    for name, value in values.items():
        derivative = accumulator.jvp(value)
        derivatives[name] = tf.zeros_like(value) if derivative is None else derivative
    return values, derivatives


def _acted(values: Any, generator: str) -> Any:
    """How the transformation acts on a layer: on feature maps as on images, on anything else not at all."""
    spatial = values.shape.rank == 4 and min(values.shape[1:3]) > 1
    return generator_tangent(values, generator) if spatial else tf.zeros_like(values)


def _contributions(
    source: ActivationModel, images: Any, generators: Sequence[str], probes: int, seed: int
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """For each generator and layer the squared contribution to the output, mean over outputs: `(N,)`."""
    calls, tapes = [], []
    for call in walk_calls(source.keras_model, images, tapes.append):
        calls.append(call)
    output = calls[-1].outputs[0]
    flat = tf.reshape(output, (len(images), -1))
    width = int(flat.shape[1])
    if width <= EXACT_OUTPUTS:
        directions = np.eye(width, dtype=np.float32)
    else:
        directions = np.random.default_rng(seed).choice([-1.0, 1.0], (probes, width)).astype(np.float32) / width**0.5
    sums: dict[str, dict[str, Any]] = {each: {} for each in generators}
    for direction in directions:
        upstream = tf.reshape(tf.broadcast_to(direction, flat.shape), output.shape)
        for each, layers in _carried(calls, tapes, output, upstream, generators).items():
            for name, value in layers.items():
                sums[each][name] = sums[each].get(name, 0.0) + np.square(value)
    return {each: {name: total / len(directions) for name, total in layers.items()} for each, layers in sums.items()}


def _carried(
    calls: Sequence[Any], tapes: Sequence[Any], output: Any, upstream: Any, generators: Sequence[str]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Each layer's own error, projected on one direction of the output: `(N,)` by generator and layer."""
    gradients = {id(output): upstream}
    found: dict[str, dict[str, Any]] = {each: {} for each in generators}
    for call, tape in zip(reversed(calls), reversed(tapes), strict=True):
        out = [gradients.pop(id(value), None) for value in call.outputs]
        if all(each is None for each in out):
            continue
        given = [tf.zeros_like(value) if each is None else each for value, each in zip(call.outputs, out, strict=True)]
        back = tape.gradient(call.outputs, call.inputs, output_gradients=given)
        for generator in generators:
            own = _inner(back, call.inputs, generator) - _inner(given, call.outputs, generator)
            found[generator][call.name] = found[generator].get(call.name, 0.0) + own
        for value, gradient in zip(call.inputs, back, strict=True):
            if gradient is not None:
                gradients[id(value)] = gradients[id(value)] + gradient if id(value) in gradients else gradient
    return {each: dict(reversed(layers.items())) for each, layers in found.items()}


def _inner(gradients: Sequence[Any], values: Sequence[Any], generator: str) -> NDArray[np.float64]:
    total: Any = 0.0
    for gradient, value in zip(gradients, values, strict=True):
        if gradient is not None:
            product = (gradient * _acted(value, generator)).numpy().astype(np.float64)
            total = total + product.reshape(len(product), -1).sum(axis=1)
    return total
