"""Names for what has no useful static type: TensorFlow and Keras count as untyped."""

from __future__ import annotations

from typing import Any

Tensor = Any
"""A `tf.Tensor`, or what TensorFlow turns into one."""
KerasModel = Any
"""A `keras.Model`."""
Images = Any
"""Images: an array `(S, H, W, C)`, a `tfinv.datasets.Split`, or a `tf.data.Dataset`."""
Model = Any
"""A `keras.Model`, a `tfinv.tflite.TFLiteModel`, or another `ActivationSource`."""
