"""Reading a hub that may be anything: nothing is followed out of it, nothing is unpickled.

What is read is remembered by content: in `Memory` under the sha256 of the files it was made from.
What files must hold does not belong here.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.hub.verify.checks import Broken, shown
from fly64_assets.ptychography import npz
from fly64_assets.study import SPLITS

DOSE_FOLDER = re.compile(r"dose_([1-9]\d*)")
BINARY = (".npz", ".png", ".keras")


class Memory:
    """What was computed from which content; safe to share between threads and between hubs."""

    def __init__(self) -> None:
        self._values: dict[Any, Any] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """The value of ``key``, made once. What raises is made again by whoever asks next."""
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._values:
                self._values[key] = make()
            return self._values[key]


@dataclass
class Hub:
    """One hub on disk.

    Attributes:
        root: its folder.
        memory: see `Memory`.
        hashes: sha256 of its files by path, as far as they are known.
    """

    root: Path
    memory: Memory = field(default_factory=Memory)
    hashes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = Path(self.root)
        self.files: dict[str, os.stat_result] = {}
        self.folders: list[str] = []
        self.strange: dict[str, str] = {}
        """What is neither a file nor a folder (links, sockets, ...): path -> what it is."""
        self._walk("")

    def _walk(self, folder: str) -> None:
        with os.scandir(self.root / folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            path = f"{folder}/{entry.name}" if folder else entry.name
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                self.strange[path] = f"a link to {os.readlink(entry.path)}"
            elif stat.S_ISDIR(status.st_mode):
                self.folders.append(path)
                self._walk(path)
            elif stat.S_ISREG(status.st_mode):
                self.files[path] = status
            else:
                self.strange[path] = "no regular file"

    @cached_property
    def condition(self) -> tuple[int, str]:
        """Dose and view: of the one folder of scores, else the manifest's, else (0, "?")."""
        named = {
            (int(match[1]), parts[2])
            for parts in (folder.split("/") for folder in self.folders)
            if len(parts) == 3 and parts[0] == "analysis"
            if (match := DOSE_FOLDER.fullmatch(parts[1]))
        }
        if len(named) == 1:
            return named.pop()
        try:
            filters = self.json("analysis/comparison_manifest.json")["filters"]
            dose, view = filters["dose"], filters["view"]
            if isinstance(dose, int) and isinstance(view, str):
                return dose, view
        except (Broken, KeyError, TypeError):
            pass
        return 0, "?"

    @property
    def dose(self) -> int:
        return self.condition[0]

    @property
    def view(self) -> str:
        return self.condition[1]

    def named(self, template: str, **more: str) -> str:
        """A path with ``{dose}``, ``{view}`` and what else is given filled in."""
        return template.format(dose=self.dose, view=self.view, **more)

    @property
    def text_files(self) -> list[str]:
        return [path for path in self.files if not path.endswith(BINARY)]

    def path(self, path: str) -> Path:
        """Where a regular file of the hub lies.

        Raises:
            Broken: there is none.
        """
        if path not in self.files:
            raise Broken(path, "", "file does not exist in the hub")
        return self.root / path

    def sha256(self, path: str) -> str:
        """Of a file's bytes."""
        if path in self.hashes:
            return self.hashes[path]
        try:
            with self.path(path).open("rb") as stream:
                self.hashes[path] = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise Broken(path, "", f"cannot be read: {error.strerror or error}") from None
        return self.hashes[path]

    def hash_all(self, threads: int) -> None:
        """Hash every file, the large ones first; what cannot be read is left to the checks."""

        def attempt(path: str) -> None:
            with suppress(Broken):
                self.sha256(path)

        by_size = sorted(self.files, key=lambda path: -self.files[path].st_size)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(attempt, by_size))

    def once(self, what: str, paths: Sequence[str], make: Callable[[], Any], *also: Any) -> Any:
        """``make()``, once for the content of ``paths`` (and the values ``also``)."""
        return self.memory.get((what, *(self.sha256(path) for path in paths), *also), make)

    def content(self, path: str) -> bytes:
        try:
            return self.path(path).read_bytes()
        except OSError as error:
            raise Broken(path, "", f"cannot be read: {error.strerror or error}") from None

    def text(self, path: str) -> str:
        """A text file; a mark at its start and CR are let pass, checks of their own find those."""
        try:
            return self.content(path).decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise Broken(path, f"byte {error.start}", "is no UTF-8") from None

    def lines(self, path: str) -> list[str]:
        """Lines of a text file; LF alone ends one."""
        found = self.text(path).split("\n")
        return found if found[-1] else found[:-1]

    def json(self, path: str) -> dict[str, Any]:
        """A JSON file, strictly: an object, no key twice, no NaN, no infinity."""

        def parse() -> Any:
            try:
                content = parse_json(self.text(path))
            except (ValueError, RecursionError) as error:
                raise Broken(path, "", f"is no valid JSON: {error}") from None
            if not isinstance(content, dict):
                raise Broken(path, "", f"is {shown(content)}, no JSON object")
            return content

        return self.once("json", [path], parse)

    def table(self, path: str) -> list[list[str]]:
        """A CSV file without quotes as its cells, header first."""
        return [line.split(",") for line in self.lines(path)]

    def arrays(self, path: str, *keys: str) -> dict[str, np.ndarray]:
        """Arrays of an NPZ, in memory, checksums verified."""
        return self.once("arrays", [path], lambda: self._read(path, keys), keys)

    def _read(self, path: str, keys: Sequence[str]) -> dict[str, np.ndarray]:
        try:
            found = npz.read_npz(self.path(path), keys or None)
        except InputError as error:
            raise Broken(path, error.key, error.problem) from None
        for array in found.values():
            array.flags.writeable = False
        return found

    def mapped(self, path: str, key: str) -> np.ndarray:
        """One array as a memory map."""
        try:
            return npz.open_array(self.path(path), key)
        except InputError as error:
            raise Broken(path, error.key, error.problem) from None

    def metadata(self, path: str) -> dict[str, Any]:
        """The ``_metadata`` of a dataset."""
        stored = self.arrays(path, "_metadata")["_metadata"]
        try:
            parsed = parse_json(str(stored[()]))
        except (ValueError, RecursionError, IndexError) as error:
            raise Broken(path, "_metadata", f"is no valid JSON: {error}") from None
        if not isinstance(parsed, dict):
            raise Broken(path, "_metadata", "is no JSON object")
        return parsed

    def dataset(self, split: str) -> str:
        """Path of phase C's file of a split."""
        return f"data/phase_c/dose_{self.dose}/patched_{split}.npz"

    def overlap_view(self, split: str) -> str:
        """Path of phase D's dataset of a split."""
        return f"data/phase_d/dose_{self.dose}/{self.view}/{split}.npz"

    def comparison(self, split: str, name: str) -> str:
        """Path of a file of a split's comparison."""
        return f"analysis/dose_{self.dose}/{self.view}/{split}/{name}"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} appears twice")
    return content


def parse_json(text: str) -> Any:
    """JSON, strictly.

    Raises:
        ValueError: not JSON, a key twice, NaN or an infinity.
    """
    return json.loads(
        text,
        parse_constant=_refuse_constant,
        parse_float=_finite,
        object_pairs_hook=_unique,
    )


def per_split(make: Callable[[str], Any]) -> Mapping[str, Any]:
    """``make`` of each split, by its name."""
    return {split: make(split) for split in SPLITS}
