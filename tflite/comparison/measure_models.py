"""Measure several models on the same images under the same transformations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tfinv.datasets.as_split import as_split
from tfinv.datasets.given import as_array, is_dataset, unpack
from tfinv.engine.batches import ImageBatches
from tfinv.evaluation.arguments import block_size
from tfinv.evaluation.distribution import on_workers
from tfinv.evaluation.evaluate import evaluate
from tfinv.evaluation.options import Sampling, Warping, accepts_folded, checked
from tfinv.models.opening import as_model
from tfinv.results import Results
from tfinv.support.checks import kind_of
from tfinv.support.guarded import guarded
from tfinv.support.types import Images
from tfinv.tflite.comparison.confidence import Scores
from tfinv.tflite.comparison.observing import Observer
from tfinv.tflite.comparison.options import ALL_MEASURED, INTERVALS, Subsets, paired_sampling
from tfinv.tflite.comparison.paired_run import PairedRun
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.tflite.comparison.responses import Responses
from tfinv.transformations import as_set

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measured:
    """One of several models, measured.

    Args:
        results: layer measures, with what paired intervals need; layers under the model's own names.
        predictions: class and confidence of every image; None where the output is not one number a class.
        fidelity: against the reference, one row a matched layer; None for the reference and for models without pairs.
        responses: how often feature maps respond in both, by layer of the reference; empty where there is no fidelity.
        scores: outputs that calibration is computed from; None where there are no labels or no classes.
    """

    results: Results
    predictions: Predictions | None
    fidelity: pd.DataFrame | None
    responses: Mapping[str, Responses] = field(default_factory=dict)
    scores: Scores | None = field(default=None, repr=False)


@accepts_folded
@on_workers
@guarded()
def measure_models(
    models: Mapping[str, Any],
    images: Images,
    transformations: Any,
    measures: Any,
    *,
    reference: str | None = None,
    pairs: Mapping[str, Mapping[str, str]] | None = None,
    measured: Any = None,
    subsets: Subsets | None = ALL_MEASURED,
    sampling: Sampling | None = INTERVALS,
    batch_size: int | None = None,
    warping: Warping | None = None,
    distribute: Any = None,
    progress: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Measured]:
    """Measure models so that their differences are those of the models alone.

    Each model's layers are measured as `evaluate` does, with intervals whose shards of images all models share. A
    further run shows every model the same blocks of transformed images, for predictions and for the comparison of
    activations number by number: no more than one block of activations of two models is in memory. Interpreters are
    not built anew.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.tflite import TFLiteModel, dynamic_int8, float32, measure_models
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.GlobalMaxPooling2D(name="pool")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
        >>> network = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> models = {"float": TFLiteModel(float32(network)), "int8": TFLiteModel(dynamic_int8(network))}
        >>> images = np.random.default_rng(0).random((20, 8, 8, 1), "float32")
        >>> found = measure_models(models, images, "rotations(4)", "NormalizedVariance", reference="float",
        ...     pairs={"int8": {name: name for name in models["float"].layer_shapes}}, progress=False)
        >>> found["int8"].predictions.transformed.shape, found["int8"].fidelity["layer"].tolist()
        ((20, 4), ['conv', 'pool', 'logits'])

    Args:
        models: `TFLiteModel`, another `ActivationSource`, or the path of a file of one, by name; of one input shape.
        images: array `(S, H, W, C)` in [0, 1] or a `Split`; all predictions are of these.
        transformations: a set, its id, or a sequence of `Affine`.
        measures: measures or their keys.
        reference: the model that others are compared with; None for the first.
        pairs: by model, the model's layer by the reference's, as `match(...).pairs`; models without an entry get no
            fidelity.
        measured: images whose activations are measured; None for as many of `images` as `subsets` says.
        subsets: `measured_samples`, `fidelity_samples`, which are taken in blocks spread over all images, and
            `memory_budget`; the other options must stay as they are. The default measures all images. None:
            `Subsets()`, which measures a subset of 1000, drawn with seed 0.
        sampling: confidence and kind of the intervals, see `evaluate`; None for no intervals.
        batch_size: see `evaluate`.
        warping: padding and interpolation, see `evaluate`.
        distribute: workers for the evaluations, see `tfinv.evaluate`; None for those of
            `tfinv.distributed`, or else this process.
        progress: show progress bars.
        metadata: entries for all `Results.metadata`.

    Returns:
        By model what was measured.

    Raises:
        ValueError: no model, an unknown reference, images that do not fit a model, NaN in activations, an option of
            `subsets` that has no meaning here.
    """
    kind_of("models", models, Mapping, "models by name")
    if not models:
        raise ValueError("models must hold at least one model. Received: none")
    models = {name: as_model(model) for name, model in models.items()}
    reference = next(iter(models)) if reference is None else reference
    for argument, name in (("reference", reference), *(("pairs", name) for name in pairs or {})):
        if name not in models:
            raise ValueError(f"{argument} must name models among {', '.join(models)}. Received: {name!r}")
    transformations = as_set(transformations)
    subsets, sampling, warping = _plain(subsets), paired_sampling(sampling), checked(Warping, warping)
    count = subsets.measured_samples
    if measured is None:
        measured = images
        if count is not None and count < len(unpack(images)[0]):
            measured = as_split(images, models[reference].input_shape, count, 0)
    elif not is_dataset(measured):
        as_array(unpack(measured)[0], "measured")
    results = {}
    for name, model in models.items():
        results[name] = evaluate(
            model,
            measured,
            transformations,
            measures,
            batch_size=batch_size,
            sampling=sampling,
            warping=warping,
            memory_budget=subsets.memory_budget,
            progress=progress,
            metadata={**getattr(model, "metadata", {}), **(metadata or {}), "name": name},
        )
    batches = ImageBatches(images, block_size(batch_size, len(transformations)))
    labels = unpack(images)[1]
    observers = {name: Observer(model, labels) for name, model in models.items()}
    run = PairedRun(observers, reference, pairs or {}, transformations, batches, warping, subsets.memory_budget)
    run.run(subsets.fidelity_samples, progress)
    frames = {name: recorder.to_frame() for name, recorder in run.recorders.items()}
    responses = {name: recorder.responses for name, recorder in run.recorders.items()}
    return {
        name: Measured(
            results[name],
            observer.predictions(),
            frames.get(name),
            responses.get(name, {}),
            observer.scores(),
        )
        for name, observer in observers.items()
    }


def _plain(subsets: Subsets | None) -> Subsets:
    """Options of `Subsets` that have a meaning where no file is opened.

    Raises:
        ValueError: one of the others is set.
    """
    subsets = checked(Subsets, subsets)
    for name in ("max_samples", "layers", "kernels", "kernel_samples", "outputs"):
        if (value := getattr(subsets, name)) != getattr(ALL_MEASURED, name):
            raise ValueError(f"subsets of measure_models must not set {name}. Received: {name}={value!r}")
    return subsets
