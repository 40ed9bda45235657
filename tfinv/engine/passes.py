"""Run images through a model and gather statistics: the only loop over images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfinv.activations.source import ActivationSource, ImageError, StreamSource
from tfinv.activations.sub_model import ActivationModel
from tfinv.engine.batches import Batch, ImageBatches
from tfinv.engine.checkpoint import Checkpoint
from tfinv.engine.gatherer import Gatherer, States
from tfinv.engine.pieces import Total, piece_size
from tfinv.engine.states import LayerStates
from tfinv.engine.streams import Stream
from tfinv.measures import Measure
from tfinv.measures.base import required_statistics
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.resolution import Resolution
from tfinv.support.faults import RUNS, told
from tfinv.support.interrupt import postponed_interrupt
from tfinv.support.lazy import tf
from tfinv.support.types import Images, Tensor
from tfinv.transformations import TransformationSet, label, warp
from tfinv.transformations.generators import Generator, generator_tangent
from tfinv.transformations.table_warp import TableWarp

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
        label_shape: of the labels of one image: `()`, or `(K,)` for several.
        padding: see `transformations.warp`.
        interpolation: see `transformations.warp`.
        checkpoint: where to keep what was gathered.
        keep_statistics: whether results hold the states.
        resolutions: by layer what its arithmetic can resolve.
        advance: called with a number of transformed images after each block.
        pieces: whether many samples are gathered piece by piece, as several processes do, see `engine.pieces`.
        given: finished states of an earlier evaluation by the label of the set of samples, `""` for all: they are not
            gathered again.
        gather: gathers the states of a pass elsewhere: from the pass, shards, states that it depends on and a name for
            the checkpoint to the states of one shard after the other, by layer. None for in this process.
        measure: gathers and measures elsewhere: from layers, shards, passes, finished states and intervals to what was
            measured by layer, or None where `gather` must. None for in this process.
    """

    source: ActivationSource
    layers: tuple[Layer, ...]
    measures: tuple[Measure, ...]
    transformations: TransformationSet
    image_shape: tuple[int, ...]
    label_shape: tuple[int, ...]
    padding: Any
    interpolation: Any
    checkpoint: Checkpoint | None = None
    keep_statistics: bool = False
    resolutions: Mapping[str, Resolution] = field(default_factory=dict)
    advance: Callable[[int], Any] = lambda images: None
    pieces: bool = True
    given: Mapping[str, States] = field(default_factory=dict)
    gather: Callable[[Any, Sequence[ImageBatches], States, str], Iterator[Mapping[str, LayerStates]]] | None = None
    measure: Callable[..., Mapping[str, Any] | None] | None = None


