"""`choose_bits` from a model to a file: what it keeps, what it refuses, that it goes on and repeats itself."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from tflite_models import digits, plain_network, trained

from tfinv import run
from tfinv.datasets import Split
from tfinv.tflite import BitChoice, Output, Subsets, TFLiteModel, choose_bits, float32, measure_models, sensitivity
from tfinv.tflite.studies import choose_bits as module
from tfinv.tflite.studies.bit_conditions import Seen, parse_keep
from tfinv.tflite.studies.bit_confirmation import two_parts
from tfinv.tflite.studies.bit_measuring import MeasuredFile
from tfinv.tflite.studies.bit_words import confirmation

SET = "rotations(3)"
KEEP = ("output_profile_increase<2%", "flip_rate<15%", "accuracy_drop<10%", "size_ratio<0.9")


def images() -> tuple[np.ndarray, np.ndarray]:
    x, y = digits()
    return x[200:280], y[200:280]


@functools.cache
def reference():
    return float32(trained(plain_network))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bits")


@pytest.fixture(scope="module")
def choice(folder: Path) -> BitChoice:
    said: list[str] = []
    found = chosen(folder, report=said.append)
    assert any("alone: int8" in text and "of at most" in text and " s left)" in text for text in said)
    return found


def chosen(folder: Path, **output) -> BitChoice:
    options = {"schemes": ("int4", "int8"), "output": Output(cache=folder / "cache", **output), "progress": False}
    return choose_bits(reference(), digits()[0][:64], images(), SET, keep=KEEP, **options)


def test_the_file_keeps_what_was_asked_as_an_evaluation_of_its_own_tells(choice):
    files = {"before": reference(), "after": choice.conversion}
    models = {name: TFLiteModel(file, probe=False) for name, file in files.items()}
    seen = measure_models(models, images(), SET, "NormalizedVariance", progress=False)
    before, after = (seen[name] for name in models)
    moved = np.array([True, False, True])  # the identity is in the middle of rotations(3)
    flips = (before.predictions.transformed != after.predictions.transformed)[:, moved].mean()
    means = [next(iter(m.results.values()))["logits"].mean for m in (before, after)]
    row = choice.files.iloc[0]
    np.testing.assert_allclose(row["flip_rate<15%"], flips, atol=1e-12)
    np.testing.assert_allclose(row["output_profile_increase<2%"], means[1] / means[0] - 1, rtol=1e-4, atol=1e-7)
    assert flips < 0.15 and means[1] / means[0] - 1 < 0.02
    labels = images()[1]
    right = [(m.predictions.upright == labels).mean() for m in (before, after)]
    np.testing.assert_allclose(row["accuracy_drop<10pt"], right[0] - right[1], atol=1e-12)
    assert row["bytes"] == choice.conversion.size == len(choice.conversion.content) and choice.holds
    turned = [(m.predictions.transformed[:, moved] == labels[:, None]).mean() for m in (before, after)]
    shares = [f"{100 * share:.3g} %" for share in (right[0], turned[0], right[1], turned[1])]
    told = "float32 answers {} of the images rightly, and {} of them transformed; the chosen file {} and {}."
    assert told.format(*shares) in choice.verdict
    np.testing.assert_allclose(row["size_ratio"], choice.conversion.size / reference().size)


def test_the_choice_is_the_smallest_of_what_held_and_no_neighbour_that_is_smaller_holds(choice):
    held = choice.path[choice.path["outcome"] != "undone"]
    assert held["holds"].all()
    assert choice.conversion.size == held["bytes"].min() < choice.files.set_index("file").loc["uniform int8", "bytes"]
    smaller = choice.neighbours[choice.neighbours["bytes_more"] < 0]
    assert not smaller["holds"].any()
    assert set(choice.neighbours["direction"]) <= {"up", "down"}
    assert ((choice.neighbours["bytes_more"] > 0) == (choice.neighbours["direction"] == "up")).all()
    assert choice.schemes["depthwise_relu"] != "int4"
    cannot = choice.layers.set_index("layer")["cannot"]
    assert "has no DEPTHWISE_CONV_2D" in cannot["depthwise_relu"] and not cannot["hidden"]
    single = choice.singles.set_index(["layer", "scheme"])
    assert single.loc[("hidden", "int4"), "bytes_saved"] > single.loc[("hidden", "int8"), "bytes_saved"] > 10_000


def test_the_chosen_file_is_measured_on_images_that_the_search_did_not_see(choice, folder):
    assert choice.confirmed is None and choice.confirmation.empty  # 80 images were given, and all were searched on
    x, y = digits()
    given = Split(x[200:360], y[200:360])
    options = {"schemes": ("int8",), "output": Output(cache=folder / "cache"), "progress": False}
    found = choose_bits(
        reference(), x[:64], given, SET, keep=("flip_rate<15%", "size_ratio<0.9"), subsets=Subsets(80, None), **options
    )
    searched, others = two_parts(given, 80, 0)
    assert others is not None and len(searched) == len(others) == 80
    np.testing.assert_array_equal(searched.x, given.subset(80, 0).x)
    assert len({image.tobytes() for part in (searched, others) for image in part.x}) == 160
    assert two_parts(given, 131, 0)[1] is None  # 29 are too few
    files = {"before": reference(), "after": found.conversion}
    models = {name: TFLiteModel(file, probe=False) for name, file in files.items()}
    seen = measure_models(models, others, SET, "NormalizedVariance", progress=False)
    before, after = (seen[name].predictions.transformed[:, [0, 2]] for name in models)
    (row,) = found.confirmation.to_dict("records")
    assert row["images"] == found.metadata["other_samples"] == 80 and found.metadata["samples"] == 80
    np.testing.assert_allclose(row["flip_rate<15%"], (before != after).mean(), atol=1e-12)
    assert row["holds"] and found.confirmed and "On 80 other images, which the search did not see" in found.verdict[1]
    assert "those on 80 other images are not" in found.warnings[0]
    assert "On other images" in found.report(folder / "confirmed").read_text()
    assert (folder / "confirmed" / "confirmation.csv").read_text().startswith("images,bytes")


def test_what_other_images_say_is_told_condition_by_condition():
    conditions = parse_keep(["flip_rate<5%", "accuracy>90%", "output_profile_increase<2%", "size_ratio<0.5"])
    seen = {
        "flip_rate<5%": Seen(0.08, 0.06, 0.1, "fails"),
        "accuracy>90%": Seen(0.91, 0.88, 0.94, "inconclusive"),
        "output_profile_increase<2%": Seen(0.01, 0.0, 0.015, "holds"),
        "size_ratio<0.5": Seen(0.6, 0.6, 0.6, "fails"),
    }
    again = MeasuredFile((), 1, seen, (0.0, 0.0, 0.0), 20.0, 0.0, 1.0, 1.0)
    (sentence,) = confirmation(conditions, again, 1200)
    assert sentence == (
        "On 1,200 other images, which the search did not see: **flip_rate < 5 % does not hold**, 8 % (6 % to 10 %); "
        "accuracy > 90 % is inconclusive, 91 % (88 % to 94 %); output_profile_increase < 2 % holds too, 1 % (0 % to "
        "1.5 %)."
    )
    assert confirmation(parse_keep("size_ratio<0.5"), again, 1200) == []


def test_an_equal_search_goes_on_from_the_cache_and_gives_the_same_file(choice, folder, monkeypatch):
    from tfinv.tflite.studies import pieces

    monkeypatch.setattr(pieces, "_measure", lambda *_: pytest.fail("this file was measured before"))
    again = chosen(folder, files=folder / "written")
    assert again.conversion.content == choice.conversion.content
    assert (folder / "written" / "model.tflite").read_bytes() == choice.conversion.content
    assert again.path.equals(choice.path) and again.verdict == choice.verdict


@pytest.mark.slow
def test_equal_searches_give_equal_files(choice, folder):
    fresh = chosen(folder / "fresh")
    assert fresh.conversion.content == choice.conversion.content and fresh.layers.equals(choice.layers)


def test_what_was_chosen_is_saved_loaded_and_reported(choice, folder):
    choice.save(folder / "saved")
    loaded = BitChoice.load(folder / "saved")
    for name in ("layers", "path", "singles", "neighbours", "files"):
        assert getattr(loaded, name).equals(getattr(choice, name)), name
    assert loaded.conversion.content == choice.conversion.content and loaded.verdict == choice.verdict
    assert json.loads((folder / "saved" / "recipe.json").read_text()) == loaded.recipe
    page = choice.report(folder / "report").read_text()
    for words in (
        "keep the conditions",
        "uniform int8",
        "same bytes by SQNR",
        "What neighbour files",
        "one-sided test",
    ):
        assert words in page
    assert (folder / "report" / "path.png").stat().st_size > 5000
    assert (folder / "report" / "layers.csv").read_text().startswith("layer,operator")
    (folder / "saved" / "bits.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="tfinv-bits"):
        BitChoice.load(folder / "saved")


def test_what_cannot_be_kept_is_said_at_once(folder, choice):
    x, y = images()
    options = {"output": Output(cache=folder / "cache"), "progress": False, "schemes": ("int8",)}
    with pytest.raises(ValueError, match=r"accuracy > 100 % cannot be met: .* Received: accuracy \d+(\.\d)? % of"):
        choose_bits(reference(), digits()[0][:64], (x, y), SET, keep="accuracy>1", **options)
    with pytest.raises(ValueError, match=r"not even for the float32 file.* it takes about 328 images.*: 80 images"):
        choose_bits(reference(), digits()[0][:64], (x, y), SET, keep="transformed_accuracy_drop<0.5%", **options)
    with pytest.raises(ValueError, match="accuracy_drop needs images with labels"):
        choose_bits(reference(), digits()[0][:64], x, SET, keep="accuracy_drop<50%", **options)
    with pytest.raises(ValueError, match="model must have a layer with a kernel"):
        inputs = keras.Input((16, 16, 1))
        choose_bits(keras.Model(inputs, keras.layers.Flatten()(inputs)), x, (x, y), SET, keep="flip_rate<1%", **options)
    assert module.SCHEMES == ("int4", "int8", "int16x8", "float16", "float32")


@pytest.mark.slow
def test_the_command_line_writes_everything_and_tells_what_is_not_reached(folder, capsys):
    x, y = digits()
    trained(plain_network).save(folder / "model.keras")
    np.savez(folder / "data.npz", x=(255 * x[:160]).astype(np.uint8), y=y[:160])
    command = ["tflite", "--model", str(folder / "model.keras"), "--data", str(folder / "data.npz"), "--quiet"]
    command += ["--transformations", SET, "--schemes", "int8", "--out", str(folder / "out"), "--keep"]
    assert run.main([*command, "flip_rate<40%", "size_ratio<0.1", "--max-samples", "16"]) == 3
    told = capsys.readouterr().out
    assert "Not reached: size_ratio < 0.1 of float32" in told and "On 16 other images" in told
    files = ("model.tflite", "recipe.json", "bits.npz", "path.png", "report.html", "report.md", "neighbours.csv")
    for name in (*files, "confirmation.csv"):
        assert (folder / "out" / name).is_file()
    assert run.main([*command, "flip_rate<40%", "--epochs", "3"]) == 2
    assert "--keep chooses bits instead of following recipes" in capsys.readouterr().err
    assert run.main([*command, "flips<40%"]) == 2
    assert "keep must name one of" in capsys.readouterr().err


def in_bytes() -> keras.Model:
    """The same network for images of 0..255."""
    network = trained(plain_network)
    inputs = keras.Input(network.input_shape[1:])
    return keras.Model(inputs, network(keras.layers.Rescaling(1 / 255)(inputs)))


def test_calibration_is_scaled_like_the_images(folder):
    options = {"keep": "flip_rate<90%", "schemes": ("int8",), "progress": False, "output": Output(cache=folder / "c")}
    calibration = digits()[0][:64]
    plain = choose_bits(reference(), calibration, images(), SET, **options)
    scaled = choose_bits(in_bytes(), calibration, images(), SET, input_scale="0..255", **options)
    flips = [choice.files.set_index("file")["flip_rate<90%"]["uniform int8"] for choice in (plain, scaled)]
    assert flips[1] <= flips[0] + 0.02 and flips[0] < 0.1
    with pytest.raises(ValueError, match=r"calibration must lie in \[0, 1\].*Received: values from 0 to 255"):
        choose_bits(in_bytes(), calibration * 255, images(), SET, input_scale="0..255", **options)


def test_sensitivity_scales_its_calibration_like_the_images():
    frames = [
        sensitivity(
            model, images(), SET, scheme="static_int8", calibration=digits()[0][:64], input_scale=scale, progress=False
        )
        for model, scale in ((reference(), "0..1"), (in_bytes(), "0..255"))
    ]
    assert all((frame["transformed_flips"] < 0.1).all() for frame in frames)
