"""Every option of every command either changes something or is refused, for every kind of model."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import keras
import numpy as np
import pytest

import tfinv
from tfinv import run
from tfinv.commands import compare, measure
from tfinv.commands.effects import parse, refuse_idle
from tfinv.commands.measure import _one_per_model, _short_names
from tfinv.tflite import StudyResult, float32, static_int8

pytestmark = pytest.mark.usefixtures("undrawn")

COMMANDS = ("run", "train", "measure", "compare", "tflite", "redraw")
SOURCES = ("keras", "application", "float", "integer", "several")
ALWAYS = {"out", "quiet", "model", "data", "transformations", "measures", "before", "after", "help"}
"""Options that name what is done, or where it goes."""
EFFECTS = {
    "run": {"experiment", "overrides", "cache", "seed", "preset", "smoke", "force", "list", "workers"},
    "train": {
        *("architecture", "augmentation", "epochs", "batch_size", "learning_rate", "min_accuracy", "patience", "seed"),
        *("invariance_loss", "invariance_layers", "invariance_transformations"),
    },
    "measure": {
        *("max_samples", "labels", "input_size", "layers", "input_scale", "layer_class", "batch_size", "padding"),
        *("layout", "kernels", "kernel_samples", "output", "fixed_inputs", "precision", "part", "workers"),
        "full_precision",
        *("interpolation", "memory_budget", "measured_samples", "confidence", "stratified", "checkpoint", "seed"),
    },
    "compare": {
        *("max_samples", "labels", "input_size", "layers", "input_scale", "after_input_scale", "padding", "names"),
        *("layout", "kernels", "kernel_samples", "output", "fixed_inputs", "decide", "margin", "workers"),
        "full_precision",
        *("interpolation", "memory_budget", "measured_samples", "confidence", "fail_if", "allow_unmatched", "seed"),
    },
    "tflite": {
        *("max_samples", "labels", "input_size", "layers", "input_scale", "layer_class", "padding", "interpolation"),
        *("memory_budget", "measured_samples", "confidence", "recipes", "train_samples", "calibration_samples"),
        *("epochs", "learning_rate", "sensitivity", "force", "seed"),
        *("kernels", "kernel_samples", "output", "workers", "keep", "schemes", "decide", "margin"),
        "full_precision",
    },
    "redraw": {"folders"},
}
"""The options that some test below, or the tests of their command, show to change something."""
VALUES = {
    "seed": ["3"],
    "layer_class": ["DW=DepthwiseConv2D"],
    "input_size": ["16", "16"],
    "stratified": [],
    "allow_unmatched": ["conv"],
    "calibration_samples": ["5"],
    "train_samples": ["5"],
    "epochs": ["2"],
    "learning_rate": ["0.1"],
    "schemes": ["int8"],
}
IDLE = {
    ("measure", "keras"): {"seed": "draws a subset", "input_size": "takes images of 8x8"},
    ("measure", "float"): {"seed": "draws a subset", "layer_class": "no model is a Keras file", "input_size": "8x8"},
    ("measure", "integer"): {"seed": "draws a subset", "layer_class": "no model is a Keras file", "input_size": "8x8"},
    ("measure", "application"): {"seed": "draws a subset", "layer_class": "no model is a Keras file"},
    ("measure", "several"): {"seed": "draws a subset", "stratified": "gives no intervals"},
    ("compare", "integer"): {"allow_unmatched": "no --fail-if", "input_size": "8x8"},
    ("tflite", "keras"): {
        "calibration_samples": "no recipe calibrates",
        "train_samples": "no recipe trains or calibrates",
        "epochs": "no recipe trains",
        "learning_rate": "no recipe trains",
        "schemes": "there is no --keep",
        "input_size": "8x8",
    },
    ("tflite", "application"): {"layer_class": "the model is no Keras file"},
}
"""By command and kind of model the options that change nothing, and why."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    keras.utils.set_random_seed(1)
    images = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(images)
    model = keras.Model(images, keras.layers.Dense(3, name="out")(keras.layers.Flatten(name="flat")(x)))
    x = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1)).astype(np.uint8)
    np.savez(folder / "data.npz", x=x, y=np.arange(24) % 3)
    model.save(folder / "keras.keras")
    float32(model).save(folder / "float.tflite")
    static_int8(model, (x / 255).astype("float32")).save(folder / "integer.tflite")
    return folder


