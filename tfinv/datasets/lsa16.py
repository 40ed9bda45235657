"""LSA16 handshapes of the Argentinian Sign Language, split by subject.

Ronchetti, Quiroga, Estrebou, Lanzarini: Handshape recognition for Argentinian Sign Language using ProbSom.
Journal of Computer Science and Technology 16(1), 2016.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.decode import SUFFIXES, UNREADABLE, decode
from tfinv.datasets.images import adapt
from tfinv.datasets.npz import read_npz
from tfinv.datasets.request import Request, SplitArrays, finish, unit
from tfinv.datasets.sources import find, missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.datasets.split import Dataset

CLASSES = (
    *("five", "four", "horns", "curve", "fingers together", "double", "hook", "index"),
    *("L", "flat hand", "mitten", "beak", "thumb", "fist", "telephone", "V"),
)
TEST_SUBJECTS = (9, 10)
"""Subjects held out: hands that training has never seen."""
SIZE = 32

_FILES = {
    "lsa16": ("lsa16/lsa16_original_rgb32.npz", "lsa16/lsa16"),
    "lsa16_upright": (
        *("lsa16/lsa16_norot_rgbbb32.npz", "lsa16/lsa16_upright", "lsa16/lsa32x32_nr_rgb_black_background"),
    ),
    "lsa16_multirot": ("lsa16/lsa16_multirot_gray32.npz",),
}
NAMES = tuple(_FILES)

_STEM = re.compile(r"(\d+)_(\d+)_(\d+)")
_WHERE_FROM = "the images from https://facundoq.github.io/datasets/lsa16/ (CC BY-NC-SA 4.0)"


def load_lsa16(name: str, request: Request) -> Dataset:
    """Load a version of LSA16: 16 handshapes, 10 subjects, 5 repetitions; subjects 9 and 10 are the test split.

    Args:
        name: `"lsa16"` (hands as photographed, RGB), `"lsa16_upright"` (turned upright, black background, RGB) or
            `"lsa16_multirot"` (every image at 16 angles, grey).
        request: size (default 32x32), channels, subset.

    Returns:
        The data set; labels follow `CLASSES`.

    Raises:
        FileNotFoundError: not found below `TFINV_DATA`; says what to put where.
        ValueError: a file without the arrays x, y and subject, or without the test subjects.
    """
    path = find(*_FILES[name])
    if path is None:
        raise missing(name, _WHERE_FROM, _layout(name))
    x, y, subject = _from_folder(path, request) if path.is_dir() else _from_npz(path)
    if not np.isin(TEST_SUBJECTS, subject).all() or set(np.unique(subject)) <= set(TEST_SUBJECTS):
        raise ValueError(
            f"{path} must hold subjects 1 to 10, of which {TEST_SUBJECTS} are held out. "
            f"Received: subjects {np.unique(subject).tolist()}"
        )
    order = np.random.default_rng(0).permutation(len(x))  # files are sorted by class; splits should not be
    test = np.isin(subject[order], TEST_SUBJECTS)
    train_index, test_index = order[~test], order[test]
    arrays = SplitArrays(x[train_index], y[train_index], x[test_index], y[test_index])
    held_out = " and ".join(map(str, TEST_SUBJECTS))
    return finish(name, CLASSES, arrays, request, (f"from {path.name}", f"subjects {held_out} are held out"))


def _from_npz(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    arrays = read_npz(path)
    if not {"x", "y", "subject"} <= arrays.keys() or arrays["x"].dtype != np.uint8:
        raise ValueError(f"{path} must hold uint8 x, and y and subject. Received: {', '.join(arrays)}")
    return arrays["x"], arrays["y"], arrays["subject"]


def _from_folder(path: Path, request: Request) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Images named CLASS_SUBJECT_REPETITION.png, classes from 1, as the authors publish them, in the size asked for."""
    height, width = request.size or (SIZE, SIZE)
    files = [
        (file, match)
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in SUFFIXES and (match := _STEM.fullmatch(file.stem))
    ]
    if not files:
        raise ValueError(f"{path} must hold images named CLASS_SUBJECT_REPETITION.png. Received: none")
    images = []
    for file, _ in files:
        try:
            images.append(adapt(unit(decode(file))[None], (height, width, 3))[0].clip(0, 1))
        except UNREADABLE as error:
            raise ValueError(f"{file} is not a readable image: {error}") from error
    numbers = np.array([[int(number) for number in match.groups()] for _, match in files])
    return np.stack(images), numbers[:, 0] - 1, numbers[:, 1]


def _layout(name: str) -> str:
    npz, *folders = _FILES[name]
    text = f"{npz} with x (uint8), y (0..15) and subject (1..10)"
    return f"{text}, or as a folder {folders[0]}/ of images CLASS_SUBJECT_REPETITION.png" if folders else text
