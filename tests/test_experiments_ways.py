"""The ways to invariance: designs by number of images, retraining, regression of transformations, published weights."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from shared_models import shared_folder

from tfinv import datasets, models
from tfinv.experiment import Experiment, Run
from tfinv.experiments import MEASURE, ROTATED, StandardStudy, standard
from tfinv.experiments._shared.designs import designs
from tfinv.experiments._shared.pretrained import network_of
from tfinv.experiments._shared.regression import (
    regressor,
    relative_absolute_error,
    relative_error,
    targets,
    transformed_once,
)
from tfinv.experiments._shared.retraining import chosen_sets, layer_sets, recovery, retrained
from tfinv.experiments.augmentation_or_design import AUGMENTED, epochs_for, gain, networks, turned_images
from tfinv.experiments.retraining import largest_fall
from tfinv.support.cache import Cache
from tfinv.transformations import Affine, TransformationSet, brightness, parse, rotations, translations, warp

DATA = os.environ.get("TFINV_DATA")


def study_with(folder: Path, **settings: Any) -> StandardStudy:
    """A study on the digits at the sizes of preset smoke."""
    experiment = Experiment("trial", "Does it?", lambda run: None, **standard(settings, **settings))
    config = experiment.configure("smoke")
    return StandardStudy(Run(experiment, config, folder, Cache(shared_folder("experiments")), progress=False))


# --- augmentation or design -------------------------------------------------------------------------------------------


def test_all_designs_take_part_with_the_sizes_of_the_settings():
    names = ("simple_conv", "st_cnn", "ti_pooling", "z2cnn", "p4cnn")
    settings = SimpleNamespace(filters=8, dense=16, maps=3, dropout=0.0, networks=names, augmented=("p4cnn",))
    assert list(networks(settings)) == [
        AUGMENTED,
        "p4cnn, augmented",
        "simple_conv",
        "st_cnn",
        "ti_pooling",
        "z2cnn",
        "p4cnn, pooling in every layer",
        "p4cnn",
    ]
    assert networks(settings)[AUGMENTED]["augmentation"] == ROTATED
    assert networks(settings)["p4cnn, augmented"] == {**designs(settings)["p4cnn"], "augmentation": ROTATED}
    assert all("augmentation" not in options for options in designs(settings).values())
    few = SimpleNamespace(**{**vars(settings), "networks": ("p4cnn",)})
    assert list(designs(few)) == ["p4cnn, pooling in every layer", "p4cnn"]
    for wrong in (("p4cnn,z2cnn",), ("p4cnn", "p4_cnn"), ()):
        with pytest.raises(ValueError, match=r"networks must be among simple_conv, st_cnn, .*Received: \("):
            designs(SimpleNamespace(**{**vars(settings), "networks": wrong}))


def test_every_number_of_images_gets_the_same_updates():
    for images in (100, 1000, 10000):
        steps = -(-images // 64)
        assert 500 <= epochs_for(500, images, 64) * steps < 500 + steps
    assert epochs_for(500, 100, 64) == 250


def test_training_images_are_turned_once_by_angles_of_the_seed():
    digits = datasets.load("digits")
    one, again, other = (turned_images(digits, 40, seed) for seed in (1, 1, 2))
    assert one.id == again.id != other.id, "networks of one seed share their images and their place in the cache"
    assert one.test is digits.test and len(one.train) == 40
    drawn = digits.train.subset(40, 1)
    assert np.array_equal(one.train.y, drawn.y)
    # Each image is one of the drawn ones under an angle: the nearest of 720 turns is nearly the same image.
    turns = np.asarray(warp(drawn.x[:5], rotations(720)))
    apart = np.abs(turns - one.train.x[:5, None]).mean(axis=(2, 3, 4))
    assert (apart.min(axis=1) < 0.003).all() and len(set(apart.argmin(axis=1))) == 5
    with pytest.raises(ValueError, match=r"sizes must be at most 1257.*Received: 5000"):
        turned_images(digits, 5000, 0)


def test_gain_is_paired_by_seed():
    accuracies = {(AUGMENTED, 100): np.array([0.5, 0.6, 0.7]), ("p4cnn", 100): np.array([0.6, 0.7, 0.8])}
    difference = gain(accuracies, "p4cnn", 100)
    assert difference.low == pytest.approx(0.1) == difference.high, "the seeds' spread cancels"


# --- retraining -------------------------------------------------------------------------------------------------------


def test_layer_sets_of_the_standard_network():
    network = models.build("simple_conv", (16, 16, 1), 10, filters=2, dense=4, batch_normalization=True)
    sets = layer_sets(network)
    singles = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc1", "logits"]
    assert list(sets) == ["none", *singles, "all conv", "all dense", "all"]
    assert sets["conv3"] == ("conv3", "bn3") and sets["fc1"] == ("fc1", "fc1_bn") and sets["logits"] == ("logits",)
    assert sets["all conv"] == tuple(name for number in range(1, 6) for name in (f"conv{number}", f"bn{number}"))
    assert sets["all dense"] == ("fc1", "fc1_bn", "logits") and sets["none"] == ()
    assert sets["all"] == sets["all conv"] + sets["all dense"]
    assert set(sets["all"]) == {layer.name for layer in network.layers if layer.weights}
    assert list(chosen_sets(network, ["fc1", "conv2"])) == ["none", "conv2", "fc1", "all"]
    assert list(chosen_sets(network, [])) == list(sets)
    with pytest.raises(
        ValueError, match=r"sets must be among none, conv1, .*, all\. Did you mean 'all dense'.*'all dens'"
    ):
        chosen_sets(network, ["all dens"])


@pytest.mark.slow
def test_retraining_changes_the_named_layers_alone_and_frozen_statistics_stay(tmp_path: Path):
    study = study_with(tmp_path)
    plain = study.trained(0, batch_normalization=True)
    before = {layer.name: layer.get_weights() for layer in plain.layers}
    options = {"epochs": 1, "seed": 0, "batch_size": 64}
    after = retrained(study.run, plain, ("conv3", "bn3"), study.data, ROTATED, **options)
    changed = {
        layer.name
        for layer in after.layers
        if any(not np.array_equal(a, b) for a, b in zip(layer.get_weights(), before[layer.name], strict=True))
    }
    assert changed == {"conv3", "bn3"}, "moving statistics of the other normalizations stay as they are"
    moved = [not np.array_equal(a, b) for a, b in zip(after.get_layer("bn3").get_weights(), before["bn3"], strict=True)]
    assert moved == [True] * 4, "gamma, beta, and both statistics of the layer that is trained"
    assert all(layer.trainable for layer in after.layers)
    assert retrained(study.run, plain, (), study.data, ROTATED, **options) is plain
    # What lies before the retrained layer cannot change: the profiles agree there to the last bit.
    profiles = {name: study.measured(model)[MEASURE].profile() for name, model in (("plain", plain), ("after", after))}
    means = {name: dict(zip(frame["layer"], frame["mean"], strict=True)) for name, frame in profiles.items()}
    same = [layer for layer in means["plain"] if means["plain"][layer] == means["after"][layer]]
    assert same == list(means["plain"])[: list(means["plain"]).index("conv3")]


def test_recovery_is_a_share_of_what_retraining_all_gains():
    rotated = {"none": np.array([0.4, 0.5, 0.6]), "all": np.array([0.8, 0.9, 0.6]), "fc1": np.array([0.6, 0.9, 0.7])}
    assert recovery(rotated, "fc1")[:2] == pytest.approx([0.5, 1]) and np.isnan(recovery(rotated, "fc1")[2])
    assert recovery(rotated, "none")[:2] == pytest.approx([0, 0])


def test_the_largest_fall_is_named():
    lines = {
        "none": pd.DataFrame({"conv1": [0.9, 0.8, 0.7], "fc1": [0.9, 0.8, 0.7]}),
        "fc1": pd.DataFrame({"conv1": [0.9, 0.8, 0.7], "fc1": [0.5, 0.4, 0.3]}),
        "conv1": pd.DataFrame({"conv1": [0.95, 0.9, 0.8], "fc1": [1.0, 0.9, 0.8]}),
    }
    assert largest_fall(lines, "fc1") == "fc1: -0.400 [-0.400, -0.400]"
    assert largest_fall(lines, "conv1") == "" and largest_fall(lines, "none") == ""


# --- regression of transformations ------------------------------------------------------------------------------------


def test_targets_are_scaled_parameters():
    turns = rotations(8)
    angles = np.radians([turn.degrees for turn in turns])
    got = targets(turns)
    expected = np.stack([np.cos(angles), np.sin(angles)], axis=1) / 2 + 0.5
    assert got.shape == (8, 2)
    for column in got.T:  # the sine may come with either sign: both tell the angle
        assert any(np.allclose(column, wanted, atol=1e-6) for wanted in (*expected.T, *(1 - expected).T))
    shifts = TransformationSet([Affine.translation(x, y) for x, y in ((0, 0), (0.1, 0), (0.2, 0.3))])
    assert targets(shifts) == pytest.approx(np.array([[0, 0], [0.5, 0], [1, 1]]))
    with pytest.raises(ValueError, match=r"must be affine maps. Received: brightness"):
        targets(brightness(3, 0.2))
    with pytest.raises(ValueError, match="must differ from each other"):
        targets(TransformationSet([Affine.rotation(0)]))


def test_images_are_shown_under_the_member_that_is_named():
    images, chosen = datasets.load("digits").test.x[:12], translations(1, 0.15)
    shown, numbers = transformed_once(images, chosen, np.random.default_rng(0))
    grid = np.asarray(warp(images, chosen))
    assert np.array_equal(shown, grid[np.arange(12), numbers]) and len(set(numbers)) > 3
    again, same = transformed_once(images, chosen, np.random.default_rng(0))
    assert np.array_equal(again, shown) and np.array_equal(same, numbers)


def test_relative_error_is_0_for_the_truth_and_1_for_the_mean():
    true = np.random.default_rng(0).random((50, 2))
    assert relative_absolute_error(true, true) == 0
    assert relative_absolute_error(np.broadcast_to(true.mean(axis=0), true.shape), true) == pytest.approx(1)
    assert relative_absolute_error(np.array([[0.0], [0.5]]), np.array([[0.0], [1.0]])) == pytest.approx(0.5)


@pytest.mark.slow
def test_a_regressor_learns_to_tell_rotations(tmp_path: Path):
    study = study_with(tmp_path, regression_epochs=12, learning_rate=2e-3)
    study.data = datasets.load("digits")
    study.settings.filters, study.settings.dense = 8, 32
    model = regressor(study, 0, "rotations(4)")
    assert relative_error(model, study.data.test, "rotations(4)", 0) < 0.6
    assert relative_error(model, study.data.test, "rotations(4)", 0) == pytest.approx(
        relative_absolute_error(*predicted(model, study.data.test.x))
    )


def predicted(model: Any, images: Any) -> tuple[Any, Any]:
    """Answers and truth for every image under the members that seed 0 draws, one image after the other."""
    chosen = parse("rotations(4)")
    numbers = np.random.default_rng(0).integers(4, size=len(images))
    turned = [np.asarray(warp(image[None], chosen))[0, number] for image, number in zip(images, numbers, strict=True)]
    return model.predict(np.stack(turned), verbose=0), targets(chosen)[numbers]


# --- published weights ------------------------------------------------------------------------------------------------


def test_published_networks_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    study = study_with(tmp_path)
    monkeypatch.delenv("TFINV_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"mlcommons/tiny.*models/ic_resnet8/model.h5"):
        network_of(study, "resnet8", 0, trained=True)
    with pytest.raises(ValueError, match="must be one of simple_conv"):
        network_of(study, "resnet_of_mine", 0, trained=False)


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="TFINV_DATA is not set")
def test_random_weights_follow_the_seed_and_trained_ones_do_not(tmp_path: Path):
    study = study_with(tmp_path)
    one, other, again = (network_of(study, "resnet8", seed, trained=False) for seed in (0, 1, 0))
    assert one.id == again.id != other.id and one.tfinv_config != other.tfinv_config  # type: ignore[attr-defined]
    trained, same = (network_of(study, "resnet8", seed, trained=True) for seed in (0, 1))
    assert trained.id == same.id != one.id and trained.tfinv_config == same.tfinv_config  # type: ignore[attr-defined]
    test = datasets.load("cifar10").test.subset(200, 0)
    accuracies = [(network.predict(test.x).argmax(axis=-1) == test.y).mean() for network in (trained, one)]
    assert accuracies[0] > 0.65 and accuracies[1] < 0.25, "the published network gets 75 % of these images right"
