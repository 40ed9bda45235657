"""What each layer adds to the local equivariance error of the output.

Needs gradients, so it does not exist for TFLite models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.keras_graph import taped_calls
from tfinv.activations.sub_model import ActivationModel, as_model_inputs
from tfinv.engine.batches import ImageBatches
from tfinv.evaluation.arguments import as_source, check_gradients
from tfinv.evaluation.evaluate import evaluate
from tfinv.measures import LieDerivative
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.statistics.lie_error import acted
from tfinv.status import finite_status
from tfinv.support.checks import whole_number
from tfinv.support.faults import RUNS, told
from tfinv.support.guarded import guarded
from tfinv.support.lazy import tf
from tfinv.support.progress import Progress
from tfinv.support.types import Images, Model
from tfinv.transformations import identity
from tfinv.transformations.generators import GENERATORS, Generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT_OUTPUTS = 32
"""Up to this many outputs the layer contributions are exact; above, they are estimated with random probes."""


@guarded(probes=1, seed=0)
def lie_derivative(
    model: Model,
    images: Images,
    generators: Sequence[Generator] = GENERATORS,
    *,
    contributions: bool = True,
    probes: int = 32,
    batch_size: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> Results:
    r"""Local equivariance error of every layer, and how much each layer adds to that of the output.

    The first is the measure `LieDerivative`, one a generator. The contribution of layer `i` is its own error carried to
    the output, `J_{out,i} (J_i X h_{i-1} - X h_i)`; over all layers these add up exactly to `L_X f` of the output
    (Gruver et al. 2023, eq. 7), although their squares do not.

    Example:
        >>> import keras, numpy as np
        >>> import tfinv
        >>> inputs = keras.Input((12, 12, 1))
        >>> x = keras.layers.Conv2D(2, 3, activation="tanh", name="conv")(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
        >>> model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> images = np.random.default_rng(0).random((4, 12, 12, 1), dtype="float32")
        >>> results = tfinv.lie_derivative(model, images, ["scale"], progress=False)
        >>> list(results), list(results["LieContribution(generator='scale')"])
        (["LieDerivative(generator='scale')", "LieContribution(generator='scale')"], ['conv', 'gap', 'logits'])

    Args:
        model: a functional or sequential Keras model, or an `ActivationModel`, whose layers are then reported;
            or the path of a Keras file.
        images: array `(S, H, W, C)`, a `Split` or a `tf.data.Dataset`.
        generators: see `LieDerivative`.
        contributions: also compute what each layer adds to the output's error; costs one backward pass an output.
        probes: for models with more than 32 outputs, random directions in output space.
        batch_size: images at a time.
        seed: of the probes.
        progress: show a progress bar.

    Returns:
        `Results` with the measures `LieDerivative(...)`: per unit `(*U)` the mean square over samples; and
        `LieContribution(...)`: per layer one number, the mean square over samples and outputs.

    Raises:
        ValueError: an unknown generator, images that do not fit.
        TypeError: a model without gradients, such as a TFLite model, or without a graph of layers.

    Source: Gruver, Finzi, Goldblum and Wilson 2023, "The Lie derivative for measuring learned equivariance",
    eq. 2, 4 and 7.
    """
    unknown = [generator for generator in generators if generator not in GENERATORS]
    if unknown or not generators:
        raise ValueError(f"generators must be some of {', '.join(GENERATORS)}. Received: {list(generators)}")
    measures: dict[Generator, LieDerivative] = {generator: LieDerivative(generator) for generator in generators}
    batches = ImageBatches(images, whole_number("batch_size", batch_size, 1))
    source = as_source(model, None, batches.shape)
    check_gradients(list(measures.values()), source)
    assert isinstance(source, ActivationModel)
    about = {"generators": list(measures)}
    results = evaluate(
        source, images, identity(), measures.values(), batch_size=batch_size, progress=progress, metadata=about
    )
    if not contributions:
        return results
    total: dict[Generator, dict[str, Any]] = {generator: {} for generator in measures}
    samples = 0
    with Progress("contributions", batches.count, "img", shown=progress) as bar:
        for batch in batches:
            with told(RUNS, source.keras_model):
                by_generator = _contributions(source, tf.constant(batch.images), list(measures), probes, seed)
            for generator, summed in total.items():
                summed |= {name: summed.get(name, 0.0) + value.sum() for name, value in by_generator[generator].items()}
            samples += len(batch.images)
            bar.advance(len(batch.images))
    added = {}
    for generator, layers in total.items():
        key = measures[generator].key.replace("LieDerivative", "LieContribution")
        values = {name: np.asarray(summed / samples) for name, summed in layers.items()}
        added[key] = MeasureResult(
            key, {name: LayerResult(value, finite_status(value)) for name, value in values.items()}
        )
    ordered = {key: measure for pair in zip(results.items(), added.items(), strict=True) for key, measure in pair}
    return Results(ordered, results.metadata)


def _contributions(
    source: ActivationModel, images: Images, generators: Sequence[Generator], probes: int, seed: int
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """For each generator and layer the squared contribution to the output, mean over outputs: `(N,)`."""
    calls, tapes, outputs = taped_calls(source.keras_model, as_model_inputs(source.input_scale(images), source.layout))
    output = outputs[0]
    flat = tf.reshape(output, (len(images), -1))
    width = int(flat.shape[1])
    if width <= EXACT_OUTPUTS:
        directions = np.eye(width, dtype=np.float32)
    else:
        directions = np.random.default_rng(seed).choice([-1.0, 1.0], (probes, width)).astype(np.float32) / width**0.5
    sums: dict[str, dict[str, Any]] = {generator: {} for generator in generators}
    for direction in directions:
        upstream = tf.reshape(tf.broadcast_to(direction, flat.shape), output.shape)
        for generator, layers in _carried(calls, tapes, output, upstream, generators).items():
            for name, value in layers.items():
                sums[generator][name] = sums[generator].get(name, 0.0) + np.square(value)
    return {
        generator: {name: total / len(directions) for name, total in layers.items()}
        for generator, layers in sums.items()
    }


def _carried(
    calls: Sequence[Any], tapes: Sequence[Any], output: Any, upstream: Any, generators: Sequence[Generator]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Each layer's own error, projected on one direction of the output: `(N,)` by generator and layer."""
    gradients = {id(output): upstream}
    errors: dict[str, dict[str, Any]] = {generator: {} for generator in generators}
    for call, tape in zip(reversed(calls), reversed(tapes), strict=True):
        out = [gradients.pop(id(value), None) for value in call.outputs]
        if all(slope is None for slope in out):
            continue
        given = [
            tf.zeros_like(value) if slope is None else slope for value, slope in zip(call.outputs, out, strict=True)
        ]
        back = tape.gradient(call.outputs, call.inputs, output_gradients=given)
        for generator in generators:
            error = _inner(back, call.inputs, generator) - _inner(given, call.outputs, generator)
            errors[generator][call.path] = errors[generator].get(call.path, 0.0) + error
        for value, gradient in zip(call.inputs, back, strict=True):
            if gradient is not None:
                gradients[id(value)] = gradients[id(value)] + gradient if id(value) in gradients else gradient
    return {generator: dict(reversed(layers.items())) for generator, layers in errors.items()}


def _inner(gradients: Sequence[Any], values: Sequence[Any], generator: Generator) -> NDArray[np.float64]:
    total: Any = 0.0
    for gradient, value in zip(gradients, values, strict=True):
        if gradient is not None:
            product = (gradient * acted(value, generator)).numpy().astype(np.float64)
            total = total + product.reshape(len(product), -1).sum(axis=1)
    return total
