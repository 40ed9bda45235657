"""Every file that a user names is read through one reader: nothing there, a folder, a file that cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfinv
from tfinv import datasets, models, tflite
from tfinv.activations import OnnxModel, SavedModel
from tfinv.commands.labels import read_labels
from tfinv.experiments._shared.drawing import drawing
from tfinv.support.extensions import load_file
from tfinv.support.reading import read_bytes, read_text, reading

IMAGES = np.zeros((2, 8, 8, 1), "float32")
UNREADABLE = Path("/proc/self/mem")
"""A file whose first byte the system refuses to give."""


def searched(path: Path) -> Any:
    return tfinv.worst_case(path, IMAGES, {"rotation": (-9, 9)}, progress=False)


def evaluated(path: Path) -> Any:
    return tfinv.evaluate(path, IMAGES, "rotations(4)", "NormalizedVariance", progress=False)


def changed(path: Path) -> Any:
    return tfinv.output_change(path, IMAGES, "rotations(4)", "vector", progress=False)


READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "TFLiteModel": (tflite.TFLiteModel, ".tflite"),
    "Conversion.load": (tflite.Conversion.load, ".tflite"),
    "match": (lambda path: tflite.match(path, path), ".tflite"),
    "compare_files": (lambda path: tflite.compare_files(path, path, IMAGES), ".tflite"),
    "compare_kernels": (lambda path: tflite.compare_kernels(path, IMAGES), ".tflite"),
    "fix_inputs": (lambda path: tflite.fix_inputs(path, {}), ".tflite"),
    "worst_case": (searched, ".tflite"),
    "worst_case of a Keras file": (searched, ".keras"),
    "evaluate": (evaluated, ".tflite"),
    "evaluate of a Keras file": (evaluated, ".h5"),
    "output_change": (changed, ".tflite"),
    "models.load": (models.load, ".keras"),
    "models.open_file": (models.open_file, ".h5"),
    "OnnxModel": (OnnxModel, ".onnx"),
    "SavedModel": (SavedModel, ""),
    "Results.load": (tfinv.Results.load, ".npz"),
    "Comparison.load": (tflite.Comparison.load, ".npz"),
    "StudyResult.load": (tflite.StudyResult.load, ""),
    "BitChoice.load": (tflite.BitChoice.load, ""),
    "datasets.load": (datasets.load, ".npz"),
    "datasets.on_disk": (datasets.on_disk, ".npz"),
    "labels": (read_labels, ".txt"),
    "code": (lambda path: load_file(str(path), "measures"), ".py"),
    "drawing": (lambda path: drawing(path.parent, path.name.removesuffix(".figure.json")), ".figure.json"),
}
SETS = ("datasets.load", "datasets.on_disk")
"""What reads folders of images too, whatever their name."""
FORM = r"\w+ must .+\. Received: .*{name}"


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_not_there_is_named(name, tmp_path):
    read, suffix = READERS[name]
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read(tmp_path / f"nothing{suffix}")
    assert re.match(FORM.format(name="nothing"), str(caught.value), re.DOTALL), caught.value


@pytest.mark.parametrize("name", [name for name, (_, suffix) in READERS.items() if suffix and name not in SETS])
def test_a_folder_in_place_of_a_file_is_named(name, tmp_path):
    read, suffix = READERS[name]
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read(tmp_path / f"folder{suffix}")
    assert re.match(FORM.format(name="folder"), str(caught.value), re.DOTALL), caught.value


@pytest.mark.parametrize("name", [name for name, (_, suffix) in READERS.items() if suffix])
@pytest.mark.skipif(not UNREADABLE.exists(), reason="no file here that cannot be read")
def test_a_file_that_cannot_be_read_is_named(name, tmp_path):
    read, suffix = READERS[name]
    (tmp_path / f"broken{suffix}").symlink_to(UNREADABLE)
    with pytest.raises(ValueError) as caught:
        read(tmp_path / f"broken{suffix}")
    assert re.match(FORM.format(name="(broken|mem)"), str(caught.value), re.DOTALL), caught.value


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: path.symlink_to(path), "its links lead in a circle"),
        (lambda path: path.symlink_to(UNREADABLE), "the system says: Input/output error"),
        (lambda path: path.write_bytes(b"\xff\xfe\xfd"), "it is no text in UTF-8"),
    ],
)
def test_the_reader_says_what_is_wrong_and_what_to_do(make, words, tmp_path):
    make(tmp_path / "it")
    with pytest.raises(ValueError) as caught:
        read_text(tmp_path / "it", "a list", argument="list", advice="write it anew")
    assert str(caught.value) == f"list must be a list ({words}); write it anew. Received: {tmp_path / 'it'}"


def test_the_reader_gives_the_content(tmp_path):
    (tmp_path / "it").write_bytes(b"\xef\xbb\xbfa\xc3\xa4")
    assert read_text(tmp_path / "it", "text") == "aä"
    assert read_bytes(tmp_path / "it", "bytes") == b"\xef\xbb\xbfa\xc3\xa4"
    with pytest.raises(ValueError, match=r"path must be text \(its name is too long\)"):
        read_text(tmp_path / ("a" * 300), "text")
    with pytest.raises(ValueError, match=r"path must be text \(a part of the path is a file\)"):
        read_text(tmp_path / "it" / "below", "text")
    with pytest.raises(ValueError, match=r"path must be one \(it does not fit into memory\)"), reading("it", "one"):
        raise MemoryError
