"""Import heavy packages at first use, so that ``import tfinv``, results and plots start without TensorFlow."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """A module that is imported when one of its attributes is first read."""

    def __getattr__(self, attribute: str) -> Any:
        if self.__name__ in ("tensorflow", "keras"):
            select_tensorflow_backend()
        return getattr(importlib.import_module(self.__name__), attribute)


def select_tensorflow_backend() -> None:
    """Make Keras use TensorFlow, and refuse a process where another backend was asked for.

    Raises:
        RuntimeError: `KERAS_BACKEND` names a backend other than TensorFlow.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise RuntimeError(
            f"tfinv needs Keras on the TensorFlow backend. Received: KERAS_BACKEND={backend!r}; unset it before Python starts."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
