"""Stratified samples and splits: exact counts, proportions, order, seeds, rare classes."""

from __future__ import annotations

import numpy as np
import pytest

from tfinv.datasets.sampling import stratified_sample, stratified_split

LABELS = np.repeat([0, 1, 2, 3], [500, 300, 199, 1])
"""Sorted by class, as files usually are; class 3 has a single sample."""


@pytest.mark.parametrize("n", [1, 3, 4, 24, 333, 999, 1000])
def test_sample_is_exact_distinct_and_proportional(n: int) -> None:
    chosen = stratified_sample(LABELS, 1000, n, seed=1)
    assert len(chosen) == n == len(set(chosen.tolist()))
    counts, quota = np.bincount(LABELS[chosen], minlength=4), n * np.array([0.5, 0.3, 0.199, 0.001])
    assert np.abs(counts - quota).max() < 1.5
    if n >= 4:
        assert counts.min() >= 1


def test_equal_classes_get_equal_shares_and_the_rest_is_drawn() -> None:
    labels = np.repeat(np.arange(10), 97)
    extra = np.zeros(10, int)
    for seed in range(200):
        counts = np.bincount(labels[stratified_sample(labels, 970, 24, seed)], minlength=10)
        assert sorted(counts) == [2] * 6 + [3] * 4
        extra += counts - 2
    assert extra.sum() == 800
    assert extra.min() > 50  # expected 80 each: no class is favoured by its number


def test_fewer_samples_than_classes() -> None:
    labels = np.arange(50)
    assert len(set(stratified_sample(labels, 50, 7, seed=0).tolist())) == 7


def test_sample_is_seeded_and_not_sorted_by_class() -> None:
    first, again, other = (stratified_sample(LABELS, 1000, 400, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    # 100 in a row of one class would be a sorted subset; in shuffled order the halves agree.
    halves = [np.bincount(LABELS[part], minlength=4)[:3] for part in np.split(first, 2)]
    assert np.abs(halves[0] - halves[1]).max() < 40


def test_sample_depends_on_nothing_but_its_arguments() -> None:
    np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
    before = stratified_sample(LABELS, 1000, 50, seed=0)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(before, stratified_sample(LABELS, 1000, 50, seed=0))


def test_sample_without_labels() -> None:
    chosen = stratified_sample(None, 30, 30, seed=0)
    assert sorted(chosen) == list(range(30)) and list(chosen) != list(range(30))


@pytest.mark.parametrize("n", [0, -1, 1001])
def test_impossible_counts_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"n must be between 1 and the 1000 samples there are. Received: {n}"):
        stratified_sample(LABELS, 1000, n, seed=0)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True])
def test_seeds_that_are_none_are_refused(seed: object) -> None:
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0"):
        stratified_sample(LABELS, 1000, 10, seed)  # type: ignore[arg-type]


def test_split_is_disjoint_complete_and_stratified() -> None:
    train, test = stratified_split(LABELS, 1000, 200, seed=0)
    assert sorted([*train, *test]) == list(range(1000))
    np.testing.assert_array_equal(np.bincount(LABELS[test], minlength=4), [100, 60, 40, 0])
    np.testing.assert_array_equal(np.bincount(LABELS[train], minlength=4), [400, 240, 159, 1])


def test_single_sample_classes_are_trained_on() -> None:
    labels = np.array([0, 0, 1, 2])
    train, test = stratified_split(labels, 4, 3, seed=0)
    assert set(labels[train]) == {0, 1, 2}
    assert list(labels[test]) == [0]
    with pytest.raises(ValueError, match="at least one class must have two images"):
        stratified_split(np.arange(4), 4, 1, seed=0)
