"""Kinds of outputs against float64 references written from the formulas, and the laws that they obey."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfinv.outputs import Boxes, Classes, Embedding, Landmarks, Map, Mask, Moves, OutputValues, Vector, kind
from tfinv.outputs.boxes import anchor_centres, matched, suppressed
from tfinv.outputs.means import means_with_intervals
from tfinv.outputs.moves import still
from tfinv.outputs.polygons import area, clipped, corners, overlap
from tfinv.transformations import Affine, TransformationSet, product, rotations

SET = TransformationSet(
    (Affine.identity(), Affine.rotation(30), Affine.rotation(90), Affine.scale(1.5), Affine.translation(0.25, 0.1))
)


def seen(name, **values):
    return OutputValues(name, values)


def reference_move(point, affine, height, width):
    """Where a map moves a point given from the upper left corner, written out."""
    (a, b, tx, ux), (c, d, ty, uy) = affine.coefficients
    x, y = point[0] - width / 2, point[1] - height / 2
    return (
        a * x + b * y + tx * width / 2 + ux * height / 2 + width / 2,
        c * x + d * y + ty * width / 2 + uy * height / 2 + height / 2,
    )


def reference_landmarks(before, after, maps, height, width, shift):
    """Mean distance over the points that stay in the frame, and the share of the others."""
    distances, outside = np.empty((len(before), len(maps))), np.empty((len(before), len(maps)))
    for s, j in itertools.product(range(len(before)), range(len(maps))):
        kept = []
        for p, point in enumerate(before[s]):
            x, y = reference_move(point + shift, maps[j], height, width)
            if 0 <= x <= width and 0 <= y <= height:
                found = after[s, j, p] + shift
                kept.append(np.hypot(found[0] - x, found[1] - y) / np.hypot(height, width))
        distances[s, j], outside[s, j] = np.mean(kept), 1 - len(kept) / before.shape[1]
    return distances, outside


# --- landmarks -------------------------------------------------------------------------------------------------------


def test_landmarks_equal_the_formula():
    rng = np.random.default_rng(0)
    before, after = rng.uniform(5, 27, (3, 7, 3)), rng.uniform(0, 32, (3, len(SET), 7, 3))
    moves = Moves(SET, 32, 40)
    found = Landmarks(dimensions=3).changes(seen("f", f=before), seen("f", f=after), moves)
    distance, outside = reference_landmarks(before[..., :2], after[..., :2], SET.members, 32, 40, 0.5)
    np.testing.assert_allclose(found["distance"], distance, rtol=1e-12)
    np.testing.assert_allclose(found["left_out"], outside, atol=1e-12)
    assert 0 < outside.max() < 1
    depth = np.abs(after[..., 2] - before[:, None, :, 2]) / np.ptp(before[..., 2], axis=1)[:, None, None]
    np.testing.assert_allclose(found["depth"][:, 0], depth[:, 0].mean(axis=-1))


@pytest.mark.parametrize("order", ["xy", "yx"])
def test_landmarks_in_fractions_and_of_either_order_equal_those_in_pixels(order):
    rng = np.random.default_rng(1)
    before, after = rng.uniform(8, 24, (2, 5, 2)), rng.uniform(8, 24, (2, 2, 5, 2))
    moves = Moves(rotations(2), 32, 40)
    expected = Landmarks().changes(seen("f", f=before), seen("f", f=after), moves)["distance"]
    turned = slice(None) if order == "xy" else slice(None, None, -1)
    size = np.array([40, 32])
    first, second = (((points + 0.5) / size)[..., turned] for points in (before, after))
    found = Landmarks(unit="fractions", order=order).changes(
        seen("f", f=first.reshape(2, -1)), seen("f", f=second.reshape(2, 2, -1)), moves
    )
    np.testing.assert_allclose(found["distance"], expected, rtol=1e-12)


def test_points_that_move_as_the_image_have_no_error_and_metres_only_turn():
    rng = np.random.default_rng(2)
    before, moves = rng.uniform(12, 20, (2, 6, 2)), Moves(SET, 32, 32)
    after = moves.points(before + 0.5) - 0.5
    found = Landmarks().changes(seen("f", f=before), seen("f", f=after), moves)
    assert found["distance"].max() < 1e-12 and found["in_place"].min() == 1
    metres = rng.normal(0, 0.05, (2, 6, 2))
    turned = np.stack([metres] * len(SET), axis=1)
    turned[:, 2] = np.stack([metres[..., 1], -metres[..., 0]], axis=-1)  # counter-clockwise, y down
    angle = np.deg2rad(30)
    turned[:, 1] = metres @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = Landmarks(unit="metres").changes(seen("f", f=metres), seen("f", f=turned), moves)
    assert found["distance"].max() < 1e-12 and not found["left_out"].any()


def test_landmarks_where_all_leave_the_frame_are_not_known():
    moves = Moves(TransformationSet((Affine.translation(0.9, 0),)), 10, 10)
    found = Landmarks().changes(seen("f", f=np.full((1, 2, 2), 8.0)), seen("f", f=np.full((1, 1, 2, 2), 8.0)), moves)
    assert np.isnan(found["distance"]).all() and found["left_out"].tolist() == [[1.0]]


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_overlaps_of_polygons_equal_known_areas():
    square = corners(np.array([0.0, 0, 2, 2]))
    assert area(square) == 4 and overlap(square, square) == 1
    moves = Moves(TransformationSet((Affine.rotation(45),)), 2, 2)
    turned = moves.points(square[None])[0, 0]
    assert area(clipped(square, turned)) == pytest.approx(8 * (np.sqrt(2) - 1))  # a regular octagon
    assert overlap(square, turned) == pytest.approx(1 / np.sqrt(2))
    assert overlap(square, square[::-1]) == pytest.approx(1) and overlap(square, square + 5) == 0
    assert overlap(square[:1], square[:1]) == 0


def test_overlaps_of_polygons_equal_counted_points():
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*[(np.arange(600) + 0.5) / 600 * 20] * 2), axis=-1).reshape(-1, 2)

    def inside(polygon):
        edges = np.roll(polygon, -1, axis=0) - polygon
        offsets = grid[:, None] - polygon
        side = edges[:, 0] * offsets[..., 1] - edges[:, 1] * offsets[..., 0]
        return np.all(side >= 0, axis=1) | np.all(side <= 0, axis=1)

    for _ in range(5):
        shapes = []
        for _ in range(2):
            middle, half = rng.uniform(8, 12, 2), rng.uniform(2, 5, 2)
            box = corners(np.concatenate([middle - half, middle + half]))
            turn = Moves(TransformationSet((Affine.rotation(float(rng.uniform(0, 90))),)), 20, 20)
            shapes.append(turn.points(box[None])[0, 0])
        first, second = map(inside, shapes)
        assert overlap(*shapes) == pytest.approx((first & second).sum() / (first | second).sum(), abs=0.01)


def test_boxes_are_matched_as_well_as_trying_every_assignment():
    rng = np.random.default_rng(4)
    for _ in range(10):
        overlaps = rng.random((3, 4))
        best = max(
            sum(overlaps[row, c] for row, c in enumerate(chosen)) for chosen in itertools.permutations(range(4), 3)
        )
        assert overlaps[matched(overlaps, 0.0)].sum() == pytest.approx(best)
    rows, columns = matched(np.array([[0.9, 0.8], [0.85, 0.1]]), 0.5)  # the greedy choice would lose the second
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert len(matched(np.array([[0.2]]), 0.5)[0]) == 0


def test_of_overlapping_boxes_of_a_class_the_surest_stays():
    boxes = np.array([[0.0, 0, 4, 4], [0, 0, 4, 3], [10, 10, 12, 12], [0, 0, 4, 4]])
    assert suppressed(boxes, np.array([0, 0, 0, 1]), 0.5).tolist() == [0, 2, 3]
    assert suppressed(boxes, np.array([0, 0, 0, 1]), 0.8).tolist() == [0, 1, 2, 3]


def test_anchors_go_row_by_row_and_all_of_a_cell_together():
    centres = anchor_centres("16x16x2 8x8x6")
    assert centres.shape == (896, 2)
    assert centres[:3].tolist() == [[0.5 / 16, 0.5 / 16], [0.5 / 16, 0.5 / 16], [1.5 / 16, 0.5 / 16]]
    assert centres[512].tolist() == [0.5 / 8, 0.5 / 8] and centres[-1].tolist() == [7.5 / 8, 7.5 / 8]


def test_a_detector_that_follows_a_quarter_turn_has_no_error_and_one_that_loses_a_box_misses_half():
    boxes = np.array([[[2.0, 2, 6, 8, 3, 4], [10, 10, 14, 12, 11, 11]]])  # two corners and one point
    scores = np.array([[0.9, 0.8]])
    moves = Moves(rotations(4), 16, 16)  # 180, -90, 0, 90

    def turned(raw, map_):
        rows = []
        for row in raw:
            points = np.array([reference_move(row[k : k + 2], map_, 16, 16) for k in (0, 2, 4)])
            low, high = points[:2].min(axis=0), points[:2].max(axis=0)
            rows.append(np.concatenate([low, high, points[2]]))
        return np.array(rows)

    after = np.stack([turned(boxes[0], map_) for map_ in moves.maps])[None]
    after_scores = np.repeat(scores[:, None] - 0.1, 4, axis=1)
    kind_ = Boxes(scores="s", layout="xyxy", points=1)
    found = kind_.changes(seen("b", b=boxes, s=scores), seen("b", b=after, s=after_scores), moves)
    np.testing.assert_allclose(found["box_error"], 0, atol=1e-9)
    np.testing.assert_allclose(found["iou"], 1)
    np.testing.assert_allclose(found["score_change"], -0.1)
    np.testing.assert_allclose(found["point_distance"], 0, atol=1e-12)
    after_scores[:, 1, 1] = 0.4
    found = kind_.changes(seen("b", b=boxes, s=scores), seen("b", b=after, s=after_scores), moves)
    assert found["missed"].tolist() == [[0, 0.5, 0, 0]] and found["box_error"][0, 1] == pytest.approx(0.5)


def test_boxes_of_other_classes_are_no_match_and_surplus_is_counted():
    boxes, moves = np.array([[[8.0, 8, 4, 4]]]), still(1, 16, 16)
    before, after = np.array([[[0.9, 0.1]]]), np.array([[[[0.1, 0.9]]]])
    found = Boxes(scores="s").changes(seen("b", b=boxes, s=before), seen("b", b=boxes[:, None], s=after), moves)
    assert (found["missed"].item(), found["surplus"].item(), np.isnan(found["iou"].item())) == (1, 1, True)


# --- masks and maps --------------------------------------------------------------------------------------------------


def test_masks_and_maps_under_quarter_turns_equal_rotated_arrays():
    rng = np.random.default_rng(5)
    before, after = rng.random((2, 9, 9, 1)), rng.random((2, 4, 9, 9, 1))
    moves = Moves(rotations(4), 18, 18)
    masks = Mask().changes(seen("m", m=before), seen("m", m=after), moves)
    maps = Map().changes(seen("m", m=before), seen("m", m=after), moves)
    for s, (j, turns) in itertools.product(range(2), enumerate((2, -1, 0, 1))):
        expected, found = np.rot90(before[s], turns), after[s, j]
        first, second = set(np.flatnonzero(found >= 0.5)), set(np.flatnonzero(expected >= 0.5))
        assert masks["iou"][s, j] == pytest.approx(len(first & second) / len(first | second))
        assert masks["difference"][s, j] == pytest.approx(np.abs(found - expected).mean(), rel=1e-5)
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert maps["relative_error"][s, j] == pytest.approx(error, rel=1e-5)


def test_a_mask_is_compared_only_where_the_picture_comes_from_inside():
    before = np.ones((1, 8, 8, 1))
    after = np.zeros((1, 1, 8, 8, 1))
    after[..., 4:, :] = 1
    moves = Moves(TransformationSet((Affine.translation(0.5, 0),)), 8, 8)
    found = Mask().changes(seen("m", m=before), seen("m", m=after), moves)
    assert found["iou"].item() == 1 and found["left_out"].item() == 0.5
    empty = Mask().changes(seen("m", m=before * 0), seen("m", m=after * 0), moves)
    assert np.isnan(empty["iou"].item())


def test_masks_of_several_classes_average_over_those_that_occur():
    before = np.zeros((1, 2, 2, 3))
    before[0, :, 0, 0] = before[0, :, 1, 1] = 1
    after = before[:, None].copy()
    after[0, 0, 0, 0] = [0, 1, 0]
    found = Mask().changes(seen("m", m=before), seen("m", m=after), still(1, 4, 4))
    assert found["iou"].item() == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_mask_of_logits_equals_one_of_probabilities():
    rng = np.random.default_rng(6)
    logits, other = rng.normal(0, 3, (1, 6, 6, 1)), rng.normal(0, 3, (1, 4, 6, 6, 1))
    moves = Moves(rotations(4), 6, 6)
    found = Mask().changes(seen("m", m=logits), seen("m", m=other), moves)
    first, second = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-other))
    expected = Mask().changes(seen("m", m=first), seen("m", m=second), moves)
    np.testing.assert_allclose(found["iou"], expected["iou"])
    np.testing.assert_allclose(found["difference"], expected["difference"], rtol=1e-4)


# --- outputs that stay -----------------------------------------------------------------------------------------------


def test_embeddings_have_the_cosine_and_the_rank_of_the_formula():
    rng = np.random.default_rng(7)
    gallery, after = rng.normal(size=(6, 4)), rng.normal(size=(3, 2, 4))
    upright = OutputValues("e", {"e": gallery[2:5]}, {}, gallery, range(2, 5))
    found = Embedding().changes(upright, seen("e", e=after), still(2, 4, 4))

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    for s, j in itertools.product(range(3), range(2)):
        own = cosine(after[s, j], gallery[s + 2])
        others = [cosine(after[s, j], gallery[u]) for u in range(6) if u != s + 2]
        assert found["cosine"][s, j] == pytest.approx(own)
        assert found["rank"][s, j] == 1 + sum(other >= own for other in others)
        assert found["cosine_of_others"][s, j] == pytest.approx(np.mean(others))
    assert found["rank"].max() > 1


def test_vectors_and_classes_equal_the_formula():
    before, after = np.array([[3.0, 4.0], [0, 0]]), np.array([[[3.0, 5.0]], [[0, 0]]])
    found = Vector().changes(seen("v", v=before), seen("v", v=after), still(1, 4, 4))
    np.testing.assert_allclose(found["relative_error"], [[0.2], [0]])
    np.testing.assert_allclose(found["difference"], [[0.5], [0]])
    logits, turned = np.array([[2.0], [-1.0]]), np.array([[[3.0], [-2.0]], [[-3.0], [0.5]]])
    found = Classes().changes(seen("c", c=logits), seen("c", c=turned), still(2, 4, 4))
    assert found["changed"].tolist() == [[0, 1], [0, 1]]
    np.testing.assert_allclose(found["score"], 1 / (1 + np.exp(-turned[..., 0])))
    probabilities = np.array([[0.2, 0.8]]), np.array([[[0.6, 0.4], [0.1, 0.9]]])
    found = Classes().changes(*(seen("c", c=one) for one in probabilities), still(2, 4, 4))
    assert found["changed"].tolist() == [[1, 0]]
    np.testing.assert_allclose(found["confidence"], [[0.6, 0.9]])


@pytest.mark.parametrize(
    "one", [Landmarks(), Mask(), Map(), Vector(), Embedding(), Classes()], ids=lambda one: one.text
)
def test_outputs_that_do_as_they_must_have_no_error(one):
    rng = np.random.default_rng(8)
    before = rng.uniform(6, 9, (2, 8, 2)) if isinstance(one, Landmarks) else rng.random((2, 8, 8, 1))
    if isinstance(one, (Vector, Embedding, Classes)):
        before = before.reshape(2, -1)
    found = one.changes(seen("o", o=before), seen("o", o=np.repeat(before[:, None], 3, axis=1)), still(3, 16, 16))
    assert found[one.error].shape == (2, 3) and np.abs(found[one.error]).max() < 1e-6


# --- moves -----------------------------------------------------------------------------------------------------------


def test_positions_move_as_the_content_of_a_warped_image_does():
    from tfinv.transformations import warp

    rows, columns = np.mgrid[0:41, 0:61].astype(np.float32)
    spot = np.array([35.0, 17.0])
    image = np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / 8)[None, ..., None]
    maps = product(rotations(4), TransformationSet((Affine.scale(0.7), Affine.translation(0.1, -0.1))))
    warped = warp(image, maps).numpy()[0, ..., 0]
    moved = Moves(maps, 41, 61).points(spot[None, None] + 0.5)[0, :, 0] - 0.5
    for picture, place in zip(warped, moved, strict=True):
        centre = np.array([(picture * columns).sum(), (picture * rows).sum()]) / picture.sum()
        np.testing.assert_allclose(centre, place, atol=0.02)


def test_moves_that_return_leave_positions_and_know_what_had_left_the_frame():
    moves = Moves(TransformationSet((Affine.translation(0.5, 0),)), 10, 10, returned=True)
    points = np.array([[[2.0, 5.0], [8.0, 5.0]]])
    assert moves.points(points).tolist() == [points.tolist()] and moves.inside(points).tolist() == [[[True, False]]]
    assert moves.visible(10, 10)[0].all(axis=0).tolist() == [True] * 5 + [False] * 5


def test_means_leave_out_what_is_not_known():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan], [np.nan, 4.0, np.nan]])
    found = means_with_intervals(values)
    np.testing.assert_allclose(found[:2, 0], [2, 3])
    assert np.isnan(found[2]).all() and (found[:2, 1] < found[:2, 0]).all() and (found[:2, 2] > found[:2, 0]).all()
    normal = np.random.default_rng(9).normal(size=(400, 1))
    mean, low, high = means_with_intervals(normal)[0]
    assert high - low == pytest.approx(2 * 1.96 * normal.std() / 20, rel=0.1) and low < mean < high


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("landmark", "Did you mean 'landmarks'"),
        ("landmarks(unit='pixel')", "unit must be one of"),
        ("landmarks(size=3)", "cannot be made like this"),
        ("boxes", "scores must name the output"),
        ("boxes(scores='s', anchors='16by16')", "anchors must read like"),
        ("mask(threshold=2)", "threshold must be a number above 0 and below 1"),
        ("class(x=1)", "cannot be made like this"),
    ],
)
def test_a_kind_that_cannot_be_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        kind(text)


@pytest.mark.parametrize(
    "text",
    [
        "class", "vector", "embedding", "map", "mask(threshold=0.3)", "landmarks(dimensions=3, unit='metres')",
        "boxes(scores='s', anchors='2x2x1', points=2)",
    ],
)  # fmt: skip
def test_the_text_of_a_kind_reads_back(text):
    assert kind(text).text == text and kind(kind(text)) == kind(text)


@pytest.mark.parametrize(
    ("one", "shape", "words"),
    [
        (Landmarks(dimensions=3), (10,), "a multiple of 3 numbers"),
        (Mask(), (10,), r"\(H, W\) or \(H, W, C\)"),
        (Map(), (1, 1, 5), r"\(H, W\) or \(H, W, C\)"),
        (Boxes(scores="s"), (10, 3), r"\(N, 4\)"),
        (Boxes(scores="s", anchors="2x2x1"), (5, 4), "4 anchors"),
        (Embedding(), (1,), "at least two numbers"),
        (Classes(), (4, 4), "one number per class"),
    ],
)
def test_a_kind_refuses_an_output_of_another_shape(one, shape, words):
    with pytest.raises(ValueError, match=words):
        one.check("out", shape)


@pytest.mark.parametrize(
    ("one", "values", "words"),
    [
        (Landmarks(unit="fractions"), np.full((1, 4), 30.0), "unit='pixels' reads pixels"),
        (Landmarks(), np.full((1, 4), 0.5), "unit='fractions' reads fractions"),
        (Boxes(scores="s", unit="fractions"), np.full((1, 2, 4), 30.0), "unit='pixels' reads pixels"),
        (Boxes(scores="s"), np.full((1, 2, 4), 0.5), "unit='fractions' reads fractions"),
    ],
)
def test_pixels_and_fractions_are_told_apart(one, values, words):
    with pytest.raises(ValueError, match=words):
        one.check_values(seen("o", o=values, s=np.ones((1, 2))), still(1, 64, 64))
