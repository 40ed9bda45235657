"""Interrupted evaluations go on where they were and find the same numbers; foreign checkpoints are refused."""

from __future__ import annotations

import functools
import itertools
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from interrupted_evaluation import MEASURES, evaluate

import tfinv
from tfinv.engine import passes, pieces
from tfinv.engine.checkpoint import Checkpoint

SCRIPT = Path(__file__).parent / "interrupted_evaluation.py"


@functools.cache
def whole(kind: str) -> tfinv.Results:
    """The numbers of an evaluation that nothing interrupts."""
    return evaluate(None, kind)


@dataclass(frozen=True)
class Ended:
    """What is left of a process that was interrupted in its first evaluation and killed in its second."""

    folder: Path
    code: int
    errors: str


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("ended")
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), "0.05"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None

    def read(blocks: int) -> None:
        for _ in range(blocks):
            assert process.stdout.readline() == "block\n"

    read(5)
    process.send_signal(signal.SIGINT)
    lines = iter(process.stdout.readline, "")
    assert set(itertools.takewhile(lambda line: line != "interrupted\n", lines)) <= {"block\n"}
    read(18)
    process.kill()
    return Ended(folder, process.wait(timeout=60), process.communicate()[1])


def assert_identical(first: tfinv.Results, second: tfinv.Results) -> None:
    assert list(first) == list(second)
    for key in first:
        for layer in first.layers:
            np.testing.assert_array_equal(first[key][layer].values, second[key][layer].values, err_msg=f"{key} {layer}")


def test_a_killed_evaluation_goes_on_to_the_same_numbers(ended, monkeypatch):
    assert ended.code == -signal.SIGKILL
    path = ended.folder / "killed.npz"
    assert path.exists()
    assert not (ended.folder / "killed_results.npz").exists()
    blocks = []
    one = passes.Pass._one
    monkeypatch.setattr(passes.Pass, "_one", lambda self, *rest: blocks.append(1) or one(self, *rest))
    resumed_results = evaluate(Checkpoint(path), "plain")
    resumed = len(blocks)
    blocks.clear()
    assert_identical(resumed_results, evaluate(None, "plain"))
    assert 0 < resumed < len(blocks)
    assert not path.exists()


def test_control_c_saves_and_ends_between_blocks(ended):
    assert "KeyboardInterrupt" in ended.errors
    path = ended.folder / "interrupted.npz"
    assert not (ended.folder / "interrupted_results.npz").exists()
    with np.load(path) as data:
        assert b'"progress"' in bytes(data["header"])
    assert_identical(evaluate(Checkpoint(path), "plain"), whole("plain"))
    assert not path.exists()


QUICK = {(1, "plain"), (12, "plain"), (6, "shards"), (17, "classes")}


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow])
        for case in itertools.product([1, 6, 12, 17], ["plain", "shards", "classes"])
    ],
)
def test_every_moment_of_interruption_gives_the_same_numbers(tmp_path, monkeypatch, kind, at):
    expected = whole(kind)
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


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an evaluation that was interrupted before its end; tests change copies of it."""
    path = tmp_path_factory.mktemp("unfinished") / "state.npz"
    monkeypatch = pytest.MonkeyPatch()

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
    return path


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
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path, unfinished, change, entry):
    path = shutil.copy(unfinished, tmp_path / "state.npz")
    with pytest.raises(ValueError, match=f"checkpoint must be of this evaluation, or be removed: .*({entry})"):
        evaluate(Checkpoint(path), "plain", **change)
    assert path.exists()


@pytest.mark.parametrize("content", [b"", b"no archive", "truncated", "results"])
def test_a_damaged_checkpoint_is_refused(tmp_path, unfinished, content):
    path = tmp_path / "state.npz"
    if content == "results":
        whole("plain").save(path)
    elif content == "truncated":
        path.write_bytes(unfinished.read_bytes()[:-100])
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
    with pytest.raises(TypeError, match=r"every must be a number of at least 0, in seconds\. Received: 'often'"):
        Checkpoint("state.npz", every="often")  # type: ignore[arg-type]


def test_a_path_alone_serves(tmp_path):
    path = tmp_path / "state.npz"
    assert_identical(evaluate(path, "plain"), whole("plain"))  # type: ignore[arg-type]
    assert not path.exists()


@pytest.mark.parametrize("at", [pytest.param(5, marks=pytest.mark.slow), 9])
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
