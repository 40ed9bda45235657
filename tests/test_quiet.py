"""What is printed inside a quiet block, from Python and through descriptors, is caught; outside it is not."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest

from tfinv.support.quiet import quiet

PROGRAM = """
import os, sys
from tfinv.support.descriptors import redirected
with open(sys.argv[1], "wb") as file, redirected(file.fileno(), (2,)):
    print("out", flush=True)
    os.write(2, b"caught")
os.write(2, b"shown")
"""


def test_everything_printed_is_in_the_log_and_the_descriptors_are_back(capfd):
    with quiet() as log:
        print("python")
        os.write(1, b"out\n")
        os.write(2, b"error\n 50%|###  |\n")
        warnings.warn("careful", stacklevel=1)
    os.write(1, b"after")
    assert log.text.split("\n") == ["python", "out", "error", "UserWarning: careful"]
    assert capfd.readouterr() == ("after", "")


def test_the_log_is_filled_when_the_block_fails():
    with pytest.raises(ValueError, match="no"), quiet() as log:
        os.write(2, b"reason\n")
        raise ValueError("no")
    assert log.text == "reason"


def test_one_descriptor_alone_is_redirected(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "log")], capture_output=True, check=True)
    assert (done.stdout, done.stderr, (tmp_path / "log").read_bytes()) == (b"out\n", b"shown", b"caught")
