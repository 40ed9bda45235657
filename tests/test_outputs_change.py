"""`output_change` on models that move as they must, on models that do not, and on files that people ship."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

import tfinv
from tfinv import outputs, transformations
from tfinv.outputs.report import sentences
from tfinv.tflite import TFLiteModel, float32
from tfinv.transformations import Affine, TransformationSet, rotations

FACE = (0, 15, 30, 45, 60, 90, 135, 180)
DETECTOR = "boxes(scores='classificators', anchors='16x16x2 8x8x6', points=6)"


def spots(size: int = 16, samples: int = 3) -> np.ndarray:
    """Images with one bright spot each, near the centre."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:size, 0:size]
    places = rng.uniform(size * 0.35, size * 0.65, (samples, 2))
    pictures = [np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 3) for x, y in places]
    return np.array(pictures, np.float32)[..., None]


def finder(size: int = 16, *, turned: bool = False) -> keras.Model:
    """A network that gives the centre of brightness as a landmark in pixels, the image as a map, and a score."""
    inputs = keras.Input((size, size, 1))
    places = np.arange(size, dtype="float32")
    total = keras.ops.sum(inputs, axis=(1, 2, 3))
    x = keras.ops.sum(inputs[..., 0] * places[None, None], axis=(1, 2)) / total
    y = keras.ops.sum(inputs[..., 0] * places[None, :, None], axis=(1, 2)) / total
    point = keras.layers.Identity(name="point")(keras.ops.stack([y, x] if turned else [x, y], axis=-1))
    picture = keras.layers.Identity(name="picture")(inputs)
    score = keras.layers.Dense(1, activation="sigmoid", name="score")(keras.layers.GlobalMaxPooling2D()(inputs))
    return keras.Model(inputs, [point, picture, score])


def test_a_network_that_moves_with_the_image_has_hardly_an_error_in_any_output():
    found = tfinv.output_change(finder(), spots(), rotations(8), "landmarks", progress=False)
    assert {output.name: output.kind for output in found.outputs} == {
        "point": "landmarks", "picture": "map", "score": "class"
    }  # fmt: skip
    assert found["point"].error_values.max() < 0.01 and found["picture"].error_values.max() < 0.15
    assert found["point"].error_values[:, ::2].max() < 1e-6 and found["score"].error_values.max() == 0
    assert [output.guessed for output in found.outputs] == [False, True, True] and not found.skipped


def test_a_network_that_takes_x_for_y_is_found_out_by_its_angle():
    images = spots()
    found = tfinv.output_change(finder(turned=True), images, rotations(4), "landmarks", progress=False, floor=False)
    first = found.outputs[0]
    assert not first.guessed and first.floor == {} and first.error_values[:, 2].max() == 0  # 0 degrees
    predicted = np.asarray(finder(turned=True)(images)[0])
    quarter = [transformations.warp(images, [Affine.rotation(90)])[:, 0]]
    after = np.asarray(finder(turned=True)(quarter[0])[0])
    expected = np.stack([predicted[:, 1], 15 - predicted[:, 0]], axis=1)
    distance = np.linalg.norm(after - expected, axis=1) / np.hypot(16, 16)
    np.testing.assert_allclose(first.error_values[:, 3], distance, atol=1e-6)


def test_the_floor_is_that_of_images_transformed_back_by_hand():
    images, maps = spots(), rotations(8)
    network = finder()
    found = tfinv.output_change(network, images, maps, "landmarks", progress=False)
    turned = transformations.warp(images, maps).numpy()[:, 5]
    back = transformations.warp(turned, [maps[5]], inverse=True).numpy()[:, 0]
    first, second = (np.asarray(network(some)[0]) for some in (images, back))
    expected = np.linalg.norm(first - second, axis=1) / np.hypot(16, 16)
    np.testing.assert_allclose(found.outputs[0].floor["distance"][:, 5], expected, atol=1e-6)


def test_functions_of_images_leave_positions_where_they_are_and_have_no_floor():
    darker = transformations.ImageFunction(lambda images: images * 0.5, "darker")
    maps = TransformationSet((Affine.rotation(90), darker))
    found = tfinv.output_change(finder(), spots(), maps, "landmarks", progress=False)
    assert found.outputs[0].error_values.max() < 1e-5
    assert np.isnan(found.outputs[0].floor["distance"][:, 1]).all() and np.isnan(found.degrees[1])
    assert found.outputs[1].error_values[:, 1] == pytest.approx(0.5, abs=1e-4)  # the map is half as bright


