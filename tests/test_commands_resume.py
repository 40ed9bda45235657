"""The command `measure --checkpoint`, ended in the middle and run again, gives the numbers of one run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tfinv
from tfinv.engine import passes
from tfinv.run import main
from tfinv.tflite import float32

pytestmark = pytest.mark.usefixtures("undrawn")

SLOWLY = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from tfinv.engine import checkpoint, passes
one, begin = passes.Pass._one, checkpoint.Checkpoint.__init__
def slow(self, *rest):
    one(self, *rest)
    print("block", flush=True)
    time.sleep(0.3)
passes.Pass._one = slow
checkpoint.Checkpoint.__init__ = lambda self, path, every=0.0: begin(self, path, every)
from tfinv.run import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "ending"), [("keras", signal.SIGINT), ("tflite", signal.SIGKILL)])
def test_a_killed_command_goes_on_to_the_same_numbers(kind, ending, tmp_path: Path, monkeypatch):
    keras.utils.set_random_seed(1)
    images = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(images)
    model = keras.Model(images, keras.layers.Dense(3, name="out")(keras.layers.Flatten(name="flat")(x)))
    model.save(tmp_path / "model.keras")
    float32(model).save(tmp_path / "model.tflite")
    data = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", x=data, y=np.arange(40) % 3)
    arguments = ["measure", "--model", str(tmp_path / f"model.{kind}"), "--data", str(tmp_path / "data.npz"), "--quiet"]
    arguments += ["--measures", "NormalizedVariance", "Goodfellow", "--batch-size", "2", "--checkpoint"]
    arguments += ["--transformations", "rotations(4)", "--out"]
    blocks = []
    one = passes.Pass._one

    def counted(self, *rest):
        blocks.append(1)
        one(self, *rest)

    monkeypatch.setattr(passes.Pass, "_one", counted)
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    whole = len(blocks)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", SLOWLY, *arguments, str(tmp_path / "cut")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout
        for _ in range(3):
            while process.stdout.readline() != "block\n":
                assert process.poll() is None, process.stderr and process.stderr.read()
        process.send_signal(ending)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == (130 if ending == signal.SIGINT else -signal.SIGKILL)
    assert (tmp_path / "cut" / "checkpoint.npz").is_file() and not (tmp_path / "cut" / "results.npz").exists()
    blocks.clear()
    assert main([*arguments, str(tmp_path / "cut")]) == 0
    assert 0 < len(blocks) < whole, "what was gathered before is not gathered again"
    assert not list((tmp_path / "cut").glob("*checkpoint*"))
    first, second = (tfinv.Results.load(tmp_path / name / "results.npz") for name in ("whole", "cut"))
    assert list(first) == list(second) and len(first) == 2
    for key, measure in first.items():
        for name, layer in measure.items():
            np.testing.assert_array_equal(second[key][name].values, layer.values)
