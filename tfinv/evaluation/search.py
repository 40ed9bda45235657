"""A search over continuous transformations for those that make a classifier err."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.keras_graph import show
from tfinv.activations.outputs import output_activation
from tfinv.datasets.given import as_array, as_labels, check_finite, in_memory
from tfinv.evaluation.options import Warping, checked
from tfinv.evaluation.search_result import WorstCase
from tfinv.evaluation.search_space import SearchSpace
from tfinv.statistics.classification import threshold_of
from tfinv.support.checks import whole_number
from tfinv.support.lazy import keras, tf
from tfinv.support.progress import Progress
from tfinv.support.types import Images, Model
from tfinv.transformations.draws import backward_matrices
from tfinv.transformations.warp import warp_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

STARTS = 3
"""The best points of the grid that an image's local refinement starts from, one after the other."""
_RADIUS, _SHRINK = 0.25, 0.85
"""First reach of the refinement, as a share of every range, and its factor after a step that finds nothing better."""


def worst_case(
    model: Model,
    images: Images,
    ranges: Mapping[str, Any],
    *,
    labels: Any = None,
    budget: int = 100,
    batch_size: int = 256,
    warping: Warping | None = None,
    seed: int = 0,
    pictures: int = 24,
    progress: bool = True,
) -> WorstCase:
    r"""Search, image by image, for a transformation within continuous ranges that makes a classifier err.

        \min_{\theta \in \Theta} \; f_y(t_\theta(x)) - \max_{k \ne y} f_k(t_\theta(x))

    Half of the budget goes to a regular grid that is the same for all images. The rest refines locally: random steps
    around the three best points of the grid, which become smaller while they find nothing better. An image is left as
    soon as the model errs on it, and its budget is saved. The model is a black box: nothing is asked but its outputs,
    so that quantized files are searched as any other model. Batches are always full.

    It is a search. What it finds is a fact; that it finds nothing proves nothing, and nothing is certified.

    Example:
        >>> import numpy as np, tfinv
        >>> from tfinv import datasets, models
        >>> few = datasets.load("digits").test.subset(20, seed=0)
        >>> network = models.build("ffnet", (16, 16, 1), 10, seed=0)
        >>> found = tfinv.worst_case(network, few, {"rotation": 30, "translation": 0.1}, budget=20, progress=False)
        >>> found.parameters.shape, bool(found.right.sum() <= found.grid_right.sum() <= found.upright.sum())
        ((20, 3), True)

    Args:
        model: a Keras model, or an object whose `predict` takes float32 images `(N, H, W, C)` in [0, 1] and gives
            outputs `(N, K)`: a `TFLiteModel`, an `ActivationModel`.
        images: a `Split`, a pair `(x, y)` or an array `(S, H, W, C)` in [0, 1].
        ranges: `rotation` (degrees), `scale` (factors, a pair), `shear` (degrees), `translation` (fractions of the
            width and of the height, sought each for itself): a number `m` for `[-m, m]`, or `(low, high)`.
        labels: int `(S,)`; None for those of `images`. Without any, the model errs where its answer is not that for the
            untransformed image.
        budget: transformations that are tried on an image, at most.
        batch_size: images shown to the model at a time.
        warping: padding and interpolation.
        seed: of the random steps.
        pictures: so many images that the model errs on are kept with the transformation found.
        progress: show a progress bar.

    Returns:
        What was found for every image, with tables and a report.

    Raises:
        ValueError: no images, labels that do not fit, an unknown or empty range, outputs that are no classes.
        TypeError: a model without `predict`.

    Source: Engstrom et al. 2019, "Exploring the landscape of spatial robustness".
    """
    space, warping = SearchSpace.of(ranges), checked(Warping, warping)
    budget, batch = whole_number("budget", budget, 2), whole_number("batch_size", batch_size, 1)
    given, own_labels = in_memory(tuple(images) if isinstance(images, list) else images, "images")
    x = np.ascontiguousarray(as_array(given, "images"), np.float32)
    check_finite(x, "images")
    y = own_labels if labels is None else labels
    ask = _Asker(model, x, space, warping, batch)
    classes, _ = ask(np.arange(len(x)), np.repeat(space.neutral[None], len(x), axis=0), None)
    targets = classes if y is None else as_labels(y, len(x), "labels")
    search = _Search(ask, targets, space, batch, np.random.default_rng(seed))
    upright = classes == targets
    if space.holds_identity:
        search.note(np.arange(len(x)), np.repeat(space.neutral[None], len(x), axis=0), classes, ask.margins(targets))
    grid = space.grid(max(1, budget // 2))
    with Progress("searching", len(x) * budget, "img", shown=progress) as bar:
        search.run(lambda places, used: grid[used], len(grid), bar)
        grid_right = ~search.fooled
        search.refine(budget - len(grid), bar)
    return WorstCase(
        space,
        targets=np.asarray(targets, np.int64),
        is_labelled=y is not None,
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


class _Asker:
    """Shows images under given maps to a model, in full batches."""

    def __init__(self, model: Model, x: NDArray[np.float32], space: SearchSpace, warping: Warping, batch: int) -> None:
        self._x, self._space, self._batch = x, space, min(batch, 4096)
        height, width = x.shape[1:3]
        options: dict[str, Any] = {"interpolation": warping.interpolation, "padding": warping.padding}

        def warped(images: Any, coefficients: Any) -> Any:
            return warp_each(images, backward_matrices(coefficients, height, width), **options)

        specs = [tf.TensorSpec((None, *x.shape[1:]), tf.float32), tf.TensorSpec((None, 2, 4), tf.float32)]
        self._warp = tf.function(warped, autograph=False).get_concrete_function(*specs)
        self._predict: Callable[[Any], Any]
        if isinstance(model, keras.Model):
            activation = output_activation(model)
            answer = tf.function(lambda images: show(model, images), autograph=False)
            self._predict = answer.get_concrete_function(tf.TensorSpec((None, *x.shape[1:]), tf.float32))
        elif callable(getattr(model, "predict", None)):
            first: Any = next(iter(getattr(model, "outputs", ())), None)
            activation = getattr(first, "activation", "")
            self._predict = lambda images: model.predict(images.numpy())
        else:
            raise TypeError(f"model must be a Keras model or have predict. Received: {type(model).__name__}")
        self._threshold = threshold_of(activation)
        self._outputs = np.zeros((0, 2), np.float32)

    def __call__(
        self, places: NDArray[np.int64], parameters: NDArray[np.float64], targets: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Answers and margins for images `places` under maps; margins are zeros where there are no targets."""
        coefficients, outputs = self._space.coefficients(parameters), []
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
        turned = self._warp(tf.constant(self._x[places]), tf.constant(self._space.coefficients(parameters[places])))
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
        self, ask: _Asker, targets: NDArray[np.int64], space: SearchSpace, batch: int, rng: np.random.Generator
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

    def run(self, propose: Callable[[Any, Any], Any], limit: int, bar: Progress, after: Any = None) -> None:
        """Try `limit` proposals on every image that the model is still right on, in full batches.

        Args:
            propose: from images `(N,)` and numbers of their proposals `(N,)` to parameters `(N, P)`.
            limit: proposals an image.
            bar: moves on.
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
            bar.advance(len(places))
            queue = np.concatenate([queue[len(some) :], some])
            queue = queue[~self.fooled[queue] & (used[queue] < limit)]

    def refine(self, limit: int, bar: Progress) -> None:
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

        self.run(propose, limit, bar, after)

    def _remember(
        self, places: NDArray[np.int64], parameters: NDArray[np.float64], margins: NDArray[np.float64]
    ) -> None:
        """Keep the points of smallest margin, `STARTS` an image."""
        for place, point, margin in zip(places, parameters, margins, strict=True):
            worst = int(self._start_margins[place].argmax())
            if margin < self._start_margins[place, worst]:
                self._starts[place, worst], self._start_margins[place, worst] = point, margin