def base(command: str, source: str, place: Path) -> list[str]:
    """The shortest call of a command on a kind of model."""
    files = {
        "keras": [str(place / "keras.keras")],
        "application": ["keras.applications.MobileNet"],
        "float": [str(place / "float.tflite")],
        "integer": [str(place / "integer.tflite")],
        "several": [str(place / "keras.keras"), str(place / "integer.tflite")],
    }[source]
    models = ["--model", *files]
    if command == "compare":
        models = ["--before", str(place / "float.tflite"), "--after", *files]
    recipes = ["--recipes", "float16"] if command == "tflite" else []
    data = ["--data", str(place / "data.npz"), "--transformations", "rotations(4)"]
    return [command, *models, *data, *recipes, "--quiet"]


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser that a command makes, caught where it is used."""
    caught = []

    class Caught(Exception):
        pass

    def catch(self: argparse.ArgumentParser, *_: object) -> None:
        caught.append(self)
        raise Caught

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_intermixed_args", catch)
        patch.setattr(argparse.ArgumentParser, "parse_args", catch)
        with pytest.raises(Caught):
            if command == "run":
                parse(run._parser(), [])
            else:
                importlib.import_module(f"tfinv.commands.{command}").main([])
    return caught[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_known_here(command: str):
    """A new option must be entered above, and with it the models for which it changes nothing."""
    names = {action.dest for action in parser_of(command)._actions} - ALWAYS
    assert names == EFFECTS[command]


@pytest.mark.parametrize(
    ("command", "source", "option"),
    [(command, source, option) for (command, source), options in IDLE.items() for option in options],
)
def test_options_without_effect_are_refused(
    command: str, source: str, option: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = [*base(command, source, place), "--out", str(tmp_path / "out")]
    assert run.main([*arguments, f"--{option.replace('_', '-')}", *VALUES[option]]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("tfinv: --" + option.replace("_", "-")) and IDLE[command, source][option] in error
    assert not (tmp_path / "out").exists()


def test_the_main_command_refuses_what_changes_nothing(capsys: pytest.CaptureFixture[str]):
    assert run.main(["--list", "--seed", "3"]) == 2
    assert "--seed has no effect here: --list runs nothing; leave it out. Received: --seed 3" in capsys.readouterr().err
    assert run.main(["--smoke", "--preset", "full"]) == 2
    assert "--preset has no effect here: --smoke is a preset" in capsys.readouterr().err


@pytest.mark.parametrize("source", [pytest.param("keras", marks=pytest.mark.slow), "integer"])
def test_options_of_measure_change_the_results(source: str, place: Path, tmp_path: Path):
    """One run with the defaults, and one per option that must differ from it in what was measured or recorded."""
    arguments = base("measure", source, place)

    def results(*options: str) -> tfinv.Results:
        out = tmp_path / "".join(options).replace("/", "") if options else tmp_path / "plain"
        assert run.main([*arguments, *options, "--out", str(out)]) == 0
        return tfinv.Results.load(out / "results.npz")

    plain = results()
    (usual,) = plain.values()
    for options in (["--padding", "reflect", "--transformations", "scales(3, 0.5, 1)"], ["--input-scale", "-1..1"]):
        (other,) = results(*options).values()
        assert not np.allclose(other["conv"].values, usual["conv"].values)
    warped = [results("--transformations", "rotations(3)", "--interpolation", kind) for kind in ("nearest", "cubic")]
    assert [result.metadata["interpolation"] for result in warped] == ["nearest", "cubic"]
    (one,), (other,) = (result.values() for result in warped)
    assert not np.allclose(one["conv"].values, other["conv"].values)
    assert list(next(iter(results("--layers", "conv").values()))) == ["conv"]
    assert results("--max-samples", "12", "--seed", "3").metadata["samples"] == 12
    assert results("--measured-samples", "6").metadata["samples"] == 6
    assert {"low", "high"} <= set(results("--confidence", "0.9").profile())
    assert set(results("--stratified").classes) == {0, 1, 2}
    same = results("--batch-size", "3", "--memory-budget", "300MB", "--checkpoint")
    np.testing.assert_allclose(next(iter(same.values()))["conv"].values, usual["conv"].values, rtol=1e-4)
    assert not list((tmp_path).rglob("checkpoint*")), "a checkpoint goes when the run is done"


def test_a_memory_budget_that_is_too_small_offers_the_flag(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for command in ("measure", "compare"):
        arguments = [*base(command, "integer", place), "--memory-budget", "1kB", "--out", str(tmp_path / "out")]
        assert run.main(arguments) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "memory_budget must be at least" in error and "--memory-budget" in error and "--layers" in error


def test_parsing_tells_what_was_given():
    parser = measure._parser()
    options = parse(parser, ["--model", "m.keras", "--data", "d", "--out", "o", "--seed", "0"])
    assert options.given == {"model", "data", "out", "seed"}
    assert options.padding == "constant" and not options.stratified
    refuse_idle(options, {"seed": "", "padding": "it is not given"})
    with pytest.raises(ValueError, match=r"--seed has no effect here: because; leave it out\. Received: --seed 0"):
        refuse_idle(options, {"seed": "because"})
    files = ["--before", "a", "--after", "b", "--data", "d", "--out", "o"]
    given = parse(compare._parser(), [*files, "--names", "x", "y"])
    assert given.names == ["x", "y"] and given.confidence == 0.95


def test_several_models_have_scales_and_names_of_their_own():
    assert _one_per_model(["0..1"], 2) == ["0..1", "0..1"] and _one_per_model(None, 2) == [None, None]
    with pytest.raises(ValueError, match=r"one scale, or one per model \(3\). Received: 0..1 0..255"):
        _one_per_model(["0..1", "0..255"], 3)
    assert _short_names(["a/m.keras", "b/n.tflite"]) == ["m", "n"]
    assert _short_names(["a/m.keras", "a/m.tflite"]) == ["m.keras", "m.tflite"]
    assert _short_names(["a/m.keras", "b/m.keras"]) == ["a_m.keras", "b_m.keras"]


def test_an_unknown_layer_is_refused_before_anything_is_converted(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = [*base("tflite", "keras", place), "--layers", "conv", "convv", "--out", str(tmp_path / "out")]
    assert run.main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.endswith("layers of the model: conv, flat, out. Did you mean 'conv'? Received: 'convv'")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_options_of_tflite_change_the_results(place: Path, tmp_path: Path):
    arguments = base("tflite", "keras", place)
    found = {}
    for name, options in {
        "plain": [],
        "chosen": ["--layers", "conv", "out", "--padding", "reflect", "--interpolation", "nearest"],
    }.items():
        sizes = ["--measured-samples", "12", "--confidence", "0.9", "--memory-budget", "1GiB", "--seed", "3"]
        assert run.main([*arguments, *(options and [*sizes, *options]), "--out", str(tmp_path / name)]) == 0
        found[name] = StudyResult.load(tmp_path / name / "study.npz")
    plain, chosen = found.values()
    assert plain.layers["layer"].unique().tolist() == ["conv", "flat", "out"]
    assert chosen.layers["layer"].unique().tolist() == ["conv", "out"]
    about = chosen.metadata
    assert (about["padding"], about["interpolation"], about["seed"]) == ("reflect", "nearest", 3)
    assert (about["measured_samples"], about["confidence"], plain.metadata["confidence"]) == (
        min(12, about["samples"]),
        0.9,
        0.95,
    )
    before, after = (result.results["float32"]["NormalizedVariance"]["conv"].values for result in (plain, chosen))
    assert before.shape == after.shape and not np.allclose(before, after)


def test_a_memory_budget_that_is_too_small_for_chosen_layers_offers_the_flag(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = [*base("tflite", "keras", place), "--layers", "conv", "--memory-budget", "1kB"]
    assert run.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "for layer 'conv' alone" in error and "--memory-budget for more of the memory, --layers" in error


@pytest.mark.parametrize("option", ["--max-samples=0", "--measured-samples=-1", "--seed=-1"])
def test_a_number_out_of_range_is_refused_by_the_name_of_its_option(option, capsys):
    assert run.main(["measure", "--model", "no.keras", "--data", "digits", "--out", "no", option]) == 2
    name, given = option.split("=")
    least = 0 if name == "--seed" else 1
    told = f"tfinv: {name} must be a whole number of at least {least}. Received: {given}\n"
    assert capsys.readouterr().err == told
