"""Progress is a bar on a terminal, one line per stage elsewhere, and nothing where it is not wanted."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from terminal import shown_on_terminal

from tfinv.support.progress import Progress

PROGRAM = """
from tfinv.support.progress import Progress
import time
with Progress("reading", 40, "file") as progress:
    for number in range(40):
        progress.advance()
        progress.show({"loss": f"{number / 10:.1f}"})
        time.sleep(0.01)
"""


def test_a_pipe_gets_one_line_however_many_steps_there_are():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"reading: 40 file in 0\.\d s, loss=3\.9\n", done.stderr) and done.stdout == ""


@pytest.mark.parametrize("columns", [100, 0])  # a terminal of a container may not tell its width
def test_a_terminal_gets_a_bar_that_leaves_nothing_behind(columns):
    text = shown_on_terminal(PROGRAM, columns)
    assert re.search(r"reading: +\d+%\|.*\| \d+/40 \[.*file/s, loss=\d\.\d\]", text)
    assert "\n" not in text and text.rstrip("\r").rsplit("\r", 1)[-1].strip() == ""


def test_a_stage_that_fails_and_one_that_is_not_shown_print_nothing(capsys):
    with Progress("silent", 3, "step", shown=False) as progress:
        progress.advance(3)
    with pytest.raises(ValueError, match="no"), Progress("failing", 3, "step"):
        raise ValueError("no")
    assert capsys.readouterr() == ("", "") and progress.count == 3


def test_the_line_names_what_was_done_last_and_shows_no_control_characters(capsys):
    with Progress("training", None, "step") as progress:
        progress.describe("training \x1b[2Jnet, epoch 2/2")
    line = capsys.readouterr().err
    assert "net, epoch 2/2: 0 step in 0." in line and "\x1b" not in line and line.count("\n") == 1
