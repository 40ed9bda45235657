"""One file under several kernel sets: every block of transformed images is shown to all of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfinv.datasets import Split
from tfinv.engine.batches import ImageBatches
from tfinv.evaluation.arguments import block_size
from tfinv.evaluation.options import Sampling, Warping
from tfinv.evaluation.planning import plan_evaluation
from tfinv.measures import Measure
from tfinv.support.progress import Progress
from tfinv.tflite.comparison.behaviour import identities
from tfinv.tflite.comparison.kernel_layers import LayerRecorder
from tfinv.tflite.comparison.observing import Observer, groups_together, warping_function
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.tflite.files.model import TFLiteModel
from tfinv.transformations import TransformationSet


@dataclass
class KernelObservation:
    """What one file showed under its kernel sets.

    Args:
        predictions: by kernel set; None where outputs are no classes.
        recorders: by pair of kernel sets the differences of all layers.
        delegates: by kernel set what computed the file.
        seconds: by kernel set the time of one image.
    """

    predictions: dict[str, Predictions | None]
    recorders: dict[tuple[str, str], LayerRecorder]
    delegates: dict[str, str]
    seconds: dict[str, float]


class KernelRun:
    """A run of one file by several kernel sets, planned when it is made.

    Args:
        name: of the file.
        runs: the file by kernel set.
        images: the images.
        transformations: the set.
        warping: padding and interpolation.
        memory_budget: see `evaluate`; where the layers of a block do not fit, the block is shown several times, every
            time for some of the layers, with the same numbers.

    Raises:
        ValueError: one layer alone does not fit.
    """

    def __init__(
        self,
        name: str,
        runs: Mapping[str, TFLiteModel],
        images: Split,
        transformations: TransformationSet,
        warping: Warping,
        memory_budget: int | float | str | None,
    ) -> None:
        self._name, self._runs, self._images = name, runs, images
        self._transformations, self._warping = transformations, warping
        self._batches = ImageBatches(images, block_size(None, len(transformations)))
        self._columns = _columns(transformations)
        shapes, batches = next(iter(runs.values())).layer_shapes if len(runs) > 1 else {}, self._batches
        block = min(batches.batch_size, len(images))
        self.groups = groups_together(shapes, len(runs), self._columns, batches.shape, block, memory_budget)
        """Layers that are compared together."""

    def show(self, progress: bool) -> KernelObservation:
        """Go over all images.

        Args:
            progress: show a progress bar.
        """
        warp_block, upright = warping_function(self._transformations, self._batches.shape, self._warping)
        observers = {kernel_set: Observer(model, self._images.y) for kernel_set, model in self._runs.items()}
        recorders = {pair: LayerRecorder(self._runs[pair[0]]) for pair in itertools.combinations(self._runs, 2)}
        seconds = dict.fromkeys(self._runs, 0.0)
        total = len(self._images) * len(self._runs)
        with Progress(f"kernels of {self._name}", total, "img", shown=progress) as bar:
            for batch in self._batches:
                inputs = warp_block(batch.images)
                for number, group in enumerate(self.groups or ((),)):
                    layers = {}
                    for kernel_set, observer in observers.items():
                        start = time.perf_counter()
                        layers[kernel_set], outputs = observer.show(inputs, group)
                        if number:
                            continue
                        seconds[kernel_set] += time.perf_counter() - start
                        observer.note(outputs, len(batch.images), len(self._transformations), upright)
                        bar.advance(len(batch.images))
                    for (first, second), recorder in recorders.items():
                        recorder.update(layers[first], layers[second])
        return KernelObservation(
            {kernel_set: observer.predictions() for kernel_set, observer in observers.items()},
            recorders,
            {kernel_set: model.runner.delegate for kernel_set, model in self._runs.items()},
            {kernel_set: spent / (len(self._images) * self._columns) for kernel_set, spent in seconds.items()},
        )


def plan_kernels(
    models: Mapping[str, TFLiteModel],
    kernels: int,
    samples: int,
    transformations: TransformationSet,
    measures: Sequence[Measure],
    sampling: Sampling,
    memory_budget: int | float | str | None,
) -> None:
    """Refuse a comparison of kernel sets that does not fit into memory; nothing is run.

    Args:
        models: the files.
        kernels: how many kernel sets.
        samples: how many images.
        transformations: the set.
        measures: what is measured besides; none for no profiles.
        sampling: of the measures.
        memory_budget: see `evaluate`.

    Raises:
        ValueError: one layer alone needs more than the budget.
    """
    block = min(samples, block_size(None, len(transformations)))
    for model in models.values():
        if kernels > 1:
            groups_together(
                model.layer_shapes, kernels, _columns(transformations), model.input_shape, block, memory_budget
            )
        if measures:
            options: dict[str, Any] = {"sampling": sampling, "memory_budget": memory_budget}
            plan_evaluation(model, samples, transformations, measures, **options)


def _columns(transformations: TransformationSet) -> int:
    """Images that every sample is shown as: its transformations, and itself where it is none of them."""
    return len(transformations) + (not identities(transformations).any())
