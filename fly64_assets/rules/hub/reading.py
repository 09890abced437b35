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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import npz
from fly64_assets.rules.hub.bounds import (
    DEEPEST_FOLDER,
    LARGEST_TEXT,
    MOST_ENTRIES,
    MOST_IN_FOLDER,
    may_unpack,
    too_large,
)
from fly64_assets.rules.hub.checks import Broken, Finding, shown
from fly64_assets.rules.hub.contract import CRATE
from fly64_assets.study.json_depth import DEEPEST, too_deep
from fly64_assets.study.model import SPLITS

DOSE_FOLDER = re.compile(r"dose_([1-9]\d*)")
BINARY = (".npz", ".png", ".keras")
SIZE = re.compile(r"\d{1,15}")
SIGNS_OF_CHANGE = ("st_mode", "st_ino", "st_size", "st_mtime_ns")
MOST_VALUES = 100_000
"""In a JSON text; a crate has a tenth of it."""

T = TypeVar("T")


class Memory:
    """What was computed from which content; safe to share between threads and between hubs."""

    def __init__(self) -> None:
        self._values: dict[Any, Any] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return the value of ``key``, made once; what raises is made again by the next."""
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
        self.too_much: list[Finding] = []
        """Where the hub goes on beyond what is looked at."""
        self._walk("", 0)
        self.unread: dict[str, str] = {}
        """Files that are not read, being too large: path -> why."""
        self._bound(CRATE, LARGEST_TEXT)  # it states the sizes of all others
        stated = self._stated_sizes()
        self.stated_bytes = sum(stated.get(path, 0) for path in self.files)
        for path in self.files:
            if path != CRATE:
                self._bound(path, stated.get(path))

    def _bound(self, path: str, stated: int | None) -> None:
        if path not in self.files:
            return
        problem = too_large(path, self.files[path].st_size, stated)
        if not problem and path.endswith((".npz", ".keras")):
            problem = may_unpack(self.root / path)
        if problem:
            self.unread[path] = problem

    def _walk(self, folder: str, depth: int) -> None:
        try:
            with os.scandir(self.root / folder) as entries:
                found = sorted(islice(entries, MOST_IN_FOLDER + 1), key=lambda entry: entry.name)
        except OSError as error:
            reason = f"cannot be looked into: {error.strerror or error}"
            self.too_much.append(Finding(folder, "", reason))
            return
        if len(found) > MOST_IN_FOLDER:
            reason = f"holds more than {MOST_IN_FOLDER} files; the rest is not looked at"
            self.too_much.append(Finding(folder, "", reason))
        for entry in found:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if len(self.files) + len(self.folders) + len(self.strange) >= MOST_ENTRIES:
                reason = f"more than {MOST_ENTRIES:,} files and folders; the rest is not looked at"
                self.too_much.append(Finding("", "", reason))
                return
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                self.strange[path] = f"a link to {os.readlink(entry.path)}"
            elif stat.S_ISDIR(status.st_mode):
                self.folders.append(path)
                if depth < DEEPEST_FOLDER:
                    self._walk(path, depth + 1)
                else:
                    reason = f"lies {DEEPEST_FOLDER + 1} folders deep and is not looked into"
                    self.too_much.append(Finding(path, "", reason))
            elif stat.S_ISREG(status.st_mode):
                self.files[path] = status
            else:
                self.strange[path] = "no regular file"

    def _stated_sizes(self) -> dict[str, int]:
        """Path -> bytes, of what the crate describes; nothing where it cannot be read."""
        try:
            graph = self.json(CRATE)["@graph"]
        except (Broken, KeyError):
            return {}
        sizes = {}
        for entity in graph if isinstance(graph, list) else []:
            size = entity.get("contentSize") if isinstance(entity, dict) else None
            if isinstance(size, str) and SIZE.fullmatch(size):
                sizes[unquote(str(entity.get("@id")))] = int(size)
        return sizes

    def changed(self) -> Iterator[str]:
        """Files that are not as they were when the hub was opened."""
        for path, before in self.files.items():
            try:
                now = (self.root / path).lstat()
            except OSError:
                yield path
                continue
            if any(getattr(now, part) != getattr(before, part) for part in SIGNS_OF_CHANGE):
                yield path

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
        """Return a path with ``{dose}``, ``{view}`` and what else is given filled in."""
        return template.format(dose=self.dose, view=self.view, **more)

    @property
    def text_files(self) -> list[str]:
        return [path for path in self.files if not path.endswith(BINARY)]

    def path(self, path: str) -> Path:
        """Where a regular file of the hub lies.

        Raises:
            Broken: there is none, or it is too large to be read.
        """
        if path not in self.files:
            raise Broken(path, "", "file does not exist in the hub")
        if path in self.unread:
            raise Broken(path, "", self.unread[path])
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

        by_size = sorted({*self.files} - {*self.unread}, key=lambda path: -self.files[path].st_size)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(attempt, by_size))

    def once(self, what: str, paths: Sequence[str], make: Callable[[], T], *also: Any) -> T:
        """Return ``make()``, once for the content of ``paths`` (and the values ``also``)."""
        found: T = self.memory.get((what, *(self.sha256(path) for path in paths), *also), make)
        return found

    def content(self, path: str) -> bytes:
        try:
            return self.path(path).read_bytes()
        except OSError as error:
            raise Broken(path, "", f"cannot be read: {error.strerror or error}") from None

    def text(self, path: str) -> str:
        """Read a text; a mark at its start and CR pass, checks of their own find those."""
        try:
            return self.content(path).decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise Broken(path, f"byte {error.start}", "is no UTF-8") from None

    def lines(self, path: str) -> list[str]:
        """Lines of a text file; LF alone ends one."""
        found = self.text(path).split("\n")
        return found if found[-1] else found[:-1]

    def json(self, path: str) -> dict[str, Any]:
        """Return a JSON file, strictly: an object, no key twice, no NaN, no infinity."""

        def parse() -> dict[str, Any]:
            try:
                content = parse_json(self.text(path))
            except (ValueError, RecursionError) as error:
                raise Broken(path, "", f"is no valid JSON: {error}") from None
            if not isinstance(content, dict):
                raise Broken(path, "", f"is {shown(content)}, no JSON object")
            return content

        return self.once("json", [path], parse)

    def table(self, path: str) -> list[list[str]]:
        """Return a CSV file without quotes as its cells, header first."""
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
        """Return the ``_metadata`` of a dataset."""
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
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"key {shown(twice)} appears twice")
    return content


def parse_json(text: str) -> Any:
    """JSON, strictly.

    Raises:
        ValueError: not JSON, a key twice, NaN or an infinity; more, or deeper, than a hub's is.
    """
    if sum(map(text.count, ",[{")) > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES:,} values")
    content = json.loads(
        text,
        parse_constant=_refuse_constant,
        parse_float=_finite,
        object_pairs_hook=_unique,
    )
    if too_deep(content):
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    return content


def per_split(make: Callable[[str], Any]) -> Mapping[str, Any]:
    """``make`` of each split, by its name."""
    return {split: make(split) for split in SPLITS}
