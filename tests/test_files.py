"""Files are written whole or not at all, and what a killed process left is removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tfinv.support.files import LEFT_OVER, atomic_write

KILLED = """
import os, signal, sys
from tfinv.support.files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_partial_file_of_a_killed_process_is_removed_by_the_next_write(tmp_path: Path):
    target = tmp_path / "results.npz"
    target.write_bytes(b"whole")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", KILLED, str(target)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL and target.read_bytes() == b"whole"
    (part,) = tmp_path.glob(".results.npz.*.part")
    assert part.read_bytes() == b"half"
    with atomic_write(target) as file:
        file.write(b"another writer may still be at work on the young one")
    assert part.exists()
    others = [tmp_path / ".results.npz.notes", tmp_path / ".other.npz.x.part", tmp_path / "results.npz.part"]
    old = time.time() - LEFT_OVER - 10
    for path in (part, *others):
        path.touch()
        os.utime(path, (old, old))
    with atomic_write(target) as file:
        file.write(b"new")
    assert not part.exists() and all(path.exists() for path in others)
    assert target.read_bytes() == b"new" and not list(tmp_path.glob(".results.npz.*.part"))
