"""Every way to ask which layer changed gives one answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tflite_models import digits, residual_network, trained

from tfinv import Sampling
from tfinv.datasets import Split
from tfinv.experiments.quickstart import _headlines, _Network
from tfinv.resampling.jackknife import Replicates, middle_of, pseudo_values
from tfinv.results import MeasureResult, Results
from tfinv.tflite import (
    Comparison,
    StudyResult,
    Subsets,
    TFLiteModel,
    compare,
    compare_files,
    float32,
    measure_models,
    study,
    weight_int4,
)
from tfinv.tflite.comparison.compare_files import renamed
from tfinv.tflite.comparison.match_files import Match
from tfinv.transformations import parse
from tfinv.uncertainty import difference

NV, SET = "NormalizedVariance", "rotations(4)"
ANSWER = ["layer", "before", "after", "difference", "low", "high", "relative", "relative_low", "relative_high", "real"]


@dataclass(frozen=True)
class Asked:
    """The same question, asked in three ways."""

    results: dict[str, Results]
    compared: Comparison
    studied: StudyResult


@pytest.fixture(scope="module", params=["jackknife", pytest.param("bootstrap", marks=pytest.mark.slow)])
def asked(request: pytest.FixtureRequest) -> Asked:
    images, classes = digits()
    data = Split(images[1400:1500], classes[1400:1500])
    model = trained(residual_network)
    sampling = Sampling(0.95, 10, request.param, resamples=300)
    subsets = Subsets(measured_samples=None, fidelity_samples=8)
    options: dict[str, Any] = {"measures": NV, "sampling": sampling, "progress": False}
    files = {"float32": TFLiteModel(float32(model)), "weight_int4": TFLiteModel(weight_int4(model))}
    measured = measure_models(files, data, SET, **options)
    return Asked(
        {name: part.results for name, part in measured.items()},
        compare_files(files["float32"], files["weight_int4"], data, SET, subsets=subsets, **options),
        study(model, data, data, SET, ["weight_int4"], subsets=subsets, **options),
    )


def answer(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[ANSWER].reset_index(drop=True)


def test_the_question_has_a_mixed_answer_from_the_interval_asked_for(asked):
    replicates = asked.results["weight_int4"][NV].replicates
    by_bootstrap = bool(replicates.draws)
    frame = difference(*asked.results.values())
    assert 0 < frame["real"].sum() < len(frame), "a question whose answer is always the same proves nothing"
    before, after = (results[NV].replicates for results in asked.results.values())
    middles = [
        middle_of(pseudo_values(row.difference, others, before.sizes), before.sizes, row.difference)
        for row in frame.itertuples()
        for others in [after.means[row.after_layer] - before.means[row.layer]]
    ]
    apart = (frame["low"] + frame["high"]) / 2 - middles
    assert (apart.abs() > 1e-6).any() == by_bootstrap, "the jackknife's intervals are symmetric, the bootstrap's not"


def test_tables_of_all_ways_are_equal(asked):
    before, after = asked.results.values()
    expected = answer(difference(before, after))
    layers = asked.studied.layers
    for frame in (
        compare(before, after),
        asked.compared.layers,
        difference(asked.compared.before, asked.compared.after, NV),
        layers[layers["recipe"] == "weight_int4"],
        difference(asked.studied.results["float32"], asked.studied.results["weight_int4"], NV),
    ):
        pd.testing.assert_frame_equal(answer(frame), expected, rtol=1e-9)


def test_renamed_layers_and_saved_files_give_the_same_table(asked, tmp_path):
    before, after = asked.results.values()
    expected = answer(difference(before, after))
    names = {layer: f"other_{layer}" for layer in after[NV]}
    old = after[NV].replicates
    replicates = Replicates(
        old.confidence,
        old.sizes,
        {names[layer]: values for layer, values in old.means.items()},
        {names[layer]: values for layer, values in old.draws.items()},
    )
    other = Results(
        {NV: MeasureResult(NV, {names[layer]: values for layer, values in after[NV].items()}, replicates)},
        after.metadata,
    )
    back = renamed(other, Match(names))
    for frame in (difference(before, back), difference(before, other, layers=names), compare(before, back)):
        pd.testing.assert_frame_equal(answer(frame), expected)
    for name, kept in (("a", asked.compared), ("b", asked.studied)):
        kept.save(tmp_path / f"{name}.npz")
    loaded = Comparison.load(tmp_path / "a.npz")
    pd.testing.assert_frame_equal(answer(loaded.layers), expected, rtol=1e-9)
    again = StudyResult.load(tmp_path / "b.npz").layers
    pd.testing.assert_frame_equal(answer(again), expected, rtol=1e-9)


def test_sentences_count_the_same_layers(asked):
    before, after = asked.results.values()
    frame = difference(before, after)
    changed, layers = int(frame["real"].sum()), len(frame)
    row = asked.studied.recipes.set_index("recipe").loc["weight_int4"]
    assert (row["layers_beyond_noise"], row["layers_compared"]) == (changed, layers)
    (counted,) = re.findall(r"beyond noise in (\d+) of (\d+) layers", " ".join(asked.compared.verdict))
    assert counted == (str(changed), str(layers))
    assert not (frame["real"] & (frame["relative"].abs() >= 0.02)).any(), "the study has one sentence for small changes"
    bound = 100 * frame[["relative_low", "relative_high"]].abs().to_numpy().max()
    said = asked.studied.verdict[0]
    assert f"in weight_int4 (±{bound:.2g} %)" in said and "some layers move beyond noise" in said
    right = np.arange(100)[:, None] < 50 * np.ones(4)
    networks = [_Network(name, results, right, 1.0) for name, results in asked.results.items()]
    sentence = _headlines(networks[0], networks[0], networks, parse(SET), 10)[1]
    assert f"{changed} of {layers} layers beyond noise" in sentence
    worst = frame.loc[frame["relative"].abs().idxmax()]
    assert f"by {abs(worst['relative']):.1%} at most (at {worst['layer']};" in sentence


def test_nothing_is_concluded_from_a_network_at_chance(asked):
    learned, guesses = (
        _Network(name, asked.results["float32"], np.arange(100)[:, None] < 100 * share * np.ones(4), 1.0)
        for name, share in (("plain", 0.8), ("augmented", 0.19))
    )
    first, second = _headlines(learned, guesses, [guesses, guesses], parse(SET), 10)
    assert first.startswith("The augmented network has learned nothing yet: its accuracy on upright images is 19.0%")
    assert "invariant" not in first + second and second.startswith("Train longer")
