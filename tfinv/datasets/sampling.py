"""Stratified samples and splits: exact in count, shuffled, seeded, single-sample classes included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfinv.support.checks import kind_of, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]


def stratified_sample(labels: Indices | None, count: int, n: int, seed: int) -> Indices:
    """Draw `n` of `count` samples with the class proportions of the whole, in shuffled order.

    Class `k` gets `n * count_k / count` samples up to rounding (largest remainder; ties are drawn), and at least
    one where `n` allows every class one.

    Example:
        >>> import numpy as np
        >>> from tfinv.datasets.sampling import stratified_sample
        >>> labels = np.array([0] * 90 + [1] * 9 + [2])
        >>> np.bincount(labels[stratified_sample(labels, 100, 20, seed=0)]).tolist()
        [18, 1, 1]

    Args:
        labels: int `(count,)` class numbers, `(count, K)` of 0 and 1, or None for a plain random sample.
        count: how many samples there are.
        n: how many to draw.
        seed: the same seed draws the same samples in the same order.

    Returns:
        int64 `(n,)`, distinct positions.

    Raises:
        ValueError: `n` is not in 1..`count`, or the seed is negative.
    """
    kind_of("n", n, (int, np.integer), "a whole number")
    if not 1 <= n <= count:
        raise ValueError(f"n must be between 1 and the {count} samples there are. Received: {n}")
    rng = generator(seed)
    groups = _groups(labels, count)
    sizes = np.array([len(group) for group in groups])
    return _draw(groups, _allocate(sizes, sizes, n, rng), rng)


def stratified_split(labels: Indices | None, count: int, test_count: int, seed: int) -> tuple[Indices, Indices]:
    """Split samples into train and test with equal class proportions; both parts come shuffled.

    Every class keeps at least one training sample, so a class with a single sample is trained on and never tested;
    where that leaves fewer than `test_count` samples for the test part, it is that much smaller.

    Args:
        labels: int `(count,)` class numbers, `(count, K)` of 0 and 1, or None for a plain random split.
        count: how many samples there are.
        test_count: how many to hold out.
        seed: the same seed makes the same split.

    Returns:
        Positions of the training samples and of the test samples, int64, disjoint, together all of them.

    Raises:
        ValueError: no class has two samples, so that nothing can be held out.
    """
    rng = generator(seed)
    groups = _groups(labels, count)
    sizes = np.array([len(group) for group in groups])
    spare = sizes - 1
    if spare.sum() == 0:
        raise ValueError(
            f"at least one class must have two images to hold one out for testing. "
            f"Received: {count} images of {len(groups)} classes"
        )
    test = _draw(groups, _allocate(sizes, spare, min(max(test_count, 1), int(spare.sum())), rng), rng)
    return rng.permutation(np.setdiff1d(np.arange(count), test)), test


def generator(seed: int) -> np.random.Generator:
    """A random generator of a seed of at least 0."""
    return np.random.default_rng(whole_number("seed", seed, 0))


def _groups(labels: Indices | None, count: int) -> list[Indices]:
    """Positions of the samples of every class; of several labels, of every set of labels that is seen twice."""
    if labels is None:
        return [np.arange(count)]
    if labels.ndim == 2:
        _, sets, times = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
        sets = sets.reshape(-1)
        labels = np.where(times[sets] > 1, sets, len(times))
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _allocate(sizes: Indices, limits: Indices, n: int, rng: np.random.Generator) -> Indices:
    """How many of the `n` samples each class gives: largest remainder, at least one each where possible."""
    quota = n * sizes / sizes.sum()
    share = np.minimum(np.floor(quota).astype(np.int64), limits)
    available = limits > 0
    least = available.astype(np.int64) if n >= available.sum() else np.zeros_like(limits)
    share = np.maximum(share, least)
    tie = rng.random(len(sizes))
    while (missing := n - share.sum()) != 0:
        step = 1 if missing > 0 else -1
        movable = share < limits if step > 0 else share > least
        best = np.lexsort((tie, np.where(movable, step * (quota - share), -np.inf)))[-1]
        share[best] += step
    return share


def _draw(groups: list[Indices], share: Indices, rng: np.random.Generator) -> Indices:
    chosen = [rng.permutation(group)[:n] for group, n in zip(groups, share, strict=True)]
    return rng.permutation(np.concatenate(chosen)).astype(np.int64)
