"""Units that fall silent: counted and named in verdicts, and never called a gain of invariance."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tfinv
from tfinv.tflite import Subsets, TFLiteModel, compare, compare_files
from tfinv.tflite.comparison.gate import check
from tfinv.tflite.comparison.silence import from_silence, opposite_signs, units_sentence
from tfinv.tflite.comparison.verdict import describe, invariance_sentence
from tfinv.tflite.studies.verdict import describe as describe_study

NV, STD = "NormalizedVariance", "NormalizedVariance(statistic='std')"
LAYERS = ["activation_20", "activation_21", "activation_22", "activation_23", "activation_24"]


def row(layer: str, relative: float, **changes: Any) -> dict[str, Any]:
    """A row of `compare` that is beyond noise, of 100 units of which none is lost."""
    made = {"measure": NV, "layer": layer, "before": 0.5, "after": 0.5 * (1 + relative), "difference": 0.5 * relative}
    made |= {"relative": relative, "relative_low": relative - 0.01, "relative_high": relative + 0.01, "real": True}
    made |= {"valid_before": 100, "valid_after": 100, "both": 100, "lost": 0, "gained": 0, "silenced": 0}
    made |= {"paired_relative": relative, "median_relative": relative, "lost_names": ""}
    return made | changes


def test_a_change_that_comes_from_silence_is_called_that():
    frame = pd.DataFrame([row("relu", -0.12, paired_relative=0.009, both=60, lost=40, silenced=39)])
    text = invariance_sentence(frame, NV, ("float", "int8"))
    assert text.startswith("**A change of normalized variance in 1 layer comes from units that fall silent**")
    assert "-12.0 % over all valid units, and +0.9 % over the 60 units valid in both" in text
    assert "neither more nor less invariant" in text and "is more invariant" not in text
    started = pd.DataFrame([row("relu", 0.12, paired_relative=0.0, both=60, gained=40)])
    assert "units that start to respond" in invariance_sentence(started, NV)


def test_real_changes_stand_beside_those_of_silence():
    rows = [row("a", -0.12, paired_relative=-0.01, both=60, lost=40, silenced=40), row("b", 0.05)]
    text = invariance_sentence(pd.DataFrame(rows), NV, ("float", "int8"))
    assert "largest at `b`: +5.0 %" in text and "int8 is less invariant there" in text
    assert "comes from units that fall silent" in text and "at `a` it is -12.0 %" in text


def test_a_change_over_units_valid_in_both_decides_the_direction():
    rows = [row("a", -0.3, paired_relative=-0.1, both=60, lost=40, silenced=40), row("b", -0.2)]
    text = invariance_sentence(pd.DataFrame(rows), NV, ("float", "int8"))
    assert "largest at `b`: -20.0 %" in text, "the change over units valid in both is largest there"
    alone = invariance_sentence(pd.DataFrame(rows[:1]), NV, ("float", "int8"))
    assert "over the 60 units valid in both -10.0 %, so int8 is more invariant there." in alone


def test_statistics_that_disagree_in_sign_leave_the_direction_open():
    frame = pd.DataFrame([row("a", -0.1, median_relative=0.03)])
    text = invariance_sentence(frame, NV, ("float", "int8"))
    assert "the median of the units valid in both changes by +3.0 %" in text
    assert "disagree in sign" in text and "inconclusive" in text and "int8 is more" not in text
    rows = [row("a", 0.006), row("a", -0.12, measure=STD), row("a", -0.5, measure="SampleVariance")]
    frame = pd.DataFrame(rows)
    assert opposite_signs(frame.iloc[1], frame) == ["NormalizedVariance changes by +0.6 %"]
    assert opposite_signs(frame.iloc[2], frame) == []
    assert "NormalizedVariance changes by +0.6 %" in invariance_sentence(frame, STD)


def test_silence_needs_a_change_worth_a_word():
    frame = pd.DataFrame({"relative": [-0.019, -0.021, 0.03, -0.03], "paired_relative": [0.0, 0.0, -0.03, np.nan]})
    assert from_silence(frame).tolist() == [False, True, True, False]
    assert not from_silence(frame[["relative"]]).any()


def test_units_that_still_respond_are_counted_and_named():
    lost = row("b", 0.0, valid_before=738, both=454, lost=284, silenced=280, gained=2, lost_names="0; 3 and 282 more")
    frame = pd.DataFrame([row("a", 0.0), lost])
    text = units_sentence(frame, NV, ("float", "int8"))
    assert text.startswith("**454 of 738 units still respond in int8** at `b`")
    assert "284 are valid in float and not in int8 (280 of them fell silent): 0; 3 and 282 more; 2 are gained" in text
    assert text.endswith("In all 2 layers 284 of 838 are lost and 2 gained.")
    assert units_sentence(frame[:1], NV) == ""
    assert units_sentence(frame.drop(columns="lost"), NV) == ""
    gained = pd.DataFrame([row("a", 0.0, gained=3)])
    assert units_sentence(gained, NV, ("x", "y")) == "3 units respond in y and not in x, most of them (3) at `a`."


def test_units_lost_are_no_gain_although_accuracy_falls():
    """The sentence on lost information needs a layer that is more invariant in units that respond in both."""
    from tfinv.tflite.comparison.verdict import _gains

    fallen = row("relu", -0.12, paired_relative=0.009, both=60, lost=40, silenced=40)
    assert not _gains(pd.DataFrame([fallen])) and _gains(pd.DataFrame([fallen, row("b", -0.1)]))


def test_a_study_counts_units_that_still_respond():
    lost = row("b", 0.0, valid_before=738, both=454, lost=284, silenced=280)
    frame = pd.DataFrame([row("a", 0.0), lost]).assign(recipe="static_int8", sqnr_db=30.0)
    about = {"measures": [NV], "recipes": {}, "seed": 0}
    recipes = pd.DataFrame({"recipe": ["float32"], "kib": [1.0], "profile": [0.5], "best_trade_off": [True]})
    text = " ".join(describe_study(recipes, frame, {}, {}, None, None, about))
    assert "still respond after quantization: static_int8 554 of 838 (most at `b`: 454 of 738)." in text


def test_measured_units_that_fall_silent(rng):
    """Half of the units react to transformations alone and fall silent: fewer units, not more invariance."""
    before = rng.normal(size=(60, 1, 30)) + np.repeat([0.3, 3.0], 15) * rng.normal(size=(60, 8, 30))
    after = before.copy()
    after[..., 15:] = 0
    results = [tfinv.evaluate_arrays({"relu": block}, NV, sampling=tfinv.Sampling(0.95)) for block in (before, after)]
    frame = compare(*results)
    assert frame["relative"][0] < -0.4 and frame["real"][0]
    assert frame[["silenced", "lost_names", "median_relative"]].iloc[0].tolist() == [
        15,
        "15; 16; 17; 18; 19 and 10 more",
        0,
    ]
    sentences = describe(frame, None, None, None, ("float", "int8"))
    assert "comes from units that fall silent" in sentences[0]
    assert sentences[1].startswith("**15 of 30 units still respond in int8**")


@pytest.fixture(scope="module")
def wake_words_compared(data_folder):
    """Float and int8 of MLPerf's visual wake words on 120 CIFAR images: int8 silences units of `activation_23`."""
    with tarfile.open(data_folder / "cifar10" / "cifar10_jpeg_test10000.tar.xz") as archive:
        pictures = {m.name: m for m in archive.getmembers() if m.name.endswith((".jpg", ".jpeg"))}
        names = np.array(sorted(pictures))[np.random.default_rng(0).permutation(len(pictures))[:120]].tolist()
        in_order = sorted(names, key=lambda name: pictures[name].offset)  # a step back unpacks all from the start
        content = {name: archive.extractfile(pictures[name]).read() for name in in_order}  # type: ignore[union-attr]
    images = [
        Image.open(io.BytesIO(content[name])).convert("RGB").resize((96, 96), Image.Resampling.BILINEAR)
        for name in names
    ]
    files = [data_folder / "models" / "vww_mobilenet_v1" / f"{name}.tflite" for name in ("float", "int8")]
    return compare_files(
        *(TFLiteModel(file, layers=LAYERS) for file in files), np.stack(images).astype(np.float32) / 255,
        "rotations(8)", measures=[NV, STD], names=("float", "int8"), subsets=Subsets(fidelity_samples=8),
        progress=False,
    )  # fmt: skip


