"""Decisions by intervals: two one-sided tests, their error rates and power by simulation, margins, command and gate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm
from tflite_models import digits, plain_network, trained

from tfinv import run
from tfinv.resampling.equivalence import decide, images_needed
from tfinv.resampling.shares import paired_interval
from tfinv.tflite import Comparison, compare_files, float32, static_int8
from tfinv.tflite.comparison.decisions import Margins, parse_margins
from tfinv.tflite.comparison.gate import check

pytestmark = pytest.mark.usefixtures("undrawn")

SAMPLES, SET, NV = 120, "rotations(4)", "NormalizedVariance"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    float32(trained(plain_network)).save(folder / "float.tflite")
    static_int8(trained(plain_network), digits()[0][:150]).save(folder / "int8.tflite")
    return folder / "float.tflite", folder / "int8.tflite"


@pytest.fixture(scope="module")
def data():
    images, classes = digits()
    return images[1400 : 1400 + SAMPLES], classes[1400 : 1400 + SAMPLES]


@pytest.fixture(scope="module")
def comparison(files, data):
    return compare_files(*files, data, SET, measures=NV, progress=False)


def test_a_decision_is_two_one_sided_tests(rng):
    """The 90 % interval lies inside the margin where both z-tests at 5 % reject."""
    outcomes = []
    for change in np.linspace(-0.05, 0.05, 41):
        error, margin = 0.01, 0.025
        interval = [change + sign * norm.ppf(0.95) * error for sign in (-1, 1)]
        wider = [change + sign * norm.ppf(0.975) * error for sign in (-1, 1)]
        rejected = norm.cdf((change - margin) / error) < 0.05 and norm.sf((change + margin) / error) < 0.05
        there = 2 * norm.sf(abs(change) / error) < 0.05
        expected = "unchanged" if rejected else "changed" if there else "inconclusive"
        assert decide((interval[0], interval[1]), (wider[0], wider[1]), margin) == expected
        outcomes.append(expected)
    assert set(outcomes) == {"unchanged", "changed", "inconclusive"}
    with pytest.raises(ValueError, match=r"margin must be above 0. Received: 0"):
        decide((0, 0), (0, 0), 0)


def test_unchanged_is_wrong_in_at_most_one_of_twenty(rng):
    """Answers that change by exactly the margin are called unchanged in about 5 % of draws, not more."""
    draws = rng.choice([-1, 0, 1], p=[0.08, 0.89, 0.03], size=(4000, 300))  # a change of -5 points
    margins = [paired_interval(row, 0.90) for row in draws]
    wrong = np.mean([low > -0.05 and high < 0.05 for low, high in margins])
    assert wrong < 0.065


def test_the_number_of_images_has_the_power_it_promises(rng):
    deviation, margin = math.sqrt(0.06), 0.03  # changes of +-1 for 6 % of images, none on average
    count = int(images_needed(deviation, margin))
    draws = rng.choice([-1, 0, 1], p=[0.03, 0.94, 0.03], size=(2000, count))
    shown = np.mean([decide(paired_interval(row, 0.9), paired_interval(row), margin) == "unchanged" for row in draws])
    assert 0.76 < shown < 0.85
    change = 0.01
    count = int(images_needed(deviation, margin, change))
    draws = rng.choice([-1, 0, 1], p=[0.025, 0.94, 0.035], size=(2000, count))
    shown = np.mean([decide(paired_interval(row, 0.9), paired_interval(row), margin) == "unchanged" for row in draws])
    assert 0.76 < shown < 0.85
    expected = (deviation * (norm.ppf(0.975) + norm.ppf(0.8)) / 0.05) ** 2
    assert images_needed(deviation, margin, -0.05) == math.ceil(expected)
    assert math.isnan(images_needed(math.nan, margin))


@pytest.mark.parametrize("text", ["1", "0.05", "0 points", "-1 point", "1 pint", "5 %%", ""])
def test_a_margin_without_a_unit_is_an_error(text):
    with pytest.raises(ValueError, match=r"margin must be a number above 0 with a unit.*Received"):
        parse_margins(text)


def test_margins_are_read():
    assert parse_margins(["1 point", "5 %"]) == Margins(0.01, 0.05)
    assert str(Margins(0.01, 0.05)) == "1 point and 5 %" and str(Margins(0.005)) == "0.5 points"
    with pytest.raises(ValueError, match=r"once for every unit. Received: '2 points' as well"):
        parse_margins(["1 point", "2 points"])
    with pytest.raises(ValueError, match="margin must be given"):
        parse_margins([])


def test_a_comparison_decides_on_accuracies_and_layers(comparison, data, tmp_path):
    decided = comparison.decide("10 points", "5%")
    rows = decided.answers.decisions.set_index("quantity")
    classes = data[1]
    before, after = (comparison.predictions[name] for name in comparison.names)
    change = (after.upright == classes).astype(float) - (before.upright == classes)
    row = rows.loc["accuracy upright"]
    assert_allclose(row[["change", "low", "high"]].astype(float), [change.mean(), *paired_interval(change, 0.9)])
    moved = [0, 1, 3]
    right = [(p.transformed[:, moved] == classes[:, None]).mean(1) for p in (before, after)]
    assert_allclose(rows.loc["accuracy transformed", "change"], (right[1] - right[0]).mean(), atol=1e-12)
    assert rows.loc["accuracy transformed", "decision"] == "unchanged"
    layers = rows[rows["unit"] == "relative"]
    table = comparison.layers.set_index("layer")
    assert_allclose(layers["change"].astype(float), table["relative"])
    assert (layers["high"] - layers["low"]).max() < (table["relative_high"] - table["relative_low"]).max()
    inside = (layers["low"] > -0.05) & (layers["high"] < 0.05)
    assert ((layers["decision"] == "unchanged") == inside).all()
    assert decided.verdict[0].startswith("**Decided by intervals, margin 10 points and 5 %**")
    assert decided.verdict[1:] == comparison.verdict
    strict = decided.decide("0.01 points")
    assert sum(text.startswith("**Decided") for text in strict.verdict) == 1
    assert "inconclusive" in strict.verdict[0] and "needs about" in strict.verdict[0]
    assert (strict.answers.decisions["needed"] > SAMPLES).all()
    strict.save(tmp_path / "c.npz")
    loaded = Comparison.load(tmp_path / "c.npz")
    assert loaded.answers.decisions.equals(strict.answers.decisions) and loaded.verdict == strict.verdict
    assert_allclose(loaded.decide("10 points", "5%").answers.decisions["low"], rows["low"], atol=1e-6)


def test_the_gate_judges_by_decisions(comparison):
    strict = comparison.decide("0.01 points")
    gate = check(["inconclusive>0"], strict)
    assert gate.failed and "inconclusive is 3 (inconclusive>0): accuracy upright" in gate.reason
    assert check(["changed>0", "inconclusive>0"], comparison.decide("30 points")).reasons == ()
    assert "changed is not known" in check(["changed>0"], comparison).reason


def test_without_labels_or_intervals_there_is_nothing_to_decide_on(files, data):
    found = compare_files(*files, data[0][:20], SET, measures=NV, sampling=None, progress=False)
    with pytest.raises(ValueError, match="margin in points needs images with labels"):
        found.decide("1 point")
    with pytest.raises(ValueError, match="margin in per cent needs intervals"):
        found.decide("5%")


def test_the_command_decides(files, data, tmp_path, capsys):
    np.savez(tmp_path / "data.npz", x=data[0][:40], y=data[1][:40])
    command = ["compare", "--before", str(files[0]), "--after", str(files[1]), "--data", str(tmp_path / "data.npz")]
    command += ["--transformations", SET, "--measures", NV, "--quiet", "--out", str(tmp_path / "out")]
    deciding = ["--decide", "equivalence", "--margin", "0.1 points", "--fail-if", "inconclusive>0"]
    assert run.main([*command, *deciding]) == 3
    said = capsys.readouterr()
    assert "Decided by intervals, margin 0.1 points" in said.out and "needs about" in said.err
    assert "What is decided" in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "decisions.csv").read_text().count("\n") == 4
    assert run.main([*command, "--decide", "equivalence", "--margin", "0.01"]) == 2
    assert "with a unit" in capsys.readouterr().err
    assert run.main([*command, "--margin", "1 point"]) == 2
    assert "--margin has no effect here" in capsys.readouterr().err
    assert run.main([*command, "--fail-if", "changed>0"]) == 2
    assert "needs --decide equivalence" in capsys.readouterr().err
