"""TFLite: conversion recipes, reading activations inside a `.tflite` file, and comparing files.

Nothing here imports TensorFlow or the interpreter before its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfinv.tflite.comparison.compare_files import compare_files
    from tfinv.tflite.comparison.comparison import Comparison
    from tfinv.tflite.comparison.differences import compare
    from tfinv.tflite.comparison.kernels import KernelComparison, compare_kernels
    from tfinv.tflite.comparison.match_files import Match, match
    from tfinv.tflite.comparison.measure_models import Measured, measure_models
    from tfinv.tflite.comparison.options import Subsets
    from tfinv.tflite.convert.calibration import with_transformations
    from tfinv.tflite.convert.calibration_images import extreme_images
    from tfinv.tflite.convert.calibration_ranges import Ranges
    from tfinv.tflite.convert.equalization import equalize
    from tfinv.tflite.convert.match_keras_layers import layer_map
    from tfinv.tflite.convert.recipes import (
        dynamic_int8,
        float16,
        float32,
        static_int8,
        static_int16x8,
        weight_int4,
    )
    from tfinv.tflite.files.checks import check_input_scale, self_check
    from tfinv.tflite.files.conversion import Conversion
    from tfinv.tflite.files.cost import latency, memory_estimate
    from tfinv.tflite.files.fixed_inputs import fix_inputs
    from tfinv.tflite.files.layer_map import LayerMap
    from tfinv.tflite.files.model import TFLiteModel
    from tfinv.tflite.qat.report import Agreement, QatConversion, QatReport, agreement
    from tfinv.tflite.qat.train import qat_int8
    from tfinv.tflite.studies.bit_choice import BitChoice
    from tfinv.tflite.studies.bit_schemes import BIT_SCHEMES
    from tfinv.tflite.studies.choose_bits import choose_bits
    from tfinv.tflite.studies.options import Output, Quantizing
    from tfinv.tflite.studies.recipe import Materials, Recipe
    from tfinv.tflite.studies.recipes import RECIPES
    from tfinv.tflite.studies.result import StudyResult
    from tfinv.tflite.studies.sensitivity import sensitivity
    from tfinv.tflite.studies.study import study

_HOME = {
    "BIT_SCHEMES": "studies.bit_schemes",
    "Agreement": "qat.report",
    "BitChoice": "studies.bit_choice",
    "Comparison": "comparison.comparison",
    "Conversion": "files.conversion",
    "KernelComparison": "comparison.kernels",
    "LayerMap": "files.layer_map",
    "Match": "comparison.match_files",
    "Measured": "comparison.measure_models",
    "Output": "studies.options",
    "QatConversion": "qat.report",
    "QatReport": "qat.report",
    "Quantizing": "studies.options",
    "Materials": "studies.recipe",
    "RECIPES": "studies.recipes",
    "Ranges": "convert.calibration_ranges",
    "Recipe": "studies.recipe",
    "Subsets": "comparison.options",
    "StudyResult": "studies.result",
    "TFLiteModel": "files.model",
    "agreement": "qat.report",
    "check_input_scale": "files.checks",
    "choose_bits": "studies.choose_bits",
    "compare": "comparison.differences",
    "compare_files": "comparison.compare_files",
    "compare_kernels": "comparison.kernels",
    "dynamic_int8": "convert.recipes",
    "equalize": "convert.equalization",
    "float16": "convert.recipes",
    "float32": "convert.recipes",
    "extreme_images": "convert.calibration_images",
    "fix_inputs": "files.fixed_inputs",
    "latency": "files.cost",
    "layer_map": "convert.match_keras_layers",
    "match": "comparison.match_files",
    "measure_models": "comparison.measure_models",
    "memory_estimate": "files.cost",
    "qat_int8": "qat.train",
    "self_check": "files.checks",
    "sensitivity": "studies.sensitivity",
    "static_int16x8": "convert.recipes",
    "static_int8": "convert.recipes",
    "study": "studies.study",
    "weight_int4": "convert.recipes",
    "with_transformations": "convert.calibration",
}

__all__ = [
    "BIT_SCHEMES",
    "RECIPES",
    "Agreement",
    "BitChoice",
    "Comparison",
    "Conversion",
    "KernelComparison",
    "LayerMap",
    "Match",
    "Materials",
    "Measured",
    "Output",
    "QatConversion",
    "QatReport",
    "Quantizing",
    "Ranges",
    "Recipe",
    "StudyResult",
    "Subsets",
    "TFLiteModel",
    "agreement",
    "check_input_scale",
    "choose_bits",
    "compare",
    "compare_files",
    "compare_kernels",
    "dynamic_int8",
    "equalize",
    "extreme_images",
    "fix_inputs",
    "float16",
    "float32",
    "latency",
    "layer_map",
    "match",
    "measure_models",
    "memory_estimate",
    "qat_int8",
    "self_check",
    "sensitivity",
    "static_int8",
    "static_int16x8",
    "study",
    "weight_int4",
    "with_transformations",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
