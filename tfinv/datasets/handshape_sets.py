"""Descriptions of the handshape data sets of sign languages: where they come from and how their files are named.

The names of files and folders are those that the authors' downloads unpack to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Any

from tfinv.datasets.decode import decode
from tfinv.datasets.hand_images import read_depth, read_hand, read_matrix, read_points

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class HandshapeSet:
    r"""How one data set lies on disk.

    Args:
        classes: names of the classes; names that are all numbers are numbers in the file names too.
        size: `(H, W)` that images get where no other size is asked for.
        channels: 1 or 3.
        origin: what to download, for the error and the documentation.
        layout: what the download unpacks to, for the error.
        pattern: regular expression of paths below the set's folder, with a group `label` and optionally `subject`.
        lists: regular expression of names of text files with lines `PATH LABEL`, with optionally a group `subject`;
            paths start at the folder of the list's name, or else at the folder that holds the list.
        test: subjects that are held out; empty for a stratified fifth of the images.
        read: reads one file; gives `(H, W, C)`, uint8 or float in [0, 1].
        numbered: whether labels are numbers, from 1 unless there is a 0.
    """

    classes: tuple[str, ...]
    size: tuple[int, int]
    channels: int
    origin: str
    layout: str
    pattern: str = ""
    lists: str = ""
    test: tuple[str, ...] = ()
    read: Callable[[Path], NDArray[Any]] = decode
    numbered: bool = False


_RWTH = (
    *("1", "2", "3", "3_hook", "4", "5", "a", "ae", "b", "b_nothumb", "b_thumb", "by", "c", "cbaby", "d", "e", "f"),
    *("f_open", "fly", "fly_nothumb", "g", "h", "h_hook", "h_thumb", "i", "index", "index_flex", "index_hook"),
    *("ital", "ital_nothumb", "ital_open", "ital_thumb", "jesus", "k", "l_hook", "o", "obaby", "pincet", "r", "s"),
    *("v", "v_flex", "w", "write", "y"),
)
_KANA = (
    "a i u e o ka ki ku ke ko sa shi su se so ta chi tsu te to na ni nu ne "
    "ha hi hu he ho ma mi mu me ya yu yo ra ru re ro wa"
)
_NUS = "https://www.ece.nus.edu.sg/stfpage/elepv/NUS-HandSet"
_FINGERSPELLING = "http://www.cvssp.org/FingerSpellingKinect2011"
_INDIAN = "https://zafar142007.github.io/Gesture-Recognition-for-Indian-Sign-Language-using-Kinect"

SETS = {
    "rwth": HandshapeSet(
        _RWTH,
        (132, 92),
        3,
        "ph2014-dev-set-handshape-annotations.tar.gz from https://www-i6.informatik.rwth-aachen.de/~koller/1miohands-data",
        "ph2014-dev-set-handshape-annotations/3359-ph2014-MS-handshape-annotations.txt and the images that it lists",
        lists=r".*handshape-annotations\.txt",
    ),
    "ciarp": HandshapeSet(
        tuple(map(str, range(10))),
        (38, 38),
        1,
        "ciarp.zip from http://home.agh.edu.pl/~bkw/code/ciarp2017",
        "ciarp/train_..._WithoutGabor/, ciarp/test_..._WithoutGabor/ and a list ..._WithoutGabor.txt of each",
        lists=r"(?P<subject>train|test)_.*WithoutGabor\.txt",
        test=("test",),
        numbered=True,
    ),
    "irish": HandshapeSet(
        tuple(ascii_uppercase),
        (64, 64),
        1,
        "Person1.zip to Person6.zip from https://github.com/marlondcu/ISL (folder Frames)",
        "Person1/Person1-A-1-1.jpg and so on, a folder for every archive",
        r"(?:.*/)?Person(?P<subject>\d)-(?P<label>[A-Z])-[^/]*",
        test=("6",),
        read=read_hand,
    ),
    "nus1": HandshapeSet(
        tuple(str(number) for number in range(1, 11)),
        (120, 160),
        3,
        f"NUS-Hand-Posture-Dataset-I.zip from {_NUS}",
        "NUS Hand Posture Dataset/Color/g1 (1).jpg and so on",
        r"(?:.*/)?Color/g(?P<label>\d+) ?\(\d+\)\.[^/]*",
        numbered=True,
    ),
    "nus2": HandshapeSet(
        tuple("abcdefghij"),
        (120, 160),
        3,
        f"NUS-Hand-Posture-Dataset-II.zip from {_NUS}",
        "NUS Hand Posture dataset-II/Hand Postures/a (1).jpg and so on",
        r"(?:.*/)?Hand Postures/(?P<label>[a-j])[^/]*",
    ),
    "pugeault_a": HandshapeSet(
        tuple(letter for letter in ascii_lowercase if letter not in "jz"),
        (32, 32),
        3,
        f"fingerspelling5.tar.bz2 from {_FINGERSPELLING}",
        "dataset5/A/a/color_0_0002.png and so on: subjects A to E, letters a to y",
        r"(?:.*/)?(?P<subject>[A-E])/(?P<label>[a-y])/color_[^/]*",
        test=("E",),
    ),
    "pugeault_b": HandshapeSet(
        tuple(ascii_lowercase),
        (32, 32),
        1,
        f"dataset9-depth.tar.gz from {_FINGERSPELLING}",
        "ds9/A/a/depth_0_0001.png and so on: subjects A to I, letters a to z",
        r"(?:.*/)?(?P<subject>[A-I])/(?P<label>[a-z])/depth_[^/]*",
        test=("I",),
        read=read_depth,
    ),
    "psl": HandshapeSet(
        tuple("abceilmnoprstuwy"),
        (144, 176),
        1,
        "the .7z files of the three persons from http://vision.kia.prz.edu.pl/statictof.php",
        "person_a/a/.../NAME.pcd and so on: persons a to c, a folder for every letter",
        r"(?:.*/)?person_?(?P<subject>[A-Ca-c])[^/]*/(?P<label>[a-z])/(?:.*/)?[^/]*\.pcd",
        test=("c", "C"),
        read=read_points,
    ),
    "jsl": HandshapeSet(
        tuple(_KANA.split()),
        (32, 32),
        1,
        "jsl.zip from http://home.agh.edu.pl/~bkw/research/data/mva",
        "images whose names hold the class, 01 to 41, as their 10th and 11th characters",
        r"(?:.*/)?[^/]{9}(?P<label>\d\d)[^/]*\.(?:png|jpe?g)",
        numbered=True,
    ),
    **{
        name: HandshapeSet(
            tuple(str(number) for number in range(1, 141)),
            (60, 80),
            channels,
            f"the archives of the 18 users from {_INDIAN}",
            f"user1{kind}reshoot/, user2{kind}/ to user18{kind}/, with files such as user2??12-... for class 12",
            rf"(?:.*/)?user(?P<subject>\d+){kind}[^/]*/(?:.*/)?user\d+?..(?P<label>\d{{1,3}})-[^/]*",
            test=("16", "17", "18"),
            read=read,
            numbered=True,
        )
        for name, kind, channels, read in (("indian_a", "rgb", 3, decode), ("indian_b", "depth", 1, read_matrix))
    },
}
"""By the name that `tfinv.datasets.load` knows them by."""
