"""The one place that reads and writes NPZ archives. Nothing here ever pickles or unpickles.

An NPZ is a zip archive with one NPY array per member (numpy.lib.format, NEP 1; APPNOTE.TXT of the
zip format). What the arrays mean does not belong here (``dataset.py``), nor where files lie.
"""

from __future__ import annotations

import hashlib
import io
import math
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from fly64_assets.errors import InputError, MissingFile

CHUNK_BYTES = 1 << 22
MEMBER_SUFFIX = ".npy"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
# Data start at a multiple of this, so that a memory map of a member is an aligned array.
ALIGNMENT = 64
ALIGNMENT_FIELD = 0xD935  # the extra field that zipalign registered for padding
LOCAL_HEADER_BYTES = 30
ZIP64_FIELD_BYTES = 20
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
)
PICKLED = "is pickled (an object array); arrays with pickled content are never loaded"


@dataclass(frozen=True)
class ArrayHeader:
    """What an NPZ member says of itself before any of its values are read."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran_order: bool
    compressed: bool

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of about 4 MiB along the first axis, together the array in C order."""
    if array.ndim == 0 or array.nbytes <= CHUNK_BYTES:
        yield array
        return
    step = max(1, CHUNK_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), step):
        yield array[start : start + step]
        release(array)


def release(array: np.ndarray) -> None:
    """Let go of the pages of a shared memory map; the file keeps every value.

    Pages once touched stay resident otherwise, and a process that streams a file grows to its size.
    An array that lies elsewhere is left alone.
    """
    mapped: np.ndarray | None = array
    while isinstance(mapped, np.ndarray) and not isinstance(mapped, np.memmap):
        mapped = mapped.base  # of a plain view of a map
    pages = getattr(mapped, "_mmap", None) if getattr(mapped, "mode", "c") != "c" else None
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def _raw(array: np.ndarray) -> memoryview | bytes:
    """Return the values' bytes in C order, without a copy where they already lie so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.nbytes else b""


def _require_plain(source: str | Path, key: str, dtype: np.dtype) -> None:
    if dtype.hasobject:
        raise InputError(source, key, PICKLED)


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed NPZ whose bytes depend on the arrays alone.

    Members are stored in the order of their names with fixed dates and are flushed to disk. Memory
    maps are streamed in chunks. The file is written in place: put it into a staging folder.

    Args:
        path: file to create or replace.
        arrays: name to array of any shape; no object dtype. Stored in C order.

    Raises:
        InputError: an array holds Python objects, or a name cannot be a member's name.
    """
    for key, array in arrays.items():
        if not key or "/" in key or "\\" in key or "\0" in key:
            raise InputError(path, key, "is no valid array name")
        _require_plain(path, key, np.asanyarray(array).dtype)
    with open(path, "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for key in sorted(arrays):
                _write_member(archive, file.tell(), key, np.asanyarray(arrays[key]))
        file.flush()
        os.fsync(file.fileno())


def _write_member(archive: zipfile.ZipFile, offset: int, key: str, array: np.ndarray) -> None:
    info = zipfile.ZipInfo(key + MEMBER_SUFFIX, ZIP_EPOCH)
    info.external_attr = 0o644 << 16
    name_bytes = len(info.filename.encode("utf-8"))
    start = offset + LOCAL_HEADER_BYTES + name_bytes + ZIP64_FIELD_BYTES + 6
    padding = -start % ALIGNMENT
    info.extra = struct.pack("<HHH", ALIGNMENT_FIELD, 2 + padding, ALIGNMENT) + bytes(padding)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header,
        {
            "descr": np.lib.format.dtype_to_descr(array.dtype),
            "fortran_order": False,
            "shape": array.shape,
        },
    )
    with archive.open(info, "w", force_zip64=True) as member:
        member.write(header.getvalue())
        for chunk in chunks(array):
            member.write(_raw(chunk))


@contextmanager
def _archive(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """Yield an open archive; every way in which the file is none becomes an `InputError`."""
    path = Path(path)
    if not path.exists():
        raise MissingFile(path, "", "does not exist")
    if not path.is_file():
        raise InputError(path, "", "is not a file")
    if path.stat().st_size == 0:
        raise InputError(path, "", "file is empty (0 bytes)")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError):
        raise InputError(path, "", _not_an_archive(path)) from None
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror or error}") from None
    with archive:
        yield archive


def _not_an_archive(path: Path) -> str:
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        return "is truncated or damaged: the zip directory at its end cannot be read"
    if start.startswith(np.lib.format.MAGIC_PREFIX):
        return "is a single NPY array, not an NPZ archive"
    if start.startswith(b"\x80"):
        return "is a pickle, which is never loaded; an NPZ archive is wanted"
    if start.startswith(b"\x89HDF"):
        return "is an HDF5 file, not an NPZ archive"
    return "is not an NPZ (zip) archive"


