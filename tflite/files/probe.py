"""Try a `.tflite` file in a process of its own: a corrupt one can end the process that runs it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tfinv.support.faults import one_line
from tfinv.tflite.files.flatbuffer import check_identifier, read_graph
from tfinv.tflite.files.kernels import TFLM, XNNPACK
from tfinv.tflite.files.runners import new_runner

_TIMEOUT = 300.0
_LEAST_MEMORY = 2 * 2**30


_passed: set[bytes] = set()
"""Hashes of the files that were tried with success."""


def probe(content: bytes, kernels: str = XNNPACK) -> None:
    """Load, allocate and invoke a file once, in another process; a file that passed is not tried again.

    Args:
        content: the file.
        kernels: the kernel set that computes it.

    Raises:
        ValueError: it is no intact TFLite model, the interpreter refuses it (with its words), crashes on it or does not
            come to an end.
    """
    check_identifier(content)
    key = hashlib.sha256(content).digest() + kernels.encode()
    if key in _passed:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "tfinv.tflite.files.probe", str(path), kernels]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT, env=environment, check=False)
        except subprocess.TimeoutExpired:
            raise ValueError(f"the interpreter did not finish one invocation in {_TIMEOUT:.0f} s") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ValueError(f"the interpreter crashed on this model ({name}); the file is corrupt or not supported")
    if done.returncode:  # 1: refused, with a reason; anything else: the tool could not run
        said, words = (text.decode(errors="replace").strip() for text in (done.stdout, done.stderr))
        said = said or words
        if kernels == TFLM and words and not said.startswith("TFLM"):  # what it says while it runs
            raise ValueError(f"TFLM refuses this model: {one_line(words)}")
        raise ValueError(said.splitlines()[-1] if said else f"the interpreter ended with code {done.returncode}")
    _passed.add(key)


def _limit_memory() -> None:
    """A corrupt shape may ask for any amount of memory: let that fail here rather than exhaust the machine."""
    with contextlib.suppress(ImportError, ValueError, OSError, AttributeError):
        import resource

        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
        limit = max(_LEAST_MEMORY, available // 2)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main(path: str, kernels: str) -> int:
    """Run one invocation on zeros; print why it failed."""
    _limit_memory()
    try:
        new_runner(read_graph(Path(path).read_bytes()), batch=1, threads=1, kernels=kernels).invoke_once()
    except (ValueError, RuntimeError, MemoryError) as error:
        print(one_line(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
