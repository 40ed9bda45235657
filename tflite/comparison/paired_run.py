"""Show several models the same transformed images, block by block, in this process or on workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.engine.batches import ImageBatches, UnreadPiece
from tfinv.evaluation.distribution import Team, piece_size, run_tasks, share_of_memory, team_of, watched
from tfinv.evaluation.options import Warping
from tfinv.support.progress import Progress
from tfinv.support.types import Images
from tfinv.tflite.comparison.fidelity import FidelityRecorder
from tfinv.tflite.comparison.observing import Noted, Observer, groups_together, warping_function
from tfinv.transformations import TransformationSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_ONCE = 2**28
"""Bytes of activations of two models that are compared at a time; larger ones would mostly wait for fresh memory."""
Shown = tuple[dict[str, Noted], dict[str, FidelityRecorder]]
"""What was noted of some blocks, by model."""


class PairedRun:
    """One run over the images that shows each block to all models; workers take several blocks each.

    Args:
        observers: by model.
        reference: the model that others are compared with.
        pairs: by model, its layer by the reference's.
        transformations: the set.
        batches: the images.
        warping: padding and interpolation.
        memory_budget: see `evaluate`; where the layers of a block do not fit, the block is shown several times, every
            time for some of the layers, with the same numbers.

    Raises:
        ValueError: one layer alone does not fit.
    """

    def __init__(
        self,
        observers: Mapping[str, Observer],
        reference: str,
        pairs: Mapping[str, Mapping[str, str]],
        transformations: TransformationSet,
        batches: ImageBatches,
        warping: Warping,
        memory_budget: int | float | str | None = None,
    ) -> None:
        self._observers, self._reference, self._batches = observers, reference, batches
        self._count = len(transformations)
        self._warping = transformations, batches.shape, warping
        self._warp, self._upright = warping_function(*self._warping)
        self.recorders = {
            name: FidelityRecorder(layer_pairs, getattr(observers[name].model, "layer_tensors", {}))
            for name, layer_pairs in pairs.items()
            if name != reference
        }
        self._shapes = {
            layer: shape
            for layer, shape in observers[reference].model.layer_shapes.items()
            if any(layer in recorder.pairs for recorder in self.recorders.values())
        }
        self._columns = max(self._count, self._upright + 1)
        samples = min(batches.batch_size, batches.count or batches.batch_size)
        units = sum(int(np.prod(shape)) for shape in self._shapes.values())
        self._samples = max(1, min(samples, AT_ONCE // max(1, 2 * 4 * self._columns * units)))
        self._budget = memory_budget
        self._groups = self._grouped(memory_budget)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_warp": None, "_batches": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._warp, self._upright = warping_function(*self._warping)

    def _grouped(self, budget: int | float | str | None) -> tuple[tuple[str, ...], ...]:
        """Layers of the reference whose activations for some images are in memory together, of it and of one other."""
        return groups_together(self._shapes, 2, self._columns, self._batches.shape, self._samples, budget)

    def run(self, fidelity_samples: int, progress: bool) -> None:
        """Go over all images.

        Args:
            fidelity_samples: on how many of them to compare activations, at least.
            progress: show a progress bar.
        """
        samples = self._batches.count or 0
        blocks = -(-samples // self._batches.batch_size)
        wanted = min(blocks, -(-fidelity_samples // self._batches.batch_size)) if self.recorders else 0
        chosen = set(np.linspace(0, blocks - 1, wanted).astype(int).tolist())
        total = samples * self._count * len(self._observers)
        with (
            Progress("comparing", total, "img", shown=progress) as bar,
            team_of(None) as given_team,
            watched(given_team, bar) as team,
        ):
            for number, batch in enumerate(self._batches):
                self._block(batch.images, number in chosen, bar.advance)
                if team is not None and self._batches.has_array:  # the first block tells what outputs mean
                    self._run_rest(team, chosen, bar)
                    return

    def _run_rest(self, team: Team, chosen: set[int], bar: Progress) -> None:
        """Let workers go over all blocks but the first."""
        size, samples = self._batches.batch_size, self._batches.count or 0
        if samples <= size:
            return
        blocks = piece_size(samples, size) // size
        rest = self._batches.only(np.arange(size, samples))
        tasks = [
            (piece, start, [number in chosen for number in range(start, start + blocks)])
            for start, piece in zip(range(1, samples, blocks), rest.pieces(blocks * size), strict=False)
        ]

        def shown(task: tuple[Any, ...], noted: Any) -> None:
            bar.advance((task[0].count or 0) * self._count * len(self._observers))

        for outputs, recorders in run_tasks(team, show_blocks, self._for_workers(team), tasks, shown):
            for name, noted in outputs.items():
                self._observers[name].noted.extend(noted)
            for name, recorder in recorders.items():
                self.recorders[name].extend(recorder)

    def _for_workers(self, team: Team) -> PairedRun:
        """The same run, which has shown nothing yet."""
        other = self.anew(0)
        if team.size:  # workers of this machine share its memory
            other._groups = self._grouped(share_of_memory(self._budget, team))
        return other

    def anew(self, images: int) -> PairedRun:
        """The same run, which goes on after so many images and has noted nothing of them."""
        other = object.__new__(PairedRun)  # a copy would trace the warp again
        other.__dict__.update(self.__dict__)
        other._observers = {name: observer.anew(images) for name, observer in self._observers.items()}
        other.recorders = {name: recorder.anew() for name, recorder in self.recorders.items()}
        return other

    def show(self, blocks: Iterable[Images], compared: Sequence[bool]) -> Shown:
        """What is noted of some blocks: of the outputs of every model, and of the activations of pairs.

        Args:
            blocks: images `(S_b, H, W, C)`.
            compared: whether to compare activations, by block.
        """
        for images, compare in zip(blocks, compared, strict=False):
            self._block(images, compare, lambda steps: None)
        return {name: observer.noted for name, observer in self._observers.items()}, self.recorders

    def _block(self, upright: Images, compare: bool, advance: Callable[[int], Any]) -> None:
        samples = self._samples if compare and self._groups else len(upright)
        outputs: dict[str, list[NDArray[np.float32]]] = {name: [] for name in self._observers}
        for start in range(0, len(upright), samples):
            self._part(upright[start : start + samples], compare, outputs, advance)
        for name, parts in outputs.items():
            with named(name):
                self._observers[name].note(np.concatenate(parts), len(upright), self._count, self._upright)

    def _part(
        self,
        upright: Images,
        compare: bool,
        outputs: Mapping[str, list[NDArray[np.float32]]],
        advance: Callable[[int], Any],
    ) -> None:
        """Show some images of a block, add what the models answer to `outputs`, and compare activations."""
        images = self._warp(upright)
        order = [self._reference, *(name for name in self._observers if name != self._reference)]
        for number, group in enumerate(self._groups if compare and self._groups else ((),)):
            before: Mapping[str, Any] = {}
            for name in order:
                pairs = self.recorders[name].pairs if name in self.recorders else {}
                wanted = group if name == self._reference else [pairs[layer] for layer in group if layer in pairs]
                if number and not wanted:
                    continue
                layers, answers = self._observers[name].show(images, wanted)
                if layers and name != self._reference:
                    with named(name):
                        self.recorders[name].update(before, layers)
                if not number:
                    outputs[name].append(np.array(answers))  # the array may be used again
                if name == self._reference:
                    before = layers
                advance(0 if number else len(upright) * self._count)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Errors of what a model gives name the model."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"model {name!r}: {error}") from None


def show_blocks(run: PairedRun, piece: ImageBatches | UnreadPiece, start: int, compared: Sequence[bool]) -> Shown:
    """In a worker: see `PairedRun.show`.

    Args:
        run: what shows nothing itself, but is begun anew.
        piece: the images of the blocks.
        start: number of the first block.
        compared: whether to compare activations, by block.
    """
    batches = piece.opened()
    return run.anew(start * batches.batch_size).show((batch.images for batch in batches), compared)
