"""Stopping when intervals are narrow: the boundary, the numbers, coverage by simulation, the command."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

import tfinv
from tfinv import run
from tfinv.measures import AccuracyUnder, NormalizedVariance
from tfinv.resampling.jackknife import interval, pseudo_values
from tfinv.resampling.sequential import PARTS, boundary, looks, parts_of, stays_within

pytestmark = pytest.mark.usefixtures("undrawn")

NV = "NormalizedVariance"


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    level = rng.random((1600, 1, 1, 1))
    x = (level * rng.random((1600, 8, 8, 1))).astype(np.float32)
    return x, (3 * level[:, 0, 0, 0]).astype(int)


def test_looks_double_and_parts_cover_every_sample_once(rng):
    assert looks(10000) == [625, 1250, 2500, 5000, 10000] and looks(59) == [59] and looks(241) == [60, 120, 241]
    order = rng.permutation(241)
    new = parts_of(order, looks(241))
    assert [len(parts) for parts in new] == [PARTS, PARTS // 2, PARTS // 2]
    assert sorted(np.concatenate([part for parts in new for part in parts])) == list(range(241))
    assert sorted(np.concatenate(new[0])) == sorted(order[:60])


def test_the_boundary_is_pococks_and_pays_for_every_look(rng):
    """Pocock 1977: 2.413 for five equal looks at 5 %, 2.178 for two."""
    from scipy.stats import norm

    for count, published in ((2, 2.178), (5, 2.413)):
        level = boundary(list(range(1, count + 1)), 0.95)
        assert_allclose(norm.ppf(0.5 + level / 2), published, atol=1e-3)
    counts = looks(10000)
    bound = norm.ppf(0.5 + boundary(counts, 0.95) / 2)
    steps = rng.normal(size=(100_000, 5)) * np.sqrt(np.diff([0, *counts]))
    standardized = np.abs(np.cumsum(steps, axis=1)) / np.sqrt(counts)
    assert_allclose((standardized.max(axis=1) < bound).mean(), 0.95, atol=0.003)
    assert_allclose(stays_within(np.array([1.0]), 1.96), 0.95, atol=1e-4)
    assert boundary([500], 0.9) == 0.9


def test_results_are_those_of_the_images_that_were_taken(model, images):
    x, y = images
    options = {"labels": y, "progress": False}
    found = tfinv.evaluate(
        model, x, "rotations(4)", [NV, "AccuracyUnder"], sampling=tfinv.Sampling(precision=0.06), **options
    )
    facts = found.metadata["precision"]
    assert facts["reached"] and facts["used"] < facts["of"] == 1600 and facts["used"] in facts["looks"]
    assert found.metadata["samples"] == facts["used"] and sum(found.metadata["shards"]) == facts["used"]
    taken = np.sort(np.random.default_rng(0).permutation(1600)[: facts["used"]])
    direct = tfinv.evaluate(model, x[taken], "rotations(4)", [NV, "AccuracyUnder"], labels=y[taken], progress=False)
    for key in (NV, "AccuracyUnder"):
        for layer in found[key]:
            assert_allclose(found[key][layer].values, direct[key][layer].values, rtol=2e-5)
    frame = found.profile().dropna(subset=["low"])
    half = (frame["high"] - frame["low"]) / 2
    assert (half <= 0.06).all()
    assert_allclose(half.max(), facts["half_width"])
    level = boundary(facts["looks"], 1 - 0.05 / 4)  # three layers, and one for the accuracy
    assert_allclose(found[NV].replicates.confidence, level)


def test_where_no_number_of_images_is_enough_all_are_taken(model, images):
    x, y = images
    found = tfinv.evaluate(
        model,
        x[:200],
        "rotations(2)",
        "AccuracyUnder",
        labels=y[:200],
        sampling=tfinv.Sampling(precision=1e-4),
        progress=False,
    )
    facts = found.metadata["precision"]
    assert not facts["reached"] and facts["used"] == 200
    right = tfinv.evaluate(model, x[:200], "rotations(2)", "AccuracyUnder", labels=y[:200], progress=False)
    assert_allclose(found["AccuracyUnder"]["logits"].values, right["AccuracyUnder"]["logits"].values)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": 0}, "precision must be a finite number above 0, such as 0.02. Received: 0"),
        ({"precision": "2%"}, "precision must be a number above 0"),
        ({"precision": 0.1, "stratified": True}, "combined with stratified"),
        ({"precision": 0.1, "keep_statistics": True}, "combined with keep_statistics"),
        (
            {"precision": 0.1, "interval": "bootstrap"},
            "combined with interval='bootstrap'",
        ),
        ({"precision": 0.1, "checkpoint": "c.npz"}, "combined with checkpoint"),
        ({"precision": 0.1, "measures": "Goodfellow"}, "precision needs measures of one pass"),
    ],
)
def test_what_does_not_go_with_a_precision_is_refused(model, images, options, words):
    others = {name: options[name] for name in ("checkpoint", "measures") if name in options}
    given = {"measures": NV, "labels": images[1][:80], "progress": False, **others}
    with pytest.raises((TypeError, ValueError), match=words):
        sampling = tfinv.Sampling(**{name: value for name, value in options.items() if name not in others})
        tfinv.evaluate(model, images[0][:80], "rotations(2)", given.pop("measures"), sampling=sampling, **given)


def test_the_command_says_how_many_images_were_needed(model, images, tmp_path, capsys):
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=images[0][:400], y=images[1][:400])
    command = ["measure", "--model", str(tmp_path / "model.keras"), "--data", str(tmp_path / "data.npz"), "--quiet"]
    command += ["--transformations", "rotations(2)", "--out", str(tmp_path / "out")]
    assert run.main([*command, "--measures", NV, "WorstCaseAccuracy", "--precision", "0.3"]) == 0
    out = capsys.readouterr().out
    assert "100 of 400 images were needed for intervals of ±0.3 (95 % for all together, 3 looks paid for)" in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "100 of 400 images were needed" in page and "right under all 2:" in page
    assert run.main([*command, "--precision", "0.3", "--stratified"]) == 2
    assert "cannot be combined with stratified" in capsys.readouterr().err


def simulated(rng: np.random.Generator, share: float, precision: float, level: float, total: int) -> tuple[bool, int]:
    """Whether the interval at which one stops holds the true share, and how many images that took."""
    counts = looks(total)
    right, sizes = np.zeros(0), np.zeros(0, int)
    low = high = np.nan
    for parts in parts_of(np.arange(total), counts):
        new = np.array([len(part) for part in parts])
        right = np.r_[right[::2] + right[1::2], rng.binomial(new, share)]  # a part has so many right answers
        sizes = np.r_[sizes[::2] + sizes[1::2], new]
        without = (right.sum() - right) / (sizes.sum() - sizes)
        estimate = float(right.sum() / sizes.sum())
        low, high = interval(pseudo_values(estimate, without, sizes), sizes, estimate, level)
        if (high - low) / 2 <= precision:
            break
    return low <= share <= high, int(sizes.sum())


@pytest.mark.slow
@pytest.mark.parametrize(("share", "precision"), [(0.5, 0.06), (0.9, 0.03), (0.7, 0.1), (0.8, 0.02)])
def test_intervals_at_the_stop_hold_what_they_promise(rng, share, precision):
    """Nominal 95 %, at least 93 %: 1500 simulated evaluations, whose standard error is 0.56 points."""
    level = boundary(looks(2000), 0.95)
    outcomes = [simulated(rng, share, precision, level, 2000) for _ in range(1500)]
    assert np.mean([held for held, _ in outcomes]) >= 0.93
    if precision > 0.02:
        assert np.mean([used for _, used in outcomes]) < 2000


def test_measures_by_object_go_too(model, images):
    measures = [NormalizedVariance(), AccuracyUnder()]
    found = tfinv.evaluate(
        model,
        images[0][:300],
        "rotations(2)",
        measures,
        labels=images[1][:300],
        sampling=tfinv.Sampling(precision=5.0),
        progress=False,
    )
    assert found.metadata["precision"]["used"] == 75