def _members(path: str | Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        key = info.filename.removesuffix(MEMBER_SUFFIX)
        if key == info.filename:
            raise InputError(path, key, "is no NPY member of an NPZ archive")
        if key in members:
            raise InputError(path, key, "appears twice in the archive")
        members[key] = info
    return members


def _select(
    path: str | Path, members: dict[str, zipfile.ZipInfo], keys: Sequence[str] | None
) -> list[str]:
    for key in keys or ():
        if key not in members:
            held = ", ".join(sorted(members)) or "nothing"
            raise InputError(path, key, f"missing; the file holds {held}")
    return list(members if keys is None else keys)


def _header(path: str | Path, key: str, file: IO[bytes], *, compressed: bool) -> ArrayHeader:
    try:
        version = np.lib.format.read_magic(file)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = reader(file)
    except KeyError:
        raise InputError(path, key, f"uses NPY version {version}, which is not known") from None
    except ValueError as error:
        problem = f"is no NPY array: {str(error).splitlines()[0]}"
        raise InputError(path, key, problem) from None
    if any(side < 0 for side in shape):
        raise InputError(path, key, f"is no NPY array: its shape is {shape}")
    return ArrayHeader(dtype, shape, fortran_order, compressed)


@contextmanager
def _damage_named(path: str | Path, key: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise InputError(path, key, f"is truncated or corrupted: {error}") from None


def _read_member(
    path: str | Path, key: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> np.ndarray:
    with _damage_named(path, key), archive.open(info) as member:
        header = _header(path, key, member, compressed=info.compress_type != zipfile.ZIP_STORED)
        _require_plain(path, key, header.dtype)
        if header.nbytes > info.file_size:
            raise InputError(path, key, _size_problem(header, info))
        values = bytearray(header.nbytes)
        view = memoryview(values)
        done = 0
        while done < len(view):
            part = member.read(min(CHUNK_BYTES, len(view) - done))
            if not part:
                raise InputError(path, key, _size_problem(header, info))
            view[done : done + len(part)] = part
            done += len(part)
        # Reading to the member's end is also what makes zipfile compare the checksum.
        if member.read(1):
            raise InputError(path, key, _size_problem(header, info))
    if not values:
        return np.zeros(header.shape, header.dtype)
    array = np.frombuffer(values, header.dtype)
    return array.reshape(header.shape, order="F" if header.fortran_order else "C")


def _size_problem(header: ArrayHeader, info: zipfile.ZipInfo) -> str:
    return (
        f"is truncated or corrupted: {header.dtype} {header.shape} wants {header.nbytes} bytes, "
        f"the member has {info.file_size} with its header"
    )


def describe_npz(path: str | Path) -> dict[str, ArrayHeader]:
    """Return the header of every array, no values; object arrays are described, not refused.

    Raises:
        InputError: the file is missing, empty, damaged or no NPZ archive.
    """
    with _archive(path) as archive:
        headers = {}
        for key, info in _members(path, archive).items():
            with _damage_named(path, key), archive.open(info) as member:
                compressed = info.compress_type != zipfile.ZIP_STORED
                headers[key] = _header(path, key, member, compressed=compressed)
        return headers


def verify_npz(path: str | Path) -> None:
    """Read every member once, in chunks, against its CRC-32 checksum.

    Raises:
        InputError: the file is missing, empty, truncated, corrupted or no NPZ archive.
    """
    with _archive(path) as archive:
        for key, info in _members(path, archive).items():
            with _damage_named(path, key), archive.open(info) as member:
                while member.read(CHUNK_BYTES):
                    pass


def read_npz(path: str | Path, keys: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read arrays into memory; checksums are verified.

    Args:
        path: an NPZ archive, compressed or not.
        keys: the arrays to read, ``None`` for all.

    Returns:
        Name to array, dtype and shape as stored.

    Raises:
        InputError: file missing, empty, truncated, corrupted or no NPZ; key missing; array pickled.
    """
    with _archive(path) as archive:
        members = _members(path, archive)
        selected = _select(path, members, keys)
        return {key: _read_member(path, key, archive, members[key]) for key in selected}


def open_array(path: str | Path, key: str) -> np.ndarray:
    """One array, as a read-only memory map of the file where it is stored uncompressed.

    A memory map does not verify the checksum (`verify_npz` does); its length is verified. A
    compressed member is read into memory.

    Raises:
        InputError: as `read_npz`.
    """
    with _archive(path) as archive:
        members = _members(path, archive)
        _select(path, members, [key])
        info = members[key]
        if info.compress_type != zipfile.ZIP_STORED:
            array = _read_member(path, key, archive, info)
            array.flags.writeable = False
            return array
        with _damage_named(path, key), open(path, "rb") as file:
            file.seek(info.header_offset)
            local = file.read(LOCAL_HEADER_BYTES)
            name_bytes, extra_bytes = struct.unpack_from("<HH", local, 26)
            start = info.header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes
            file.seek(start)
            header = _header(path, key, file, compressed=False)
            offset = file.tell()
            _require_plain(path, key, header.dtype)
            if offset - start + header.nbytes != info.file_size:
                raise InputError(path, key, _size_problem(header, info))
            if offset + header.nbytes > Path(path).stat().st_size:
                raise InputError(path, key, "is truncated: the file ends before the array does")
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    if header.nbytes == 0:  # an empty range cannot be mapped
        return np.zeros(header.shape, header.dtype, order=order)
    return np.memmap(path, header.dtype, "r", offset, header.shape, order=order)


def array_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over names in order, dtypes, shapes and C-order bytes; independent of any file.

    Args:
        arrays: name to array of any shape; memory maps are streamed.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: an array holds Python objects.
    """
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = np.asanyarray(arrays[key])
        _require_plain("array digest", key, array.dtype)
        # Lengths are part of every record, so that no two sets of arrays share a byte stream.
        label = repr((key, np.lib.format.dtype_to_descr(array.dtype), array.shape)).encode()
        digest.update(struct.pack("<QQ", len(label), array.nbytes) + label)
        for chunk in chunks(array):
            digest.update(_raw(chunk))
    return digest.hexdigest()
