"""Interrupted evaluations go on where they were and find the same numbers; foreign checkpoints are refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from interrupted_evaluation import MEASURES, evaluate

import tfinv
from tfinv.engine import passes, pieces
from tfinv.engine.checkpoint import Checkpoint

SCRIPT = Path(__file__).parent / "interrupted_evaluation.py"


def start(tmp_path: Path, seconds: float, kind: str) -> subprocess.Popen:
    arguments = [str(tmp_path / "state.npz"), str(tmp_path / "results.npz"), str(seconds), kind]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def stop_after(process: subprocess.Popen, blocks: int, how: int) -> None:
    """Send a signal to a process once it has printed this many lines."""
    assert process.stdout is not None
    for _ in range(blocks):
        assert process.stdout.readline() == "block\n"
    os.kill(process.pid, how)
    process.wait(timeout=60)


def assert_identical(first: tfinv.Results, second: tfinv.Results) -> None:
    assert list(first) == list(second)
    for key in first:
        for layer in first.layers:
            np.testing.assert_array_equal(first[key][layer].values, second[key][layer].values, err_msg=f"{key} {layer}")


def test_a_killed_evaluation_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    process = start(tmp_path, 0.05, "plain")
    stop_after(process, 18, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    path = tmp_path / "state.npz"
    assert path.exists()
    assert not (tmp_path / "results.npz").exists()
    expected = evaluate(None, "plain")
    blocks = []
    one = passes.Pass._one
    monkeypatch.setattr(passes.Pass, "_one", lambda self, *rest: blocks.append(1) or one(self, *rest))
    assert_identical(evaluate(Checkpoint(path), "plain"), expected)
    resumed = len(blocks)
    blocks.clear()
    evaluate(None, "plain")
    assert 0 < resumed < len(blocks)
    assert not path.exists()


def test_control_c_saves_and_ends_between_blocks(tmp_path):
    process = start(tmp_path, 0.05, "plain")
    stop_after(process, 5, signal.SIGINT)
    assert process.stderr is not None
    assert "KeyboardInterrupt" in process.stderr.read()
    path = tmp_path / "state.npz"
    with np.load(path) as data:
        assert b'"progress"' in bytes(data["header"])
    assert_identical(evaluate(Checkpoint(path), "plain"), evaluate(None, "plain"))
    assert not path.exists()


@pytest.mark.parametrize("kind", ["plain", "shards", "classes"])
@pytest.mark.parametrize("at", [1, 6, 12, 17])
def test_every_moment_of_interruption_gives_the_same_numbers(tmp_path, monkeypatch, kind, at):
    expected = evaluate(None, kind)
    one, seen = passes.Pass._one, []

    def failing(self, *rest):
        seen.append(1)
        if len(seen) > at:
            raise RuntimeError("power cut")
        one(self, *rest)

    monkeypatch.setattr(passes.Pass, "_one", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        evaluate(Checkpoint(tmp_path / "state.npz", every=0), kind)
    monkeypatch.setattr(passes.Pass, "_one", one)
    assert_identical(evaluate(Checkpoint(tmp_path / "state.npz", every=0), kind), expected)


def interrupted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments):
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(sys.modules["tfinv.evaluation.evaluate"], "_measure_groups", fail)
        patch.setattr(Checkpoint, "finish", fail)
        evaluate(Checkpoint(path), "plain")
    saved = Checkpoint(path)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(Checkpoint, "finish", fail)
        evaluate(Checkpoint(path, every=0), "plain")
    assert saved.path.exists()


@pytest.mark.parametrize(
    ("change", "entry"),
    [
        ({"transformations": "rotations(5)"}, r"transformations was 'rotations\(4\)' and is now 'rotations\(5\)'"),
        ({"measures": MEASURES[:2]}, "measures was"),
        ({"batch_size": 4}, "batch_size was 3 and is now 4"),
        ({"layers": "conv"}, "layers was"),
        ({"labels": np.zeros(32, int)}, "data was"),
        ({"padding": "nearest"}, "padding was 'constant' and is now 'nearest'"),
        ({"confidence": 0.9}, "confidence was None and is now 0.9|shards was"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path, monkeypatch, change, entry):
    path = tmp_path / "state.npz"
    interrupted(path, monkeypatch)
    with pytest.raises(ValueError, match=f"checkpoint must be of this evaluation, or be removed: .*({entry})"):
        evaluate(Checkpoint(path), "plain", **change)
    assert path.exists()


@pytest.mark.parametrize("content", [b"", b"no archive", "truncated", "results"])
def test_a_damaged_checkpoint_is_refused(tmp_path, monkeypatch, content):
    path = tmp_path / "state.npz"
    if content == "results":
        evaluate(None, "plain").save(path)
    elif content == "truncated":
        interrupted(path, monkeypatch)
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint must be a file that evaluate wrote .*state\.npz"):
        evaluate(Checkpoint(path), "plain")


def test_saves_are_rare_where_saving_is_slow(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "state.npz", every=0)
    checkpoint.open({})
    saves = []

    def slow(*arguments, **named):
        saves.append(1)
        time.sleep(0.02)

    monkeypatch.setattr(np, "savez", slow)
    start = time.monotonic()
    while time.monotonic() - start < 0.3:
        checkpoint.tick("part", 1, dict)
    assert len(saves) == 1
    with pytest.raises(ValueError, match=r"every must be a number of seconds. Received: 'often'"):
        Checkpoint("state.npz", every="often")  # type: ignore[arg-type]


def test_a_path_alone_serves(tmp_path):
    path = tmp_path / "state.npz"
    assert_identical(evaluate(path, "plain"), evaluate(None, "plain"))  # type: ignore[arg-type]
    assert not path.exists()


@pytest.mark.parametrize("at", [5, 9])
def test_an_evaluation_in_pieces_goes_on_between_and_within_them(tmp_path, monkeypatch, at):
    monkeypatch.setattr(pieces, "SAMPLES", 6)  # two blocks of three samples
    expected = evaluate(None, "plain")
    one, seen = passes.Pass._one, []

    def failing(self, *rest):
        seen.append(1)
        if len(seen) > at:
            raise RuntimeError("power cut")
        one(self, *rest)

    monkeypatch.setattr(passes.Pass, "_one", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        evaluate(Checkpoint(tmp_path / "state.npz", every=0), "plain")
    monkeypatch.setattr(passes.Pass, "_one", one)
    assert_identical(evaluate(Checkpoint(tmp_path / "state.npz", every=0), "plain"), expected)
