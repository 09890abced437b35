"""A foreign file, NPZ or HDF5, as named arrays that are read in parts. Never unpickles anything.

What the arrays mean does not belong here. All damage becomes an `InputError` with file and name.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from fly64_assets.errors import InputError, MissingFile
from fly64_assets.ptychography import npz

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
SMALLEST_USER_BLOCK = 512
"""HDF5's own data start at byte 0, or at this or any doubling of it (file format, section II.A)."""
KNOWN_STARTS = (b"PK", b"\x93NUMPY", b"\x80")
"""Of a zip archive, whole or not, of an NPY array and of a pickle: `npz` says what is wrong."""
LISTED = 12
"""Names that an error lists at most."""


class StoredArray:
    """One array of a file; ``stored[index]`` reads a part of it."""

    def __init__(self, path: Path, name: str, array: Any) -> None:
        self._path, self.name, self._array = path, name, array
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: np.dtype = array.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        try:
            part = np.asarray(self._array[index])
        except (OSError, RuntimeError) as error:
            problem = f"is truncated or corrupted: {str(error).splitlines()[0]}"
            raise InputError(self._path, self.name, problem) from None
        npz.release(self._array)
        return part


class Source:
    """Base of both kinds of file.

    Attributes:
        path: of the file.
        root_names: names that are matched with DATA-001 keys without being told.
        names: every array, for messages and for what is dropped.
        container: kind of file.
    """

    path: Path
    container: str
    root_names: tuple[str, ...]
    names: tuple[str, ...]

    def array(self, name: str) -> StoredArray:
        """An array of numbers.

        Raises:
            InputError: there is none of that name, or it does not hold plain numbers.
        """
        raise NotImplementedError

    def text(self, name: str) -> str | None:
        """The text that a scalar holds; ``None`` where it holds something else."""
        raise NotImplementedError

    def describe(self, name: str) -> str:
        """Type, shape and, where members have bytes of their own, their sha256."""
        raise NotImplementedError

    def exists(self, name: str) -> bool:
        return name in self.names

    def is_pickled(self, name: str) -> bool:
        return False

    def attributes(self) -> list[str]:
        """Names of what is attached to the file and its arrays, which DATA-001 has no place for."""
        return []

    def holds(self) -> str:
        """The names in the file, for an error."""
        shown = ", ".join(self.names[:LISTED]) or "no array"
        more = len(self.names) - LISTED
        return shown + (f" and {more} more" if more > 0 else "")

    def missing(self, name: str) -> InputError:
        return InputError(self.path, name, f"missing; the file holds {self.holds()}")


class _NpzSource(Source):
    container = "NPZ"

    def __init__(self, path: Path) -> None:
        self.path = path
        npz.verify_npz(path)
        self._headers = npz.describe_npz(path)
        self.names = self.root_names = tuple(self._headers)

    def array(self, name: str) -> StoredArray:
        if name not in self._headers:
            raise self.missing(name)
        return StoredArray(self.path, name, npz.open_array(self.path, name))

    def text(self, name: str) -> str | None:
        header = self._headers[name]
        if header.dtype.kind not in "US" or header.shape not in ((), (1,)):
            return None
        value = npz.read_npz(self.path, [name])[name].reshape(())[()]
        return _decoded(value)

    def describe(self, name: str) -> str:
        header, digest = self._headers[name], hashlib.sha256()
        with zipfile.ZipFile(self.path) as archive, archive.open(name + ".npy") as member:
            while part := member.read(npz.CHUNK_BYTES):
                digest.update(part)
        kind = "pickled objects" if header.dtype.hasobject else str(header.dtype)
        return f"{kind} {header.shape}, sha256 of the member {digest.hexdigest()}"

    def is_pickled(self, name: str) -> bool:
        return self._headers[name].dtype.hasobject


def _decoded(value: str | bytes) -> str | None:
    if isinstance(value, str):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


class _Hdf5Source(Source):
    container = "HDF5"

    def __init__(self, path: Path, file: Any) -> None:
        import h5py

        self.path, self._file, self._h5py = path, file, h5py
        found: list[str] = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found.append(name)

        file.visititems(visit)
        self.root_names = tuple(name for name in file if isinstance(self._get(name), h5py.Dataset))
        self.names = tuple(dict.fromkeys([*self.root_names, *found]))

    def _get(self, name: str) -> Any:
        try:
            return self._file.get(name)
        except (OSError, RuntimeError, KeyError):
            return None  # a dangling link

    def exists(self, name: str) -> bool:
        return isinstance(self._get(name), self._h5py.Dataset)

    def attributes(self) -> list[str]:
        held = {"": self._file} | {name: self._get(name) for name in self.names}
        return [f"{name}@{key}" for name, item in held.items() if item for key in item.attrs]

    def array(self, name: str) -> StoredArray:
        dataset = self._get(name)
        if not isinstance(dataset, self._h5py.Dataset):
            raise self.missing(name)
        outside = dataset.file.filename != self._file.filename
        if outside or dataset.is_virtual or dataset.external:
            problem = "lies in another file, which the recorded sha256 would not cover; import that"
            raise InputError(self.path, name, problem)
        if dataset.shape is None or dataset.dtype.kind not in "biufc":
            problem = f"is {dataset.dtype}, not an array of numbers"
            raise InputError(self.path, name, problem)
        return StoredArray(self.path, name, dataset)

    def text(self, name: str) -> str | None:
        dataset = self._get(name)
        if self._h5py.check_string_dtype(dataset.dtype) is None or dataset.size != 1:
            return None
        return _decoded(dataset[()] if dataset.shape == () else dataset[:].reshape(-1)[0])

    def describe(self, name: str) -> str:
        dataset = self._get(name)
        return f"{dataset.dtype} {dataset.shape}" if hasattr(dataset, "dtype") else "unreadable"


@contextmanager
def open_source(path: str | Path) -> Iterator[Source]:
    """An NPZ or HDF5 file, told apart by its first bytes.

    Raises:
        InputError: the file is missing, empty, damaged or neither.
    """
    path = Path(path)
    require_file(path)
    if _is_npz(path):
        yield _NpzSource(path)
        return
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        problem = f"is truncated or damaged: {str(error).splitlines()[0]}"
        raise InputError(path, "", problem) from None
    with file:
        yield _Hdf5Source(path, file)


def require_file(path: str | Path) -> None:
    """Refuse a path where no regular file lies.

    Raises:
        InputError: with what lies there instead.
    """
    if not os.path.exists(path):
        raise MissingFile(path, "", "does not exist")
    if not os.path.isfile(path):
        problem = "is a folder, not a file" if os.path.isdir(path) else "is no regular file"
        raise InputError(path, "", problem)


def _is_npz(path: Path) -> bool:
    """Whether to read it as NPZ rather than as HDF5.

    Raises:
        InputError: it is neither, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(HDF5_MAGIC)).startswith(KNOWN_STARTS) or not path.stat().st_size:
                return True
            if _has_hdf5_magic(file):
                return False
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror or error}") from None
    raise InputError(path, "", "is neither NPZ nor HDF5")


def _has_hdf5_magic(file: IO[bytes]) -> bool:
    at, end = 0, file.seek(0, os.SEEK_END)
    while at < end:
        file.seek(at)
        if file.read(len(HDF5_MAGIC)) == HDF5_MAGIC:
            return True
        at = 2 * at or SMALLEST_USER_BLOCK
    return False


def sha256_of_file(path: str | Path) -> str:
    """sha256 of a file's bytes, read in parts."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
