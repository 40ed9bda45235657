"""Images and labels as users give them: an array, a `Split`, a pair, or a `tf.data.Dataset`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.split import Split
from tfinv.support.types import Images

if TYPE_CHECKING:
    from numpy.typing import NDArray


def unpack(data: Images) -> tuple[Any, Any]:
    """The images and the labels of what was given; a `tf.data.Dataset` stays as it is.

    Example:
        >>> import numpy as np
        >>> from tfinv.datasets.given import unpack
        >>> unpack((np.zeros((2, 4, 4, 1)), [0, 1]))[1]
        [0, 1]

    Args:
        data: a `Split` or another object with `x` and `y`; a pair `(x, y)`; or images without labels.

    Returns:
        Images and labels, None where there are none.
    """
    if hasattr(data, "x"):
        return data.x, getattr(data, "y", None)
    if isinstance(data, (tuple, list)) and len(data) == 2 and (isinstance(data, tuple) or np.ndim(data[0]) == 4):
        return data[0], data[1]
    return data, None


def is_dataset(images: Images) -> bool:
    """Whether images are a `tf.data.Dataset`."""
    return hasattr(images, "element_spec")


def check_ends(dataset: Any, argument: str = "images") -> None:
    """Refuse a `tf.data.Dataset` that repeats for ever, as far as it tells.

    Raises:
        ValueError: an endless one.
    """
    if int(dataset.cardinality()) == -1:
        raise ValueError(
            f"{argument} must be finite, such as dataset.take(100). Received: a tf.data.Dataset that repeats for ever"
        )


def in_memory(data: Images, argument: str) -> tuple[Any, Any]:
    """As `unpack`, with a `tf.data.Dataset` of pairs read into two arrays.

    Raises:
        TypeError: a `tf.data.Dataset` of something else than pairs.
        ValueError: one that is empty or never ends.
    """
    if not is_dataset(data):
        return unpack(data)
    check_ends(data, argument)
    spec = data.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2:
        raise TypeError(f"{argument} must be a dataset of pairs (images, labels). Received: {spec}")
    pairs = list(data.as_numpy_iterator())
    if not pairs:
        raise ValueError(f"{argument} must hold at least one image. Received: an empty dataset")
    join = np.concatenate if spec[0].shape.rank == 4 else np.stack
    return join([x for x, _ in pairs]), join([np.asarray(y) for _, y in pairs])


def first(images: Images, count: int | None) -> Images:
    """The first so many images, of the kind that was given; None for all."""
    if count is None:
        return images
    if isinstance(images, Split):
        return images if len(images) <= count else images.take(np.arange(count))
    if is_dataset(images):
        return images.take(count)
    x, y = unpack(images)
    return x[:count] if y is None else (x[:count], y[:count])


def as_array(images: Images, argument: str = "images", *, least: int = 1) -> NDArray[Any]:
    """Images as a numeric array, of the dtype that they have.

    Args:
        images: `(S, H, W, C)`.
        argument: what to call them in an error.
        least: how many there must be, 0 or 1.

    Raises:
        TypeError: not numbers.
        ValueError: another rank, no image, or images of no size.
    """
    if hasattr(images, "__getitem__") and hasattr(images, "on_epoch_end"):
        raise TypeError(
            f"{argument} must be an array (S, H, W, C), a Split, a pair (x, y) or a tf.data.Dataset. "
            f"Received: the PyDataset {type(images).__name__}; np.concatenate its batches"
        )
    try:
        array = np.asarray(images)
    except ValueError:
        raise ValueError(f"{argument} must have the shape (S, H, W, C). Received: images of several shapes") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{argument} must be a numeric array (S, H, W, C). Received: {type(images).__name__} of {array.dtype}"
        )
    if array.ndim != 4:
        raise ValueError(f"{argument} must have the shape (S, H, W, C). Received: shape {array.shape}")
    if len(array) < least or 0 in array.shape[1:]:
        raise ValueError(f"{argument} must hold at least one image. Received: shape {array.shape}")
    return array


def check_finite(images: NDArray[Any], argument: str = "images", index: NDArray[np.int64] | None = None) -> None:
    """Refuse NaN and infinity; the first image that has some is named.

    Args:
        images: `(S, H, W, C)`.
        argument: what to call them in an error.
        index: `(S,)`, their positions in the whole data; None for 0 to S - 1.
    """
    finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
    if not finite.all():
        bad = int(np.flatnonzero(~finite)[0])
        place = bad if index is None else int(index[bad])
        raise ValueError(f"{argument} must be finite. Received: NaN or infinity in image {place}")


def as_labels(labels: Any, count: int, argument: str = "labels", *, activation: str | None = None) -> NDArray[np.int64]:
    """Class numbers, or several labels per image; columns of whole numbers, as Keras' loaders give them, are read too.

    A matrix of 0 and 1 tells several labels of one image where a sigmoid makes the model's output. Where a softmax
    makes it, rows must be one-hot and tell a class. For logits, one-hot rows tell a class and others several labels.

    Example:
        >>> from tfinv.datasets.given import as_labels
        >>> as_labels([[0.0, 1.0], [1.0, 0.0]], 2)
        array([1, 0])
        >>> as_labels([[1, 1], [0, 1]], 2).tolist(), as_labels([[0, 1], [1, 0]], 2, activation="sigmoid").tolist()
        ([[1, 1], [0, 1]], [[0, 1], [1, 0]])

    Args:
        labels: `(S,)` integers, `(S, 1)` whole numbers, or `(S, K)` of 0 and 1.
        count: S.
        argument: what to call them in an error.
        activation: what makes the model's output: `"sigmoid"`, `"softmax"`, or `""` for logits; None where there is no
            model.

    Returns:
        int64 `(S,)`; `(S, K)` of 0 and 1 for several labels of one image.

    Raises:
        ValueError: anything else.
    """
    try:
        array = np.asarray(labels)
    except ValueError:
        raise ValueError(
            f"{argument} must be {count} integers, one per image. Received: rows of several lengths"
        ) from None
    if array.shape == (count, 1) and array.dtype.kind in "fiub" and (array == np.round(array)).all():
        return array[:, 0].astype(np.int64)
    if array.ndim == 2 and len(array) == count and array.shape[1] > 1 and array.dtype.kind in "fiub":
        if not ((array == 0) | (array == 1)).all():
            raise ValueError(
                f"{argument} must be {count} integers, or rows of 0 and 1, one per image. Received: "
                f"rows of shape {array.shape} with values from {array.min():g} to {array.max():g}"
            )
        is_one_hot = bool((array.sum(axis=1) == 1).all())
        if activation == "sigmoid" or (not is_one_hot and activation != "softmax"):
            return array.astype(np.int64)
        if is_one_hot:
            return array.argmax(axis=1)
        raise ValueError(
            f"{argument} must be {count} integers or one-hot rows for a model that ends in a softmax; several labels "
            f"of one image need a sigmoid or logits. Received: rows of shape {array.shape} that do not hold a single 1"
        )
    if array.shape != (count,) or array.dtype.kind not in "iub":
        raise ValueError(
            f"{argument} must be {count} integers, one per image. Received: {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)