def test_blocks_change_nothing_and_embeddings_are_searched_among_all_images():
    inputs = keras.Input((16, 16, 1))
    x = keras.layers.Dense(6, name="vector")(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, keras.layers.UnitNormalization(name="unit")(x))
    images = spots(samples=5)
    whole = tfinv.output_change(network, images, rotations(4), progress=False)
    parts = tfinv.output_change(network, images, rotations(4), progress=False, batch_size=2)
    assert whole.outputs[0].kind == parts.outputs[0].kind == "embedding"
    for name, values in whole.outputs[0].values.items():
        np.testing.assert_allclose(parts.outputs[0].values[name], values, atol=1e-6)
    assert whole.outputs[0].values["rank"][:, 2].tolist() == [1] * 5


def test_a_file_gives_what_its_keras_model_gives():
    network = finder()
    images = spots()
    of_keras = tfinv.output_change(network, images, rotations(4), progress=False)
    of_file = tfinv.output_change(TFLiteModel(float32(network)), images, rotations(4), progress=False)
    for one, other in zip(of_keras.outputs, of_file.outputs, strict=True):
        assert one.kind == other.kind
        np.testing.assert_allclose(one.error_values, other.error_values, atol=1e-4)


def test_a_result_is_saved_drawn_and_read_back(tmp_path):
    found = tfinv.output_change(finder(), spots(), rotations(4), "landmarks", progress=False, metadata={"note": "mine"})
    found.save(tmp_path / "change.npz")
    read = outputs.OutputChange.load(tmp_path / "change.npz")
    assert read.to_frame().equals(found.to_frame()) and read.metadata["note"] == "mine"
    assert read.pictures.tolist() == found.pictures.tolist()
    page = read.report(tmp_path / "report").read_text()
    assert "mean distance of the points" in page
    assert {path.suffix for path in (tmp_path / "report").iterdir()} == {".html", ".csv", ".png"}
    (tmp_path / "cut.npz").write_bytes((tmp_path / "change.npz").read_bytes()[:-40])
    with pytest.raises(ValueError, match="path must be a complete file"):
        outputs.OutputChange.load(tmp_path / "cut.npz")


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ("mask", r"output .* as mask must have the shape \(H, W\)"),
        ({"points": "landmarks"}, "outputs must name outputs among"),
        ("boxes(scores='scores')", "scores must name outputs among"),
        ("landmarks(unit='fractions')", "unit='pixels' reads pixels"),
        (3, "outputs must be a kind of output"),
    ],
)
def test_what_does_not_fit_is_refused(stated, words):
    with pytest.raises((ValueError, TypeError), match=words):
        tfinv.output_change(finder(), spots(), rotations(2), stated, progress=False)


def test_images_and_models_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="images must fit the model's input"):
        tfinv.output_change(finder(), spots(12), rotations(2), progress=False)
    with pytest.raises(TypeError, match="model must be a Keras model"):
        tfinv.output_change(len, spots(), rotations(2), progress=False)
    with pytest.raises(KeyError, match="no measured output 'x'"):
        tfinv.output_change(finder(), spots(), rotations(2), progress=False)["x"]


# --- files that people ship ------------------------------------------------------------------------------------------


def astronaut(data_folder, size: int, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
    image = Image.open(data_folder / "images" / "astronaut.png").convert("RGB")
    image = (image.crop(box) if box else image).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)[None] / 255


def shipped(data_folder, name: str, scale: str = "0..1") -> TFLiteModel:
    return TFLiteModel(data_folder / "models" / "mediapipe" / f"{name}.tflite", input_scale=scale, probe=False)


def test_landmarks_of_a_face_are_as_checked_by_hand(data_folder):
    face = astronaut(data_folder, 192, (130, 20, 310, 200))
    maps = TransformationSet(tuple(Affine.rotation(angle) for angle in FACE))
    found = tfinv.output_change(shipped(data_folder, "face_landmark"), face, maps, progress=False)
    points, score = found["conv2d_21"], found["conv2d_31"]
    assert (points.kind, points.guessed, score.kind) == ("landmarks(dimensions=3)", True, "class")
    pixels = points.error_values[0] * np.hypot(192, 192)
    np.testing.assert_allclose(pixels, [0, 1.5, 4.5, 12.6, 25.7, 49.2, 64.0, 64.9], atol=0.15)
    np.testing.assert_allclose(points.error_values[0, [3, 7]], [0.046, 0.239], atol=0.001)
    np.testing.assert_allclose(score.values["score"][0], [1, 1, 1, 1, 0.25, 0.06, 0.33, 0.95], atol=0.05)
    assert points.floor["distance"].max() < 0.003
    said = sentences(found)[0]
    assert "23.9% at worst, under 180°" in said and "the score of `conv2d_31` is 95%" in said


