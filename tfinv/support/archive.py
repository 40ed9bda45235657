"""Arrays with a JSON header in one `.npz` file: written atomically, read with one error for every damaged file."""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from tfinv.support.files import atomic_write
from tfinv.support.memory import available
from tfinv.support.reading import reading
from tfinv.support.schema import Rule, Schema, check

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = dict[str, "NDArray[Any]"]
HEADER = "header"
_END = 22
"""Bytes of the record that ends a zip file."""
_LOCAL = 30
"""Bytes of the record before every member of a zip file, without its name and its extra field."""
_MOST_COMPRESSION = 1100
"""Deflate makes data at most 1032 times smaller."""
_MEMBER = Rule(
    list,
    lambda pair: len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], list),
    "a dtype and a shape",
)


def write(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    *,
    compress: bool = True,
) -> None:
    """Write arrays and a header to one file, atomically and without pickle.

    Args:
        path: the file; by convention it ends in `.npz`.
        kind: what the file is, such as `"tfinv-results"`.
        version: of its layout.
        header: JSON values, without the names `format`, `version` and `members`.
        arrays: arrays by name, none of objects and none called `header`.
        compress: make the file smaller, which takes longer.
    """
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    members = {name: [array.dtype.str, list(array.shape)] for name, array in plain.items()}
    text = json.dumps({"format": kind, "version": version, **header, "members": members}, allow_nan=False)
    save = np.savez_compressed if compress else np.savez
    with atomic_write(path) as file:
        save(file, header=np.frombuffer(text.encode(), np.uint8), **plain)  # type: ignore[arg-type]


@contextmanager
def opened(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    schema: Schema,
    what: str,
    *,
    older: tuple[int, ...] = (),
    argument: str = "path",
    advice: str = "",
) -> Iterator[tuple[dict[str, Any], Arrays]]:
    """Read what `write` wrote; errors of the block count as errors of the file.

    Args:
        path: the file.
        kind: what the file must be.
        version: the version that this code writes and reads.
        schema: what the header must hold, see `tfinv.support.schema`.
        what: see `reading`.
        older: earlier versions that this code reads too, with the same schema.
        argument: see `reading`.
        advice: see `reading`.

    Yields:
        The header and the arrays by name.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: the file is damaged, of another kind, or of a version that this code does not know.
    """
    with reading(path, what, argument=argument, advice=advice):
        arrays = load_arrays(path)
        header = parse_header(arrays, kind, version, schema, older)
        _check_members(header.get("members"), arrays)
        yield header, arrays


def load_arrays(path: str | os.PathLike[str]) -> Arrays:
    """All arrays of an `.npz` file, to be called inside `reading`; nothing is unpickled.

    The size of an array is checked against its member and against the free memory before memory is taken for it.
    """
    with _zip(path) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > available():
            raise MemoryError
        return {_name(member): _array(archive, member) for member in archive.infolist()}


def load_member(path: str | os.PathLike[str], name: str) -> NDArray[Any]:
    """One array of an `.npz` file, to be called inside `reading`; mapped from the file where it is not compressed.

    The other members are not read.

    Raises:
        ValueError: there is no such array.
    """
    with _zip(path) as archive:
        info = next((member for member in archive.infolist() if _name(member) == name), None)
        if info is None:
            known = ", ".join(_name(member) for member in archive.infolist())
            raise ValueError(f"it has no array {name!r:.60}, only {known or 'none'}")
        if info.compress_type != zipfile.ZIP_STORED:
            if info.file_size > available():
                raise MemoryError
            return _array(archive, info)
        with archive.open(info) as stream:
            _check_size(stream, info.file_size, name)
            start = stream.tell()
            stream.seek(0)
            shape, fortran, dtype = _head(stream, name)
    with open(path, "rb") as file:  # the length of the extra field may differ from that of the directory of the file
        file.seek(info.header_offset)
        local = file.read(_LOCAL)
    lengths = struct.unpack("<HH", local[-4:])
    offset = info.header_offset + _LOCAL + sum(lengths) + start
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def names(path: str | os.PathLike[str]) -> list[str]:
    """The names of the arrays of an `.npz` file, to be called inside `reading`."""
    with _zip(path) as archive:
        return [_name(member) for member in archive.infolist()]


