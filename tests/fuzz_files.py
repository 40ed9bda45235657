"""Damaged files of every kind that tfinv reads, by seed, each read in a process that may die.

    python tests/fuzz_files.py [--seed 1000] [--count 200] [--kinds results keras tflite png]

Says how many files were read, refused with an error of tfinv's own, and refused otherwise, with the seeds of those.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LONGEST = 60.0
"""Seconds that one file may take."""
FINE, REFUSED, BARE, DIED, HUNG = "read", "refused", "bare error", "process died", "hung"


def damaged(content: bytes, seed: int) -> bytes:
    """A file with one to four faults, the same for the same seed."""
    rng, data = np.random.default_rng(seed), bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        place, size = int(rng.integers(len(data) or 1)), int(rng.integers(1, 65))
        fault = int(rng.integers(7))
        if fault == 0:
            data[place : place + 1] = bytes([data[place] ^ 1 << int(rng.integers(8))]) if data else b""
        elif fault == 1:
            data[place : place + size] = rng.bytes(min(size, len(data) - place))
        elif fault == 2:
            data[place : place + size] = bytes([int(rng.choice([0, 0x7F, 0x80, 0xFF]))]) * min(size, len(data) - place)
        elif fault == 3:
            del data[place : place + size]
        elif fault == 4:
            data[place:place] = rng.bytes(size)
        elif fault == 5:
            data[place:place] = data[place : place + size]
        elif rng.random() < 0.3:  # cut short, not too often: the same error most of the time
            del data[place:]
    return bytes(data)


def damaged_inside(content: bytes, seed: int) -> bytes:
    """A zip file that is sound but for one member, so that no check sum gives the fault away."""
    inside, written = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    chosen = seed % len(inside.namelist())
    with zipfile.ZipFile(written, "w") as archive:
        for number, name in enumerate(inside.namelist()):
            member = inside.read(name)
            archive.writestr(name, damaged(member, seed) if number == chosen else member)
    return written.getvalue()


# --- what is damaged, and how it is read -----------------------------------------------------------------------------


def results() -> bytes:
    import tfinv

    activations = {"a": np.random.default_rng(0).normal(size=(20, 4, 3)), "b": np.eye(20).reshape(20, 4, 5)}
    sampling = tfinv.Sampling(0.9, shards=4, keep_statistics=True)
    return saved(tfinv.evaluate_arrays(activations, "NormalizedVariance", sampling=sampling).save, ".npz")


def saved(save: Callable[[Path], Any], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        save(path)
        return path.read_bytes()


def checkpoint() -> bytes:
    def save(path: Path) -> None:
        from tfinv.engine.checkpoint import Checkpoint

        it = Checkpoint(path, every=0)
        it.open({"data": "abc"})
        it.notes["groups"] = [["conv"]]
        it.tick("second", 8, lambda: {"sum": np.arange(6, dtype=np.float32)}, now=True)

    return saved(save, ".npz")


def data_set() -> bytes:
    rng, file = np.random.default_rng(0), io.BytesIO()
    np.savez_compressed(file, x=rng.integers(0, 256, (12, 6, 6, 1), np.uint8), y=np.arange(12) % 2)
    return file.getvalue()


def network() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.MaxPooling2D(2, name="pool")(x))
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(keras.layers.Flatten(name="flat")(x)))


def tflite() -> bytes:
    from tfinv.tflite import static_int8

    return static_int8(network(), np.random.default_rng(0).random((16, 8, 8, 1), "float32")).content


def picture(form: str) -> Callable[[], bytes]:
    def make() -> bytes:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)).save(file, form)
        return file.getvalue()

    return make


def read_results(path: Path) -> None:
    import tfinv

    tfinv.Results.load(path).profile()


def read_checkpoint(path: Path) -> None:
    from tfinv.engine.checkpoint import Checkpoint

    Checkpoint(path, every=0).open({"data": "abc"})


def read_data(path: Path) -> None:
    from tfinv import datasets

    datasets.load(path)


def read_keras(path: Path) -> None:
    from tfinv import models

    models.load(path)


def read_tflite(path: Path) -> None:
    """As `TFLiteModel` does behind its trial in a process of its own: this process is that one."""
    from tfinv.tflite import TFLiteModel

    model = TFLiteModel(path.read_bytes(), probe=False, num_threads=1)
    model(np.zeros((1, *model.input_shape), np.float32))


def read_picture(path: Path) -> None:
    """A folder of two classes in which one image is damaged."""
    import warnings

    from PIL import Image

    from tfinv import datasets

    for name in ("a", "b"):
        (path.parent / "set" / name).mkdir(parents=True, exist_ok=True)
        for number in range(10):
            file = path.parent / "set" / name / f"{number}.png"
            if not file.exists():
                Image.fromarray(np.full((8, 8), 25 * number, np.uint8)).save(file)
    shutil.copy(path, path.parent / "set" / "a" / f"99{path.suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets.load(path.parent / "set", size=8)


KINDS: dict[str, tuple[Callable[[], bytes], str, Callable[[Path], None]]] = {
    "results": (results, ".npz", read_results),
    "checkpoint": (checkpoint, ".npz", read_checkpoint),
    "data": (data_set, ".npz", read_data),
    "keras": (lambda: saved(lambda path: network().save(path), ".keras"), ".keras", read_keras),
    "h5": (lambda: saved(lambda path: network().save(path), ".h5"), ".h5", read_keras),
    "tflite": (tflite, ".tflite", read_tflite),
    **{
        form: (picture(form.upper()), f".{form}", read_picture)
        for form in ("png", "jpeg", "bmp", "webp")
    },
}  # fmt: skip


INSIDE = "inside "
KINDS |= {f"{INSIDE}{kind}": KINDS[kind] for kind in ("results", "checkpoint", "data", "keras")}
"""Kinds of zip files of which one member is damaged."""


# --- reading in a process that may die -------------------------------------------------------------------------------


def read_all(kind: str, original: Path, folder: Path) -> None:
    """The child: read the seeds that come line by line, and say what happened to each."""
    from tfinv.support.faults import is_ours

    _, suffix, read = KINDS[kind]
    content, path = original.read_bytes(), folder / f"damaged{suffix}"
    with contextlib.suppress(Exception):  # what is imported late counts as the start
        path.write_bytes(content)
        read(path)
    print("ready", file=sys.__stdout__, flush=True)
    for line in sys.stdin:
        path.write_bytes((damaged_inside if kind.startswith(INSIDE) else damaged)(content, int(line)))
        said = ""
        try:
            read(path)
            outcome = FINE
        except (ValueError, TypeError, OSError, MemoryError) as error:
            outcome = REFUSED if is_ours(error) and not isinstance(error, MemoryError) else BARE
            said = f"{type(error).__name__}: {str(error)[:300]}"
        except Exception as error:
            outcome, said = BARE, f"{type(error).__name__}: {str(error)[:300]}"
        print(json.dumps([outcome, said]), file=sys.__stdout__, flush=True)


@dataclass
class Outcomes:
    """What happened to the files of one kind.

    Args:
        counts: files by outcome.
        words: what refusals say, without the path.
        bad: outcome and words by seed, of those that were neither read nor refused by tfinv itself.
    """

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    words: collections.Counter[str] = field(default_factory=collections.Counter)
    bad: dict[int, tuple[str, str]] = field(default_factory=dict)


def outcomes(kind: str, seeds: range, seconds: float = float("inf")) -> Outcomes:
    """Damage a file by every seed and read it, until the time is over.

    Args:
        kind: one of `KINDS`.
        seeds: of the damages.
        seconds: after so many no further file is read.
    """
    told = Outcomes()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        original = folder / "original"
        original.write_bytes(KINDS[kind][0]())
        child: subprocess.Popen[str] | None = None
        end = time.monotonic() + seconds
        for seed in seeds:
            if time.monotonic() > end:
                break
            if child is None:
                child = started(kind, original, folder)
            outcome, said = asked(child, seed)
            if outcome in (DIED, HUNG):
                child.kill()
                child.wait()
                child = None
            told.counts[outcome] += 1
            if outcome == REFUSED:
                told.words[said.replace(str(folder), "")] += 1
            if outcome not in (FINE, REFUSED):
                told.bad[seed] = outcome, said
        if child is not None:
            child.kill()
            child.wait()
    return told


def started(kind: str, original: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--child", kind, str(original), str(folder)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(command, text=True, bufsize=1, env=environment, **pipes)
    assert child.stdout is not None
    child.stdout.readline()
    return child


def asked(child: subprocess.Popen[str], seed: int) -> tuple[str, str]:
    """What the child says of a seed."""
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(f"{seed}\n")
        child.stdin.flush()
    except BrokenPipeError:
        return DIED, f"exit code {child.wait()}"
    ready, _, _ = select.select([child.stdout], [], [], LONGEST)
    if not ready:
        return HUNG, f"more than {LONGEST:g} s"
    line = child.stdout.readline()
    if not line:
        return DIED, f"exit code {child.wait()}"
    outcome, said = json.loads(line)
    return outcome, said


def lines(kind: str, told: Outcomes) -> Iterator[str]:
    yield f"{kind}: {dict(told.counts)}"
    for said, number in told.words.most_common(3):
        yield f"    {number} x {said}"
    for (outcome, said), number in collections.Counter(told.bad.values()).most_common(12):
        seed = next(seed for seed, pair in told.bad.items() if pair == (outcome, said))
        yield f"    {number} x {outcome}, such as seed {seed}: {said}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1000, help="the first seed")
    parser.add_argument("--count", type=int, default=200, help="files of every kind")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of every kind, at most")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, original, folder = options.child
        sys.stdout = sys.stderr  # what is printed besides must not look like an answer
        read_all(kind, Path(original), Path(folder))
        return 0
    bad = 0
    for kind in options.kinds:
        told = outcomes(kind, range(options.seed, options.seed + options.count), options.seconds)
        bad += told.counts[BARE] + told.counts[HUNG]
        print("\n".join(lines(kind, told)), flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
