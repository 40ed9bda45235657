"""Output folders and environments that cannot be used: one sentence and exit code 2, before anything is computed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tfinv import run
from tfinv.support import files


@pytest.mark.parametrize("command", [[], ["measure"], ["compare"], ["train"], ["tflite"]])
@pytest.mark.parametrize(
    ("out", "reason"),
    [("file", "is a file"), ("file/below/it", "is a file"), ("x" * 300, "File name too long")],
)
def test_an_output_folder_that_cannot_be_made_is_refused_at_once(tmp_path, capsys, command, out, reason):
    (tmp_path / "file").write_text("kept")
    for form in (["--out", str(tmp_path / out)], [f"--out={tmp_path / out}"]):
        assert run.main([*command, *form]) == run.EXIT_USAGE
        said = capsys.readouterr().err
        assert "--out must be a folder that can be written, or made. Received: " in said and reason in said
        assert len(said.splitlines()) == 1
    assert os.listdir(tmp_path) == ["file"]


def test_a_read_only_folder_is_refused_and_a_new_one_is_not_made(tmp_path, monkeypatch):
    files.check_output_folder("out", tmp_path / "a" / "b")
    assert not os.listdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ValueError, match=r"out must be .* is read-only"):
        files.check_output_folder("out", tmp_path / "a")


@pytest.mark.parametrize(("name", "value"), [("MPLBACKEND", "nonsense"), ("KERAS_BACKEND", "jax")])
def test_an_environment_that_cannot_work_is_said_in_one_line(tmp_path, name, value):
    command = [sys.executable, "-m", "tfinv.run", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env={**os.environ, name: value}, capture_output=True, text=True, timeout=60)
    assert done.returncode == run.EXIT_USAGE and "Traceback" not in done.stderr
    assert done.stderr.startswith("tfinv: ") and name in done.stderr and repr(value) in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()