def test_wake_words_are_not_more_invariant_because_they_are_silent(wake_words_compared):
    frame = wake_words_compared.layers.set_index(["measure", "layer"])
    assert (frame.loc[NV, "relative"] > -0.03).all()
    np.testing.assert_allclose(frame.loc[NV, "relative"], [-0.002, 0.005, -0.003, 0.006, -0.001], atol=0.0015)
    published = frame.loc[(STD, "activation_23")]
    assert published["relative"] == pytest.approx(-0.122, abs=0.002)
    assert published["paired_relative"] == pytest.approx(-0.104, abs=0.002)
    assert published[["valid_before", "valid_after"]].tolist() == [220, 183]
    assert frame.loc[(STD, "activation_21"), "relative"] == pytest.approx(-0.054, abs=0.002)
    now = frame.loc[(NV, "activation_23")]
    assert (now["valid_before"], now["both"], now["lost"], now["silenced"]) == (217, 167, 50, 50)
    default, std, units, *_ = wake_words_compared.verdict
    assert "detectable change of normalized variance**" in default or "Hardly any change" in default
    assert "-12.2 %" in std and "disagree in sign" in std and "int8 is more" not in std
    assert units.startswith("**434 of 524 units still respond in int8** at `activation_21`")


def test_the_gate_knows_lost_units(wake_words_compared):
    largest = max(90 / 524, 50 / 217)
    assert check([f"lost_units>{100 * largest + 0.1}%"], wake_words_compared).reason == ""
    assert f"lost_units is {100 * largest:.4g} %" in check(["lost_units>20%"], wake_words_compared).reason
