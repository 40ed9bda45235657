"""Mean distance over all pairs of a set of vectors, without looking at each pair of scalars (statistics, NumPy)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Metric = Literal["euclidean", "sqeuclidean"]

NOISE = 8
"""Squared distances below this many rounding errors of the squared norms are zero."""


def member_distances(values: NDArray[np.float64], metric: Metric, per_map: bool) -> NDArray[np.float64]:
    """Mean distance of each member to all other members; their mean is the mean over all pairs.

    Args:
        values: `(n, *U)`, `n` members; channels last.
        metric: `"euclidean"` or `"sqeuclidean"`.
        per_map: members are whole feature maps rather than single units.

    Returns:
        `(n, *U)`, or `(n, C)` for maps. Scalars come in ascending order of value, not in the order given.
    """
    values = values - values[0]
    values = values - values.mean(axis=0)
    if per_map and values.ndim > 2:
        return _of_maps(values, metric)
    return _of_scalars(values, metric)


def _of_scalars(values: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """By sums over the sorted values: O(n log n) where the pairs are n^2."""
    count = len(values)
    if metric == "sqeuclidean":
        squares = np.square(values)
        return (count * squares + squares.sum(axis=0)) / (count - 1)
    ordered = np.sort(values, axis=0)
    below = np.cumsum(ordered, axis=0) - ordered
    above = ordered.sum(axis=0) - below - ordered
    rank = np.arange(count).reshape(-1, *[1] * (values.ndim - 1))
    return ((2 * rank + 1 - count) * ordered - below + above) / (count - 1)


def _of_maps(values: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    # Contiguous, or NumPy multiplies without BLAS.
    maps = np.ascontiguousarray(np.moveaxis(values.reshape(len(values), -1, values.shape[-1]), -1, 0))
    gram = maps @ maps.swapaxes(1, 2)
    norms = np.diagonal(gram, axis1=1, axis2=2)
    total = norms[:, :, None] + norms[:, None, :]
    squared = total - 2 * gram
    squared[squared <= NOISE * np.finfo(squared.dtype).eps * total] = 0
    distances = squared if metric == "sqeuclidean" else np.sqrt(squared)
    return distances.sum(axis=2).T / (len(values) - 1)


def unit_maps(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Feature maps divided by their L2 norm; a zero map stays zero.

    Args:
        values: `(..., H', W', C')` or any `(n, *U)`, the first axis over members, the last over maps.

    Returns:
        The unit maps, same shape, and which of them are not zero, `(n, C)`.
    """
    norms = np.sqrt(np.square(values).sum(axis=tuple(range(1, values.ndim - 1)), keepdims=True))
    alive = norms > 0
    return values / np.where(alive, norms, 1), alive.reshape(len(values), values.shape[-1])
