"""The search for worst cases among some images: a regular grid first, then random steps around its best points."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.keras_graph import show
from tfinv.activations.outputs import output_activation
from tfinv.evaluation.options import Warping
from tfinv.evaluation.search_result import WorstCase
from tfinv.evaluation.search_space import SearchSpace
from tfinv.statistics.classification import threshold_of
from tfinv.support.faults import RUNS, told
from tfinv.support.lazy import keras, tf
from tfinv.support.types import Model
from tfinv.transformations.draws import backward_matrices
from tfinv.transformations.warp import warp_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

STARTS = 3
"""The best points of the grid that an image's local refinement starts from, one after the other."""
_RADIUS, _SHRINK = 0.25, 0.85
"""First reach of the refinement, as a share of every range, and its factor after a step that finds nothing better."""


def search_part(
    asker: Asker,
    x: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    budget: int,
    seed: Any,
    pictures: int,
    advance: Callable[[int], Any],
) -> WorstCase:
    """Search the worst transformations of some images, which depend on no other images.

    Args:
        asker: the model and the space.
        x: float32 `(S, H, W, C)`.
        labels: int64 `(S,)`, or None.
        budget: see `worst_case`.
        seed: of the random steps.
        pictures: see `worst_case`.
        advance: called with the number of images that were shown.
    """
    ask, space = asker.of(x), asker.space
    upright_points = np.repeat(space.neutral[None], len(x), axis=0)
    classes, _ = ask(np.arange(len(x)), upright_points, None)
    targets = classes if labels is None else labels
    search = _Search(ask, targets, space, asker.batch, np.random.default_rng(seed))
    upright = classes == targets
    if space.holds_identity:
        search.note(np.arange(len(x)), upright_points, classes, ask.margins(targets))
    grid = space.grid(max(1, budget // 2))
    search.run(lambda places, used: grid[used], len(grid), advance)
    grid_right = ~search.fooled
    search.refine(budget - len(grid), advance)
    return WorstCase(
        space,
        targets=np.asarray(targets, np.int64),
        is_labelled=labels is not None,
        upright=upright,
        grid_right=grid_right,
        right=~search.fooled,
        parameters=search.best,
        answers=search.answers,
        tried=search.tried,
        grid_points=len(grid),
        budget=budget,
        **ask.pictures(np.flatnonzero(search.fooled & upright)[:pictures], search.best),
    )


class Asker:
    """Shows images under given maps to a model, in full batches."""

    def __init__(
        self, model: Model, image_shape: tuple[int, ...], space: SearchSpace, warping: Warping, batch: int
    ) -> None:
        self._made_of = (model, image_shape, space, warping, batch)
        self.space, self.batch, self._batch = space, batch, min(batch, 4096)
        self._x = np.zeros((0, *image_shape), np.float32)
        height, width = image_shape[:2]
        options: dict[str, Any] = {"interpolation": warping.interpolation, "padding": warping.padding}

        def warped(images: Any, coefficients: Any) -> Any:
            return warp_each(images, backward_matrices(coefficients, height, width), **options)

        specs = [tf.TensorSpec((None, *image_shape), tf.float32), tf.TensorSpec((None, 2, 4), tf.float32)]
        self._warp = tf.function(warped, autograph=False).get_concrete_function(*specs)
        self._predict: Callable[[Any], Any]
        if isinstance(model, keras.Model):
            activation = output_activation(model)
            answer = tf.function(lambda images: show(model, images), autograph=False)
            compiled = answer.get_concrete_function(tf.TensorSpec((None, *image_shape), tf.float32))

            def predict(images: Any) -> Any:
                with told(RUNS, model):
                    return compiled(images)

            self._predict = predict
        elif callable(getattr(model, "predict", None)):
            first: Any = next(iter(getattr(model, "outputs", ())), None)
            activation = getattr(first, "activation", "")
            self._predict = lambda images: model.predict(images.numpy())
        else:
            raise TypeError(f"model must be a Keras model or have predict. Received: {type(model).__name__}")
        self._threshold = threshold_of(activation)
        self._outputs = np.zeros((0, 2), np.float32)

    def __reduce__(self) -> tuple[Any, ...]:
        """It is made anew in another process."""
        return Asker, self._made_of

    def of(self, x: NDArray[np.float32]) -> Asker:
        """The same for some images."""
        other = copy.copy(self)
        other._x = x
        return other

    def __call__(
        self, places: NDArray[np.int64], parameters: NDArray[np.float64], targets: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Answers and margins for images `places` under maps; margins are zeros where there are no targets."""
        coefficients, outputs = self.space.coefficients(parameters), []
        for start in range(0, len(places), self._batch):
            part = np.arange(start, start + self._batch) % len(places)  # the last batch is filled up
            images = self._warp(tf.constant(self._x[places[part]]), tf.constant(coefficients[part]))
            outputs.append(np.asarray(self._predict(images), np.float32))
        self._outputs = self._checked(np.concatenate(outputs)[: len(places)])
        margins = np.zeros(len(places)) if targets is None else self.margins(targets)
        return self._outputs.argmax(axis=1), margins

    def margins(self, targets: NDArray[np.int64]) -> NDArray[np.float64]:
        """By how much the output of the target leads in the outputs that were seen last."""
        outputs, rows = self._outputs, np.arange(len(targets))
        if targets.size and not 0 <= targets.min() <= targets.max() < outputs.shape[1]:
            raise ValueError(
                f"labels must be classes of the model, from 0 to {outputs.shape[1] - 1}. "
                f"Received: {targets.min()} to {targets.max()}"
            )
        others = outputs.copy()
        others[rows, targets] = -np.inf
        return (outputs[rows, targets] - others.max(axis=1)).astype(np.float64)

    def pictures(self, places: NDArray[np.int64], parameters: NDArray[np.float64]) -> dict[str, Any]:
        """The images upright and transformed, uint8 `(N, 2, H, W, C)`, and which they are."""
        shape = (len(places), 2, *self._x.shape[1:])
        if not len(places):
            return {"shown": places, "pictures": np.zeros(shape, np.uint8)}
        turned = self._warp(tf.constant(self._x[places]), tf.constant(self.space.coefficients(parameters[places])))
        both = np.stack([self._x[places], turned.numpy()], axis=1)
        return {"shown": places, "pictures": np.round(255 * np.clip(both, 0, 1)).astype(np.uint8)}

    def _checked(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        if outputs.ndim != 2:
            raise ValueError(f"model must give one number a class, (N, K). Received: outputs of shape {outputs.shape}")
        if not np.isfinite(outputs).all():
            raise ValueError("model must give finite outputs. Received: NaN or infinity")
        return (
            np.concatenate([np.full_like(outputs, self._threshold), outputs], 1) if outputs.shape[1] == 1 else outputs
        )


class _Search:
    """What is known of every image so far."""

    def __init__(
        self, ask: Asker, targets: NDArray[np.int64], space: SearchSpace, batch: int, rng: np.random.Generator
    ) -> None:
        count = len(targets)
        self._ask, self._targets, self._space, self._batch, self._rng = ask, targets, space, batch, rng
        self.fooled = np.zeros(count, bool)
        self.answers = np.array(targets, np.int64)
        self.best = np.repeat(space.neutral[None], count, axis=0)
        self.margin = np.full(count, np.inf)
        self.tried = np.zeros(count, np.int64)
        self._starts = np.repeat(self.best[:, None], STARTS, axis=1)
        self._start_margins = np.full((count, STARTS), np.inf)

    def note(
        self,
        places: NDArray[np.int64],
        parameters: NDArray[np.float64],
        classes: NDArray[np.int64],
        margins: NDArray[np.float64],
    ) -> None:
        """Keep what is better than before: an answer that is wrong, otherwise a smaller lead of the right one."""
        for place, point, answer, margin in zip(places, parameters, classes, margins, strict=True):
            if self.fooled[place]:
                continue
            if answer != self._targets[place]:
                self.fooled[place] = True
            if self.fooled[place] or margin < self.margin[place]:
                self.best[place], self.margin[place], self.answers[place] = point, margin, answer

    def run(
        self, propose: Callable[[Any, Any], Any], limit: int, advance: Callable[[int], Any], after: Any = None
    ) -> None:
        """Try `limit` proposals on every image that the model is still right on, in full batches.

        Args:
            propose: from images `(N,)` and numbers of their proposals `(N,)` to parameters `(N, P)`.
            limit: proposals an image.
            advance: called with the number of images that were shown.
            after: called with images, parameters and margins of every batch.
        """
        used = np.zeros(len(self._targets), np.int64)
        queue = np.flatnonzero(~self.fooled)
        while queue.size:
            some = queue[: self._batch]
            remaining = limit - used[some]
            several = max(1, -(-self._batch // queue.size))  # few images left: several proposals of one in a batch
            while np.minimum(remaining, several).sum() < self._batch and several < remaining.max():
                several += 1
            places = np.repeat(some, several)
            numbers = used[places] + np.tile(np.arange(several), len(some))
            kept = np.flatnonzero(numbers < limit)[: self._batch]
            places, numbers = places[kept], numbers[kept]
            parameters = propose(places, numbers)
            classes, margins = self._ask(places, parameters, self._targets[places])
            self.note(places, parameters, classes, margins)
            self._remember(places, parameters, margins)
            if after is not None:
                after(places, margins)
            np.add.at(used, places, 1)
            np.add.at(self.tried, places, 1)
            advance(len(places))
            queue = np.concatenate([queue[len(some) :], some])
            queue = queue[~self.fooled[queue] & (used[queue] < limit)]

    def refine(self, limit: int, advance: Callable[[int], Any]) -> None:
        """Random steps around the best points of the grid, one after the other, smaller while nothing better comes."""
        if limit < 1:
            return
        order = np.argsort(self._start_margins, axis=1)
        centre = np.take_along_axis(self._starts, order[:, :, None], axis=1)
        level = np.take_along_axis(self._start_margins, order, axis=1)
        reach = np.full(centre.shape[:2], _RADIUS)
        width = self._space.high - self._space.low
        trial: dict[str, Any] = {}

        def propose(places: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.float64]:
            start = numbers * STARTS // limit
            step = self._rng.uniform(-1, 1, (len(places), len(width))) * reach[places, start][:, None] * width
            trial["start"] = start
            trial["points"] = np.clip(centre[places, start] + step, self._space.low, self._space.high)
            return trial["points"]

        def after(places: NDArray[np.int64], margins: NDArray[np.float64]) -> None:
            for place, start, point, margin in zip(places, trial["start"], trial["points"], margins, strict=True):
                if margin < level[place, start]:
                    centre[place, start], level[place, start] = point, margin
                else:
                    reach[place, start] *= _SHRINK

        self.run(propose, limit, advance, after)

    def _remember(
        self, places: NDArray[np.int64], parameters: NDArray[np.float64], margins: NDArray[np.float64]
    ) -> None:
        """Keep the points of smallest margin, `STARTS` an image."""
        for place, point, margin in zip(places, parameters, margins, strict=True):
            worst = int(self._start_margins[place].argmax())
            if margin < self._start_margins[place, worst]:
                self._starts[place, worst], self._start_margins[place, worst] = point, margin
