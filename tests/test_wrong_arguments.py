"""Wrong values for the arguments of public functions: the error names the argument, what is expected and what came."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import tfinv
from tfinv import datasets, layers, models, plots, tflite
from tfinv.callbacks import InvarianceCallback
from tfinv.training import train
from tfinv.transformations import rotations, warp

IMAGES = np.random.default_rng(0).random((4, 8, 8, 1), dtype="float32")
LABELS = np.arange(4) % 2
ARRAYS = {"logits": np.random.default_rng(1).normal(size=(4, 4, 3))}
MEASURE = "NormalizedVariance"


@functools.cache
def network() -> Any:
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, name="logits")])


@functools.cache
def file() -> Any:
    return tflite.TFLiteModel(tflite.float32(network()), probe=False)


def evaluate(**options: Any) -> Any:
    arguments = {"model": network(), "images": IMAGES, "transformations": "rotations(4)", "measures": MEASURE}
    return tfinv.evaluate(**{**arguments, "progress": False, **options})


def evaluate_arrays(**options: Any) -> Any:
    return tfinv.evaluate_arrays(**{"activations": ARRAYS, "measures": "AccuracyUnder", "labels": LABELS, **options})


def study(**options: Any) -> Any:
    arguments = {"model": network(), "train": IMAGES, "test": IMAGES, "transformations": "rotations(4)"}
    return tflite.study(**{**arguments, "recipes": ["float16"], "progress": False, **options})


def fit(**options: Any) -> Any:
    return train(**{"model": network(), "train": (IMAGES, LABELS), "epochs": 1, "progress": False, **options})


def callback(**options: Any) -> Any:
    return InvarianceCallback(**{"images": IMAGES, "transformations": "rotations(4)", **options})


def latency(**options: Any) -> Any:
    return tflite.latency(**{"model": file(), "repeats": 1, **options})


def memory_estimate(**options: Any) -> Any:
    return tflite.memory_estimate(**{"model": file(), **options})


def self_check(**options: Any) -> Any:
    return tflite.self_check(**{"model": file(), "images": IMAGES, **options})


def save(**options: Any) -> Any:
    figure = plots.profile({"model": pd.DataFrame({"layer": ["conv"], "mean": [0.7]})})
    return plots.save(**{"figure": figure, "path": "figure.png", **options})


def to_warp(**options: Any) -> Any:
    return warp(**{"images": IMAGES, "transformations": rotations(4), **options})


SPLIT = datasets.Split(IMAGES, LABELS)
STATISTICS = datasets.channel_statistics(SPLIT)


def data_set(**options: Any) -> Any:
    return datasets.Dataset(**{"name": "a", "classes": ("x", "y"), "train": SPLIT, "test": SPLIT, **options})


def subset(**options: Any) -> Any:
    return SPLIT.subset(**{"n": 2, "seed": 0, **options})


def take(**options: Any) -> Any:
    return SPLIT.take(**{"indices": [0], **options})


def pipeline(**options: Any) -> Any:
    return SPLIT.as_dataset(**options)


def normalize(**options: Any) -> Any:
    return datasets.normalize(**{"images": IMAGES, "statistics": STATISTICS, **options})


def search(**options: Any) -> Any:
    arguments = {"model": network(), "images": (IMAGES, LABELS), "ranges": {"rotation": (-9, 9)}, "budget": 2}
    return tfinv.worst_case(**{**arguments, "progress": False, **options})


def lie_derivative(**options: Any) -> Any:
    return tfinv.lie_derivative(**{"model": network(), "images": IMAGES, "progress": False, **options})


def group_convolution(**options: Any) -> Any:
    return layers.P4Conv2D(**{"filters": 2, "kernel_size": 3, **options})


def binary_convolution(**options: Any) -> Any:
    return layers.BinaryConv2D(**{"filters": 2, "kernel_size": 3, **options})


def architecture(**options: Any) -> Any:
    return models.lenet(**{"input_shape": (16, 16, 1), "classes": 3, **options})


RAGGED = [[1, 2], [3], [4], [5]]
OTHER = object()
WRONG: dict[Callable[..., Any], dict[str, tuple[Any, ...]]] = {
    evaluate: {
        "images": (None, 5, "text", OTHER, [[1, 2], [3]]),
        "transformations": (None, 5),
        "measures": (None, 5, OTHER),
        "labels": (5, "text", RAGGED, [0, 1]),
        "layers": (5, OTHER, [5]),
        "batch_size": (0, 1.5, "text"),
        "memory_budget": (float("inf"), float("nan"), 0, "text", OTHER),
        "checkpoint": (5, OTHER, ""),
        "metadata": (5, "text", [1], {1: 2}),
    },
    evaluate_arrays: {
        "activations": (None, 5, "text", {}, {"a": RAGGED}, {"a": "text"}, {1: ARRAYS["logits"]}),
        "measures": (None, 5, OTHER),
        "labels": (None, 5, "text", RAGGED, [0, 1]),
        "metadata": (5, "text"),
        "reference": (5, {1: 2}),
    },
    study: {"model": (None, 5, "text", OTHER), "train": (None, 5), "test": (None, 5), "transformations": (None, 5)},
    fit: {
        "model": (None, 5, "text", OTHER),
        "train": (None, 5, OTHER, (IMAGES, None), (IMAGES, RAGGED), (IMAGES, [0, 1])),
        "epochs": (None, 0, "text"),
        "learning_rate": (None, "text", 0),
        "augmentation": (5, "text"),
        "validation": (5, OTHER),
        "min_accuracy": ("text", 80),
        "callbacks": (None, 5),
    },
    callback: {
        "images": (None, 5, "text", OTHER),
        "transformations": (None, 5),
        "measures": (None, 5),
        "every": (None, 0, "text"),
        "max_samples": (0, "text"),
        "csv": (5, ""),
        "tensorboard": (5,),
    },
    latency: {"model": (None, 5, "text", OTHER), "batch": (None, 0), "threads": (None, 0), "repeats": (None, 0)},
    memory_estimate: {"model": (None, 5, "text", OTHER), "batch": (None, 0)},
    self_check: {"model": (None, 5, "text", OTHER), "images": (5, "text", RAGGED)},
    data_set: {
        "name": (None, 5),
        "classes": (None, 5, "text", [1, 2]),
        "train": (None, 5, "text", IMAGES),
        "test": (None, OTHER),
        "notes": (None, 5, "text"),
    },
    subset: {"n": (None, "text", OTHER, 0, 5), "seed": (None, -1, "text")},
    take: {"indices": (None, "text", 0.5, OTHER, [])},
    pipeline: {
        "batch_size": (None, 0),
        "shuffle": (None, 5, "no"),
        "repeat": (None, 2),
        "labels": (None, "no"),
        "seed": (-1, "text", OTHER),
    },
    normalize: {"images": (None, 5, "text", OTHER, []), "statistics": (None, 5, "text", [])},
    search: {"seed": (None, -1, "text", True, []), "budget": (None, 1), "batch_size": (None, 0)},
    lie_derivative: {"batch_size": (None, 0, "text"), "images": (None, 5)},
    group_convolution: {"lifting": (None, "no"), "use_bias": (None, 1), "exact": ("no", [])},
    binary_convolution: {"use_bias": (None, "no", 1)},
    layers.GroupBatchNormalization: {"momentum": (None, -1, 1, "text"), "epsilon": (None, -1, 0, "text")},
    architecture: {"batch_normalization": (None, "no", 1)},
    datasets.load: {"name_or_path": (None, 5, OTHER, "")},
    save: {"figure": (None, 5, "text", OTHER), "path": (None, 5, "", "figure.gif")},
    to_warp: {"images": (None, "text", ["text"], OTHER, RAGGED), "transformations": (None, 5)},
}
CASES = [
    pytest.param(function, name, value, id=f"{function.__name__}-{name}-{number}")
    for function, arguments in WRONG.items()
    for name, values in arguments.items()
    for number, value in enumerate(values)
]


@pytest.mark.parametrize(("function", "name", "value"), CASES)
def test_a_wrong_value_is_named_with_what_is_expected(function, name, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        function(**{name: value})
    message = str(caught.value)
    names = "|".join({"train": ("train", "data"), "test": ("test", "data")}.get(name, (name,)))
    assert re.match(rf"(the \w+ of )?({names}) must .*\. Received: .+", message, re.S), message


def test_images_too_large_for_float32_squares_are_refused():
    with pytest.raises(ValueError, match=r"images must be at most \S+ in size\. Received: 1e\+30"):
        evaluate(images=np.full_like(IMAGES, 1e30))


def test_a_normalization_with_zero_spread_is_refused():
    zero = datasets.ChannelStatistics(np.zeros(1, np.float32), np.zeros(1, np.float32))
    with pytest.raises(ValueError, match=r"statistics must have positive standard deviations\. Received: \[0\.\]"):
        datasets.normalize(IMAGES, zero)
