"""`evaluate`: images, transformations, a model and measures in, `Results` out."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tfinv.activations.source import ActivationSource, LayerChoice
from tfinv.engine.batches import ImageBatches
from tfinv.engine.checkpoint import Checkpoint
from tfinv.engine.groups import joined, measure_group, measure_group_in_shards
from tfinv.engine.memory import Plan
from tfinv.engine.passes import Setting, make_passes, ordered
from tfinv.engine.planning import plan_layers
from tfinv.evaluation.arguments import (
    as_measures,
    as_source,
    block_size,
    check_gradients,
    check_labels,
)
from tfinv.evaluation.arrays import evaluate_arrays, provenance, shard_indices
from tfinv.evaluation.interpolation_floor import SAMPLES, interpolation_floor
from tfinv.evaluation.options import Sampling, Warping, accepts_folded, checked
from tfinv.evaluation.stratified import classes_of, over_classes
from tfinv.measures import Measure
from tfinv.measures.base import check_enough, required_statistics
from tfinv.results import Results
from tfinv.statistics import Layer
from tfinv.statistics.compiled import fused
from tfinv.support.progress import Progress
from tfinv.transformations import TransformationSet, as_set

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["as_measures", "evaluate", "evaluate_arrays"]


@accepts_folded
def evaluate(
    model: Any,
    images: Any,
    transformations: Any,
    measures: Any,
    *,
    labels: ArrayLike | None = None,
    layers: LayerChoice = None,
    batch_size: int | None = None,
    sampling: Sampling | None = None,
    warping: Warping | None = None,
    memory_budget: int | float | str | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    verbose: bool = False,
    progress: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> Results:
    """Measure every unit of every layer of a model, in one pass over images and transformations.

    Each image is transformed by all `T` transformations, the model runs once on each (`S * T` forward passes whatever
    the number of measures), and mergeable statistics are updated in the same graph.

    Example:
        >>> import keras, numpy as np
        >>> import tfinv
        >>> inputs = keras.Input((16, 16, 1))
        >>> x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
        >>> model = keras.Model(inputs, keras.layers.Dense(10, name="logits")(x))
        >>> images = np.random.default_rng(0).random((8, 16, 16, 1), dtype="float32")
        >>> results = tfinv.evaluate(model, images, "rotations(4)", ["NormalizedVariance"], progress=False)
        >>> list(results["NormalizedVariance"])
        ['conv', 'gap', 'logits']

    Args:
        model: a Keras model, a `.keras` file, or any `ActivationSource` such as a TFLite model.
        images: array `(S, H, W, C)`, a `tfinv.datasets.Split`, or a `tf.data.Dataset`.
        transformations: a `TransformationSet`, its id such as `"rotations(16)"`, or a sequence of `Affine`.
        measures: a measure or a sequence of them, as objects or keys.
        labels: int `(S,)`, for measures that compare predictions with classes; default: those that come with `images`.
        layers: names, globs or layer types; None for all.
        batch_size: samples per block; `batch_size * T` images are in memory at a time. Default: about 256 images.
        sampling: confidence intervals, classes measured apart, statistics kept for `merge`: a `tfinv.Sampling`, such
            as `Sampling(0.95)` for 95 % intervals or `Sampling(stratified=True)`. None: nothing of these.
        warping: how images are warped: a `tfinv.Warping`, such as `Warping(padding="nearest")`. None: bilinear, zero
            outside the frame.
        memory_budget: bytes, or text such as `"8GiB"`, for accumulators and activations; layers that do not fit
            together are measured in several runs over the images. Default: half of the free memory.
        checkpoint: a file to save to about once a minute, or a `tfinv.engine.checkpoint.Checkpoint`: the same call
            after an interruption goes on from it and finds the same numbers. It is removed at the end. A
            `tf.data.Dataset` must give its images in the same order again.
        verbose: print which layers are measured together, and the memory that takes.
        progress: show a progress bar with images per second and the time left.
        metadata: entries to add to `Results.metadata`, such as the data set's name.

    Returns:
        `Results` with one `MeasureResult` a measure, layers in network order.

    Raises:
        ValueError: bad images, too few samples or transformations for a measure, an unknown layer or measure, images
            that do not fit the model, NaN in images or activations (named), a budget too small for one layer, a
            checkpoint of another evaluation.
        TypeError: a model that has no graph of layers, or no gradients for a measure that needs them; an unknown
            keyword.
    """
    measures = as_measures(measures)
    transformations = as_set(transformations)
    sampling, warping = checked(Sampling, sampling), checked(Warping, warping)
    check_enough(measures, None, len(transformations))
    batches = ImageBatches(images, block_size(batch_size, len(transformations)), labels, sampling.first_sample)
    check_labels(measures, batches.has_labels)
    source = as_source(model, layers, batches.shape)
    check_gradients(measures, source)
    batches = batches.in_memory() if sampling.stratified or sampling.parts else batches
    check_enough(measures, batches.count, len(transformations))
    subsets = _subsets(batches, measures, sampling)
    description = {
        "model": source.id,
        "transformations": transformations.id,
        "num_transformations": len(transformations),
        "samples": batches.count,
        "first_sample": sampling.first_sample,
        "image_shape": list(batches.shape),
        "padding": warping.padding,
        "interpolation": warping.interpolation,
        "skipped_layers": dict(getattr(source, "skipped", {})),
        **_ends(source),
    }
    if sampling.parts or sampling.keep_statistics or checkpoint is not None:
        description["data"] = batches.fingerprint()
    if sampling.parts:
        description["shards"] = [each.count for each in subsets.values()]
    spec = _layers(source, transformations, batches.count)
    keeper = Checkpoint(checkpoint) if isinstance(checkpoint, (str, os.PathLike)) else checkpoint
    if keeper:
        keeper.open(_configuration(description, measures, spec, batch_size, sampling))
    plan = _plan(measures, spec, batches, memory_budget, batch_size is not None, keeper, sampling)
    if verbose:
        print(plan)
    setting = Setting(
        source,
        tuple(spec),
        tuple(measures),
        transformations,
        batches.shape,
        warping.padding,
        warping.interpolation,
        keeper,
        sampling.keep_statistics,
    )
    subsets = {label: each.in_batches_of(plan.batch_size) for label, each in subsets.items()}
    found = _measure_groups(setting, plan, subsets, sampling, progress)
    description |= {"samples": batches.count, **provenance(), **dict(metadata or {})}
    if "interpolation_floor" not in description:
        few = next(iter(batches.in_batches_of(SAMPLES))).images
        description["interpolation_floor"] = interpolation_floor(few, transformations, measures, spec, warping)
    by_label = {label: joined([each[label] for each in found], description) for label in found[0]}
    results = over_classes(by_label, description) if sampling.stratified else by_label[""]
    if keeper:
        keeper.finish()
    return results


def _measure_groups(
    setting: Setting,
    plan: Plan,
    subsets: Mapping[Any, ImageBatches],
    sampling: Sampling,
    progress: bool,
) -> list[dict[Any, Results]]:
    """By group of layers the results by label."""
    chosen = [[each for each in setting.layers if each.name in group] for group in plan.groups]
    images = sum(each.images_per_sample for layers in chosen for each in make_passes(setting, layers))
    counts = [each.count for each in subsets.values()]
    total = None if None in counts else sum(each or 0 for each in counts) * images
    found = []
    with Progress("measuring", total, "img", shown=progress) as bar:
        for number, layers in enumerate(chosen):
            if len(chosen) > 1:
                bar.describe(f"measuring, layers {number + 1} of {len(chosen)}")
            part = replace(setting, advance=bar.advance)
            if len(chosen) > 1:
                part = replace(part, source=setting.source.select([each.name for each in layers]))
            if sampling.confidence is None:
                found.append(measure_group(part, layers, subsets))
            else:
                samples = list(subsets.values())
                found.append({"": measure_group_in_shards(part, layers, samples, sampling.confidence, sampling.draws)})
            if number + 1 < len(chosen):
                # A graph and the states that it updates refer to each other in circles: make room for the next ones.
                gc.collect()
    return found


def _subsets(batches: ImageBatches, measures: Sequence[Measure], sampling: Sampling) -> dict[Any, ImageBatches]:
    if sampling.stratified:
        return dict(classes_of(batches, measures))
    if not sampling.parts:
        return {"": batches}
    parts = shard_indices(batches.count or 0, sampling.parts)
    return {number: batches.only(part) for number, part in enumerate(parts)}


def _plan(
    measures: Sequence[Measure],
    layers: Sequence[Layer],
    batches: ImageBatches,
    budget: Any,
    fixed: bool,
    keeper: Checkpoint | None,
    sampling: Sampling,
) -> Plan:
    statistics = [each for batch in ordered(required_statistics(measures)) for each in batch]
    plan = plan_layers(
        layers,
        statistics,
        batches.shape,
        batches.batch_size,
        budget=budget,
        fixed=fixed,
        shards=sampling.parts,
        checkpoint=keeper is not None,
        keep=sampling.keep_statistics,
    )
    if keeper is None:
        return plan
    # Free memory may differ when the evaluation goes on, but what was gathered so far belongs to the first plan.
    notes = keeper.notes.setdefault("plan", {"groups": plan.groups, "batch_size": plan.batch_size})
    groups = tuple(tuple(each) for each in notes["groups"])
    return plan if groups == plan.groups else replace(plan, groups=groups, batch_size=notes["batch_size"])


def _configuration(
    description: Mapping[str, Any],
    measures: Sequence[Measure],
    layers: Sequence[Layer],
    batch_size: int | None,
    sampling: Sampling,
) -> dict[str, Any]:
    return {
        **description,
        "measures": [each.key for each in measures],
        "layers": [each.name for each in layers],
        "batch_size": batch_size,
        "stratified": sampling.stratified,
        "confidence": sampling.confidence,
        "keep_statistics": sampling.keep_statistics,
        "resamples": sampling.draws,
        "compiled": fused.is_available(),
        "versions": provenance()["versions"],
    }


def _ends(source: ActivationSource) -> dict[str, Any]:
    """The inputs and outputs of a model, as far as it tells them; `measured` marks where classes are read from."""
    outputs = [output.facts() for output in getattr(source, "outputs", ())]
    for position, output in enumerate(outputs):
        output["measured"] = position == 0
    return {"inputs": [{"shape": list(source.input_shape)}], "outputs": outputs}


def _layers(source: ActivationSource, transformations: TransformationSet, samples: int | None) -> list[Layer]:
    shapes, count = source.layer_shapes, len(transformations)
    last = getattr(source, "output_layer", list(shapes)[-1])
    activation = next((output.activation for output in getattr(source, "outputs", ())), None)
    return [
        Layer(name, shape, count, transformations, name == last, samples, activation if name == last else None)
        for name, shape in shapes.items()
    ]