def parse_header(
    arrays: Mapping[str, NDArray[Any]], kind: str, version: int, schema: Schema, older: tuple[int, ...] = ()
) -> dict[str, Any]:
    """The header among some arrays, checked; `older` holds earlier versions that are read too.

    Raises:
        ValueError: the header is no JSON, of another kind or version, or not as `schema` declares.
        KeyError: there is none.
    """
    coded = arrays[HEADER]
    if coded.dtype != np.uint8 or coded.ndim != 1:
        raise ValueError(f"its header must be bytes, and is {coded.dtype} of shape {coded.shape}")
    try:
        header = json.loads(coded.tobytes().decode())
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError("its header is no JSON") from None
    if not isinstance(header, dict) or header.get("format") != kind:
        known = header.get("format") if isinstance(header, dict) else None
        raise ValueError(f"its format is {known!r:.60} instead of {kind!r}")
    if header.get("version") not in (*older, version) or isinstance(header["version"], bool):
        known = " and ".join(map(str, (*older, version)))
        raise ValueError(
            f"it is version {header.get('version')!r:.60}, this tfinv reads version{'s' * bool(older)} {known}"
        )
    check(header, schema, "its header")
    return header


def member(
    arrays: Mapping[str, NDArray[Any]], name: str, dtype: str, shape: tuple[int | None, ...] | None = None
) -> NDArray[Any]:
    """One array of a file, refused where its dtype or shape is another one.

    Args:
        arrays: those of the file.
        name: which one.
        dtype: the dtype that it must have, such as `"float64"`; its byte order does not matter.
        shape: the shape that it must have, None for a free length; None for any shape.
    """
    array = arrays[name]
    fits = shape is None or (
        len(shape) == array.ndim and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    )
    if array.dtype.newbyteorder("=") != np.dtype(dtype) or not fits:
        wanted = dtype if shape is None else f"{dtype} of shape {shape}"
        raise ValueError(f"its array {name!r} must be {wanted}, and is {array.dtype} of shape {array.shape}")
    return array


def _check_members(members: Any, arrays: Arrays) -> None:
    """Compare the arrays with the list that `write` puts into the header; older files have none."""
    if members is None:
        return
    check(members, {str: _MEMBER}, "its header.members")
    for name, (dtype, shape) in members.items():
        member(arrays, name, dtype, tuple(shape))
    if set(arrays) != {HEADER, *members}:
        raise ValueError("it holds arrays that its header does not list")


def _zip(path: str | os.PathLike[str]) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except UnicodeDecodeError:  # the name of a member
        raise zipfile.BadZipFile from None
    with open(path, "rb") as tail:
        tail.seek(-_END, os.SEEK_END)
        end = tail.read()
    listed = int.from_bytes(end[10:12], "little")
    if end[:4] == b"PK\x05\x06" and listed != min(len(archive.infolist()), 0xFFFF):
        archive.close()
        raise zipfile.BadZipFile  # zipfile does not compare the number of members with the one written down
    return archive


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    name = _name(info)
    if not info.filename.endswith(".npy"):
        raise ValueError(f"its member {name!r:.60} is no array")
    if info.file_size > _MOST_COMPRESSION * info.compress_size + _MOST_COMPRESSION:
        raise ValueError(f"its array {name!r:.60} is said to be {info.file_size} bytes large, which cannot be")
    with archive.open(info) as stream:
        _check_size(stream, info.file_size, name)
    with archive.open(info) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):  # reading to the end makes zipfile check the sum over the bytes
            raise ValueError(f"its array {name!r:.60} is followed by other bytes")
    return array


def _check_size(stream: IO[bytes], size: int, name: str) -> None:
    """Compare the size that the head of an array declares with the size of its member."""
    shape, _, dtype = _head(stream, name)
    if dtype.hasobject:
        raise ValueError(f"its array {name!r:.60} holds Python objects, which are never unpickled")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - stream.tell():
        raise ValueError(f"its array {name!r:.60} is said to be {dtype} of shape {shape}, its bytes are another number")


def _head(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and dtype of an array, from its first bytes."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its array {name!r:.60} is of the unknown .npy version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)
