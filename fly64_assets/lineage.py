"""The lineage of a file: what it was made from, down to the specimen, and what still holds of it.

A file of a store is traced through the event log of its study's Dagster instance, a file of a hub
through the hub's RO-Crate alone; where the two lie apart, ``lineage_store.py`` and
``hub/crate_lineage.py`` read them. This module finds where a file belongs, walks the chain and
compares it with the disk. It writes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from fly64_assets.errors import InputError
from fly64_assets.hub.layout import RO_CRATE
from fly64_assets.store import sha256_of


class Match(StrEnum):
    """How a file on disk compares with what was written or consumed."""

    MATCHES = "matches"
    SAME_DATA = "made again: same data"
    OTHER_DATA = "made again: other data"
    ALTERED = "ALTERED"
    GONE = "gone"
    NOT_HERE = "not kept here"

    @property
    def holds(self) -> bool:
        """Whether what was made from the file still stands on it."""
        return self in (Match.MATCHES, Match.SAME_DATA, Match.NOT_HERE)


@dataclass(frozen=True)
class Made:
    """One making of one asset, as its consumer saw it.

    Attributes:
        key: names this making; two consumers of the same bytes have the same key.
        files: path relative to the store or hub -> sha256 as written or consumed.
        absent: of ``files``, those that this kind of home never keeps (a hub and the specimen).
        inputs: keys of what it was made from.
        exact: False where this making's own record is gone and a later one's is shown.
        source: of a specimen: name, sha256 and licence of the file that it was read from.
    """

    key: Hashable
    asset: str
    partition: str | None
    generated_at: str
    data_version: str
    code_version: str
    fingerprint: str
    study: str
    study_sha256: str
    git_commit: str | None
    versions: Mapping[str, str]
    settings: Mapping[str, Any]
    files: Mapping[str, str]
    inputs: tuple[Hashable, ...]
    absent: frozenset[str] = frozenset()
    exact: bool = True
    source: Mapping[str, Any] | None = None


class Home(Protocol):
    """Where makings are recorded and their files lie: a store or a hub."""

    kind: str
    root: Path

    def owner(self, path: str) -> Made:
        """The current making of the asset that ``path`` belongs to; InputError where none is."""

    def made(self, key: Hashable) -> Made:
        """The making that a consumer's key names."""

    def current(self, asset: str, partition: str | None) -> Made | None:
        """The latest making of an asset."""


@dataclass(frozen=True)
class FileState:
    """A file as it was written or consumed, and how the disk compares; paths are relative."""

    path: str
    sha256: str
    state: Match
    sha256_on_disk: str | None


@dataclass(frozen=True)
class Step:
    """A making in the chain. ``inputs`` are positions in `Lineage.steps`."""

    made: Made
    files: tuple[FileState, ...]
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Lineage:
    """The chain of one file.

    Attributes:
        file: path relative to the store or hub.
        kind: ``store`` or ``hub``.
        steps: every making once; the first is the file's own, the last lie nearest the specimen.
    """

    file: str
    kind: str
    steps: tuple[Step, ...]

    @property
    def holds(self) -> bool:
        return all(file.state.holds for step in self.steps for file in step.files)

    def counts(self) -> dict[str, int]:
        """Number of files in each state that occurs."""
        states = [file.state for step in self.steps for file in step.files]
        return {state.value: states.count(state) for state in Match if state in states}