class Pass:
    """One run over the images for statistics that need nothing of each other.

    Args:
        setting: the evaluation.
        layers: the group of layers.
        statistics: what is gathered.
    """

    def __init__(self, setting: Setting, layers: Sequence[Layer], statistics: Sequence[Statistic]) -> None:
        self.statistics = statistics
        self.setting = setting
        self.layers = [layer for layer in layers if any(not statistic.applies(layer) for statistic in statistics)]
        self._reference_only = all(statistic.reference_only for statistic in statistics)
        self._with_reference = not self._reference_only and any(statistic.needs_reference for statistic in statistics)
        generators: list[Generator] = [statistic.along for statistic in statistics if statistic.along]
        self._generators = tuple(dict.fromkeys(generators))
        self._gatherer: Gatherer | None = None
        self._step: Any = None
        self._stream: Stream | None = None

    @property
    def images_per_sample(self) -> int:
        """Forward passes that one sample takes."""
        if self._reference_only:
            return max(1, len(self._generators))
        return len(self.setting.transformations) * bool(self.layers)

    def run(self, batches: ImageBatches, given: States, part: str, *, copy: bool = False) -> Mapping[str, LayerStates]:
        """Gather the statistics of some samples, or take them from the checkpoint.

        Args:
            batches: the samples.
            given: finished states that the statistics depend on.
            part: name for the checkpoint.
            copy: whether another run of this pass follows, through which the checkpoint must hold the states.

        Returns:
            By layer the states, valid until the next run.

        Raises:
            ValueError: NaN in images or activations, named.
            KeyboardInterrupt: Ctrl-C, after the block in progress.
        """
        gatherer, total = self._prepared(given), Total(self.layers, self.statistics)
        if not self.layers:
            return {}
        checkpoint = self.setting.checkpoint
        finished = checkpoint.get(part) if checkpoint else None
        if finished is not None:
            self._restore(finished, gatherer, total)
            self.setting.advance((batches.count or 0) * self.images_per_sample)
            return self._states(gatherer, total, transient=copy)
        self._loop(self.in_blocks(batches), gatherer, total, part)
        gatherer.check_finite()
        if len(total) and gatherer.samples:
            total.add(self._states(gatherer, transient=True), gatherer.samples)
            gatherer.reset()
        if checkpoint:
            arrays = gatherer.arrays() | total.arrays()
            checkpoint.put(part, {name: array.copy() for name, array in arrays.items()} if copy else arrays)
        return self._states(gatherer, total, transient=copy)

    def in_blocks(self, batches: ImageBatches) -> ImageBatches:
        """The samples in the blocks that this pass takes, cut where pieces end."""
        cut = piece_size(batches.count, batches.batch_size) if self.setting.pieces else 0
        if self._reference_only:
            count = len(self.setting.transformations)
            # Derivatives and what they are compared with take about four times the memory of activations.
            batches = batches.in_batches_of(batches.batch_size * (max(1, count // 4) if self._generators else count))
        if self._stream is not None:
            at_once = min(batches.batch_size, batches.count or batches.batch_size)
            batches = batches.in_batches_of(self._stream.block_size(at_once) or batches.batch_size)
        return batches.cut_every(cut)

    def _states(self, gatherer: Gatherer, total: Total | None = None, *, transient: bool) -> Mapping[str, LayerStates]:
        if total:
            return total.states()
        return {layer.name: gatherer.states_of(layer.name, transient=transient) for layer in self.layers}

    def _restore(self, arrays: Mapping[str, Any], gatherer: Gatherer, total: Total) -> None:
        gatherer.restore({name: array for name, array in arrays.items() if not name.startswith("total")})
        total.restore(arrays)

    def _prepared(self, given: States) -> Gatherer:
        if self._gatherer is None:
            self._gatherer = Gatherer(self.statistics, self.layers, given=given)
            self._step = self._make_step(self._gatherer)
        else:
            self._gatherer.reset()
            self._gatherer.give(given)
        return self._gatherer

    def _loop(self, batches: ImageBatches, gatherer: Gatherer, total: Total, part: str) -> None:
        checkpoint, done = self.setting.checkpoint, 0
        if checkpoint and (progress := checkpoint.progress(part)):
            done = progress[0]
            self._restore(progress[1], gatherer, total)
            gatherer.samples = done - total.samples
            self.setting.advance(done * self.images_per_sample)
        with postponed_interrupt() if checkpoint else nullcontext() as pressed:
            for number, batch in enumerate(batches.after(done)):
                if batches.cut and done and done % batches.cut == 0:
                    total.add(self._states(gatherer, transient=True), gatherer.samples)
                    gatherer.reset()
                self._one(batch, number, gatherer)
                done += len(batch.images)
                gatherer.samples += len(batch.images)
                if checkpoint and pressed:
                    arrays = functools.partial(_arrays, gatherer, total)
                    checkpoint.tick(part, done, arrays, now=pressed.is_set())
                    if pressed.is_set():
                        raise KeyboardInterrupt

    def _one(self, batch: Batch, number: int, gatherer: Gatherer) -> None:
        try:
            with self._told():
                self._step(batch.images, batch.index, batch.labels)
        except ImageError as error:
            raise ValueError(f"{error.text}, on {self._place(error.position, batch)}") from None
        if number % CHECK_EVERY == 0:
            gatherer.check_finite()
        self.setting.advance(len(batch.images) * self.images_per_sample)

    def _told(self) -> AbstractContextManager[None]:
        """Errors inside a Keras model say what to do; those of a source of one's own are one's own."""
        source = self.setting.source
        return told(RUNS, source.keras_model) if isinstance(source, ActivationModel) else nullcontext()

    def _place(self, position: int, batch: Batch) -> str:
        """An image of the transformed batch in words."""
        count = 1 if self._reference_only else len(self.setting.transformations)
        sample, member = divmod(position, count)
        if sample >= len(batch.images):  # the untransformed images come last
            sample, count = position - count * len(batch.images), 1
        under = f" under {label(self.setting.transformations[member])}" if count > 1 else ""
        return f"image {batch.index[sample]}{under}"

    def _make_step(self, gatherer: Gatherer) -> Any:
        """A function of a batch `(images, index, labels)` that updates all states."""
        setting, count = self.setting, len(self.setting.transformations)
        source = setting.source
        names = [layer.name for layer in self.layers]
        if names and names != list(source.layer_shapes):
            source = source.select(names)

        def transformed(images: Images) -> Any:
            """`(S_b * T [+ S_b], H, W, C)`; the untransformed images, where needed, come last."""
            if self._reference_only:
                return images
            warped = warp(images, setting.transformations, padding=setting.padding, interpolation=setting.interpolation)
            warped = tf.reshape(warped, (-1, *setting.image_shape))
            return tf.concat([warped, images], axis=0) if self._with_reference else warped

        def gather(activations: Mapping[str, Any], index: Tensor, labels: Any, derivatives: Any = None) -> list[Any]:
            done = []
            for layer in self.layers:
                values = tf.cast(activations[layer.name], tf.float32)
                if self._reference_only:
                    slopes = derivatives and derivatives[layer.name]
                    done += gatherer.add(layer.name, None, index, labels, values, slopes)
                    continue
                reference = None
                if self._with_reference:  # cut along the first axis, where it costs no copy
                    values, reference = values[: tf.size(index) * count], values[tf.size(index) * count :]
                done += gatherer.add(layer.name, values, index, labels, reference)
            return done

        images_spec = tf.TensorSpec((None, *setting.image_shape), tf.float32)
        if isinstance(source, ActivationModel):
            vector = tf.TensorSpec((None,), tf.int64)
            labels_spec = tf.TensorSpec((None, *setting.label_shape), tf.int64)

            def of_model(images: Images, index: Tensor, labels: Any) -> list[Any]:
                if not self._generators:
                    return gather(source(transformed(images)), index, labels)
                values, derivatives = {}, {name: {} for name in names}
                for generator in self._generators:
                    values, slopes = source.differentiated(images, generator_tangent(images, generator))
                    for name in names:
                        derivatives[name][generator] = tf.cast(slopes[name], tf.float32)
                return gather(values, index, labels, derivatives)

            signature = (images_spec, vector, labels_spec)
            # Traced here, once: TensorFlow takes many evaluations in one process for one function traced many times.
            graph = tf.function(of_model, input_signature=signature, autograph=False).get_concrete_function()
            return lambda *batch: graph(
                *(tf.convert_to_tensor(values, spec.dtype) for values, spec in zip(batch, signature, strict=True))
            )
        warp_graph = tf.function(transformed, input_signature=[images_spec], autograph=False)
        gather_graph = tf.function(gather, reduce_retracing=True, autograph=False)

        stream = self._stream = self._make_stream(source, gatherer, warp_graph)

        def step(images: Images, index: Tensor, labels: Any) -> None:
            if stream is not None and stream.is_ready:
                stream(images)
                return
            activations = source(warp_graph(images).numpy())
            if self._reference_only or not gatherer.is_direct:
                gather_graph({name: tf.constant(activations[name]) for name in names}, index, labels)
                return
            for layer in self.layers:
                values = np.asarray(activations[layer.name], np.float32)
                gatherer.add_directly(layer.name, values.reshape(len(images), -1, *layer.shape))

        return step

    def _make_stream(self, source: Any, gatherer: Gatherer, warp_graph: Any) -> Stream | None:
        """Gathers without copies, where the source and the statistics allow it."""
        if not isinstance(source, StreamSource) or self._reference_only or self._with_reference:
            return None
        if not gatherer.is_direct:
            return None
        setting, count = self.setting, len(self.setting.transformations)
        if TableWarp.serves(setting.transformations, setting.padding, setting.interpolation):
            return Stream(source, self.layers, gatherer, TableWarp(setting.transformations, setting.image_shape), count)

        def warped(images: Images) -> Any:
            return warp_graph(images).numpy().reshape(-1, count, *setting.image_shape)

        return Stream(source, self.layers, gatherer, warped, count)


def _arrays(gatherer: Gatherer, total: Total) -> dict[str, Any]:
    """Everything needed to go on later."""
    return gatherer.arrays() | total.arrays()


def make_passes(setting: Setting, layers: Sequence[Layer]) -> list[Pass]:
    """The passes that the measures take on a group of layers."""
    given = [statistic for states in setting.given.values() for statistic in states]
    required = required_statistics(setting.measures)
    return [Pass(setting, layers, statistics) for statistics in ordered(required, given)]


def first_statistics(measures: Sequence[Measure]) -> list[Statistic]:
    """What other statistics of the measures depend on, and what depends on nothing itself."""
    together = gathered(measures)
    needed = {other for statistic in together for other in statistic.depends}
    return [statistic for statistic in together if statistic in needed and not statistic.depends]


def gathered(measures: Sequence[Measure]) -> list[Statistic]:
    """All statistics that measures make an evaluation gather, in whichever pass."""
    return [statistic for together in ordered(required_statistics(measures)) for statistic in together]


def ordered(statistics: Sequence[Statistic], given: Sequence[Statistic] = ()) -> list[list[Statistic]]:
    """Order statistics into passes, so that each finds what it depends on finished.

    What others depend on and needs the untransformed images alone comes first, in a pass of one forward an image:
    the statistics that need all transformations then still share one pass. Derivatives have a pass of their own.

    Args:
        statistics: what the measures require; what those depend on is added.
        given: what is finished already; it is gathered again only where the measures require it.

    Returns:
        One list of statistics a pass.
    """
    both = (needed for statistic in statistics for needed in (*statistic.depends, statistic))
    waiting = list(dict.fromkeys(needed for needed in both if needed in statistics or needed not in given))
    done: list[list[Statistic]] = []
    while waiting:
        finished = {statistic for batch in done for statistic in batch}.union(given)
        ready = [statistic for statistic in waiting if finished.issuperset(statistic.depends)]
        early = [
            statistic
            for statistic in ready
            if statistic.reference_only and any(statistic in other.depends for other in waiting)
        ]
        ready = early or ready
        ready = [statistic for statistic in ready if (statistic.along is None) == (ready[0].along is None)]
        done.append(ready)
        waiting = [statistic for statistic in waiting if statistic not in ready]
    return done