def test_a_face_detector_finds_the_face_again_and_says_nothing_of_a_wrong_scale(data_folder):
    model, picture = shipped(data_folder, "face_detection_short_range", "-1..1"), astronaut(data_folder, 128)
    maps = TransformationSet(tuple(Affine.rotation(angle) for angle in FACE))
    found = tfinv.output_change(model, picture, maps, DETECTOR, progress=False)
    boxes = found["regressors"]
    assert not boxes.values["missed"].any() and [output.name for output in found.outputs] == ["regressors"]
    assert boxes.error_values[0, 1] < 0.1 < 0.3 < boxes.error_values[0, 7]
    np.testing.assert_allclose(boxes.values["iou_of_moved"][0, [0, 3, 5]], [1, 0.7071, 1], atol=0.001)
    for scale, expected in (("-1..1", 0.92), ("0..1", 0.90)):
        raw = shipped(data_folder, "face_detection_short_range", scale).predict(picture)["classificators"]
        assert 1 / (1 + np.exp(-raw.max())) == pytest.approx(expected, abs=0.01)
    guessed = tfinv.output_change(model, picture, rotations(2), progress=False, floor=False)
    assert guessed.outputs == () and "looks like boxes of a detector" in guessed.skipped["regressors"]


def test_a_segmentation_is_compared_inside_the_frame_alone(data_folder):
    picture = astronaut(data_folder, 256)
    model, maps = shipped(data_folder, "selfie_segmentation"), TransformationSet((Affine.rotation(90),))
    found = tfinv.output_change(model, picture, maps, progress=False)["activation_10"]
    first = model.predict(picture)[0, ..., 0].copy() >= 0.5
    second = model.predict(np.rot90(picture, axes=(1, 2)))[0, ..., 0].copy() >= 0.5
    expected = np.rot90(first)
    assert found.kind == "mask"
    assert found.values["iou"].item() == pytest.approx((second & expected).sum() / (second | expected).sum(), abs=0.01)
    assert 0.5 < found.values["iou"].item() < 0.9


def test_every_output_of_a_hand_network_is_measured(data_folder):
    picture = astronaut(data_folder, 224, (130, 20, 310, 200))
    found = tfinv.output_change(shipped(data_folder, "hand_landmark_lite"), picture, rotations(4), progress=False)
    assert {output.name: output.kind for output in found.outputs} == {
        "Identity": "landmarks(dimensions=3)",
        "Identity_1": "class",
        "Identity_2": "class",
        "Identity_3": "landmarks(dimensions=3, unit='metres')",
    }
    assert found["Identity_1"].values["score"].max() < 0.05  # there is no hand, and it says so


# --- two models ------------------------------------------------------------------------------------------------------


def test_two_models_are_compared_on_the_same_images_by_image_and_transformation():
    right, wrong, images = finder(), finder(turned=True), spots()
    found = outputs.compare_outputs(right, wrong, images, rotations(4), "landmarks", progress=False)
    alone = tfinv.output_change(wrong, images, rotations(4), "landmarks", progress=False)
    np.testing.assert_allclose(found.after["point"].error_values, alone["point"].error_values, atol=1e-7)
    turned = transformations.warp(images, rotations(4)).numpy()
    points = np.asarray(right(turned.reshape(-1, 16, 16, 1))[0]).reshape(3, 4, 2)
    swapped = np.abs(points[..., 0] - points[..., 1]) * np.sqrt(2) / np.hypot(16, 16)
    np.testing.assert_allclose(found.between["point"]["distance"], swapped, atol=1e-6)
    row = found.summary().set_index("output").loc["point"]
    assert row["between"] == pytest.approx(np.delete(swapped, 2, axis=1).mean(), abs=1e-6)
    assert row["upright_between"] == pytest.approx(swapped[:, 2].mean(), abs=1e-6)
    others = np.delete(alone["point"].error_values, 2, axis=1).mean(axis=1)
    assert row["difference"] == pytest.approx(others.mean(), abs=1e-5) and row["low"] < row["difference"] < row["high"]
    facts, arrays = found.to_parts("o.")
    read = outputs.OutputComparison.from_parts(facts, arrays, "o.")
    assert read.summary().equals(found.summary())


def test_models_of_other_outputs_are_refused():
    inputs = keras.Input((16, 16, 1))
    other = keras.Model(inputs, keras.layers.GlobalMaxPooling2D(name="top")(inputs))
    with pytest.raises(ValueError, match="models must have the same outputs"):
        outputs.compare_outputs(finder(), other, spots(), rotations(2), progress=False)
