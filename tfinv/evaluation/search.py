"""A search over continuous transformations for those that make a classifier err."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.disk import Verified
from tfinv.datasets.given import as_array, as_labels, check_finite, in_memory
from tfinv.datasets.split import Split
from tfinv.engine.tasks import run_tasks
from tfinv.engine.watching import watched
from tfinv.evaluation.distribution import team_of
from tfinv.evaluation.options import Warping, checked
from tfinv.evaluation.search_part import Asker, search_part
from tfinv.evaluation.search_result import WorstCase, joined
from tfinv.evaluation.search_space import SearchSpace
from tfinv.models.opening import as_model
from tfinv.support.checks import whole_number
from tfinv.support.guarded import guarded
from tfinv.support.progress import Progress
from tfinv.support.types import Images, Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

PART = 1024
"""Images that are searched together: batches are filled from these."""


@guarded(pictures=0)
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
    distribute: Any = None,
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
            outputs `(N, K)`: a `TFLiteModel`, an `ActivationModel`; or the path of a file of one, see
            `tfinv.models.open_file`.
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
        distribute: workers that search 1024 images at a time, see `tfinv.evaluate`; None for those of
            `tfinv.distributed`, or else this process. The numbers are the same.
        progress: show a progress bar.

    Returns:
        What was found for every image, with tables and a report.

    Raises:
        ValueError: no images, labels that do not fit, an unknown or empty range, outputs that are no classes.
        TypeError: a model without `predict`.

    Source: Engstrom et al. 2019, "Exploring the landscape of spatial robustness".
    """
    space, warping = SearchSpace.of(ranges), checked(Warping, warping)
    whole_number("seed", seed, 0)
    budget, batch = whole_number("budget", budget, 2), whole_number("batch_size", batch_size, 1)
    given, own_labels = in_memory(tuple(images) if isinstance(images, list) else images, "images")
    x = np.ascontiguousarray(as_array(given, "images"), np.float32)
    check_finite(x, "images")
    y = own_labels if labels is None else labels
    targets = None if y is None else as_labels(y, len(x), "labels")
    if targets is not None and targets.ndim == 2:
        raise ValueError(
            f"labels must be class numbers for a search. Received: {targets.shape[1]} labels per image; "
            "search with the column of one label and keras.Model(model.inputs, model.outputs[0][:, k : k + 1])"
        )
    asker = Asker(as_model(model), x.shape[1:], space, warping, batch)
    parts = [slice(start, start + PART) for start in range(0, len(x), PART)]
    with (
        Progress("searching", len(x) * budget, "img", shown=progress) as bar,
        team_of(distribute) as given_team,
        watched(given_team, bar) as team,
    ):
        tasks: list[tuple[Any, ...]] = [
            (x[part], None if targets is None else targets[part], budget, [seed, number] if number else seed, pictures)
            for number, part in enumerate(parts)
        ]
        if team is None:
            found = [search_part(asker, *task, advance=bar.advance) for task in tasks]
        else:
            origin = images.origin if isinstance(images, Split) else None
            if origin is not None:  # workers read the images themselves
                tasks = [
                    (Verified.of(origin, x, np.arange(len(x))[part]), *task[1:])
                    for part, task in zip(parts, tasks, strict=True)
                ]

            def advance(task: tuple[Any, ...], worst: WorstCase) -> None:
                bar.advance(len(task[0]) * budget)

            found = run_tasks(team, _search_in_worker, asker, tasks, advance)
    return joined(found, pictures)


def _search_in_worker(asker: Asker, images: NDArray[np.float32] | Verified, *arguments: Any) -> WorstCase:
    return search_part(asker, images[:], *arguments, advance=lambda shown: None)
