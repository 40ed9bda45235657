"""The search for the smallest file that keeps conditions: one change at a time, each verified on the whole file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Schemes = tuple[str, ...]
"""Name of a scheme for every group."""
Alternatives = Mapping[int, Sequence[str]]
"""Schemes that a group can take, by its number."""
LEAST = 1e-3
"""The least cost of a change, as a share of what the conditions leave: below it is noise."""
_TARGETS = (2.0, 1.4, 1.0, 0.7)
"""Sums of costs, as shares of what the conditions leave, that are planned for."""


@dataclass(frozen=True)
class Judged:
    """One file, measured.

    Args:
        holds: it meets all conditions.
        fails: it misses a condition, and not for want of images.
    """

    holds: bool
    fails: bool


@dataclass(frozen=True)
class SearchStep:
    """One change that was tried.

    Args:
        group: number of the group that was changed; -1 for a start, which changes all of them.
        before: its scheme before.
        after: its scheme after.
        schemes: the whole choice.
        size: bytes of the real file.
        outcome: `"start"`, `"kept"` or `"undone"`.
    """

    group: int
    before: str
    after: str
    schemes: Schemes
    size: int
    outcome: str


@dataclass
class _Savings:
    """By group and scheme the bytes that a file has with it beyond those with the scheme of the start."""

    options: Alternatives
    size: Callable[[Schemes], int]
    bytes: dict[tuple[int, str], int] = field(default_factory=dict)

    def measure(self, schemes: Schemes) -> None:
        """Make every file that differs from this one in one group."""
        base = self.size(schemes)
        for group, taken in self.options.items():
            for scheme in taken:
                self.bytes[group, scheme] = self.size(changed(schemes, group, scheme)) - base

    def of(self, schemes: Schemes, group: int, scheme: str) -> int:
        return self.bytes[group, schemes[group]] - self.bytes[group, scheme]


def changed(schemes: Schemes, group: int, scheme: str) -> Schemes:
    """The choice with another scheme for one group."""
    return (*schemes[:group], scheme, *schemes[group + 1 :])


class NoStartHolds(ValueError):
    """No choice to start from meets the conditions."""


def search(
    options: Alternatives,
    starts: Sequence[Schemes],
    size: Callable[[Schemes], int],
    judge: Callable[[Schemes], Judged],
    costs: Mapping[tuple[int, str], float],
    hopeless: frozenset[tuple[int, str]] = frozenset(),
) -> tuple[Schemes, list[SearchStep]]:
    """Make a file smaller, one group at a time, for as long as the whole file meets all conditions.

    The change that saves most bytes for what it costs comes first. A change counts when the real file is smaller and
    the whole file was measured and holds; otherwise it is undone and not tried again.

    Args:
        options: schemes that every group can take.
        starts: choices to start from; the smallest that holds is taken.
        size: bytes of the real file.
        judge: measures the whole file.
        costs: what a group in a scheme alone costs, as a share of what the conditions leave; not negative.
        hopeless: groups and schemes that miss a condition when the whole rest stays as it was.

    Returns:
        The choice, and all that was tried, in order.

    Raises:
        NoStartHolds: no start holds.
    """
    steps = []
    for schemes in sorted(dict.fromkeys(starts), key=lambda schemes: (size(schemes), starts.index(schemes))):
        steps.append(SearchStep(-1, "", "", schemes, size(schemes), "start"))
        if judge(schemes).holds:
            break
        steps[-1] = SearchStep(-1, "", "", schemes, size(schemes), "undone")
    else:
        raise NoStartHolds("keep must be met by a file to start from. Received: conditions that none meets")
    current, tried = steps[-1].schemes, set(hopeless)
    savings = _Savings(options, size)
    savings.measure(current)
    is_fresh, larger = True, set()
    while True:
        move = _best(current, options, savings, costs, tried | larger)
        if move is None and is_fresh:
            return current, steps
        if move is None:
            savings.measure(current)
            is_fresh, larger = True, set()
            continue
        trial = changed(current, *move)
        if size(trial) >= size(current):  # beside other neighbours it saves nothing
            larger.add(move)
            continue
        holds = judge(trial).holds
        steps.append(SearchStep(move[0], current[move[0]], move[1], trial, size(trial), "kept" if holds else "undone"))
        if holds:
            current, is_fresh, larger = trial, False, set()
        else:
            tried.add(move)


def _best(
    schemes: Schemes,
    options: Alternatives,
    savings: _Savings,
    costs: Mapping[tuple[int, str], float],
    barred: set[tuple[int, str]],
) -> tuple[int, str] | None:
    """The change that saves most bytes for what it costs; of equal ones the first."""
    best, most = None, 0.0
    for group, taken in options.items():
        for scheme in taken:
            saved = savings.of(schemes, group, scheme)
            if scheme == schemes[group] or saved <= 0 or (group, scheme) in barred:
                continue
            ratio = saved / max(costs[group, scheme] - costs[group, schemes[group]], LEAST)
            if ratio > most:
                best, most = (group, scheme), ratio
    return best


def plans(
    options: Alternatives,
    starts: Sequence[Schemes],
    size: Callable[[Schemes], int],
    costs: Mapping[tuple[int, str], float],
) -> list[Schemes]:
    """Choices whose costs, added up layer by layer, are about what the conditions leave; smallest real file first.

    What layers cost together may be more or less than the sum: `_TARGETS` are the sums that are planned for. Files that
    differ in more than one layer from a uniform one can be reached so, where every single change makes it larger.
    Bytes are added up as well, from real files that differ from the start in one layer.

    Args:
        options: schemes that every group can take.
        starts: choices to start from.
        size: bytes of the real file.
        costs: see `search`.
    """
    found: dict[Schemes, None] = {}
    for start in dict.fromkeys(starts):
        savings = _Savings(options, size)
        savings.measure(start)

        def added(schemes: Schemes, base: int = size(start), savings: _Savings = savings) -> int:
            return base + sum(savings.bytes[group, scheme] for group, scheme in enumerate(schemes))

        for target in _TARGETS:
            schemes = _repaired(start, options, added, costs, target)
            planned, _ = search(options, [schemes], added, lambda s, t=target: _predicted(s, costs, t), costs)
            found[planned] = None
    return sorted(found, key=size)


def _predicted(schemes: Schemes, costs: Mapping[tuple[int, str], float], target: float) -> Judged:
    cost = total(schemes, costs)
    return Judged(cost <= target, cost > target)


def _repaired(
    schemes: Schemes,
    options: Alternatives,
    size: Callable[[Schemes], int],
    costs: Mapping[tuple[int, str], float],
    target: float,
) -> Schemes:
    """The choice with layers put back to what costs less, until the sum of costs is what is aimed for."""
    while total(schemes, costs) > target:
        here, best, most = size(schemes), schemes, 0.0
        for group, taken in options.items():
            for scheme in taken:
                gained = costs[group, schemes[group]] - costs[group, scheme]
                other = changed(schemes, group, scheme)
                if gained > 0 and gained / max(size(other) - here, 1) > most:
                    best, most = other, gained / max(size(other) - here, 1)
        if best == schemes:
            return schemes
        schemes = best
    return schemes


def by_noise(
    options: Alternatives,
    starts: Sequence[Schemes],
    size: Callable[[Schemes], int],
    noise: Mapping[tuple[int, str], float],
    budget: int,
) -> Schemes | None:
    """The choice within a budget of bytes that adds least noise, as tools choose bits that go by SQNR.

    From every start, changes that save most bytes for the noise that they add come first until the file is within the
    budget; then those that take away most noise, as long as it stays within. Noise of single layers is added up.

    Args:
        options: schemes that every group can take.
        starts: choices to start from.
        size: bytes of the real file.
        noise: by group and scheme the noise at the output, as a share of the signal's power.
        budget: bytes.

    Returns:
        The choice with the least noise; None where none is within the budget.
    """
    found = [_within(start, options, size, noise, budget) for start in dict.fromkeys(starts)]
    fitting = [schemes for schemes in found if schemes is not None]
    return min(fitting, key=lambda schemes: (total(schemes, noise), size(schemes))) if fitting else None


def total(schemes: Schemes, effects: Mapping[tuple[int, str], float]) -> float:
    """The sum of what every group alone does."""
    return math.fsum(effects[group, scheme] for group, scheme in enumerate(schemes))


def _within(
    schemes: Schemes,
    options: Alternatives,
    size: Callable[[Schemes], int],
    noise: Mapping[tuple[int, str], float],
    budget: int,
) -> Schemes | None:
    savings = _Savings(options, size)
    savings.measure(schemes)
    barred: set[tuple[int, str]] = set()
    least = {pair: value / max(total(schemes, noise), 1e-30) for pair, value in noise.items()}
    while size(schemes) > budget:
        move = _best(schemes, options, savings, least, barred)
        if move is None:
            return None
        barred.add((move[0], schemes[move[0]]))  # never back
        schemes = changed(schemes, *move)
    while True:
        gains = [
            (noise[group, schemes[group]] - noise[group, scheme], group, scheme)
            for group, taken in options.items()
            for scheme in taken
        ]
        for gain, group, scheme in sorted(gains, key=lambda entry: -entry[0]):
            if gain > 0 and size(changed(schemes, group, scheme)) <= budget:
                schemes = changed(schemes, group, scheme)
                break
        else:
            return schemes
