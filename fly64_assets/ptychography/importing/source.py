"""A foreign file, NPZ or HDF5, as named arrays that are read in parts. Never unpickles anything.

What the arrays mean does not belong here. All damage becomes an `InputError` with file and name.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.errors import InputError, MissingFile
from fly64_assets.ptychography.data001 import npz

KNOWN_STARTS = (b"PK", b"\x93NUMPY", b"\x80")
"""Of a zip archive, whole or not, of an NPY array and of a pickle: `npz` says what is wrong."""
LISTED = 12
"""Names that an error lists at most."""
MOST_OBJECTS = 10_000
"""Arrays and groups that a file may hold: all are looked at."""
LARGEST_WHOLE = 1 << 32
"""Bytes of an array that is read in one piece."""
DENSEST = 200
"""Most bytes that one stored byte may stand for, beyond `UNPACKED_FREELY`; deflate reaches 1032."""
UNPACKED_FREELY = 1 << 30
COMPLEX_FIELDS = (("real", "imag"), ("r", "i"), ("re", "im"))
"""Names of the two fields of a compound that is a complex number, as MATLAB and others have it."""
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError)
"""What h5py raises where a file is damaged or a link leads nowhere; all of Unicode's errors too."""


class StoredArray:
    """One array of a file, read in parts.

    Attributes:
        path, name: of the file, and in it.
        shape, dtype: as NumPy has them, whatever the file's order and form of complex numbers.
    """

    def __init__(self, source: Source, name: str, array: Any, *, backwards: bool = False) -> None:
        """Wrap NumPy's or h5py's array; ``backwards``: its axes are the other way round."""
        self._source, self.path = source, source.path
        self.name, self._array, self._backwards = name, array, backwards
        self.shape: tuple[int, ...] = tuple(array.shape)[:: -1 if backwards else 1]
        self._pair = _complex_pair(array.dtype)
        self.dtype: np.dtype = array.dtype
        if self._pair:
            self.dtype = np.result_type(array.dtype[0], np.complex64)
        self._lead = self._trail = 0

    def squeezed(self, dimensions: int) -> StoredArray:
        """Drop surplus axes of length 1 at both ends."""
        other = copy.copy(self)
        while len(other.shape) > dimensions and other.shape[0] == 1:
            other.shape, other._lead = other.shape[1:], other._lead + 1
        while len(other.shape) > dimensions and other.shape[-1] == 1:
            other.shape, other._trail = other.shape[:-1], other._trail + 1
        return other

    def whole(self) -> np.ndarray:
        """Read all of it.

        Raises:
            InputError: it is larger than an object or a list of positions can be, or damaged.
        """
        if math.prod(self.shape) * self.dtype.itemsize > LARGEST_WHOLE:
            problem = f"is {self.dtype} {self.shape}, larger than {LARGEST_WHOLE >> 30} GiB"
            raise self._source.error(self.name, problem)
        return self.part()

    def part(self, rows: slice = slice(None), axis: int = 0) -> np.ndarray:
        """Read these along one axis and all of the others.

        Raises:
            InputError: the file is damaged there.
        """
        index: list[Any] = [slice(None)] * len(self.shape)
        if index:
            index[axis] = rows
        index = [0] * self._lead + index + [0] * self._trail
        try:
            part = np.asarray(self._array[tuple(index[::-1] if self._backwards else index)])
        except (OSError, RuntimeError, MemoryError) as error:
            problem = f"is truncated or corrupted: {_first_line(error)}"
            raise self._source.error(self.name, problem) from None
        npz.release(self._array)
        if self._pair:
            real, imaginary = (part[name] for name in self._pair)
            part = (real + 1j * imaginary).astype(self.dtype)
        return part.T if self._backwards else part


def _complex_pair(dtype: np.dtype) -> tuple[str, ...]:
    """Name the two fields of a compound that is a complex number."""
    fields = dtype.names or ()
    known = tuple(name.lower() for name in fields) in COMPLEX_FIELDS
    numbers = all(dtype[name].kind in "fiu" for name in fields)
    return fields if known and numbers else ()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


class Source:
    """What both kinds of file have in common.

    Attributes:
        path: of the file.
        container: kind of file.
        names: of every array, for messages and for what is dropped.
    """

    container: str
    names: tuple[str, ...]

    def __init__(self, path: Path) -> None:
        self.path = path

    def array(self, name: str) -> StoredArray:
        """Open an array of numbers.

        Raises:
            InputError: there is none of that name, or it does not hold plain numbers.
        """
        raise NotImplementedError

    def text(self, name: str) -> str | None:
        """Read the text that a scalar holds; ``None`` where it holds something else."""
        raise NotImplementedError

    def describe(self, name: str) -> str:
        """Name type, shape and, where members have bytes of their own, their sha256."""
        raise NotImplementedError

    def number(self, name: str) -> float | None:
        """Read the one finite number above 0 that an array holds; ``None`` where there is none."""
        try:
            stored = self.array(name)
            value = float(stored.part().reshape(-1)[0]) if math.prod(stored.shape) == 1 else 0.0
        except (InputError, TypeError):
            return None
        return value if math.isfinite(value) and value > 0 else None

    def unit(self, name: str) -> str:
        """Name the unit that is attached to an array, empty where there is none."""
        return ""

    def same(self, one: str, other: str) -> bool:
        """Tell whether two names stand for one array."""
        return one == other

    def exists(self, name: str) -> bool:
        """Tell whether there is an array of that name, or a link to one."""
        return name in self.names

    def is_pickled(self, name: str) -> bool:
        """Tell whether an array holds pickled objects."""
        return False

    def attributes(self) -> list[str]:
        """Name what is attached to file and arrays, which DATA-001 has no place for."""
        return []

    def holds(self) -> str:
        """List the names in the file, for an error."""
        shown = ", ".join(self.names[:LISTED]) or "no array"
        more = len(self.names) - LISTED
        return shown + (f" and {more} more" if more > 0 else "")

    def error(self, name: str, problem: str) -> InputError:
        """Make the refusal of one array of the file."""
        return InputError(self.path, name, problem)

    def missing(self, name: str) -> InputError:
        """Make the refusal of an array that is not there."""
        return self.error(name, f"missing; the file holds {self.holds()}")


