"""A valid call of every public function and class, from which tests make wrong ones."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

import tfinv
from tfinv import datasets, tflite, training
from tfinv.callbacks import InvarianceCallback
from tfinv.layers.sampler import sample
from tfinv.layers.straight_through import sign
from tfinv.plots import bars
from tfinv.results import LayerResult, MeasureResult
from tfinv.transformations import rotations
from tfinv.transformations.groups import TurnGroup
from tfinv.uncertainty import difference, layer_rows, paired_units

PACKAGES = (
    "tfinv", "tfinv.activations", "tfinv.datasets", "tfinv.layers", "tfinv.measures", "tfinv.models", "tfinv.outputs",
    "tfinv.plots", "tfinv.report", "tfinv.statistics", "tfinv.tflite", "tfinv.training", "tfinv.transformations",
)  # fmt: skip
ELSEWHERE = (InvarianceCallback, TurnGroup, difference, layer_rows, paired_units, sample, sign)
"""Public by a page of the reference, and in no `__all__`."""

IMAGES = np.random.default_rng(0).random((4, 8, 8, 1), dtype="float32")
LABELS = np.arange(4) % 2
SPLIT = datasets.Split(IMAGES, LABELS)
UNITS = LayerResult(np.array([0.2, 0.9]), np.zeros(2, np.uint8))
MEASURED = MeasureResult("NormalizedVariance", {"logits": UNITS})
ANGLES = pd.DataFrame({"model": ["a", "a"], "degrees": [0.0, 90.0], "accuracy": [0.9, 0.5]})
PROFILE = pd.DataFrame({"layer": ["conv", "logits"], "mean": [0.7, 0.2]})
PARETO = pd.DataFrame({"recipe": ["a", "b"], "kib": [1.0, 2.0], "accuracy": [0.9, 0.5]})
ERRORS = pd.DataFrame({"samples": [8, 8], "transformations": [2, 4], "error": [0.2, 0.1]})
STEPS = pd.DataFrame({"outcome": ["start", "kept"], "bytes": [8192, 6144], "flips": [0.001, 0.012]})
NEIGHBOURS = pd.DataFrame({"layer": ["a"], "to": ["int4"], "bytes": [6144], "holds": [True], "flips": [0.012]})
SHAPE = {"input_shape": (16, 16, 1), "classes": 3}


@functools.cache
def network() -> Any:
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, name="logits")])


@functools.cache
def two_inputs() -> Any:
    first, second = keras.Input((8, 8, 1), name="image"), keras.Input((2,), name="pose")
    return keras.Model([first, second], keras.layers.Dense(2)(keras.layers.Flatten()(first)) + second)


@functools.cache
def conversion() -> Any:
    return tflite.float32(network())


@functools.cache
def file() -> Any:
    return tflite.TFLiteModel(conversion(), probe=False)


@functools.cache
def results() -> Any:
    sampling = tfinv.Sampling(confidence=0.9, shards=4, keep_statistics=True)
    options: dict[str, Any] = {"sampling": sampling, "progress": False}
    return tfinv.evaluate(network(), np.concatenate([IMAGES] * 2), "rotations(4)", "NormalizedVariance", **options)


def images_given() -> dict[str, Any]:
    return {"model": network(), "images": IMAGES}


def moved(**more: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"model": network(), "images": IMAGES, "transformations": "rotations(4)", **more}


QUIET = {"progress": False}
CALLS: dict[str, Callable[[], dict[str, Any]]] = {
    "tfinv.ActivationModel": lambda: {"model": network()},
    "tfinv.AffineAugmentation": lambda: {"transformations": "rotations(4)"},
    "tfinv.Sampling": dict,
    "tfinv.Warping": dict,
    "tfinv.distributed": lambda: {"distribute": 1},
    "tfinv.evaluate": moved(measures="NormalizedVariance", **QUIET),
    "tfinv.evaluate_arrays": lambda: {"activations": {"a": np.zeros((4, 4, 3))}, "measures": "NormalizedVariance"},
    "tfinv.lie_derivative": lambda: {**images_given(), **QUIET},
    "tfinv.merge": lambda: {"results": (results(), results())},
    "tfinv.output_change": moved(outputs="vector", **QUIET),
    "tfinv.worst_case": lambda: {
        "model": network(),
        "images": (IMAGES, LABELS),
        "ranges": {"rotation": (-9, 9)},
        "budget": 2,
        **QUIET,
    },
    "tfinv.activations.OnnxModel": lambda: {"path": "model.onnx"},
    "tfinv.activations.SavedModel": lambda: {"path": "model"},
    "tfinv.activations.TorchModel": lambda: {"module": object(), "input_shape": (1, 8, 8)},
    "tfinv.datasets.Dataset": lambda: {"name": "a", "classes": ("x", "y"), "train": SPLIT, "test": SPLIT},
    "tfinv.datasets.Split": lambda: {"x": IMAGES, "y": LABELS},
    "tfinv.datasets.adapt": lambda: {"data": SPLIT, "input_shape": (16, 16, 1)},
    "tfinv.datasets.channel_statistics": lambda: {"train": SPLIT},
    "tfinv.datasets.load": lambda: {"name_or_path": "sklearn_digits"},
    "tfinv.datasets.normalize": lambda: {"images": IMAGES, "statistics": datasets.channel_statistics(SPLIT)},
    "tfinv.datasets.on_disk": lambda: {"path": "images"},
    "tfinv.layers.BinaryActivation": dict,
    "tfinv.layers.BinaryConv2D": lambda: {"filters": 2, "kernel_size": 3},
    "tfinv.layers.BinaryDense": lambda: {"units": 2},
    "tfinv.layers.GroupBatchNormalization": dict,
    "tfinv.layers.GroupPooling": dict,
    "tfinv.layers.P4Conv2D": lambda: {"filters": 2, "kernel_size": 3},
    "tfinv.layers.P4MConv2D": lambda: {"filters": 2, "kernel_size": 3},
    "tfinv.layers.SpatialTransformer": dict,
    "tfinv.layers.SymmetricMaxPooling2D": lambda: {"pool_size": 2},
    "tfinv.layers.TIPooling": lambda: {"trunk": network()},
    **{f"tfinv.measures.{name}": dict for name in tfinv.measures.names()},
    "tfinv.measures.parse": lambda: {"text": "NormalizedVariance"},
    "tfinv.measures.register": lambda: {"measure": tfinv.measures.Anova},
    **{f"tfinv.models.{name}": lambda: SHAPE for name in tfinv.models.names()},
    "tfinv.models.build": lambda: {"name": "lenet", **SHAPE},
    "tfinv.models.fix_inputs": lambda: {"model": two_inputs(), "values": {"pose": [0.0, 1.0]}},
    "tfinv.models.load": lambda: {"path": "model.keras"},
    "tfinv.models.open_file": lambda: {"path": "model.keras"},
    "tfinv.models.register": lambda: {"builder": tfinv.models.lenet},
    "tfinv.outputs.Boxes": lambda: {"scores": "scores"},
    "tfinv.outputs.Labels": dict,
    "tfinv.outputs.Landmarks": dict,
    "tfinv.outputs.Mask": dict,
    "tfinv.outputs.compare_outputs": lambda: {
        "before": network(),
        "after": network(),
        "images": IMAGES,
        "transformations": "rotations(4)",
        "outputs": "vector",
        **QUIET,
    },
    "tfinv.outputs.kind": lambda: {"text": "vector"},
    "tfinv.plots.accuracy_curve": lambda: {"curves": ANGLES},
    "tfinv.plots.bars": lambda: {"frame": PARETO, "category": "recipe", "value": "accuracy"},
    "tfinv.plots.before_after": lambda: {"profile_before": PROFILE, "profile_after": PROFILE},
    "tfinv.plots.captioned_images": lambda: {"images": IMAGES[:, None], "captions": list("abcd")},
    "tfinv.plots.change_heatmap": lambda: {"before": MEASURED, "after": MEASURED},
    "tfinv.plots.feature_maps": lambda: {"maps": IMAGES[..., 0][None], "scores": [0.5]},
    "tfinv.plots.heatmap": lambda: {"measure_result": MEASURED},
    "tfinv.plots.image_grid": lambda: {"images": IMAGES[None]},
    "tfinv.plots.neighbour_files": lambda: {"frame": NEIGHBOURS, "conditions": {"flips": 0.02}},
    "tfinv.plots.output_pictures": lambda: {"images": IMAGES, "marks": {}, "labels": list("abcd")},
    "tfinv.plots.pareto": lambda: {"frame": PARETO},
    "tfinv.plots.profile": lambda: {"results_by_name": {"model": PROFILE}},
    "tfinv.plots.relative_error_map": lambda: {"frame": ERRORS},
    "tfinv.plots.save": lambda: {"figure": drawn(), "path": "figure.png"},
    "tfinv.plots.search_path": lambda: {"frame": STEPS, "conditions": {"flips": 0.02}},
    "tfinv.plots.to_data_uri": lambda: {"figure": drawn()},
    "tfinv.report.Report": lambda: {"title": "a"},
    "tfinv.report.explain": lambda: {"terms": ("sample",)},
    "tfinv.tflite.Output": dict,
    "tfinv.tflite.Quantizing": dict,
    "tfinv.tflite.Ranges": dict,
    "tfinv.tflite.Recipe": lambda: {"name": "mine", "words": "mine", "make": tflite.float32},
    "tfinv.tflite.Subsets": dict,
    "tfinv.tflite.TFLiteModel": lambda: {"model": conversion(), "probe": False},
    "tfinv.tflite.agreement": lambda: {
        "activations": lambda images: {"logits": np.zeros((len(images), 2))},
        "conversion": conversion(),
        "images": IMAGES,
    },
    "tfinv.tflite.check_input_scale": lambda: {"model": file(), "images": IMAGES, "labels": LABELS},
    "tfinv.tflite.choose_bits": lambda: {
        "model": network(),
        "calibration": IMAGES,
        "data": SPLIT,
        "transformations": "rotations(4)",
        "keep": "flip_rate <= 5%",
        **QUIET,
    },
    "tfinv.tflite.compare": lambda: {"before": results(), "after": results()},
    "tfinv.tflite.compare_files": lambda: {
        "before": conversion(),
        "after": file(),
        "data": IMAGES,
        "transformations": "rotations(4)",
        **QUIET,
    },
    "tfinv.tflite.compare_kernels": lambda: {
        "models": file(),
        "data": IMAGES,
        "transformations": "rotations(4)",
        **QUIET,
    },
    "tfinv.tflite.dynamic_int8": lambda: {"model": network()},
    "tfinv.tflite.equalize": lambda: {"model": network()},
    "tfinv.tflite.extreme_images": moved(),
    "tfinv.tflite.fix_inputs": lambda: {"model": conversion(), "values": {"pose": [0.0, 1.0]}},
    "tfinv.tflite.float16": lambda: {"model": network()},
    "tfinv.tflite.float32": lambda: {"model": network()},
    "tfinv.tflite.latency": lambda: {"model": file(), "repeats": 1},
    "tfinv.tflite.layer_map": lambda: {"source": conversion(), "model": network()},
    "tfinv.tflite.match": lambda: {"before": file(), "after": file()},
    "tfinv.tflite.measure_models": lambda: {
        "models": {"a": file()},
        "images": IMAGES,
        "transformations": "rotations(4)",
        "measures": "NormalizedVariance",
        **QUIET,
    },
    "tfinv.tflite.memory_estimate": lambda: {"model": file()},
    "tfinv.tflite.qat_int8": lambda: {"model": network(), "data": SPLIT, "epochs": 1, **QUIET},
    "tfinv.tflite.self_check": lambda: {"model": file(), "images": IMAGES},
    "tfinv.tflite.sensitivity": lambda: {"model": network(), "data": SPLIT, "transformations": "rotations(4)", **QUIET},
    "tfinv.tflite.static_int8": lambda: {"model": network(), "calibration": IMAGES},
    "tfinv.tflite.static_int16x8": lambda: {"model": network(), "calibration": IMAGES},
    "tfinv.tflite.study": lambda: {
        "model": network(),
        "train": SPLIT,
        "test": SPLIT,
        "transformations": "rotations(4)",
        "recipes": ["float16"],
        **QUIET,
    },
    "tfinv.tflite.weight_int4": lambda: {"model": network()},
    "tfinv.tflite.with_transformations": lambda: {"images": IMAGES, "transformations": "rotations(4)"},
    "tfinv.training.Distillation": lambda: {"teacher": network()},
    "tfinv.training.InvarianceLoss": lambda: {"transformations": "rotations(4)", "layers": ["flatten"]},
    "tfinv.training.InvarianceTraining": lambda: {
        "model": network(),
        "added": training.InvarianceLoss("rotations(4)", ["flatten"]),
    },
    "tfinv.training.Pruning": lambda: {"sparsity": 0.5},
    "tfinv.training.accuracy": lambda: {"model": network(), "data": SPLIT},
    "tfinv.training.accuracy_under": lambda: {
        "model": network(),
        "x": IMAGES,
        "y": LABELS,
        "transformations": "rotations(4)",
    },
    "tfinv.training.label_accuracy": lambda: {"model": network(), "data": (IMAGES, np.stack([LABELS, LABELS], 1))},
    "tfinv.training.right_under": lambda: {
        "model": network(),
        "x": IMAGES,
        "y": LABELS,
        "transformations": "rotations(4)",
    },
    "tfinv.training.sparsity": lambda: {"model": network()},
    "tfinv.training.train": lambda: {"model": network(), "train": SPLIT, "epochs": 1, **QUIET},
    "tfinv.transformations.SetAugmentation": lambda: {"transformations": "rotations(4)"},
    "tfinv.transformations.Affine": lambda: {"coefficients": rotations(4)[1].coefficients},
    "tfinv.transformations.Chain": lambda: {"steps": (rotations(4)[1],)},
    "tfinv.transformations.ImageFunction": lambda: {"function": np.sqrt, "name": "sqrt"},
    "tfinv.transformations.TransformationSet": lambda: {"members": tuple(rotations(4))},
    "tfinv.transformations.affines": lambda: {"coefficients": [rotations(4)[1].coefficients]},
    "tfinv.transformations.as_set": lambda: {"transformations": "rotations(4)"},
    "tfinv.transformations.brightness": lambda: {"n": 3, "limit": 0.3},
    "tfinv.transformations.contrast": lambda: {"n": 3, "low": 0.5, "high": 2.0},
    "tfinv.transformations.crops": lambda: {"n": 3, "low": 0.5},
    "tfinv.transformations.gamma": lambda: {"n": 3, "low": 0.5, "high": 2.0},
    "tfinv.transformations.gaussian_blur": lambda: {"n": 3, "max_sigma": 2.0},
    "tfinv.transformations.gaussian_noise": lambda: {"n": 3, "max_std": 0.2},
    "tfinv.transformations.jpeg": lambda: {"n": 3, "low": 20},
    "tfinv.transformations.label": lambda: {"transformation": rotations(4)[1]},
    "tfinv.transformations.product": lambda: {"sets": (rotations(4), rotations(2))},
    "tfinv.transformations.parse": lambda: {"text": "rotations(4)"},
    "tfinv.transformations.perspective": lambda: {"n": 3, "max_degrees": 20.0},
    "tfinv.transformations.radian_rotations": lambda: {"n": 3, "low": 0.0, "high": 1.0},
    "tfinv.transformations.register": lambda: {"family": rotations},
    "tfinv.transformations.resize_kernels": lambda: {"factor": 0.5},
    "tfinv.transformations.resizing": lambda: {"n": 3, "low": 0.5},
    "tfinv.transformations.rotations": lambda: {"n": 4},
    "tfinv.transformations.saturation": lambda: {"n": 3, "low": 0.5, "high": 2.0},
    "tfinv.transformations.scales": lambda: {"n": 3, "low": 0.5, "high": 2.0},
    "tfinv.transformations.translations": lambda: {"n": 3, "max_fraction": 0.2},
    "tfinv.transformations.warp": lambda: {"images": IMAGES, "transformations": "rotations(4)"},
    "tfinv.callbacks.InvarianceCallback": lambda: {"images": IMAGES, "transformations": "rotations(4)"},
    "tfinv.transformations.groups.TurnGroup": lambda: {"name": "p4"},
    "tfinv.uncertainty.difference": lambda: {"before": results(), "after": results()},
    "tfinv.uncertainty.paired_units": lambda: {"before": UNITS, "after": UNITS},
    "tfinv.uncertainty.layer_rows": lambda: {"before": MEASURED, "after": MEASURED, "pairs": {"logits": "logits"}},
}


def call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """A call by keywords; arguments of a function that takes any number of them are spread."""
    spread = [parameter.name for parameter in parameters(function) if parameter.kind is parameter.VAR_POSITIONAL]
    given = [value for name in spread for value in arguments.get(name, ())]
    result = function(*given, **{name: value for name, value in arguments.items() if name not in spread})
    if function is tfinv.distributed:
        with result:
            return None
    return result


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """What a function takes, without further options of Keras."""
    known = inspect.signature(function).parameters.values()
    return [parameter for parameter in known if parameter.kind is not parameter.VAR_KEYWORD]


@functools.cache
def drawn() -> Any:
    return bars(PARETO, "recipe", "accuracy")


def public() -> dict[str, Any]:
    """Every public function and class by its full name; a name that several packages share is listed once."""
    named: dict[str, Any] = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        named |= {f"{package}.{name}": getattr(module, name) for name in module.__all__}
    named |= {f"{value.__module__}.{value.__qualname__}": value for value in ELSEWHERE}
    seen: set[int] = set()
    distinct = {}
    for name, value in named.items():
        if callable(value) and not inspect.ismodule(value) and id(value) not in seen:
            seen.add(id(value))
            distinct[name] = value
    return distinct