@dataclass
class _Walk:
    home: Home
    file: str
    digests: dict[str, str | None] = field(default_factory=dict)
    positions: dict[Hashable, int] = field(default_factory=dict)
    steps: list[Step | None] = field(default_factory=list)

    def visit(self, made: Made, only: str | None = None) -> int:
        """Append a making and all that it was made from; its position."""
        if made.key in self.positions:
            return self.positions[made.key]
        position = self.positions[made.key] = len(self.steps)
        self.steps.append(None)
        paths = [only] if only else sorted(made.files)
        files = tuple(self._state(path, made) for path in paths)
        inputs = tuple(self.visit(self.home.made(key)) for key in made.inputs)
        self.steps[position] = Step(made, files, inputs)
        return position

    def _state(self, path: str, made: Made) -> FileState:
        wanted = made.files[path]
        if path in made.absent:
            return FileState(path, wanted, Match.NOT_HERE, None)
        if path not in self.digests:
            file = self.home.root / path
            self.digests[path] = sha256_of(file) if file.is_file() else None
        found = self.digests[path]
        return FileState(path, wanted, self._match(path, made, found), found)

    def _match(self, path: str, made: Made, found: str | None) -> Match:
        if found is None:
            return Match.GONE
        if found == made.files[path]:
            return Match.MATCHES
        current = self.home.current(made.asset, made.partition)
        if current is None or current.files.get(path) != found:
            return Match.ALTERED
        same = current.data_version == made.data_version
        return Match.SAME_DATA if same else Match.OTHER_DATA


def trace(home: Home, path: str) -> Lineage:
    """The chain of a file of a store or hub.

    Args:
        home: where it lies.
        path: relative to ``home.root``, POSIX.

    Raises:
        InputError: no record names the file.
    """
    owner = home.owner(path)
    walk = _Walk(home, path)
    walk.visit(owner, only=path)
    return Lineage(path, home.kind, tuple(step for step in walk.steps if step is not None))


def seeds_of(settings: Mapping[str, Any], prefix: str = "") -> dict[str, int]:
    """Every random seed in a product's settings, by its dotted key."""
    found: dict[str, int] = {}
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            found |= seeds_of(value, f"{prefix}{key}.")
        elif isinstance(value, int) and (key == "seed" or prefix.endswith("seeds.")):
            found[f"{prefix}{key}"] = value
    return found


@contextmanager
def home_of(path: Path) -> Iterator[tuple[Home, str] | None]:
    """The store or hub that a file belongs to, open, with its path there; None where it is neither.

    The file itself need not exist: one that is gone has a lineage as well.
    """
    path = Path(os.path.abspath(path))
    for folder in path.parents:
        if (folder / RO_CRATE).is_file():
            from fly64_assets.hub.crate_lineage import HubHome

            yield HubHome(folder), path.relative_to(folder).as_posix()
            return
        store = folder / "store"
        if store in path.parents and (folder / "dagster").is_dir():
            from fly64_assets.lineage_store import open_store

            with open_store(folder) as home:
                yield home, path.relative_to(store).as_posix()
            return
    yield None


def carried_transformations(path: Path) -> list[dict[str, Any]]:
    """The provenance that a file carries in itself, wherever it lies.

    Args:
        path: an NPZ with ``_metadata``, or a JSON object with ``transformations``.

    Raises:
        InputError: it is no such file.
    """
    if path.is_dir():
        raise InputError(path, "", "is a folder; the lineage is that of one file")
    if not path.is_file():
        raise InputError(path, "", "does not exist, and no store or hub has a record of it")
    found: Any = None
    if path.suffix == ".npz":
        found = _npz_metadata(path)
    elif path.suffix == ".json":
        found = _json_value(path.read_bytes())
    records = found.get("transformations") if isinstance(found, dict) else None
    if not isinstance(records, list) or not all(isinstance(item, dict) for item in records):
        raise InputError(
            path,
            "",
            "belongs to no store and no hub, and carries no transformations of its own "
            "(_metadata in an NPZ, transformations in a JSON file)",
        )
    return records


def _npz_metadata(path: Path) -> Any:
    from fly64_assets.ptychography.npz import describe_npz, read_npz

    header = describe_npz(path).get("_metadata")
    if header is None or header.dtype.kind != "U" or header.shape != ():
        return None
    return _json_value(str(read_npz(path, ["_metadata"])["_metadata"][()]))


def _json_value(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
