"""Finding the bits of every layer: uniform files, single layers, the search, and the neighbours of what it found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfinv.support.files import write_json
from tfinv.tflite.studies import bit_words as words
from tfinv.tflite.studies.bit_conditions import OF_FILES, check_reference
from tfinv.tflite.studies.bit_measuring import Bench, MeasuredFile
from tfinv.tflite.studies.bit_schemes import FLOAT, LayerGroup, uniform
from tfinv.tflite.studies.bit_search import (
    Alternatives,
    Judged,
    NoStartHolds,
    Schemes,
    SearchStep,
    by_noise,
    changed,
    plans,
    search,
)

GroupScheme = tuple[int, str]
"""Number of a group, and a scheme for it."""


@dataclass(frozen=True)
class Candidates:
    """What there is to choose among, measured before the search.

    Args:
        names: the schemes.
        options: those that every group can take.
        refused: why a group cannot take a scheme.
        named: uniform files by their schemes, with names for the reader; float32 is one.
        alone: one group in one scheme, all others in float32.
        hopeless: pairs of `alone` that miss a condition on invariance or answers with the whole interval.
    """

    names: Sequence[str]
    options: Alternatives
    refused: Mapping[GroupScheme, str]
    named: Mapping[Schemes, str]
    alone: Mapping[GroupScheme, MeasuredFile]
    hopeless: frozenset[GroupScheme]


@dataclass(frozen=True)
class FoundBits:
    """The outcome of a search.

    Args:
        candidates: what there was to choose among.
        planned: choices planned by adding up what single groups cost.
        schemes: what was chosen.
        steps: all changes that were tried.
        by_noise: what SQNR chooses within the same bytes; None where it finds no file so small.
        neighbours: files that differ in one group: its number, `"down"` or `"up"`, the file.
    """

    candidates: Candidates
    planned: Sequence[Schemes]
    schemes: Schemes
    steps: Sequence[SearchStep]
    by_noise: Schemes | None
    neighbours: Sequence[tuple[int, str, MeasuredFile]]


def find_bits(bench: Bench, names: Sequence[str], images: int) -> FoundBits:
    """Find the smallest file that keeps the conditions of the bench.

    Args:
        bench: makes and measures files.
        names: schemes to choose among.
        images: number of images, for what is said where they are too few.

    Raises:
        ValueError: conditions that float32 misses, that so few images cannot decide, or that no file meets.
    """
    found, costs = _candidates(bench, names, images)
    size, planned = bench.files.size, _planned(bench, found, costs)
    schemes, steps, goals = _searched(bench, found, [*planned, *found.named], costs)
    noise = _by_noise(bench, found, schemes)
    if noise is not None and _judged(bench, noise, goals).holds and size(noise) < size(schemes):
        schemes, further, _ = _searched(bench, found, [noise], costs, [goals])
        steps += further
        noise = _by_noise(bench, found, schemes)
    return FoundBits(found, planned, schemes, steps, noise, list(_neighbours(bench, found.options, schemes)))


def _candidates(bench: Bench, names: Sequence[str], images: int) -> tuple[Candidates, dict[GroupScheme, float]]:
    """Measure float32, uniform files and single groups; with what every group alone costs."""
    groups: tuple[LayerGroup, ...] = bench.files.groups
    numbers = range(len(groups))
    refused = {(n, name): why for n in numbers for name in names if (why := bench.files.refusal(n, name))}
    options = {number: [name for name in names if (number, name) not in refused] for number in numbers}
    single = sum(len(taken) - 1 for taken in options.values())
    named = {uniform(options, name): f"uniform {name}" for name in reversed(names)}
    bench.expected = len(named) + 2 * single + 2 * len(groups) + 1
    named[bench.float] = FLOAT
    first = bench.look(bench.float, FLOAT)
    check_reference(bench.conditions, first.seen, images)
    for schemes, name in named.items():
        bench.look(schemes, name)
    alone = {
        (number, name): bench.look(changed(bench.float, number, name), f"{groups[number].name} alone: {name}")
        for number, taken in options.items()
        for name in taken
    }
    costs = {pair: words.cost(bench.conditions, first, measured) for pair, measured in alone.items()}
    hopeless = frozenset(pair for pair, measured in alone.items() if _fails_alone(bench, measured))
    return Candidates(names, options, refused, named, alone, hopeless), costs


def _fails_alone(bench: Bench, measured: MeasuredFile) -> bool:
    """Whether a group alone misses a condition, other than one on size or latency, with its whole interval."""
    return any(
        not condition.holds(seen.low if condition.sign in ("<", "<=") else seen.high)
        for condition in bench.conditions
        if condition.metric not in OF_FILES
        for seen in (measured.seen[str(condition)],)
    )


def _planned(bench: Bench, found: Candidates, costs: Mapping[GroupScheme, float]) -> list[Schemes]:
    """Plans from every uniform file, kept in the cache: they are made of hundreds of conversions."""
    bench.say("planning by single layers")

    def make(folder: Path) -> None:
        write_json(folder / "plans.json", plans(found.options, list(found.named), bench.files.size, costs))

    def load(folder: Path) -> list[Schemes]:
        return [tuple(schemes) for schemes in json.loads((folder / "plans.json").read_text())]

    config = bench.config(list(found.names))
    config["costs"] = [[*pair, repr(cost)] for pair, cost in costs.items()]
    return bench.store.get("bit_plans", config, make, load)


def _searched(
    bench: Bench,
    found: Candidates,
    starts: Sequence[Schemes],
    costs: Mapping[GroupScheme, float],
    left_out: Sequence[tuple[str, ...]] = (OF_FILES[:1], OF_FILES),
) -> tuple[Schemes, list[SearchStep], tuple[str, ...]]:
    """The choice, all that was tried, and the metrics that it need not meet.

    The search makes files small whatever size is asked for, so the size need not be met on the way; where no start
    meets the other conditions, neither need the latency.
    """
    none_holds: NoStartHolds | None = None
    for goals in left_out:
        try:
            schemes, steps = search(
                found.options,
                starts,
                bench.files.size,
                lambda schemes, goals=goals: _judged(bench, schemes, goals),
                costs,
                found.hopeless,
            )
            return schemes, steps, goals
        except NoStartHolds as error:
            none_holds = error
    raise ValueError(_none_holds(bench, found)) from none_holds


def _judged(bench: Bench, schemes: Schemes, goals: Sequence[str]) -> Judged:
    left_out = [str(condition) for condition in bench.conditions if condition.metric in goals]
    return bench.look(schemes, f"search: {bench.files.size(schemes):,} bytes").judged_but(left_out)


def _none_holds(bench: Bench, found: Candidates) -> str:
    """What the smallest file to start from is like, where none holds."""
    best = min((bench.look(schemes, "") for schemes in found.named), key=lambda file: file.size)
    told = "; ".join(words.seen_in_words(condition, best.seen[str(condition)]) for condition in bench.conditions)
    return (
        "keep must be met by some file to start from. Received: conditions that none meets; of the smallest, "
        f"{found.named[best.schemes]}: {told}"
    )


def _by_noise(bench: Bench, found: Candidates, schemes: Schemes) -> Schemes | None:
    """The choice that SQNR makes within the bytes of this one."""
    noise = {pair: measured.noise for pair, measured in found.alone.items()}
    size = bench.files.size
    chosen = by_noise(found.options, list(found.named), size, noise, size(schemes))
    if chosen is not None:
        bench.look(chosen, "the same bytes by SQNR")
    return chosen


def _neighbours(bench: Bench, options: Alternatives, chosen: Schemes) -> Iterator[tuple[int, str, MeasuredFile]]:
    """Files that differ from the chosen one in one group, by the next scheme that takes fewer or more bytes."""
    size, here, neighbours = bench.files.size, bench.files.size(chosen), []
    for number, names in options.items():
        others = {name: size(changed(chosen, number, name)) for name in names if name != chosen[number]}
        fewer = {name: taken for name, taken in others.items() if taken < here}
        more = {name: taken for name, taken in others.items() if taken > here}
        for direction, candidates, pick in (("down", fewer, max), ("up", more, min)):
            if candidates:
                neighbours.append((number, direction, pick(candidates, key=lambda name, known=candidates: known[name])))
    bench.expected = bench.count + len(neighbours)
    for number, direction, name in neighbours:
        told = f"neighbour: {bench.files.groups[number].name} {direction}"
        yield number, direction, bench.look(changed(chosen, number, name), told)
