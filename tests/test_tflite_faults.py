"""Files that fail while they run: loops without end, errors inside operators, sizes that depend on the image."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfinv
from tfinv.support.quiet import quiet
from tfinv.tflite import TFLiteModel, latency, self_check
from tfinv.tflite.files import invocation
from tfinv.tflite.files.flatbuffer import read_graph
from tfinv.tflite.files.invocation import reason

RNG = np.random.default_rng(0)
KERNEL, DENSE = RNG.normal(size=(3, 3, 1, 4)).astype("float32"), RNG.normal(size=(4, 3)).astype("float32")
ROUNDS = 3_000_000
"""Rounds of a loop that takes seconds."""


def logits(image: Any) -> Any:
    return tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(image, KERNEL, 1, "VALID")), (1, 2)) @ DENSE


def is_bright(image: Any) -> Any:
    return tf.cast(tf.reduce_max(image) > 0.9, tf.int32)


def looping(image: Any) -> Any:
    most = ROUNDS * is_bright(image)
    (count,) = tf.while_loop(lambda i: i < most, lambda i: (i + 1,), [tf.constant(0)])
    return logits(image) + tf.cast(count, tf.float32)


def endless(image: Any) -> Any:
    bright = is_bright(image)
    (count,) = tf.while_loop(lambda i: i < bright, lambda i: (i * bright,), [tf.constant(0)])
    return logits(image) + tf.cast(count, tf.float32)


def dividing(image: Any) -> Any:
    return logits(image) + tf.cast(tf.math.floordiv(tf.constant([7]), 1 - is_bright(image)), tf.float32)


def gathering(image: Any) -> Any:
    return logits(image) + tf.gather(tf.constant(RNG.normal(size=(5, 3)).astype("float32")), 100 * is_bright(image))


def selecting(image: Any) -> Any:
    return logits(image), tf.gather_nd(image, tf.where(image > 0.5)) * 2.0


def adding_selected(image: Any) -> Any:
    return logits(image) + tf.reduce_sum(tf.gather_nd(image, tf.where(image > 0.5)))


def file_of(function: Callable[[Any], Any], batch: int | None = None) -> bytes:
    with quiet():
        concrete = tf.function(function, input_signature=[tf.TensorSpec((batch, 8, 8, 1))]).get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert()


def images(bright: int | None) -> np.ndarray:
    """Forty images below 0.9, but for one."""
    x = np.random.default_rng(1).random((40, 8, 8, 1), dtype=np.float32) * 0.8
    if bright is not None:
        x[bright, 4, 4] = 1
    return x


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (dividing, r"Division by 0, at operator \d+ \(FLOOR_DIV, which makes 'floordiv'\)"),
        (gathering, r"gather index out of bounds, at operator \d+ \(GATHER, which makes 'GatherV2"),
    ],
)
@pytest.mark.parametrize(("bright", "measure"), [(37, "NormalizedVariance"), (5, "NormalizedVarianceSE")])
def test_an_error_inside_a_file_is_said_with_file_operator_and_image(function, what, bright, measure, tmp_path):
    (tmp_path / "faulty.tflite").write_bytes(file_of(function))
    model = TFLiteModel(tmp_path / "faulty.tflite")
    assert model.predict(images(None)).shape == (40, 3)
    with pytest.raises(
        ValueError, match=rf"^the file faulty cannot be run: {what}.*, on image {bright} of those given"
    ):
        model.predict(images(bright))
    with pytest.raises(ValueError, match=rf"{what}.*, on image {bright} under "):
        tfinv.evaluate(model, images(bright), "rotations(16)", measure, progress=False)
    results = tfinv.evaluate(model, images(None), "rotations(4)", "NormalizedVariance", progress=False)
    assert np.isfinite(results["NormalizedVariance"]["Relu"].mean), "the file can be used afterwards"


def test_reasons_without_a_known_operator_stay_as_they_are():
    graph = read_graph(file_of(dividing))
    assert reason(graph, RuntimeError("it\n broke")) == "it broke"
    inner = RuntimeError("Index out of range.\nNode number 1 (GATHER) failed to invoke.\nNode number 9 (WHILE) failed")
    assert reason(graph, inner) == "Index out of range, at an operator GATHER"


def test_a_run_that_takes_too_long_is_left_and_the_loop_is_named(monkeypatch):
    model = TFLiteModel(file_of(looping))
    np.testing.assert_allclose(model.predict(images(None)), logits(images(None)), atol=1e-5)
    monkeypatch.setattr(invocation, "LIMIT", 0.3)
    said = (
        r"the file tflite did not end a run in 0.3 s; it holds what may have no end: operator \d+ \(WHILE, which makes"
    )
    start = time.monotonic()
    with pytest.raises(ValueError, match=said):
        model.predict(images(3))
    assert time.monotonic() - start < 2
    with pytest.raises(ValueError, match="still runs on earlier images; open it anew"):
        model.predict(images(None))
    while model.runner.invocation.is_left:
        time.sleep(0.1)
    np.testing.assert_allclose(model.predict(images(None)), logits(images(None)), atol=1e-5)


def test_the_limit_of_a_run_is_set_by_the_environment(monkeypatch):
    model = TFLiteModel(file_of(looping))
    monkeypatch.setenv("TFINV_RUN_SECONDS", "0.2")
    with pytest.raises(ValueError, match=r"did not end a run in 0.2 s; .*set TFINV_RUN_SECONDS to more seconds"):
        model.predict(images(3))
    for wrong in ("soon", "0", "nan"):
        monkeypatch.setenv("TFINV_RUN_SECONDS", wrong)
        with pytest.raises(ValueError, match=rf"TFINV_RUN_SECONDS must be a number of seconds above 0. .*'{wrong}'"):
            invocation.limit()
    monkeypatch.setenv("TFINV_RUN_SECONDS", "")
    assert invocation.limit() == invocation.LIMIT


def test_a_run_is_timed_out_in_the_threads_of_an_evaluation(monkeypatch):
    model = TFLiteModel(file_of(looping))
    monkeypatch.setattr(invocation, "LIMIT", 0.3)
    with pytest.raises(ValueError, match="did not end a run"):
        tfinv.evaluate(model, images(37), "rotations(16)", "NormalizedVariance", progress=False)
    assert any(runner.invocation.is_left for crew in model._crew.values() for runner in crew)
    results = tfinv.evaluate(model, images(None), "rotations(16)", "NormalizedVariance", progress=False)
    assert np.isfinite(results["NormalizedVariance"]["Relu"].mean), "new interpreters take their place"


@pytest.mark.slow
@pytest.mark.parametrize("bright", [0, 37])
def test_ctrl_c_ends_a_command_on_a_file_without_end(bright: int, tmp_path: Path):
    """In the first look at a few images, and in the threads of the evaluation."""
    (tmp_path / "endless.tflite").write_bytes(file_of(endless))
    np.savez(tmp_path / "data.npz", x=(images(bright) * 255).astype(np.uint8))
    names = ["--model", str(tmp_path / "endless.tflite"), "--data", str(tmp_path / "data.npz")]
    command = [sys.executable, "-m", "tfinv.run", "measure", *names, "--quiet", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
    usual = "import signal, os, sys; signal.signal(signal.SIGINT, signal.default_int_handler); os.execv(sys.argv[1], "
    process = subprocess.Popen(
        [sys.executable, "-c", f"{usual} sys.argv[1:])", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout and "input scale" in process.stdout.readline()
        time.sleep(4)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in error and "interrupted; finished stages are kept" in error


def test_layers_sized_by_the_image_are_left_out_with_the_reason(tmp_path):
    model, data = TFLiteModel(file_of(selecting, batch=1)), images(3)
    assert list(model.layer_shapes.values()) == [(6, 6, 4), (4,), (3,)]
    left_out = [why for why in model.skipped.values() if why.startswith("its shape depends on the image")]
    assert left_out and all(why.endswith("because of the operator WHERE") for why in left_out)
    np.testing.assert_allclose(model(data)[model.output_layer], logits(data), atol=1e-5)
    results = tfinv.evaluate(model, data, "rotations(4)", "NormalizedVariance", progress=False)
    assert results.metadata["skipped_layers"] == model.skipped
    assert self_check(model, data[:4]).passed
    assert latency(model, repeats=2, warm_up=0).repeats == 2
    name = next(name for name, why in model.skipped.items() if re.search("depends on the image", why))
    with pytest.raises(ValueError, match=f"layer '{name}' cannot be measured: its shape depends on the image"):
        model.select(name)


def test_layers_of_one_size_behind_those_sized_by_the_image_are_right():
    model, data = TFLiteModel(file_of(adding_selected, batch=1)), images(None)
    chosen = np.where(data > 0.5, data, 0).reshape(40, -1).sum(1)
    np.testing.assert_allclose(model(data)[model.output_layer], logits(data) + chosen[:, None], rtol=1e-4, atol=1e-4)
