"""`output_change`: a model and images in, what transformations do to each of its outputs out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfinv.evaluation.options import Warping
from tfinv.outputs.change import OutputChange
from tfinv.outputs.comparing import changes_of
from tfinv.support.guarded import guarded
from tfinv.support.types import Images, Model


@guarded()
def output_change(
    model: Model,
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
) -> OutputChange:
    r"""Measure what transformations of the images do to each output of a model.

        e_{sj} = d(f(t_j(x_s)), \; t_j(f(x_s)))

    where the distance `d` and what `t_j` does to an output depend on its kind: landmarks, boxes, masks and maps move
    with the image, classes, vectors and embeddings stay. The floor is `d(f(t_j^{-1}(t_j(x_s))), f(x_s))`: what
    interpolation and the loss of what left the frame do alone.

    Example:
        >>> import keras, numpy as np, tfinv
        >>> inputs = keras.Input((8, 8, 1))
        >>> mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(inputs)
        >>> images = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
        >>> found = tfinv.output_change(keras.Model(inputs, mask), images, "rotations(4)", "mask", progress=False)
        >>> found.outputs[0].kind, found.outputs[0].error_values.shape
        ('mask', (4, 4))

    Args:
        model: a Keras model, a `tfinv.tflite.TFLiteModel`, or another source with `outputs` and `predict`; or the
            path of a file of one, see `tfinv.models.open_file`.
        images: array `(S, H, W, C)` in [0, 1], a `Split`, or a pair with labels, which are not used.
        transformations: a set, its id, or a sequence of `Affine`; a function of images counts as leaving positions
            where they are.
        outputs: what the outputs mean: None to guess from shapes and values; a kind such as `"landmarks"` or
            `"landmarks(dimensions=3)"`, of the first output; or kinds by name of the output.
        warping: padding and interpolation of transformed images, see `tfinv.evaluate`.
        floor: measure images that are transformed and transformed back too; takes as long again.
        pictures: keep so many images with what was found in them, for reports.
        batch_size: images per block, under all transformations; None to choose.
        progress: show a progress bar.
        metadata: entries to add to the record.

    Returns:
        The numbers of every output, with tables, a report and a file.

    Raises:
        ValueError: an unknown output or kind, a kind that does not fit the shape or the values of its output, images
            that do not fit, NaN in an output.
        TypeError: a model that does not tell its outputs.
    """
    changes, _ = changes_of(
        {"model": model},
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
    return changes["model"]
