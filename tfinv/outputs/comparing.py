"""Outputs of several models for the same transformed images, measured in one go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.outputs import ModelOutput
from tfinv.datasets.given import as_array, check_finite, in_memory
from tfinv.evaluation.options import Warping, checked
from tfinv.outputs.base import Quantities
from tfinv.outputs.change import FACTS as CHANGE_FACTS
from tfinv.outputs.change import OutputChange
from tfinv.outputs.kinds import chosen_kinds
from tfinv.outputs.means import means_with_intervals
from tfinv.outputs.predicting import named_outputs, predict_all, with_outputs
from tfinv.outputs.run import FIRST, OutputRun, joined
from tfinv.outputs.vectors import Classes
from tfinv.support import archive
from tfinv.support.checks import whole_number
from tfinv.support.environment import describe as describe_environment
from tfinv.support.guarded import guarded
from tfinv.support.progress import Progress
from tfinv.support.types import Images, Model
from tfinv.transformations import as_set

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FACTS = {"before": CHANGE_FACTS, "after": CHANGE_FACTS}
"""What `OutputComparison.to_parts` gives as JSON values."""


@dataclass(frozen=True)
class OutputComparison:
    """The outputs of two models, such as a file before and after quantization, for the same transformed images.

    Args:
        before: of the first model.
        after: of the second; outputs have the names of the first.
        between: by output and quantity how far the second model is from the first on the same transformed image,
            float64 `(S, T)`.
    """

    before: OutputChange
    after: OutputChange
    between: Mapping[str, Quantities] = field(repr=False)

    def summary(self) -> pd.DataFrame:
        """One row per output.

        Returns:
            `output, kind, error`: what is compared; `before, after`: the mean error over transformed images;
            `difference, low, high`: after minus before with the 95 % interval from resampled images, the same for
            both; `upright_between, between`: how far the second model is from the first on untransformed and on
            transformed images.
        """
        import pandas as pd

        rows = []
        for output in self.before.outputs:
            upright = np.array([text == "identity" for text in self.before.transformations])
            moved = ~upright if (~upright).any() else upright | True
            first, second = (_row_means(one[output.name].error_values[:, moved]) for one in (self.before, self.after))
            mean, low, high = means_with_intervals((second - first)[:, None])[0]
            between = self.between[output.name][output.error]
            rows.append(
                {
                    "output": output.name,
                    "kind": output.kind,
                    "error": output.error,
                    "before": _mean(first),
                    "after": _mean(second),
                    "difference": mean,
                    "low": low,
                    "high": high,
                    "upright_between": _mean(between[:, upright]),
                    "between": _mean(between[:, moved]),
                }
            )
        return pd.DataFrame(rows)

    def to_parts(self, prefix: str = "") -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """JSON values and named arrays that `from_parts` reads.

        Args:
            prefix: what the names of the arrays begin with.
        """
        facts, arrays = {}, {}
        for side in ("before", "after"):
            facts[side], more = getattr(self, side).to_parts(f"{prefix}{side}.")
            arrays |= more
        for number, output in enumerate(self.before.outputs):
            for quantity, values in self.between[output.name].items():
                arrays[f"{prefix}between.{number}.{quantity}"] = values
        return facts, arrays

    @classmethod
    def from_parts(
        cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str = ""
    ) -> OutputComparison:
        """What `to_parts` gave, read from a file that may hold anything.

        Args:
            facts: the JSON values, checked against `FACTS`.
            arrays: those of the file.
            prefix: what the names of the arrays begin with.

        Raises:
            KeyError: an array is missing.
            ValueError: an array of another dtype or shape.
        """
        sides = [OutputChange.from_parts(facts[side], arrays, f"{prefix}{side}.") for side in ("before", "after")]
        between: dict[str, Quantities] = {}
        for number, output in enumerate(sides[0].outputs):
            start = f"{prefix}between.{number}."
            shape = (None, len(sides[0].transformations))
            between[output.name] = {
                name.removeprefix(start): archive.member(arrays, name, "float64", shape)
                for name in arrays
                if name.startswith(start)
            }
            if output.error not in between[output.name]:
                raise KeyError(f"{start}{output.error}")
        return cls(sides[0], sides[1], between)


@guarded()
def compare_outputs(
    before: Model,
    after: Model,
    images: Images,
    transformations: Any = "rotations(16)",
    outputs: Any = None,
    *,
    warping: Warping | None = None,
    floor: bool = True,
    pictures: int = 1,
    batch_size: int | None = None,
    progress: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> OutputComparison:
    """Measure what transformations do to the outputs of two models, and how far the second is from the first.

    Both see the same transformed images. Outputs are paired by their names, or, where these differ, by their shapes in
    the order of the models.

    Example:
        >>> import keras, numpy as np, tfinv
        >>> from tfinv.tflite import TFLiteModel, dynamic_int8, float32
        >>> inputs = keras.Input((8, 8, 1))
        >>> mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(inputs)
        >>> network = keras.Model(inputs, mask)
        >>> models = [TFLiteModel(recipe(network)) for recipe in (float32, dynamic_int8)]
        >>> images = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
        >>> found = tfinv.outputs.compare_outputs(*models, images, "rotations(4)", "mask", progress=False)
        >>> found.summary()[["kind", "error"]].values.tolist()
        [['mask', 'iou_lost']]

    Args:
        before: the reference; see `output_change`.
        after: another model of the same outputs.
        images: see `output_change`.
        transformations: see `output_change`.
        outputs: what the outputs of the reference mean, see `output_change`.
        warping: see `output_change`.
        floor: see `output_change`.
        pictures: see `output_change`.
        batch_size: see `output_change`.
        progress: see `output_change`.
        metadata: see `output_change`.

    Returns:
        The outputs of both, and the distances between them.

    Raises:
        ValueError: see `output_change`; also models of other outputs.
    """
    changes, between = changes_of(
        {"before": before, "after": after},
        images,
        transformations,
        outputs,
        warping=warping,
        floor=floor,
        pictures=pictures,
        batch_size=batch_size,
        progress=progress,
        metadata=metadata,
    )
    return OutputComparison(changes["before"], changes["after"], between["after"])


def changes_of(
    models: Mapping[str, Model],
    images: Images,
    transformations: Any,
    outputs: Any,
    *,
    warping: Warping | None,
    floor: bool,
    pictures: int,
    batch_size: int | None,
    progress: bool,
    metadata: Mapping[str, Any] | None,
) -> tuple[dict[str, OutputChange], dict[str, dict[str, Quantities]]]:
    """What transformations do to the outputs of models, and how far the others are from the first.

    Args:
        models: by name, of the same input and outputs.
        images: see `output_change`, as all that follows.

    Returns:
        By model what was found; and by model but the first its distances from the first by output.
    """
    models = {name: with_outputs(model, name) for name, model in models.items()}
    transformations, warping = as_set(transformations), checked(Warping, warping)
    reference = next(iter(models.values()))
    array = checked_images(reference, images)
    for model in models.values():
        checked_images(model, array[:1])
    pictures = whole_number("pictures", pictures, 0)
    first = OutputRun(reference, array, transformations, warping, outputs)
    runs = dict.fromkeys(list(models)[:1], first)
    for name, model in list(models.items())[1:]:
        names = paired_names(first.listed, named_outputs(model), name)
        runs[name] = OutputRun(model, array, transformations, warping, first.kinds, names, first.guessed)
    block = first.block_size if batch_size is None else whole_number("batch_size", batch_size, 1)
    between: dict[str, list[dict[str, Quantities]]] = {name: [] for name in list(models)[1:]}
    shown: NDArray[np.uint8] | None = None
    total = len(array) * len(transformations) * (2 if floor else 1) * len(models)
    with Progress("outputs", total, "img", shown=progress) as bar:
        for start in range(0, len(array), block):
            some, index = array[start : start + block], range(start, min(start + block, len(array)))
            warped = first.warped(some)
            returned = first.returned(warped) if floor else None
            kept = pictures if shown is None else 0
            if shown is None:
                shown = np.round(np.clip(warped[:kept], 0, 1) * 255).astype(np.uint8)
            seen: Mapping[str, NDArray[Any]] = {}
            for name, run in runs.items():
                transformed = run.show(some, index, warped, returned, kept)
                if run is first:
                    seen = transformed
                else:
                    between[name].append(first.between(seen, transformed))
                bar.advance(len(some) * len(transformations) * (2 if floor else 1))
    assert shown is not None
    facts = {
        "transformations": transformations.id,
        "samples": len(array),
        "padding": warping.padding,
        "interpolation": warping.interpolation,
        "frame": list(array.shape[1:3]),
        "environment": describe_environment(),
        **(metadata or {}),
    }
    distances = {name: {one: joined(parts, one) for one in first.kinds} for name, parts in between.items()}
    return {name: run.result(shown, facts) for name, run in runs.items()}, distances


def are_classes(model: Model, images: NDArray[np.float32], outputs: Any = None, labels: Any = None) -> bool:
    """Whether every output of a model is, or looks like, scores of classes.

    Args:
        model: see `output_change`.
        images: `(N, H, W, C)` in [0, 1], a few.
        outputs: what is stated, see `output_change`.
        labels: of the images; a single unit counts as scores of two classes where all labels are 0 or 1.
    """
    model = with_outputs(model)
    named = named_outputs(model)
    if outputs is None and labels is not None and len(named) == 1 and math.prod(named[0].shape) == 1:
        return bool(np.isin(labels, (0, 1)).all())
    some = np.asarray(images[:FIRST], np.float32)
    chosen, _, unknown = chosen_kinds(outputs, named, predict_all(model, some), some.shape[1:3])
    return not unknown and all(isinstance(one, Classes) for one in chosen.values())


def paired_names(first: Sequence[ModelOutput], second: Sequence[ModelOutput], called: str) -> list[str]:
    """The names of the first model's outputs in the order of the second's.

    Args:
        first: of the reference.
        second: of the other model.
        called: what the other model is called in an error.

    Raises:
        ValueError: outputs of other names and shapes.
    """
    names = [output.name for output in second]
    if sorted(names) == sorted(output.name for output in first):
        return names
    if [math.prod(output.shape) for output in first] != [math.prod(output.shape) for output in second]:
        shapes = [[f"{output.name} {output.shape}" for output in one] for one in (first, second)]
        raise ValueError(
            f"models must have the same outputs, {', '.join(shapes[0])}. Received: {called} with {', '.join(shapes[1])}"
        )
    return [output.name for output in first]


def checked_images(model: Model, images: Images) -> NDArray[np.float32]:
    """Images as an array that fits a model.

    Raises:
        ValueError: images of another shape than the model takes, or with NaN.
    """
    given, _ = in_memory(images, "images")
    array = np.asarray(as_array(given), np.float32)
    check_finite(array)
    if tuple(array.shape[1:]) != tuple(model.input_shape):
        raise ValueError(
            f"images must fit the model's input (H, W, C) = {tuple(model.input_shape)}; tfinv.datasets.adapt resizes "
            f"them. Received: images of {tuple(array.shape[1:])}"
        )
    return array


def _row_means(values: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over transformations by image; NaN where none is known."""
    return means_with_intervals(values.T, resamples=0)[:, 0]


def _mean(values: NDArray[Any]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan
