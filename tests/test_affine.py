"""Affine maps: what they do to points, that they compose and invert exactly on every image shape, and their names."""

from __future__ import annotations

import numpy as np
import pytest
from references import rotation

from tfinv.transformations import Affine, label
from tfinv.transformations.affine import sampling_matrices

SHAPES = [(32, 32), (20, 48), (37, 11), (1, 5)]


def random_affine(rng: np.random.Generator) -> Affine:
    """A rotation, scaling, shear and shift, in random order."""
    parts = [
        Affine.rotation(rng.uniform(-180, 180)),
        Affine.scale(*rng.uniform(0.5, 2.0, 2)),
        Affine.shear(*rng.uniform(-20, 20, 2)),
        Affine.translation(*rng.uniform(-0.5, 0.5, 2)),
        Affine.reflection("horizontal" if rng.random() < 0.5 else "vertical"),
    ]
    result = Affine.identity()
    for index in rng.permutation(len(parts)):
        result = result.compose(parts[index])
    return result


def moved(affine: Affine, point: tuple[float, float], height: int, width: int) -> np.ndarray:
    """Where `point`, in pixels from the centre, goes."""
    return (affine.pixel_matrix(height, width) @ [*point, 1.0])[:2]


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize(
    ("affine", "expected"),
    [
        (Affine.identity(), lambda x, y, w, h: (x, y)),
        (Affine.rotation(90), lambda x, y, w, h: (y, -x)),
        (Affine.rotation(-90), lambda x, y, w, h: (-y, x)),
        (Affine.rotation(180), lambda x, y, w, h: (-x, -y)),
        (Affine.rotation(450), lambda x, y, w, h: (y, -x)),
        (Affine.rotation(30), lambda x, y, w, h: (0.75**0.5 * x + 0.5 * y, -0.5 * x + 0.75**0.5 * y)),
        (Affine.scale(2.0), lambda x, y, w, h: (2 * x, 2 * y)),
        (Affine.scale(2.0, 0.5), lambda x, y, w, h: (2 * x, 0.5 * y)),
        (Affine.translation(0.25, -0.5), lambda x, y, w, h: (x + 0.25 * w, y - 0.5 * h)),
        (Affine.shear(45), lambda x, y, w, h: (x + y, y)),
        (Affine.shear(0, 45), lambda x, y, w, h: (x, y + x)),
        (Affine.reflection(), lambda x, y, w, h: (-x, y)),
        (Affine.reflection("vertical"), lambda x, y, w, h: (x, -y)),
    ],
    ids=lambda value: label(value) if isinstance(value, Affine) else "",
)
def test_constructors_move_points_as_their_names_say(affine, expected, height, width):
    for point in [(3.0, 1.0), (-2.5, 4.0)]:
        np.testing.assert_allclose(moved(affine, point, height, width), expected(*point, width, height), atol=1e-12)


@pytest.mark.parametrize("degrees", [-720, -270, -180, -90, 0, 90, 180, 270, 360, 810])
def test_multiples_of_a_right_angle_are_exact(degrees):
    linear = np.asarray(Affine.rotation(degrees).coefficients)[:, :2]
    np.testing.assert_array_equal(linear, np.round(rotation(degrees)))


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_rotations_are_rigid_on_every_shape(rng, height, width):
    for degrees in rng.uniform(-360, 360, 20):
        linear = Affine.rotation(degrees).pixel_matrix(height, width)[:2, :2]
        np.testing.assert_allclose(linear, rotation(degrees), atol=1e-12)
        np.testing.assert_allclose(linear @ linear.T, np.eye(2), atol=1e-12)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_composition_is_the_two_maps_one_after_the_other(rng, height, width):
    for _ in range(50):
        first, then = random_affine(rng), random_affine(rng)
        expected = then.pixel_matrix(height, width) @ first.pixel_matrix(height, width)
        np.testing.assert_allclose(first.compose(then).pixel_matrix(height, width), expected, rtol=1e-9, atol=1e-9)


def test_composition_is_associative_and_keeps_the_order(rng):
    a, b, c = (random_affine(rng) for _ in range(3))
    left, right = a.compose(b).compose(c), a.compose(b.compose(c))
    np.testing.assert_allclose(left.coefficients, right.coefficients, rtol=1e-10, atol=1e-10)
    # Shifted by half a width and then turned by a quarter, the centre ends above; turned first, at the right.
    shift, turn = Affine.translation(0.5, 0.0), Affine.rotation(90)
    np.testing.assert_allclose(moved(shift.compose(turn), (0, 0), 20, 40), (0, -20), atol=1e-12)
    np.testing.assert_allclose(moved(turn.compose(shift), (0, 0), 20, 40), (20, 0), atol=1e-12)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_inverse_undoes_every_combination(rng, height, width):
    for _ in range(50):
        affine = random_affine(rng)
        for both in (affine.compose(affine.inverse()), affine.inverse().compose(affine)):
            np.testing.assert_allclose(both.coefficients, Affine.identity().coefficients, atol=1e-12)
        product = affine.inverse().pixel_matrix(height, width) @ affine.pixel_matrix(height, width)
        np.testing.assert_allclose(product, np.eye(3), atol=1e-10)


def test_matrix_is_the_map_of_a_square_image(rng):
    affine = random_affine(rng)
    size = 50
    to_pixels = np.diag([size / 2, size / 2, 1.0])
    expected = to_pixels @ affine.matrix @ np.linalg.inv(to_pixels)
    np.testing.assert_allclose(affine.pixel_matrix(size, size), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(Affine.from_matrix(affine.matrix).matrix, affine.matrix, rtol=1e-14)
    np.testing.assert_allclose(Affine.translation(0.25, -0.5).matrix, [[1, 0, 0.5], [0, 1, -1], [0, 0, 1]])


def test_sampling_matrices_lead_back_from_output_to_input(rng):
    height, width = 12, 30
    maps = [random_affine(rng) for _ in range(5)]
    backward = sampling_matrices(maps, height, width)
    forward = sampling_matrices(maps, height, width, inverse=True)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    for affine, there, back in zip(maps, forward, backward, strict=True):
        pixel = rng.uniform(0, 10, 2)
        arrives = moved(affine, tuple(pixel - centre), height, width) + centre
        np.testing.assert_allclose((there @ [*pixel, 1])[:2], arrives, rtol=1e-10)
        np.testing.assert_allclose((back @ [*arrives, 1])[:2], pixel, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("degrees", [-179.5, -90, -30, 0, 45, 90, 179.5])
def test_degrees_reads_the_angle_back(degrees):
    shifted = Affine.scale(0.7).compose(Affine.rotation(degrees)).compose(Affine.translation(0.2, 0.1))
    assert shifted.degrees == pytest.approx(degrees, abs=1e-9)


def test_half_turns_have_one_angle():
    assert Affine.rotation(-180).degrees == Affine.rotation(180).degrees == 180.0


def test_determinant_is_the_change_of_area(rng):
    assert Affine.scale(2, 3).determinant == 6
    assert Affine.reflection().compose(Affine.rotation(30)).determinant == pytest.approx(-1)
    assert Affine.shear(30, 0).determinant == pytest.approx(1)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_very_small_and_large_scales_still_invert(factor):
    both = Affine.scale(factor).compose(Affine.scale(factor).inverse())
    np.testing.assert_allclose(both.coefficients, Affine.identity().coefficients, atol=1e-12)


def test_equal_maps_are_equal_and_hashable():
    assert Affine.rotation(90) == Affine.rotation(-270)
    assert len({Affine.rotation(0), Affine.identity(), Affine.scale(1), Affine.translation(0, -0.0)}) == 1
    assert Affine.rotation(10) != Affine.rotation(10.5)
    assert str(Affine.translation(-0.0, 0)) == str(Affine.identity())


@pytest.mark.parametrize(
    ("affine", "text"),
    [
        (Affine.identity(), "identity"),
        (Affine.rotation(-90), "-90°"),
        (Affine.rotation(22.5), "22.5°"),
        (Affine.rotation(-180), "180°"),
        (Affine.scale(1.25), "x1.25"),
        (Affine.scale(1, 0.5), "x(1, 0.5)"),
        (Affine.translation(0.1, 0), "shift (0.1, 0)"),
        (Affine.translation(-0.15, 0.15), "shift (-0.15, 0.15)"),
        (Affine.shear(20), "shear 20°"),
        (Affine.shear(0, 20), "shear y 20°"),
        (Affine.reflection(), "flip left-right"),
        (Affine.reflection("vertical"), "flip up-down"),
        (Affine.reflection().compose(Affine.rotation(30)), "flip left-right 30°"),
        (Affine.rotation(30).compose(Affine.scale(1, 0.5)), "30° x(1, 0.5)"),
        (Affine.scale(1, 0.5).compose(Affine.rotation(30)), "x(1, 0.5) 30°"),
        (Affine.rotation(45).compose(Affine.scale(0.5)).compose(Affine.translation(0.1, 0)), "45° x0.5 shift (0.1, 0)"),
        (Affine.from_matrix([[1, 0, 0], [0, 0, 0], [0, 0, 1]]), "singular"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_labels_name_the_parts_in_the_order_in_which_they_happen(affine, text):
    assert label(affine) == text


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Affine.rotation("90"), TypeError, "degrees must be a number. Received: '90'"),
        (lambda: Affine.rotation(float("nan")), ValueError, "degrees must be finite"),
        (lambda: Affine.rotation(10**400), ValueError, "degrees must be finite"),
        (lambda: Affine.scale(0), ValueError, "sx and sy must not be zero"),
        (lambda: Affine.scale(1, float("inf")), ValueError, "sy must be finite"),
        (lambda: Affine.translation(None, 0), TypeError, "tx must be a number"),
        (lambda: Affine.reflection("diagonal"), ValueError, "axis must be 'horizontal' or 'vertical'"),
        (lambda: Affine(((1, 0), (0, 1))), ValueError, "two rows of four finite numbers"),
        (lambda: Affine((("1", "0", "0", "0"), ("0", "1", "0", "0"))), ValueError, "two rows of four finite numbers"),
        (lambda: Affine(((1, 0, 0, 0), (0, 1, 0))), ValueError, "two rows of four finite numbers"),
        (lambda: Affine.from_matrix(np.ones((3, 3))), ValueError, "last row"),
        (lambda: Affine.from_matrix(np.eye(2)), ValueError, "3x3"),
        (lambda: Affine.shear(45, 45).inverse(), ValueError, "cannot be inverted"),
        (lambda: sampling_matrices([Affine.shear(45, 45)], 8, 8, inverse=True), ValueError, "can be inverted"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
