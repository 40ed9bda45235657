"""Sets of transformations: members and their order, sizes, ids that parse back, and texts that must be refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfinv.transformations import (
    Affine,
    ImageFunction,
    TransformationSet,
    affines,
    as_set,
    identity,
    label,
    parse,
    product,
    radian_rotations,
    rotations,
    scales,
    translations,
)
from tfinv.transformations.sets import MAX_MEMBERS


def angles(members: TransformationSet) -> list[float]:
    """The members' angles in [-180, 180)."""
    return [-180.0 if member.degrees == 180.0 else member.degrees for member in members]


def factors(affine: Affine) -> tuple[float, float]:
    """The diagonal of a scaling, which must have nothing else."""
    np.testing.assert_array_equal(affine.coefficients, Affine.scale(*np.diag(affine.matrix)[:2]).coefficients)
    return affine.matrix[0, 0], affine.matrix[1, 1]


def shifts(affine: Affine) -> tuple[float, float]:
    """The fractions of a translation, which must have nothing else."""
    fractions = affine.coefficients[0][2] / 2, affine.coefficients[1][3] / 2
    assert affine == Affine.translation(*fractions)
    return fractions


# --- members and order -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 16, 25, 49])
def test_whole_turns_are_even_contain_zero_and_no_angle_twice(n):
    degrees = angles(rotations(n))
    assert len(degrees) == n
    assert degrees[n // 2] == 0.0 and rotations(n)[n // 2] == Affine.identity()
    assert degrees == sorted(degrees)
    gaps = np.diff([*degrees, degrees[0] + 360])
    np.testing.assert_allclose(gaps, 360 / n, atol=1e-9)
    assert len({round(angle % 360, 6) for angle in degrees}) == n


def test_four_rotations_are_the_quarter_turns():
    assert angles(rotations(4)) == [-180.0, -90.0, 0.0, 90.0]
    np.testing.assert_allclose(angles(rotations(16)), np.arange(-8, 8) * 22.5, atol=1e-12)


@pytest.mark.parametrize(("n", "limit"), [(2, 30), (5, 45), (6, 90), (9, 179), (99, 20)])
def test_partial_turns_have_both_ends_and_are_symmetric(n, limit):
    degrees = np.array([rotation.degrees for rotation in rotations(n, limit)])
    np.testing.assert_allclose(degrees, np.linspace(-limit, limit, n), atol=1e-9)
    np.testing.assert_allclose(degrees, -degrees[::-1], atol=1e-12)
    assert (rotations(n, limit)[n // 2] == Affine.identity()) == (n % 2 == 1)


@pytest.mark.parametrize(("n", "low", "high"), [(1, 0.5, 1.25), (4, 0.5, 1.25), (8, 0.5, 1.25), (3, 0.9, 2.0)])
def test_scales_are_in_the_documented_order(n, low, high):
    down = [low + (1 - low) * k / n for k in range(n)]
    up = [1 + (high - 1) * k / n for k in range(1, n + 1)]

    def triples(values: list[float]) -> list[tuple[float, float]]:
        return [pair for s in values for pair in ((1, s), (s, 1), (s, s))]

    expected = [*triples(down), (1, 1), *triples(up)]
    members = scales(n, low, high)
    assert len(members) == 6 * n + 1
    np.testing.assert_allclose([factors(member) for member in members], expected, rtol=1e-12)
    assert members[3 * n] == Affine.identity()


def test_scales_without_room_on_a_side_leave_it_out():
    assert [label(scale) for scale in scales(1, 1.0, 1.5)] == ["identity", "x(1, 1.5)", "x(1.5, 1)", "x1.5"]
    assert [label(scale) for scale in scales(1, 0.5, 1.0)] == ["x(1, 0.5)", "x(0.5, 1)", "x0.5", "identity"]
    assert scales(3, 1.0, 1.0).members == (Affine.identity(),)


@pytest.mark.parametrize(("n", "limit"), [(1, 0.15), (3, 0.15), (6, 0.15), (2, 1.0)])
def test_translations_are_in_the_documented_order(n, limit):
    expected = [(0.0, 0.0)]
    for k in range(1, n + 1):
        d = limit * k / n
        expected += [(0, d), (0, -d), (d, 0), (d, d), (d, -d), (-d, 0), (-d, d), (-d, -d)]
    members = translations(n, limit)
    assert len(members) == 8 * n + 1
    np.testing.assert_allclose([shifts(member) for member in members], expected, atol=1e-12)


def test_products_vary_the_last_set_fastest_and_compose_exactly():
    parts = rotations(8), scales(1, 0.5, 1.25), translations(1, 0.15)
    members = product(*parts)
    assert len(members) == 8 * 7 * 9
    for (turn, zoom, shift), member in zip(itertools.product(*parts), members, strict=True):
        expected = shift.pixel_matrix(20, 30) @ zoom.pixel_matrix(20, 30) @ turn.pixel_matrix(20, 30)
        np.testing.assert_allclose(member.pixel_matrix(20, 30), expected, atol=1e-10)
    assert product(rotations(4)).members == rotations(4).members


def test_radian_rotations_are_those_that_published_values_used():
    # Angles of 0, 120, 240 and 360 radians, reduced to a turn by hand.
    expected = [0.0, 120 - 19 * 2 * np.pi, 240 - 38 * 2 * np.pi, 360 - 57 * 2 * np.pi]
    np.testing.assert_allclose(
        np.radians([rotation.degrees for rotation in radian_rotations(4, 0, 360)]), expected, rtol=1e-9, atol=1e-9
    )
    assert radian_rotations(25, 0, 360)[1].degrees == pytest.approx(np.degrees(15) % 360, abs=1e-9)


def test_identity_is_one_member():
    assert identity().members == (Affine.identity(),)


# --- sets as sequences -----------------------------------------------------------------------------------------------


def test_a_set_is_an_immutable_sequence():
    four = rotations(4)
    assert len(four) == 4 and list(four) == list(four.members) and four[-1] == Affine.rotation(90)
    assert Affine.identity() in four and four.index(Affine.identity()) == 2
    assert four[1:3].members == four.members[1:3]
    assert hash(four) == hash(rotations(4)) and four == rotations(4) and four != rotations(5)
    with pytest.raises(AttributeError):
        four.id = "other"  # type: ignore[misc]


def test_labels_of_a_set_are_distinct():
    combined = product(rotations(8), scales(1, 0.5, 1.25), translations(1, 0.15))
    for members in (rotations(49), scales(8, 0.5, 1.25), translations(6, 0.15), combined):
        assert len(set(members.labels)) == len(members)


def test_functions_are_transformations_too():
    def brighter(images):
        return images * 1.5

    members = TransformationSet((Affine.identity(), brighter, ImageFunction(brighter, "x1.5")))
    assert members.labels == ["identity", "brighter", "x1.5"]
    assert not members.is_affine and rotations(4).is_affine
    assert members.id == "functions(identity, brighter, x1.5)"


def test_whatever_names_a_set_becomes_that_set():
    four = rotations(4)
    assert as_set(four) is four
    assert as_set("rotations(4)") == four
    assert as_set(list(four)).members == four.members
    assert as_set(Affine.rotation(30)).members == (Affine.rotation(30),)
    assert as_set(abs).labels == ["abs"]


# --- ids -------------------------------------------------------------------------------------------------------------

SETS = {
    "identity()": identity(),
    "rotations(16)": rotations(16),
    "rotations(5, 30.0)": rotations(5, 30),
    "scales(4, 0.5, 1.25)": scales(4, 0.5, 1.25),
    "translations(3, 0.15)": translations(3, 0.15),
    "radian_rotations(25, 0.0, 360.0)": radian_rotations(25, 0, 360),
    "product(rotations(8), scales(1, 0.5, 1.25), translations(1, 0.15))": product(
        rotations(8), scales(1, 0.5, 1.25), translations(1, 0.15)
    ),
    "product(product(rotations(2), identity()), rotations(3, 0.1))": product(
        product(rotations(2), identity()), rotations(3, 0.1)
    ),
}


@pytest.mark.parametrize("text", SETS)
def test_ids_are_stable_and_parse_back(text):
    assert SETS[text].id == text
    assert parse(text) == SETS[text]


def test_ids_of_sets_made_by_hand_parse_back(rng):
    maps = [
        Affine.rotation(angle).compose(Affine.translation(*shift)).compose(Affine.shear(angle / 9))
        for angle, shift in zip(rng.uniform(-180, 180, 10), rng.uniform(-1, 1, (10, 2)), strict=True)
    ]
    for made in (TransformationSet(tuple(maps)), rotations(16)[3:7], as_set(maps[0]), affines([maps[1].coefficients])):
        assert parse(made.id) == made
    mixed = product(rotations(4), TransformationSet(tuple(maps)))
    assert parse(mixed.id) == mixed


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("  rotations( 16 ) ", "rotations(16)"),
        ("rotations(n=16)", "rotations(16)"),
        ("rotations(16, 180)", "rotations(16)"),
        ("rotations(16, max_degrees=90)", "rotations(16, 90.0)"),
        ("identity", "identity()"),
        ("product(identity, rotations(2))", "product(identity(), rotations(2))"),
        ("radian_rotations(3, -1, +1)", "radian_rotations(3, -1.0, 1.0)"),
    ],
)
def test_other_spellings_get_the_canonical_id(text, id_):
    assert parse(text).id == id_


REFUSED = {
    "nothing": "",
    "blank": "   ",
    "unknown factory": "spins(16)",
    "unknown name": "spins",
    "a number": "16",
    "missing arguments": "rotations",
    "too many arguments": "rotations(4, 90, 1)",
    "unknown option": "rotations(4, speed=2)",
    "argument twice": "rotations(4, n=4)",
    "options unpacked": "rotations(**{'n': 4})",
    "arguments unpacked": "rotations(*[4])",
    "zero": "rotations(0)",
    "negative": "rotations(-4)",
    "fraction of a rotation": "rotations(4.5)",
    "truth value": "rotations(True)",
    "text for a number": "rotations('4')",
    "text for an angle": "rotations(4, '90')",
    "none": "rotations(None)",
    "too wide": "rotations(4, 181)",
    "infinite": "rotations(4, 1e999)",
    "not a number": "rotations(4, nan)",
    "huge whole number": "rotations(4, 1" + "0" * 400 + ")",
    "more digits than Python reads": "rotations(" + "9" * 5000 + ")",
    "fills the memory": "rotations(10000000000)",
    "fills the memory by a product": "product(" + ", ".join(["rotations(1000)"] * 9) + ")",
    "arithmetic": "rotations(2**4)",
    "big arithmetic": "rotations(9**9**9)",
    "attribute": "rotations.__globals__",
    "call on an attribute": "rotations.__class__()",
    "import": "__import__('os').system('true')",
    "call inside": "rotations(open('x'))",
    "lambda": "rotations(lambda: 4)",
    "comprehension": "product(*(rotations(4) for _ in range(3)))",
    "walrus": "rotations((n := 4))",
    "formatted text": "rotations(f'{4}')",
    "unhashable in a set": "rotations({[]: 1})",
    "two expressions": "rotations(4); rotations(5)",
    "statement": "import os",
    "unfinished": "rotations(4",
    "null byte": "rotations(4)\0",
    "lone surrogate": "rotations(4)\ud800",
    "deep parentheses": "(" * 100_000 + "4" + ")" * 100_000,
    "deep nesting": "product(" * 100_000 + "identity" + ")" * 100_000,
    "many signs": "rotations(" + "-" * 100_000 + "4)",
    "many terms": "rotations(" + "+".join(["1"] * 100_000) + ")",
    "many attributes": "rotations" + ".a" * 100_000,
    "empty product": "product()",
    "product of a number": "product(4)",
    "affines of nothing": "affines([])",
    "affines of numbers": "affines([1, 2])",
    "affines of short rows": "affines([((1, 0), (0, 1))])",
    "affines of texts": "affines([(('1', '0', '0', '0'), ('0', '1', '0', '0'))])",
    "affines of uneven rows": "affines([((1, 0, 0, 0), (0, 1, 0))])",
    "affines of big numbers": "affines([((1" + "0" * 400 + ", 0, 0, 0), (0, 1, 0, 0))])",
    "affines of one number": "affines(4)",
    "functions": "functions(brighter)",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_texts_that_name_no_set_are_refused_briefly(text):
    with pytest.raises(ValueError, match=r"Received: |must be") as caught:
        parse(text)
    assert len(str(caught.value)) < 1000


# --- wrong arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: parse(16), TypeError, "text must be a string such as 'rotations\\(16\\)'. Received: 16"),
        (lambda: parse("spins(16)"), ValueError, "must be one of affines, .*identity, .*Received: 'spins\\(16\\)'"),
        (lambda: TransformationSet(()), ValueError, "at least one transformation"),
        (lambda: rotations(4)[4:], ValueError, "at least one transformation"),
        (lambda: as_set([]), ValueError, "at least one transformation"),
        (lambda: as_set(16), TypeError, "must be a TransformationSet, its id .*Received: 16"),
        (lambda: as_set([16]), TypeError, "must be an Affine or a function of images. Received: 16"),
        (lambda: as_set(np.eye(3)), TypeError, "must be an Affine or a function of images"),
        (lambda: rotations(MAX_MEMBERS + 1), ValueError, "n must be a whole number from 1 to 100000"),
        (lambda: rotations(4, -1), ValueError, "max_degrees must be in \\[0, 180\\]. Received: -1"),
        (lambda: scales(1, 0, 2), ValueError, "0 < low <= 1 <= high. Received: low=0.0, high=2.0"),
        (lambda: scales(1, 0.5, 0.9), ValueError, "0 < low <= 1 <= high"),
        (lambda: scales(0, 0.5, 2), ValueError, "n must be"),
        (lambda: translations(1, 0), ValueError, "max_fraction must be in \\(0, 1\\]. Received: 0"),
        (lambda: translations(1, 1.5), ValueError, "max_fraction must be in"),
        (lambda: product(), ValueError, "sets must be at least one set"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
