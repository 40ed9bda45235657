"""Handshapes of sign languages by name, from what the downloads of their authors unpack to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfinv.datasets.folder import ImageFile, decode_files, labels_of, sample_files
from tfinv.datasets.handshape_sets import SETS, HandshapeSet
from tfinv.datasets.request import TEST_FRACTION, Request, SplitArrays, finish
from tfinv.datasets.sampling import stratified_split
from tfinv.datasets.sources import find, missing
from tfinv.support.reading import read_text

if TYPE_CHECKING:
    from tfinv.datasets.split import Dataset

NAMES = tuple(SETS)
_SPLIT_SEED = 0


def load_handshapes(name: str, request: Request) -> Dataset:
    """Load one of the sets in `handshape_sets.SETS`.

    Whole subjects are held out where the files tell them apart, otherwise a fixed stratified fifth of the images.

    Args:
        name: one of `NAMES`; the files lie in the folder of this name below `TFINV_DATA`.
        request: size (default: the set's own), channels, subset. With `max_samples` only the images that are drawn
            are read.

    Returns:
        The data set; damaged images are left out with a warning that names them.

    Raises:
        FileNotFoundError: no such folder below `TFINV_DATA`; says what to put where.
        ValueError: a folder without the files that are expected, labels that are no classes, a list that names files
            outside its folder, or no subject to train on or to hold out.
    """
    kind = SETS[name]
    root = find(name)
    if root is None or not root.is_dir():
        raise missing(name, kind.origin, f"{name}/{kind.layout}")
    entries = sorted(_listed(root, kind) if kind.lists else _named(root, kind))
    if not entries:
        raise ValueError(f"{root} must hold {kind.layout}. Received: no such file")
    files = [
        ImageFile(path, label)
        for (path, _, _), label in zip(entries, _numbers([label for _, label, _ in entries], kind, root), strict=True)
    ]
    notes = [f"from the folder {root.name}"]
    parts = _split(files, [subject for _, _, subject in entries], kind, root, notes)
    shape = (*(request.size or kind.size), request.channels or kind.channels)
    arrays = []
    for part in parts:
        images, kept = decode_files(sample_files(part, request), shape, notes, kind.read)
        if not kept:
            raise ValueError(f"{root} must hold readable images. Received: only damaged files in one split")
        arrays += [np.stack(images), labels_of(kept)]
    return finish(name, kind.classes, SplitArrays(*arrays), request, tuple(notes))


def _named(root: Path, kind: HandshapeSet) -> Iterator[tuple[Path, str, str]]:
    """Path, label and subject of every file whose path tells them."""
    pattern = re.compile(kind.pattern)
    for path in root.rglob("*"):
        match = pattern.fullmatch(path.relative_to(root).as_posix())
        if match and path.is_file():
            yield path, match["label"], match.groupdict().get("subject") or ""


def _listed(root: Path, kind: HandshapeSet) -> Iterator[tuple[Path, str, str]]:
    """The same from the lines of text files."""
    for text in sorted(root.rglob("*.txt")):
        match = re.fullmatch(kind.lists, text.name)
        if not match:
            continue
        folder = text.with_suffix("") if text.with_suffix("").is_dir() else text.parent
        for line in read_text(text, "a list of files as text", argument="name_or_path").splitlines():
            path, _, label = line.strip().rpartition(" ")
            if not path:
                continue
            if not (folder / path).resolve().is_relative_to(root.resolve()):
                raise ValueError(f"{text} must list files below {root}. Received: {path!r}")
            yield folder / path, label, match.groupdict().get("subject") or ""


def _numbers(labels: list[str], kind: HandshapeSet, root: Path) -> list[int]:
    """Class numbers from 0."""
    if kind.numbered and all(label.isdecimal() for label in labels):
        values = [int(label) for label in labels]
        first = 0 if 0 in values else 1
        numbers = [value - first for value in values]
    else:
        index = {name: number for number, name in enumerate(kind.classes)}
        numbers = [index.get(label, -1) for label in labels]
    wrong = [label for label, number in zip(labels, numbers, strict=True) if not 0 <= number < len(kind.classes)]
    if wrong:
        raise ValueError(
            f"{root} must hold {len(kind.classes)} classes, {kind.classes[0]} to {kind.classes[-1]}. "
            f"Received: a file of class {wrong[0]!r}"
        )
    return numbers


def _split(
    files: list[ImageFile], subjects: list[str], kind: HandshapeSet, root: Path, notes: list[str]
) -> tuple[list[ImageFile], list[ImageFile]]:
    """Files to train on and files to test on, shuffled."""
    if kind.test:
        held_out = np.isin(subjects, kind.test)
        if held_out.all() or not held_out.any():
            raise ValueError(
                f"{root} must hold files of {', '.join(kind.test)}, which are held out, and of others. "
                f"Received: {', '.join(sorted(set(subjects)))}"
            )
        order = np.random.default_rng(_SPLIT_SEED).permutation(len(files))
        train, test = order[~held_out[order]], order[held_out[order]]
        notes.append(f"held out: {', '.join(sorted({subjects[k] for k in test}))}")
    else:
        train, test = stratified_split(labels_of(files), len(files), round(TEST_FRACTION * len(files)), _SPLIT_SEED)
        notes.append("a stratified fifth is held out; subjects are not told apart")
    return [files[k] for k in train], [files[k] for k in test]
