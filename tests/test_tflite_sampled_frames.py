"""A thread that looks at the frames of others, as profilers do, does not disturb the reading of an interpreter."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque

import numpy as np
import pytest
from distributed_evaluation import images, network

import tfinv
from tfinv.tflite import TFLiteModel, static_int8


class FrameSampler(threading.Thread):
    """Holds the frames of all threads, and what is in them, for a few milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.held = 0

    def run(self) -> None:
        kept: deque = deque(maxlen=40)
        while not self.stopped.wait(0.0002):
            for frame in sys._current_frames().values():
                while frame is not None:
                    kept.append(frame)
                    self.held += any(isinstance(value, np.ndarray) for value in frame.f_locals.values())
                    frame = frame.f_back


@pytest.fixture(scope="module")
def model() -> TFLiteModel:
    return TFLiteModel(static_int8(network(), images()[:32]))


def test_frames_that_are_held_change_nothing(model):
    x = images()[:400]
    expected = model(x)
    measured = tfinv.evaluate(model, x[:64], "rotations(4)", "NormalizedVariance", progress=False)
    sampler = FrameSampler()
    sampler.start()
    try:
        for _ in range(10):
            for name, values in model(x).items():
                np.testing.assert_array_equal(values, expected[name])
        again = tfinv.evaluate(model, x[:64], "rotations(4)", "NormalizedVariance", progress=False)
        time.sleep(0.01)
    finally:
        sampler.stopped.set()
        sampler.join()
    assert sampler.held  # it did see arrays
    for name, layer in measured["NormalizedVariance"].items():
        np.testing.assert_array_equal(again["NormalizedVariance"][name].values, layer.values)


def test_the_interpreter_alone_refuses_while_an_array_is_held(model):
    """What the reading must not depend on; if this stops failing, `interpreter.run` is no longer needed."""
    held = model.runner.interpreter.tensor(model.runner.input.index)()
    with pytest.raises(RuntimeError, match="reference to internal data"):
        model.runner.interpreter.invoke()
    assert held.shape[0] == model.runner.batch
    assert len(model(images()[:3])["logits"]) == 3
