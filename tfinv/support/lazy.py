"""Import heavy packages at first use, so that ``import tfinv``, results and plots start without TensorFlow."""

from __future__ import annotations

import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tfinv.support.descriptors import redirected


class LazyModule(ModuleType):
    """A module that is imported when one of its attributes is first read."""

    def __getattr__(self, attribute: str) -> Any:
        if self.__name__ not in sys.modules and self.__name__ in ("tensorflow", "keras"):
            select_tensorflow_backend()
            quiet_tensorflow_import()
        return getattr(importlib.import_module(self.__name__), attribute)


def select_tensorflow_backend() -> None:
    """Make Keras use TensorFlow, and refuse a process where another backend was asked for.

    Raises:
        RuntimeError: `KERAS_BACKEND` names a backend other than TensorFlow.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise RuntimeError(
            "tfinv needs Keras on the TensorFlow backend; unset KERAS_BACKEND before Python starts. "
            f"Received: KERAS_BACKEND={backend!r}"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class _QuietImport(importlib.abc.MetaPathFinder):
    """Lets the first import of TensorFlow pass without its informational messages, and in four fifths of the time."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def quietly(module: ModuleType) -> None:
                with _without_garbage_collection(), _without_start_up_noise():
                    execute(module)

            spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


def quiet_tensorflow_import() -> None:
    """Keep what TensorFlow prints for information while it is imported off the terminal; errors still show."""
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _QuietImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietImport())


_NOISE = re.compile(rb"^(WARNING: All log messages before absl::InitializeLog|I0000 )")


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """No search for garbage among what an import makes: it takes a fifth of TensorFlow's, and all of it stays."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _without_start_up_noise() -> Iterator[None]:
    """Keep back what TensorFlow's start-up prints for information; everything else on standard error stays."""
    with tempfile.TemporaryFile() as captured:
        try:
            with redirected(captured.fileno(), (2,)):
                yield
        finally:
            captured.seek(0)
            kept = b"".join(line for line in captured if not _NOISE.match(line))
            if kept:
                os.write(2, kept)


if TYPE_CHECKING:
    import keras
    import tensorflow as tf
else:
    keras = LazyModule("keras")
    tf = LazyModule("tensorflow")
