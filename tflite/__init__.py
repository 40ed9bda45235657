"""TFLite: conversion recipes, reading activations inside a `.tflite` file, and comparing files.

Nothing here imports TensorFlow or the interpreter before its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfinv.tflite.calibration import with_transformations
    from tfinv.tflite.comparing import compare_files
    from tfinv.tflite.comparison import Comparison
    from tfinv.tflite.conversion import Conversion
    from tfinv.tflite.convert import (
        RECIPES,
        dynamic_int8,
        float16,
        float32,
        static_int8,
        static_int16x8,
        weight_int4,
    )
    from tfinv.tflite.diagnosis import check_input_scale, latency, memory_estimate, self_check
    from tfinv.tflite.differences import compare
    from tfinv.tflite.equalization import equalize
    from tfinv.tflite.layer_matching import layer_map
    from tfinv.tflite.layer_sensitivity import sensitivity
    from tfinv.tflite.layermap import LayerMap
    from tfinv.tflite.matching import Match, match
    from tfinv.tflite.model import TFLiteModel
    from tfinv.tflite.paired import Measured, measure_models
    from tfinv.tflite.qat import qat_int8
    from tfinv.tflite.qat_report import Agreement, QatConversion, QatReport, agreement
    from tfinv.tflite.study_result import StudyResult
    from tfinv.tflite.studying import study

_HOME = {
    "Agreement": "qat_report",
    "Comparison": "comparison",
    "Conversion": "conversion",
    "LayerMap": "layermap",
    "Match": "matching",
    "Measured": "paired",
    "QatConversion": "qat_report",
    "QatReport": "qat_report",
    "RECIPES": "convert",
    "StudyResult": "study_result",
    "TFLiteModel": "model",
    "agreement": "qat_report",
    "check_input_scale": "diagnosis",
    "compare": "differences",
    "compare_files": "comparing",
    "dynamic_int8": "convert",
    "equalize": "equalization",
    "float16": "convert",
    "float32": "convert",
    "latency": "diagnosis",
    "layer_map": "layer_matching",
    "match": "matching",
    "measure_models": "paired",
    "memory_estimate": "diagnosis",
    "qat_int8": "qat",
    "self_check": "diagnosis",
    "sensitivity": "layer_sensitivity",
    "static_int16x8": "convert",
    "static_int8": "convert",
    "study": "studying",
    "weight_int4": "convert",
    "with_transformations": "calibration",
}

__all__ = [
    "RECIPES",
    "Agreement",
    "Comparison",
    "Conversion",
    "LayerMap",
    "Match",
    "Measured",
    "QatConversion",
    "QatReport",
    "StudyResult",
    "TFLiteModel",
    "agreement",
    "check_input_scale",
    "compare",
    "compare_files",
    "dynamic_int8",
    "equalize",
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
