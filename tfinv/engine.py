"""Run images through a model and gather statistics pass by pass: the only loop over images (evaluation)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv._lazy import LazyModule
from tfinv.activations import ActivationModel, ActivationSource
from tfinv.arguments import required_statistics
from tfinv.batches import ImageBatches
from tfinv.checkpoint import Checkpoint, postponed_interrupt
from tfinv.computing import assembled, measure_layer, measure_shards, merged
from tfinv.gather import Gatherer, States, passes
from tfinv.measures import Measure
from tfinv.results import Results
from tfinv.statistics import Layer, Statistic
from tfinv.transformations import TransformationSet, warp

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = LazyModule("tensorflow")

CHECK_EVERY = 50
"""Blocks between two looks for NaN."""


@dataclass(frozen=True)
class Setting:
    """What stays the same throughout an evaluation.

    Args:
        source: gives the activations of `layers`.
        layers: the layers, in network order.
        measures: the measures.
        transformations: the set.
        image_shape: `(H, W, C)`.
        padding: see `transformations.warp`.
        interpolation: see `transformations.warp`.
        checkpoint: where to keep what was gathered.
        keep_statistics: whether results hold the states.
        advance: called with a number of transformed images after each block.
    """

    source: ActivationSource
    layers: tuple[Layer, ...]
    measures: tuple[Measure, ...]
    transformations: TransformationSet
    image_shape: tuple[int, ...]
    padding: Any
    interpolation: Any
    checkpoint: Checkpoint | None = None
    keep_statistics: bool = False
    advance: Callable[[int], Any] = lambda images: None


class Pass:
    """One run over the images for statistics that need nothing of each other.

    Args:
        setting: the evaluation.
        layers: the group of layers.
        statistics: what is gathered.
    """

    def __init__(self, setting: Setting, layers: Sequence[Layer], statistics: Sequence[Statistic]) -> None:
        self.statistics = statistics
        self._setting = setting
        self.layers = [layer for layer in layers if any(not each.applies(layer) for each in statistics)]
        self._reference_only = all(each.reference_only for each in statistics)
        self._with_reference = not self._reference_only and any(each.needs_reference for each in statistics)
        self._gatherer: Gatherer | None = None
        self._step: Any = None

    @property
    def images_per_sample(self) -> int:
        """Forward passes that one sample takes."""
        return 1 if self._reference_only else len(self._setting.transformations) * bool(self.layers)

    def run(self, batches: ImageBatches, given: States, part: str, *, copy: bool = False) -> Gatherer:
        """Gather the statistics of some samples, or take them from the checkpoint.

        Args:
            batches: the samples.
            given: finished states that the statistics depend on.
            part: name for the checkpoint.
            copy: whether the checkpoint must hold the states through the next run of this pass.

        Returns:
            The gatherer with the states; it is used again by the next run.

        Raises:
            ValueError: NaN in images or activations, named.
            KeyboardInterrupt: Ctrl-C, after the block in progress.
        """
        gatherer = self._prepared(given)
        if not self.layers:
            return gatherer
        checkpoint = self._setting.checkpoint
        finished = checkpoint.get(part) if checkpoint else None
        if finished is not None:
            gatherer.restore(finished)
            self._setting.advance((batches.count or 0) * self.images_per_sample)
            return gatherer
        if self._reference_only:
            batches = batches.in_batches_of(batches.batch_size * len(self._setting.transformations))
        self._loop(batches, gatherer, part)
        gatherer.check_finite()
        if checkpoint:
            arrays = gatherer.arrays()
            checkpoint.put(part, {name: array.copy() for name, array in arrays.items()} if copy else arrays)
        return gatherer

    def _prepared(self, given: States) -> Gatherer:
        if self._gatherer is None:
            self._gatherer = Gatherer(self.statistics, self.layers, given=given)
            self._step = self._make_step(self._gatherer)
        else:
            self._gatherer.reset()
            self._gatherer.give(given)
        return self._gatherer

    def _loop(self, batches: ImageBatches, gatherer: Gatherer, part: str) -> None:
        checkpoint, done = self._setting.checkpoint, 0
        if checkpoint and (progress := checkpoint.progress(part)):
            done = progress[0]
            gatherer.restore(progress[1])
            self._setting.advance(done * self.images_per_sample)
        if checkpoint is None:
            for number, batch in enumerate(batches):
                self._one(batch, number, gatherer)
            return
        with postponed_interrupt() as pressed:
            for number, batch in enumerate(batches.after(done)):
                self._one(batch, number, gatherer)
                done += len(batch.images)
                checkpoint.tick(part, done, gatherer.arrays, now=pressed.is_set())
                if pressed.is_set():
                    raise KeyboardInterrupt

    def _one(self, batch: Any, number: int, gatherer: Gatherer) -> None:
        self._step(batch.images, batch.index, batch.labels)
        if number % CHECK_EVERY == 0:
            gatherer.check_finite()
        self._setting.advance(len(batch.images) * self.images_per_sample)

    def _make_step(self, gatherer: Gatherer) -> Any:
        """A function of a batch `(images, index, labels)` that updates all states."""
        setting, count = self._setting, len(self._setting.transformations)
        source = setting.source
        names = [layer.name for layer in self.layers]
        if names and names != list(source.layer_shapes):
            source = source.select(names)

        def transformed(images: Any) -> Any:
            """`(S_b * T [+ S_b], H, W, C)`; the untransformed images, where needed, come last."""
            if self._reference_only:
                return images
            warped = warp(images, setting.transformations, padding=setting.padding, interpolation=setting.interpolation)
            warped = tf.reshape(warped, (-1, *setting.image_shape))
            return tf.concat([warped, images], axis=0) if self._with_reference else warped

        def gather(activations: Mapping[str, Any], index: Any, labels: Any) -> list[Any]:
            done = []
            for layer in self.layers:
                values = tf.cast(activations[layer.name], tf.float32)
                if self._reference_only:
                    done += gatherer.add(layer.name, None, index, labels, values)
                    continue
                reference = None
                if self._with_reference:  # cut along the first axis, where it costs no copy
                    values, reference = values[: tf.size(index) * count], values[tf.size(index) * count :]
                block = tf.reshape(values, (-1, count, *layer.shape))
                done += gatherer.add(layer.name, block, index, labels, reference)
            return done

        images_spec = tf.TensorSpec((None, *setting.image_shape), tf.float32)
        if isinstance(source, ActivationModel):
            vector = tf.TensorSpec((None,), tf.int64)
            return tf.function(
                lambda images, *rest: gather(source(transformed(images)), *rest),
                input_signature=[images_spec, vector, vector],
                autograph=False,
            )
        warp_graph = tf.function(transformed, input_signature=[images_spec], autograph=False)
        gather_graph = tf.function(gather, reduce_retracing=True, autograph=False)

        def step(images: Any, index: Any, labels: Any) -> None:
            activations = source(warp_graph(images).numpy())
            if self._reference_only or not gatherer.is_direct:
                gather_graph({name: tf.constant(activations[name]) for name in names}, index, labels)
                return
            for layer in self.layers:
                values = np.asarray(activations[layer.name], np.float32)
                gatherer.add_directly(layer.name, values.reshape(len(images), -1, *layer.shape))

        return step


def make_passes(setting: Setting, layers: Sequence[Layer]) -> list[Pass]:
    """The passes that the measures take on a group of layers."""
    return [Pass(setting, layers, statistics) for statistics in passes(required_statistics(setting.measures))]


def measure_group(setting: Setting, layers: Sequence[Layer], subsets: Mapping[Any, ImageBatches]) -> dict[Any, Results]:
    """Measure a group of layers on each of several sets of samples.

    Args:
        setting: the evaluation.
        layers: the group.
        subsets: samples by label.

    Returns:
        Results by label.
    """
    runs, found = make_passes(setting, layers), {}
    for label, batches in subsets.items():
        part = f"{layers[0].name}/{label}"
        found[label] = _finished(setting, part, batches, runs) or measured(setting, layers, batches, runs, part)
    return found


def measured(
    setting: Setting, layers: Sequence[Layer], batches: ImageBatches, runs: Sequence[Pass], part: str
) -> Results:
    """Measure a group of layers on one set of samples.

    Args:
        setting: the evaluation.
        layers: the group.
        batches: the samples.
        runs: the passes, from `make_passes`; they can be used again.
        part: name for the checkpoint.
    """
    given: States = {}
    gatherers = []
    for number, run in enumerate(runs):
        gatherers.append(run.run(batches, given, f"{part}/pass {number}"))
        for layer in run.layers:
            for statistic, state in gatherers[-1].states_of(layer.name).items():
                if statistic in _needed_later(runs, number):
                    given.setdefault(statistic, {})[layer.name] = state
    results, kept = {}, {}
    for layer in layers:
        states = {
            statistic: state
            for gatherer in gatherers
            if layer.name in gatherer.layers
            for statistic, state in gatherer.states_of(layer.name).items()
        }
        results[layer.name] = measure_layer(setting.measures, layer, states)
        if setting.keep_statistics:
            kept[layer.name] = {each: states[each] for each in required_statistics(setting.measures) if each in states}
    outcome = assembled(setting.measures, results, {}, states=kept)
    _note_finished(setting, part, outcome)
    return outcome


def measure_group_in_shards(
    setting: Setting, layers: Sequence[Layer], shards: Sequence[ImageBatches], confidence: float
) -> Results:
    """Measure a group of layers, and how far the layer means would move with other samples.

    Args:
        setting: the evaluation.
        layers: the group.
        shards: disjoint samples.
        confidence: of the intervals.
    """
    runs, part = make_passes(setting, layers), f"{layers[0].name}/shards"
    found = _finished(setting, part, shards[0], runs)
    if found:
        return found
    given: States = {}
    by_shard: list[dict[str, dict[Statistic, Any]]] = [{layer.name: {} for layer in layers} for _ in shards]
    for number, run in enumerate(runs):
        for position, batches in enumerate(shards):
            gatherer = run.run(batches, given, f"{part}/pass {number}/{position}", copy=True)
            for layer in run.layers:
                states = gatherer.states_of(layer.name).items()
                by_shard[position][layer.name] |= {statistic: _copied(state) for statistic, state in states}
        for statistic in _needed_later(runs, number).intersection(run.statistics):
            for layer in run.layers:
                states = [each[layer.name][statistic] for each in by_shard if statistic in each[layer.name]]
                if states:
                    given.setdefault(statistic, {})[layer.name] = merged(statistic, states)
    results, means, kept = {}, {}, {}
    needed = required_statistics(setting.measures)
    for layer in layers:
        states = [{each: shard[layer.name][each] for each in needed if each in shard[layer.name]} for shard in by_shard]
        results[layer.name], means[layer.name] = measure_shards(setting.measures, layer, states)
        if setting.keep_statistics:
            kept[layer.name] = {each: merged(each, [shard[each] for shard in states]) for each in states[0]}
    sizes = [each.count or 0 for each in shards]
    outcome = assembled(setting.measures, results, {}, means, confidence, sizes, kept)
    _note_finished(setting, part, outcome)
    return outcome


def _needed_later(runs: Sequence[Pass], number: int) -> set[Statistic]:
    return {needed for each in runs[number + 1 :] for statistic in each.statistics for needed in statistic.depends}


def _copied(state: Any) -> Any:
    """A state that the next run of its pass does not change."""
    return type(state)(*(np.array(each) for each in state))


def _finished(setting: Setting, part: str, batches: ImageBatches, runs: Sequence[Pass]) -> Results | None:
    arrays = setting.checkpoint.get(part) if setting.checkpoint else None
    if arrays is None:
        return None
    setting.advance((batches.count or 0) * sum(each.images_per_sample for each in runs))
    return Results.from_arrays(arrays)


def _note_finished(setting: Setting, part: str, outcome: Results) -> None:
    if setting.checkpoint:
        setting.checkpoint.drop(f"{part}/")
        setting.checkpoint.put(part, outcome.to_arrays())


def joined(groups: Sequence[Results], metadata: Mapping[str, Any]) -> Results:
    """The results of several groups of layers as one."""
    measures: dict[str, Any] = {}
    statistics: dict[str, dict[str, Any]] = {}
    for group in groups:
        for key, measure in group.measures.items():
            measures[key] = measures[key].joined(measure) if key in measures else measure
        for key, by_layer in group.statistics.items():
            statistics.setdefault(key, {}).update(by_layer)
    return Results(measures, dict(metadata), statistics)
