"""Deprecated: `Checkpoint` is in `tfinv.engine.checkpoint`."""

from __future__ import annotations

import warnings

from tfinv.engine.checkpoint import Checkpoint

__all__ = ["Checkpoint"]

warnings.warn(
    "tfinv.checkpoint: deprecated, and gone in the next release; import from tfinv.engine.checkpoint",
    DeprecationWarning,
    stacklevel=2,
)
