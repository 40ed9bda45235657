"""The search for worst cases: a model of known weak spots, answers checked by warping, files, wrong arguments."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tflite_models import digits, plain_network, trained

import tfinv
from tfinv.evaluation.search_space import SearchSpace
from tfinv.tflite import TFLiteModel, static_int8
from tfinv.transformations import Affine, warp

WINDOW, SIZE = (11.0, 12.6), 33


class Compass:
    """Says class 0 for a blob whose angle is outside of a window, and for dark blobs everywhere; counts its batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, images: np.ndarray) -> np.ndarray:
        self.sizes.append(len(images))
        rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
        mass = images[..., 0].sum((1, 2))
        x, y = ((images[..., 0] * places).sum((1, 2)) / mass for places in (columns, -rows))
        angle = np.degrees(np.arctan2(y, x))
        middle, half = np.mean(WINDOW), np.diff(WINDOW)[0] / 2
        lead = np.abs(angle - middle) - half + np.where(images.max((1, 2, 3)) < 0.7, 100, 0)
        return np.stack([lead, np.zeros_like(lead)], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def blobs() -> np.ndarray:
    """12 images of a blob at the right; every third is dark."""
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    blob = np.exp(-((columns - 9) ** 2 + rows**2) / 8)
    brightness = np.where(np.arange(12) % 3 == 2, 0.5, 1.0)
    return (brightness[:, None, None, None] * blob[None, :, :, None]).astype(np.float32)


def test_a_window_between_the_points_of_the_grid_is_found(blobs):
    model = Compass()
    found = tfinv.worst_case(
        model, blobs, {"rotation": 30}, labels=np.zeros(12, int), budget=60, batch_size=16, progress=False
    )
    bright = np.arange(12) % 3 != 2
    assert found.upright.all() and found.right.tolist() == (~bright).tolist()
    angles = found.parameters[:, 0]
    assert ((angles[bright] > WINDOW[0] - 0.2) & (angles[bright] < WINDOW[1] + 0.2)).all()
    assert set(model.sizes) == {16}, "every batch is full"
    assert (found.tried <= 60).all() and (found.tried[~bright] == 60).all() and found.tried[bright].mean() < 60
    coarse = tfinv.worst_case(
        Compass(), blobs, {"rotation": 30}, labels=np.zeros(12, int), budget=10, batch_size=16, progress=False
    )
    assert coarse.grid_points == 5 and coarse.grid_right.all(), "-30, -15, 0, 15 and 30 degrees miss the window"
    assert_allclose(coarse.missed, (~coarse.right).mean())
    assert found.accuracy.value == 4 / 12 and found.accuracy.low < 4 / 12 < found.accuracy.high
    again = tfinv.worst_case(
        Compass(), blobs, {"rotation": 30}, labels=np.zeros(12, int), budget=60, batch_size=16, progress=False
    )
    assert (again.parameters == found.parameters).all(), "the same seed finds the same"


class Counter:
    """Errs on no image, or on some under some maps, and counts its batches and the images that differ in them."""

    def __init__(self, errs: bool) -> None:
        self.errs, self.sizes, self.different = errs, [], 0

    def predict(self, images: np.ndarray) -> np.ndarray:
        self.sizes.append(len(images))
        self.different += len({image.tobytes() for image in images})
        lead = images[:, 0, 0, 0] - 0.3 if self.errs else np.ones(len(images))
        return np.stack([lead, np.zeros_like(lead)], axis=1).astype(np.float32)


@pytest.mark.parametrize(("images", "budget", "batch"), [(10, 50, 16), (40, 30, 16), (7, 33, 64), (90, 20, 64)])
@pytest.mark.parametrize("errs", [False, True])
def test_every_batch_is_full_of_new_proposals(rng, images, budget, batch, errs):
    """As many batches as full ones need, counted, for the untransformed images, the grid and the refinement."""
    model, shown = Counter(errs), rng.random((images, 9, 9, 1)).astype(np.float32)
    options = {"labels": np.zeros(images, int), "budget": budget, "batch_size": batch, "progress": False}
    found = tfinv.worst_case(model, shown, {"rotation": 30, "translation": 0.1}, **options)
    assert set(model.sizes) == {batch}
    grid = images * found.grid_points
    if errs:
        assert not found.right.all()
        most = -(-images // batch) + -(-int(found.tried.sum()) // batch) + 3  # a short last one of each of three parts
        assert len(model.sizes) <= most
    else:
        parts = (images, grid, images * budget - grid)
        assert found.tried.tolist() == [budget] * images
        assert len(model.sizes) == sum(-(-part // batch) for part in parts)
    assert model.different >= found.tried.sum()


@pytest.fixture(scope="module")
def some():
    images, classes = digits()
    return images[1400:1440], classes[1400:1440]


@pytest.mark.parametrize("kind", ["keras", "int8"])
def test_what_is_found_makes_the_model_err(some, kind, tmp_path):
    x, y = some
    network = trained(plain_network)
    model = network if kind == "keras" else TFLiteModel(static_int8(network, digits()[0][:150]))
    ranges = {"rotation": 25, "scale": (0.9, 1.1), "translation": 0.08}
    found = tfinv.worst_case(model, some, ranges, budget=40, batch_size=64, pictures=6, progress=False)
    predict = (lambda images: network(images).numpy()) if kind == "keras" else model.predict
    assert (found.upright == (predict(x).argmax(1) == y)).all()
    wrong = np.flatnonzero(~found.right)
    assert len(wrong) > 4 and (found.accuracy.value < found.grid_accuracy.value or found.missed == 0)
    for image in wrong:
        moved = predict(np.asarray(warp(x[image : image + 1], [found.transformation(image)]))[:, 0])
        assert moved.argmax() == found.answers[image] != y[image]
    grid = SearchSpace.of(ranges).grid(20)
    assert len(grid) == found.grid_points
    right = np.all([
        predict(np.asarray(warp(x, [SearchSpace.of(ranges).affine(point)]))[:, 0]).argmax(1) == y for point in grid
    ], axis=0)  # fmt: skip
    assert (found.grid_right == (right & found.upright)).all(), "the identity lies in the ranges"
    page = found.report(tmp_path).read_text()
    assert "the grid misses" in page and "A search proves nothing" in page and "Images that the model errs on" in page
    table = found.to_frame()
    assert table["right"].sum() == found.right.sum() and (tmp_path / "worst_case.csv").exists()
    assert_allclose(found.pictures[0, 0] / 255, x[found.shown[0]], atol=0.003)


def test_without_labels_the_upright_answer_is_the_truth(some):
    found = tfinv.worst_case(trained(plain_network), some[0][:8], {"rotation": 90}, budget=6, progress=False)
    assert found.upright.all() and not found.is_labelled and found.describe().startswith("The answer is that for")


def test_parameters_are_the_maps_they_are_called(rng):
    space = SearchSpace.of({"rotation": 40, "scale": (0.7, 1.4), "shear": 20, "translation": (-0.2, 0.1)})
    assert space.names == ("rotation", "scale", "shear", "shift_x", "shift_y") and space.holds_identity
    for point in rng.uniform(space.low, space.high, (5, 5)):
        turn, factor, lean, x, y = point
        steps = Affine.scale(factor).compose(Affine.shear(lean)).compose(Affine.rotation(turn))
        expected = steps.compose(Affine.translation(x, y))
        assert_allclose(space.affine(point).matrix, expected.matrix, atol=1e-6)
    assert not SearchSpace.of({"rotation": (10, 30)}).holds_identity
    grid = SearchSpace.of({"rotation": 30, "translation": 0.1}).grid(20)
    assert len(grid) == 18 and sorted(set(grid[:, 0])) == [-30, 0, 30]
    assert_allclose(SearchSpace.of({"rotation": (0, 8)}).grid(1), [[4]])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"ranges": {}}, ValueError, "ranges must hold at least one range"),
        ({"ranges": {"rotation": (5, 5)}}, ValueError, "each must have a width"),
        ({"ranges": {"rotatoin": 5}}, ValueError, "Did you mean 'rotation'"),
        ({"ranges": 30}, TypeError, "ranges must be a mapping"),
        ({"budget": 1}, ValueError, "budget must be"),
        ({"labels": [1, 2]}, ValueError, "labels must be"),
        ({"labels": np.full(12, 9)}, ValueError, "labels must be classes of the model, from 0 to 1. Received: 9 to 9"),
        ({"model": 5}, TypeError, "model must be a Keras model or have predict. Received: int"),
        ({"model": "none.tflite"}, (ValueError, FileNotFoundError), "none.tflite"),
    ],
)
def test_wrong_arguments_are_named(blobs, changes, error, words):
    options = {
        "model": Compass(),
        "images": blobs,
        "ranges": {"rotation": 30},
        "budget": 4,
        "progress": False,
        **changes,
    }
    with pytest.raises(error, match=words):
        tfinv.worst_case(**options)