class _NpzSource(Source):
    container = "NPZ"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._refuse_bombs()
        npz.verify_npz(path)
        self._headers = npz.describe_npz(path)
        self.names = tuple(self._headers)

    def _refuse_bombs(self) -> None:
        """Refuse an archive that is far larger than its file, before anything is unpacked."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                sizes = [member.file_size for member in archive.infolist()]
        except Exception:  # whatever is wrong with it, `npz` says it
            return
        if len(sizes) > MOST_OBJECTS:
            raise self.error("", f"holds {len(sizes)} arrays, more than {MOST_OBJECTS}")
        stored, unpacked = self.path.stat().st_size, sum(sizes)
        half_of_the_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        if unpacked > max(stored, min(max(DENSEST * stored, UNPACKED_FREELY), half_of_the_memory)):
            problem = f"is {stored} bytes that unpack to {unpacked}: save it uncompressed"
            raise self.error("", problem)

    def array(self, name: str) -> StoredArray:
        if name not in self._headers:
            raise self.missing(name)
        return StoredArray(self, name, npz.open_array(self.path, name))

    def text(self, name: str) -> str | None:
        header = self._headers[name]
        if header.dtype.kind not in "US" or header.shape not in ((), (1,)):
            return None
        return _decoded(npz.read_npz(self.path, [name])[name].item())

    def describe(self, name: str) -> str:
        header = self._headers[name]
        with zipfile.ZipFile(self.path) as archive, archive.open(name + npz.MEMBER_SUFFIX) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        kind = "pickled objects" if header.dtype.hasobject else str(header.dtype)
        return f"{kind} {header.shape}, sha256 of the member {digest}"

    def is_pickled(self, name: str) -> bool:
        return self._headers[name].dtype.hasobject


def _decoded(value: str | bytes) -> str | None:
    try:
        return value.decode("utf-8") if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        return None


class _Hdf5Source(Source):
    container = "HDF5"

    def __init__(self, path: Path, file: Any) -> None:
        import h5py

        super().__init__(path)
        self._file, self._h5py = file, h5py
        seen: list[str] = []

        def visit(name: str, item: Any) -> bool | None:
            seen.append(name if isinstance(item, h5py.Dataset) else "")
            return True if len(seen) > MOST_OBJECTS else None

        try:
            file.visititems(visit)
        except UNREADABLE as error:
            raise self.error("", f"is truncated or damaged: {_first_line(error)}") from None
        if len(seen) > MOST_OBJECTS:
            raise self.error("", f"holds more than {MOST_OBJECTS} groups and arrays")
        at_the_root = [name for name in file if isinstance(self._get(name), h5py.Dataset)]
        self.names = tuple(dict.fromkeys([*at_the_root, *filter(None, seen)]))

    def _get(self, name: str, **link: bool) -> Any:
        with contextlib.suppress(*UNREADABLE):  # a dangling link
            return self._file.get(name, **link)
        return None

    def _elsewhere(self, name: str) -> str:
        """Name the other file that a name leads to, whether that is there or not."""
        link = self._get(name, getlink=True)
        return str(link.filename) if isinstance(link, self._h5py.ExternalLink) else ""

    def exists(self, name: str) -> bool:
        return isinstance(self._get(name), self._h5py.Dataset) or bool(self._elsewhere(name))

    def same(self, one: str, other: str) -> bool:
        return one == other or self._get(one) == self._get(other) is not None

    def unit(self, name: str) -> str:
        dataset = self._get(name)
        value = None if dataset is None else dataset.attrs.get("units", dataset.attrs.get("unit"))
        return (_decoded(value) if isinstance(value, bytes) else str(value or "")) or ""

    def attributes(self) -> list[str]:
        held = {"": self._file} | {name: self._get(name) for name in self.names}
        return [f"{name}@{key}" for name, item in held.items() if item for key in item.attrs]

    def array(self, name: str) -> StoredArray:
        dataset = self._get(name)
        elsewhere = self._elsewhere(name)
        if not isinstance(dataset, self._h5py.Dataset) and not elsewhere:
            raise self.missing(name)
        outside = elsewhere or dataset.file.filename != self._file.filename
        if outside or dataset.is_virtual or dataset.external:
            problem = "lies in another file, which the recorded sha256 would not cover; import that"
            raise self.error(name, problem)
        numbers = dataset.dtype.kind in "biufc" or _complex_pair(dataset.dtype)
        if dataset.shape is None or not numbers:
            raise self.error(name, f"is {dataset.dtype}, not an array of numbers")
        self._require_readable(name, dataset)
        return StoredArray(self, name, dataset, backwards="MATLAB_class" in dataset.attrs)

    def _require_readable(self, name: str, dataset: Any) -> None:
        """Refuse a filter that is not installed, and far more values than there are bytes."""
        settings = dataset.id.get_create_plist()
        for number in range(settings.get_nfilters()):
            code, _, _, label = settings.get_filter(number)
            if not self._h5py.h5z.filter_avail(code):
                known = (_decoded(label) or "").split(";")[0] or "unknown"
                problem = f"is compressed with the HDF5 filter {code} ({known}), which is not "
                problem += "installed here: `pip install hdf5plugin` brings it"
                raise self.error(name, problem)
        stored, declared = dataset.id.get_storage_size(), dataset.nbytes
        if declared > max(DENSEST * stored, UNPACKED_FREELY) or (declared and not stored):
            problem = f"is {dataset.dtype} {dataset.shape}, {declared} bytes, but only {stored} "
            raise self.error(name, f"{problem}were ever written")

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
    """Open an NPZ or HDF5 file, told apart by its first bytes.

    Raises:
        InputError: the file is missing, empty, damaged or neither.
    """
    path = Path(path)
    require_file(path)
    try:
        with path.open("rb") as opened:
            start = opened.read(8)
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror or error}") from None
    if start.startswith(KNOWN_STARTS) or not start:
        yield _NpzSource(path)
        return
    import h5py

    if not h5py.is_hdf5(path):  # behind a user block as well
        raise InputError(path, "", "is neither NPZ nor HDF5")
    with contextlib.suppress(ImportError):  # registers its filters
        import hdf5plugin  # noqa: F401
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(path, "", f"is truncated or damaged: {_first_line(error)}") from None
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
