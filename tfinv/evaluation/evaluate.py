"""`evaluate`: images, transformations, a model and measures in, `Results` out."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.outputs import answering_activation
from tfinv.activations.source import ActivationSource, LayerChoice, ResolvedSource
from tfinv.engine.batches import ImageBatches
from tfinv.engine.checkpoint import Checkpoint
from tfinv.engine.groups import first_states, joined, measure_group
from tfinv.engine.memory import Plan, parse_budget, plan_layers
from tfinv.engine.passes import Pass, Setting, first_statistics, gathered, make_passes, ordered
from tfinv.engine.pieces import piece_size
from tfinv.engine.remote import RemotePasses
from tfinv.engine.shards import held_of_some
from tfinv.engine.teams import Team
from tfinv.engine.watching import watched
from tfinv.evaluation.arguments import as_measures, as_source, block_size, check_measures, maps_images
from tfinv.evaluation.arrays import as_metadata, evaluate_arrays, provenance, shards_of
from tfinv.evaluation.distribution import distributed, share_of_memory, team_of
from tfinv.evaluation.interpolation_floor import SAMPLES, floors, identity_network, map_sizes
from tfinv.evaluation.options import Sampling, Warping, accepts_folded, checked
from tfinv.evaluation.planning import layers_of
from tfinv.evaluation.precision import check_precision, measure_until
from tfinv.evaluation.stratified import classes_of, over_classes
from tfinv.evaluation.thresholds import given_states, id_of
from tfinv.measures import Measure
from tfinv.models.opening import as_model
from tfinv.results import Results
from tfinv.statistics import Layer
from tfinv.statistics.compiled import fused
from tfinv.statistics.resolution import Resolution, check_activations, relative_resolution
from tfinv.support.checks import layer_choice, mapping, path_like
from tfinv.support.guarded import guarded
from tfinv.support.progress import Progress
from tfinv.support.types import Images, Model
from tfinv.transformations import as_set

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["as_measures", "evaluate", "evaluate_arrays"]

_LOG = logging.getLogger("tfinv")

PROBED = 4
"""Images that show how large the numbers of a network are."""


@accepts_folded
@guarded()
def evaluate(
    model: Model,
    images: Images,
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
    distribute: Any = None,
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
        model: a Keras model, any `ActivationSource` such as a TFLite model, or the path of a file of one, see
            `tfinv.models.open_file`.
        images: array `(S, H, W, C)`, a `tfinv.datasets.Split`, or a `tf.data.Dataset`.
        transformations: a `TransformationSet`, its id such as `"rotations(16)"`, or a sequence of `Affine`.
        measures: a measure or a sequence of them, as objects or keys.
        labels: int `(S,)`, for measures that compare predictions with classes; default: those that come with `images`.
            `(S, K)` of 0 and 1 where the K units of the output tell a label each: every label is then an answer.
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
        distribute: a number of processes of this machine, such as `2`; a Dask client or the address of its scheduler;
            `"ray"`; or anything with `submit(function, *arguments)` that gives futures. Workers measure pieces of the
            samples with the numbers of one process, bit for bit where that has memory for pieces; a piece whose
            worker dies is measured again. None: in this process.
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
    _check_kinds(layers, memory_budget, checkpoint, metadata)
    model, measures = as_model(model), as_measures(measures)
    transformations = as_set(transformations)
    sampling, warping = checked(Sampling, sampling), checked(Warping, warping)
    block, activation = block_size(batch_size, len(transformations)), answering_activation(model)
    batches = ImageBatches(images, block, labels, sampling.first_sample, activation)
    source = as_source(model, layers, batches.shape)
    if sampling.precision is not None:
        sampling = check_precision(sampling, checkpoint)
    batches = batches.scaled_by(maps_images(source))
    batches = batches.in_memory() if sampling.stratified or sampling.parts else batches
    batches = batches.noted() if sampling.keep_statistics else batches
    subsets = _subsets(batches, sampling)
    classes = subsets if sampling.stratified else {}
    check_measures(measures, source, batches, len(transformations), classes, part=sampling.keep_statistics)
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
    if scale := getattr(model, "input_scale", None):
        description["input_scale"] = scale.text
    if sampling.parts or sampling.keep_statistics or checkpoint is not None:
        description["data"] = batches.fingerprint()
    description |= _sampled(sampling, measures, subsets)
    layers_measured = layers_of(source, transformations, sampling.whole if sampling.keep_statistics else batches.count)
    setting = Setting(
        source,
        layers_measured,
        tuple(measures),
        transformations,
        batches.shape,
        batches.label_shape,
        warping.padding,
        warping.interpolation,
        Checkpoint(checkpoint) if isinstance(checkpoint, (str, os.PathLike)) else checkpoint,
        sampling.keep_statistics,
        _resolutions(source, batches),
        given=given_states(sampling.thresholds, measures, layers_measured, list(classes) or [""]),
    )
    if setting.checkpoint:
        setting.checkpoint.open(_configuration(description, setting, batch_size, sampling))
    if sampling.precision is not None and distribute is not None:
        raise ValueError("precision looks at the images one after the other, in one process. Received: distribute too")
    used: dict[str, Any] = {}
    with team_of(distribute) as team:
        if team is not None and team.size:
            memory_budget = share_of_memory(memory_budget, team)
        plan, pieces = _plan(setting, batches, memory_budget, batch_size is not None, sampling)
        setting = replace(setting, pieces=pieces or team is not None)
        _LOG.info(plan)
        subsets = {label: samples.in_batches_of(plan.batch_size) for label, samples in subsets.items()}
        batches = batches.in_batches_of(plan.batch_size)
        if sampling.precision is None:
            groups = _measure_groups(setting, plan, batches, subsets, sampling, progress, team)
        else:
            groups, used = measure_until(setting, plan, batches, sampling, progress)
    description |= {
        "samples": batches.count,
        "resolutions": setting.resolutions,
        **provenance(),
        **dict(metadata or {}),
        **used,
    }
    if "interpolation_floor" not in description and not sampling.first_pass and not sampling.first_sample:
        description["interpolation_floor"] = _interpolation_floor(setting, batches, warping)
    by_label = {label: joined([group[label] for group in groups], description) for label in groups[0]}
    results = over_classes(by_label, description) if sampling.stratified else by_label[""]
    if sampling.keep_statistics:
        results = replace(results, samples=batches.samples())
    if setting.checkpoint:
        setting.checkpoint.finish()
    return results


def _check_kinds(layers: Any, memory_budget: Any, checkpoint: Any, metadata: Any) -> None:
    """Refuse options of a wrong kind before anything is read or computed."""
    layer_choice(layers)
    parse_budget(memory_budget)
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        path_like("checkpoint", checkpoint)
    if metadata is not None:
        mapping("metadata", metadata, "a mapping from names to values")


def _subsets(batches: ImageBatches, sampling: Sampling) -> dict[Any, ImageBatches]:
    """The samples that have statistics of their own: by class, by number of the shard, or all under `""`."""
    if sampling.stratified:
        return dict(classes_of(batches))
    if not sampling.parts:
        return {"": batches}
    parts = shards_of(batches.count or 0, sampling)
    return {number: batches.only(part) for number, part in enumerate(parts)}


def _sampled(sampling: Sampling, measures: Sequence[Measure], subsets: Mapping[Any, ImageBatches]) -> dict[str, Any]:
    """What was done with the samples, for the metadata."""
    described: dict[str, Any] = {}
    if sampling.parts:
        described["shards"] = [shard.count for shard in subsets.values()]
    if sampling.keep_statistics:
        described["sampling"] = as_metadata(sampling)
    if sampling.keep_statistics and sampling.stratified:
        described["class_samples"] = {str(label): samples.count for label, samples in subsets.items()}
    if sampling.first_pass:
        if not first_statistics(measures):
            raise ValueError(
                "first_pass must be asked for with a measure of two passes, such as Goodfellow. Received: "
                f"{', '.join(measure.key for measure in measures)}"
            )
        described["first_pass_of"] = [measure.key for measure in measures]
    if sampling.thresholds is not None:
        described["thresholds"] = id_of(sampling.thresholds)
    return described


def _measure_groups(
    setting: Setting,
    plan: Plan,
    batches: ImageBatches,
    subsets: Mapping[Any, ImageBatches],
    sampling: Sampling,
    progress: bool,
    team: Team | None,
) -> list[dict[Any, Results]]:
    """By group of layers the results by label."""
    groups = [[layer for layer in setting.layers if layer.name in names] for names in plan.groups]
    images = sum(run.images_per_sample for layers in groups for run in _passes(setting, layers, sampling))
    counts = [samples.count for samples in subsets.values()]
    total = None if None in counts else sum(count or 0 for count in counts) * images
    results = []
    with Progress("measuring", total, "img", shown=progress) as bar, watched(team, bar) as team:
        for number, layers in enumerate(groups):
            part = replace(setting, advance=bar.advance)
            if len(groups) > 1:
                bar.describe(f"measuring, layers {number + 1} of {len(groups)}")
                part = replace(part, source=setting.source.select([layer.name for layer in layers]))
            if team is not None:
                remote = RemotePasses(team, part, layers)
                part = replace(part, gather=remote, measure=remote.measure)
            if sampling.first_pass:
                together = subsets if sampling.stratified else {"": batches}
                results.append(first_states(part, layers, together))
            else:
                results.append(measure_group(part, layers, subsets, sampling.intervals))
            if number + 1 < len(groups):
                # A graph and the states that it updates refer to each other in circles: make room for the next ones.
                gc.collect()
    return results


def _passes(setting: Setting, layers: Sequence[Layer], sampling: Sampling) -> list[Pass]:
    if not sampling.first_pass:
        return make_passes(setting, layers)
    return [Pass(setting, layers, statistics) for statistics in ordered(first_statistics(setting.measures))]


def _plan(setting: Setting, batches: ImageBatches, budget: Any, fixed: bool, sampling: Sampling) -> tuple[Plan, bool]:
    """Groups of layers, and whether there is memory to gather piece by piece, as several processes do."""
    keeper, count = setting.checkpoint, batches.count
    size = piece_size(count, batches.batch_size)
    several = not sampling.parts and (count is None or count > size)

    def plan(pieces: bool) -> Plan:
        return plan_layers(
            setting.layers,
            gathered(setting.measures),
            batches.shape,
            batches.batch_size,
            budget=budget,
            fixed=fixed,
            shards=sampling.parts,
            resamples=sampling.intervals.resamples if sampling.intervals else 0,
            checkpoint=keeper is not None,
            keep=setting.keep_statistics,
            pieces=pieces,
            some=held_of_some(setting.measures),
        )

    least, pieces = plan(False), True
    if several:
        # More groups are more runs over the images: the numbers may then differ by rounding from those of workers.
        try:
            larger = plan(True)
            pieces = len(larger.groups) == len(least.groups)
        except ValueError:
            larger, pieces = least, False
        least = larger if pieces else least
    if keeper is None:
        return least, pieces
    # Free memory may differ when the evaluation goes on, but what was gathered so far belongs to the first plan.
    decided = {"groups": least.groups, "batch_size": least.batch_size, "pieces": pieces}
    notes = keeper.notes.setdefault("plan", decided)
    groups = tuple(tuple(names) for names in notes["groups"])
    pieces = notes.get("pieces", False)
    return (
        least if groups == least.groups else replace(least, groups=groups, batch_size=notes["batch_size"]),
        pieces,
    )


def _configuration(
    description: Mapping[str, Any], setting: Setting, batch_size: int | None, sampling: Sampling
) -> dict[str, Any]:
    """All that decides what is gathered, see `Checkpoint.open`."""
    # Keras numbers the tensors of a process: the same model built again has other names.
    outputs = [{key: fact for key, fact in output.items() if key != "name"} for output in description["outputs"]]
    return {
        **description,
        "outputs": outputs,
        "measures": [measure.key for measure in setting.measures],
        "layers": [layer.name for layer in setting.layers],
        "batch_size": batch_size,
        "stratified": sampling.stratified,
        "confidence": sampling.confidence,
        "keep_statistics": sampling.keep_statistics,
        "resamples": sampling.draws,
        "compiled": fused.is_available(),
        "versions": provenance()["versions"],
    }


def _interpolation_floor(setting: Setting, batches: ImageBatches, warping: Warping) -> dict[str, dict[str, float]]:
    """What the same-equivariance measures give for a network that only resizes images; empty where there are none."""
    chosen = [measure for measure in setting.measures if getattr(measure, "has_interpolation_floor", False)]
    sizes = map_sizes(setting.layers)
    if not chosen or not sizes:
        return {}
    images = next(iter(batches.in_batches_of(SAMPLES))).images
    chosen = [measure for measure in chosen if measure.min_samples <= len(images)]
    if not chosen:
        return {}
    network = identity_network(batches.shape, sizes)
    # An evaluation that is told its floor does not ask for one.
    told: dict[str, Any] = {"interpolation_floor": {}}
    with distributed(None):  # a few images are not worth the way
        results = evaluate(
            network, images, setting.transformations, chosen, progress=False, metadata=told, warping=warping
        )
    return floors(results, sizes)


def _resolutions(source: ActivationSource, batches: ImageBatches) -> dict[str, Resolution]:
    """By layer what its arithmetic can resolve; that of float32 where the source does not tell."""
    given = next(iter(batches.in_batches_of(PROBED)), None)
    known: Mapping[str, Resolution] = {}
    if given is not None and isinstance(source, ResolvedSource):
        known = source.resolutions(given.images)
    elif given is not None:
        for name, values in source(given.images).items():
            check_activations(name, np.asarray(values))
    return {
        name: known.get(name, Resolution(relative_resolution("float32"))).in_float32() for name in source.layer_shapes
    }


def _ends(source: ActivationSource) -> dict[str, Any]:
    """The inputs and outputs of a model, as far as it tells them; `measured` marks where classes are read from."""
    outputs = [output.facts() for output in getattr(source, "outputs", ())]
    for position, output in enumerate(outputs):
        output["measured"] = position == 0
    return {"inputs": [{"shape": list(source.input_shape)}], "outputs": outputs}
