"""Every file of arrays that is read: whatever is wrong with it gives one error, which names the file."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tfinv import datasets
from tfinv.engine.checkpoint import Checkpoint
from tfinv.resampling.jackknife import Replicates
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.support import archive
from tfinv.support.schema import Rule, check
from tfinv.tflite.comparison.comparison import Comparison
from tfinv.tflite.comparison.match_files import Match
from tfinv.tflite.comparison.predictions import Predictions

RNG = np.random.default_rng(0)
CONFIGURATION = {"data": "abc", "batch_size": 4}


def results() -> Results:
    layers = {
        "conv": LayerResult(np.linspace(0, 1, 12).reshape(3, 4), np.zeros((3, 4), np.uint8)),
        "flat": LayerResult.not_applicable("no maps"),
    }
    replicates = Replicates(0.95, (3, 4), {"conv": np.array([0.4, 0.6])}, {"conv": np.linspace(0.3, 0.7, 5)})
    statistics = {"RowDispersion": {"conv": {"count": np.array(3.0), "mean": np.arange(4.0)}}}
    return Results({"NV": MeasureResult("NV", layers, replicates)}, {"seed": 1}, statistics)


def comparison() -> Comparison:
    frame = pd.DataFrame({"layer": ["conv", "flat"], "real": [True, False], "sqnr_db": [np.inf, 3.5]})
    said = Predictions.of(RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2, 3)), from_logits=True)
    return Comparison(
        ("a", "b"), ("fine",), (), frame, frame, frame, frame, frame, Match({"conv": "conv"}, how={"conv": "name"}),
        results(), results(), {"a": said, "b": said}, {"seed": 0},
    )  # fmt: skip


def save_checkpoint(path: Path) -> None:
    checkpoint = Checkpoint(path, every=0)
    checkpoint.open(CONFIGURATION)
    checkpoint.notes["groups"] = [["conv"]]
    checkpoint.put("first", {"mean": np.arange(5.0)})
    checkpoint.tick("second", 8, lambda: {"sum": np.arange(6, dtype=np.float32)}, now=True)


def load_checkpoint(path: Path) -> Any:
    checkpoint = Checkpoint(path)
    checkpoint.open(CONFIGURATION)
    return checkpoint.notes, checkpoint.get("first"), checkpoint.progress("second")


def save_dataset(path: Path) -> None:
    np.savez_compressed(path, x=RNG.random((10, 4, 4)), y=np.arange(10) % 2)


def load_dataset(path: Path) -> Any:
    dataset = datasets.load(path)
    return dataset.train.x, dataset.train.y, dataset.test.x, dataset.classes


def content(value: Any) -> Any:
    """What two loaded objects must share, comparable with `==`."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, pd.DataFrame):
        return value.to_json()
    if isinstance(value, Results):
        return {name: content(array) for name, array in value.to_arrays().items()}
    if isinstance(value, dict):
        return {name: content(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [content(part) for part in value]
    return {name: content(part) for name, part in vars(value).items()} if hasattr(value, "__dict__") else value


@dataclass(frozen=True)
class Kind:
    """A kind of file: how it is written and read, and one of its arrays."""

    save: Callable[[Path], Any]
    load: Callable[[Path], Any]
    array: str
    has_header: bool = True


KINDS = {
    "results": Kind(lambda path: results().save(path), Results.load, "v0.0"),
    "comparison": Kind(lambda path: comparison().save(path), Comparison.load, "a.0.upright"),
    "checkpoint": Kind(save_checkpoint, load_checkpoint, "0/mean"),
    "dataset": Kind(save_dataset, load_dataset, "x", has_header=False),
}


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewrite(path: Path, contents: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in contents.items():
            file.writestr(name, data)


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def with_array(path: Path, kind: Kind, data: bytes | None) -> None:
    contents = members(path)
    contents[f"{kind.array}.npy"] = data or b""
    if data is None:
        del contents[f"{kind.array}.npy"]
    rewrite(path, contents)


def with_header(path: Path, kind: Kind, change: Callable[[dict[str, Any]], Any] | bytes) -> None:
    if not kind.has_header:
        pytest.skip("this kind of file has no header")
    contents = members(path)
    text = change
    if callable(change):
        header = json.loads(archive.load_arrays(path)["header"].tobytes())
        changed = change(header)
        text = json.dumps(header if changed is None else changed).encode()
    assert isinstance(text, bytes)
    contents["header.npy"] = npy(np.frombuffer(text, np.uint8))
    rewrite(path, contents)


def patch_heads(path: Path, offset: int, data: bytes) -> None:
    """Overwrite the same field of every local and central head of a zip file; `offset` is that in local heads."""
    content = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        start = content.find(mark)
        while start >= 0:
            content[start + offset + shift : start + offset + shift + len(data)] = data
            start = content.find(mark, start + 4)
    path.write_bytes(content)


def huge(path: Path, kind: Kind) -> None:
    head = npy(np.zeros((0,)))
    with_array(path, kind, head.replace(b"(0,), }" + b" " * 12, b"(1000000000000,), }"))


def huge_zip_too(path: Path, kind: Kind) -> None:
    huge(path, kind)
    patch_heads(path, 22, struct.pack("<I", 2**32 - 2))


DAMAGES: dict[str, tuple[Callable[[Path, Kind], Any], str]] = {
    "empty": (lambda path, _: path.write_bytes(b""), "damaged, cut short, or no .npz file"),
    "text": (lambda path, _: path.write_bytes(b"nonsense" * 40), "damaged, cut short, or no .npz file"),
    "cut": (lambda path, _: path.write_bytes(path.read_bytes()[:-90]), "damaged, cut short, or no .npz file"),
    "encrypted": (lambda path, _: patch_heads(path, 6, b"\x01\x00"), "encrypted or compressed in a way"),
    "compression": (lambda path, _: patch_heads(path, 8, b"\x63\x00"), "encrypted or compressed in a way"),
    "7 TiB": (huge, r"said to be float64 of shape \(1000000000000,\)"),
    "7 TiB in both": (huge_zip_too, "which cannot be|said to be|damaged"),
    "pickle": (lambda path, kind: with_array(path, kind, npy(np.array([{}], object))), "never unpickled"),
    "no array": (lambda path, kind: with_array(path, kind, b"text"), "damaged|must be|magic"),
    "text member": (lambda path, kind: rewrite(path, {**members(path), "note.txt": b"hi"}), "'note.txt' is no array"),
    "missing": (lambda path, kind: with_array(path, kind, None), "lacks|must hold the arrays"),
    "shape": (lambda path, kind: with_array(path, kind, npy(np.zeros((2, 3, 1, 1, 1)))), "must be"),
    "dtype": (lambda path, kind: with_array(path, kind, npy(np.full(5, "text"))), "must be"),
    "deep": (lambda path, kind: with_header(path, kind, b'{"a":' + b"[" * 200_000), "nested too deep|no JSON"),
    "damaged head": (
        lambda path, kind: with_array(path, kind, npy(np.zeros(3)).replace(b"(3,)", b"(3,(")),
        "the head of an array is damaged",
    ),
    "no JSON": (lambda path, kind: with_header(path, kind, b"\xff\xfe{"), "its header is no JSON"),
    "list": (lambda path, kind: with_header(path, kind, lambda _: [1, 2]), "its format is None"),
    "format": (lambda path, kind: with_header(path, kind, lambda h: h.update(format="x")), "its format is 'x'"),
    "version": (lambda path, kind: with_header(path, kind, lambda h: h.update(version=99)), "version 99, this tfinv"),
    "members": (lambda path, kind: with_header(path, kind, lambda h: h.update(members={"a": 5})), "a list"),
}  # fmt: skip


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def path(kind, tmp_path):
    path = tmp_path / "some.npz"
    kind.save(path)
    return path


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_give_one_error(kind, path, damage):
    kind.load(path)
    make, words = DAMAGES[damage]
    make(path, kind)
    tracemalloc.start()
    with pytest.raises(ValueError, match=words) as caught:
        kind.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in str(caught.value) and "must" in str(caught.value)
    assert peak < 100e6


@pytest.mark.parametrize(
    ("of", "change", "words"),
    [
        ("results", lambda h: h["measures"][0].update(key=5), r"measures\[0\].key must be text, and is a whole number"),
        ("results", lambda h: h["measures"][0]["layers"][1].update(note=5), r"layers\[1\].note must be text"),
        ("results", lambda h: h["measures"][0]["replicates"].update(confidence=5), "between 0 and 1, and is 5"),
        ("results", lambda h: h["measures"][0]["replicates"].update(sizes=[3]), "must be float64 of shape"),
        ("results", lambda h: h.update(metadata=[]), "metadata must be a mapping, and is a list"),
        ("results", lambda h: h.pop("statistics"), "lacks 'statistics'"),
        ("comparison", lambda h: h["facts"].update(names=["a"]), "facts.names must be two names"),
        ("comparison", lambda h: h["facts"].update(verdict="fine"), "facts.verdict must be a list, and is text"),
        ("comparison", lambda h: h["frames"].pop("curves"), "lacks 'curves'"),
        ("comparison", lambda h: h["frames"]["curves"]["layer"].pop("kind"), "curves.layer lacks 'kind'"),
        ("checkpoint", lambda h: h.update(parts=5), "parts must be a list, and is a whole number"),
        ("checkpoint", lambda h: h.update(progress=["second"]), "the name of a part and its number of samples"),
        ("checkpoint", lambda h: h.update(progress=["second", "8"]), "the name of a part and its number of samples"),
        ("checkpoint", lambda h: h.pop("notes"), "lacks 'notes'"),
        ("checkpoint", lambda h: h.update(parts=[]), r"it is damaged|checkpoint must be"),
    ],
)  # fmt: skip
def test_headers_of_other_types_are_refused(tmp_path, of, change, words):
    path, kind = tmp_path / "some.npz", KINDS[of]
    kind.save(path)

    def apply(header):
        change(header)

    with_header(path, kind, apply)
    with pytest.raises(ValueError, match=words) as caught:
        kind.load(path)
    assert str(path) in str(caught.value)


def test_one_flipped_bit_is_noticed_or_changes_nothing(kind, path):
    whole, expected = path.read_bytes(), content(kind.load(path))
    random, noticed = np.random.default_rng(7), 0
    for position, bit in zip(random.integers(0, len(whole), 300), random.integers(0, 8, 300), strict=True):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            loaded = content(kind.load(path))
        except ValueError as error:
            assert str(path) in str(error), (position, bit)
            noticed += 1
        else:
            assert loaded == expected, (position, bit)
    assert noticed > 150


def test_nothing_and_a_folder(kind, tmp_path):
    if kind is not KINDS["checkpoint"]:  # which begins where there is none
        with pytest.raises(FileNotFoundError, match=r"none\.npz"):
            kind.load(tmp_path / "none.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ValueError, match="folder"):
        kind.load(tmp_path / "folder.npz")


def test_no_size_beyond_the_free_memory_is_read(kind, path, monkeypatch):
    monkeypatch.setattr(archive, "available", lambda: 100)
    with pytest.raises(ValueError, match="it does not fit into memory"):
        kind.load(path)


def test_results_without_a_list_of_members_are_read(tmp_path):
    path, kind = tmp_path / "old.npz", KINDS["results"]
    kind.save(path)
    with_header(path, kind, lambda header: header.pop("members") and None)
    assert content(Results.load(path)) == content(results())
    with_array(path, kind, npy(np.zeros((2, 2))))
    with pytest.raises(ValueError, match=r"its array 's0.0' must be uint8 of shape \(2, 2\)"):
        Results.load(path)


def test_schemas_say_where_a_value_differs():
    schema = {"a": [Rule(int, lambda value: value > 0, "positive")], "b?": {str: (str, type(None))}}
    check({"a": [1, 2], "b": {"x": None, "y": "z"}}, schema)
    for value, words in (
        ({"a": [1, 0]}, r"it.a\[1\] must be positive, and is 0"),
        ({"a": [True]}, r"it.a\[0\] must be a whole number, and is true or false"),
        ({"a": 5}, "it.a must be a list, and is a whole number"),
        ({"a": [], "b": {"x": 5}}, "it.b.x must be text or null, and is a whole number"),
        ({}, "it lacks 'a'"),
    ):
        with pytest.raises(ValueError, match=words):
            check(value, schema)
    check(3, float)
    with pytest.raises(ValueError, match="it must be a number, and is true or false"):
        check(True, float)
