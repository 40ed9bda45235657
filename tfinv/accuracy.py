"""Deprecated: `accuracy` and `accuracy_under` are in `tfinv.training`."""

from __future__ import annotations

import warnings

from tfinv.training.accuracy import accuracy, accuracy_under

__all__ = ["accuracy", "accuracy_under"]

warnings.warn(
    "tfinv.accuracy: deprecated, and gone in the next release; import from tfinv.training",
    DeprecationWarning,
    stacklevel=2,
)
