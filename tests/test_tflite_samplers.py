"""Samplers of spatial transformers in int8: the verdict names them, and a recipe keeps them in float32."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest

from tfinv import models, tflite
from tfinv.activations.input_scale import input_scale
from tfinv.datasets import Split
from tfinv.tflite.studies.recipe import Materials
from tfinv.tflite.studies.recipes import ON_REQUEST, RECIPES, choose, names
from tfinv.tflite.studies.samplers import FLOAT_SAMPLER, sampler_sentences, samplers
from tfinv.transformations import parse


def rows(**decibels: float) -> pd.DataFrame:
    table = [(recipe, "warp", value) for recipe, value in decibels.items()]
    return pd.DataFrame([*table, ("static_int8", "conv", 3.0)], columns=["recipe", "layer", "sqnr_db"])


def test_the_verdict_names_a_sampler_that_distorts_its_images():
    lost = rows(static_int8=4.2, static_int16x8=35.0, static_int8_per_tensor=-1.3)
    (sentence,) = sampler_sentences(lost, ["warp"])
    assert (
        "**The sampler `warp` distorts its images** in static_int8 (4 dB), static_int8_per_tensor (-1 dB):" in sentence
    )
    assert sentence.endswith(
        "The recipe static_int8_float_sampler keeps the sampler in float32 and quantizes the rest."
    )
    (sentence,) = sampler_sentences(rows(static_int8=4.2, static_int8_float_sampler=41.7), ["warp"])
    assert "in static_int8 (4 dB): " in sentence and sentence.endswith("the rest, with 42 dB.")
    assert sampler_sentences(rows(static_int8=20.0, dynamic_int8=float("nan")), ["warp"]) == []
    assert sampler_sentences(lost, []) == []


def test_the_recipe_is_made_on_request_only():
    assert FLOAT_SAMPLER in names() and FLOAT_SAMPLER not in RECIPES
    assert FLOAT_SAMPLER not in [recipe.name for recipe in choose("all")]
    assert choose(FLOAT_SAMPLER)[1] is ON_REQUEST[FLOAT_SAMPLER]


def test_a_model_without_a_sampler_is_refused():
    model = models.simple_conv((12, 12, 1), 3, filters=2, dense=4)
    images = Split(np.zeros((2, 12, 12, 1), np.float32), None)
    materials = Materials(model, images, parse("rotations(4)"), input_scale("0..1"))
    with pytest.raises(ValueError, match="model must have a SpatialTransformer for static_int8_float_sampler"):
        ON_REQUEST[FLOAT_SAMPLER](materials)


def test_samplers_are_found_inside_other_models():
    inner = models.st_cnn((12, 12, 1), 3, filters=2, dense=4)
    image = keras.Input((12, 12, 1))
    assert samplers(keras.Model(image, inner(image))) == ["transformer"]
    assert samplers(models.simple_conv((12, 12, 1), 3, filters=2, dense=4)) == []


@pytest.mark.slow
def test_a_study_names_the_sampler_and_the_recipe_mends_it():
    model = models.build("st_cnn", (16, 16, 1), 5, seed=0, filters=2, dense=8, activation="relu")
    kernel = model.get_layer("where").kernel
    kernel.assign(0.01 * np.random.default_rng(0).normal(size=kernel.shape))
    generator = np.random.default_rng(1)
    data = Split(generator.random((48, 16, 16, 1), dtype=np.float32), generator.integers(0, 5, 48))
    subsets = tflite.Subsets(measured_samples=24, fidelity_samples=24)
    recipes = ["static_int8", FLOAT_SAMPLER]
    result = tflite.study(model, data, data, "rotations(4)", recipes=recipes, subsets=subsets, progress=False)
    rows_of_sampler = result.layers[result.layers["layer"] == "transformer"].drop_duplicates("recipe")
    at_sampler = rows_of_sampler.set_index("recipe")["sqnr_db"]
    assert at_sampler["static_int8"] < 20 < at_sampler[FLOAT_SAMPLER]
    named = [sentence for sentence in result.verdict if "The sampler `transformer` distorts its images" in sentence]
    assert len(named) == 1 and "in static_int8 (" in named[0] and FLOAT_SAMPLER in named[0]
