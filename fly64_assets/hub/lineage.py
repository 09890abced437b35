"""The lineage of a file: what it was made from, down to the specimen, and what still holds of it.

A file of a store is traced through the event log of its study's Dagster instance, a file of a hub
through the hub's RO-Crate alone: ``lineage_store.py`` and ``crate_lineage.py`` read them, and
``lineage_homes.py`` finds which of them a file belongs to. This module walks the chain and compares
it with the disk. It writes nothing. What any other file says of itself is read by
``lineage_carried.py``.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from fly64_assets.errors import InputError
from fly64_assets.pipeline.store import not_as_kept
from fly64_assets.study.hashing import sha256_of

LONGEST = 100
"""Makings in one line of descent; a study has about a dozen, so more were not exported by us."""


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
        contradiction: why its record cannot be true, in words.
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
    contradiction: str | None = None


class Home(Protocol):
    """Where makings are recorded and their files lie: a store or a hub."""

    kind: str
    root: Path

    def owner(self, path: str) -> Made:
        """Return the current making of the asset that ``path`` belongs to, or raise InputError."""

    def made(self, key: Hashable) -> Made:
        """Return the making that a consumer's key names."""

    def current(self, asset: str, partition: str | None) -> Made | None:
        """Return the latest making of an asset."""


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
        return all(
            step.made.contradiction is None and all(file.state.holds for file in step.files)
            for step in self.steps
        )

    def counts(self) -> dict[str, int]:
        """Count the files in each state that occurs."""
        states = [file.state for step in self.steps for file in step.files]
        return {state.value: states.count(state) for state in Match if state in states}


@dataclass
class _Walk:
    home: Home
    file: str
    digests: dict[str, str | None] = field(default_factory=dict)
    positions: dict[Hashable, int] = field(default_factory=dict)
    steps: list[Step | None] = field(default_factory=list)

    def visit(self, made: Made, only: str | None = None, depth: int = 1) -> int:
        """Append a making and all that it was made from; its position."""
        if made.key in self.positions:
            return self.positions[made.key]
        if depth > LONGEST:
            problem = f"is said to come from more than {LONGEST} steps in a row"
            raise InputError(self.home.root / self.file, "", problem)
        position = self.positions[made.key] = len(self.steps)
        self.steps.append(None)
        paths = [only] if only else sorted(made.files)
        files = tuple(self._state(path, made) for path in paths)
        inputs = tuple(self.visit(self.home.made(key), depth=depth + 1) for key in made.inputs)
        self.steps[position] = Step(made, files, inputs)
        return position

    def _state(self, path: str, made: Made) -> FileState:
        wanted = made.files[path]
        if path in made.absent:
            return FileState(path, wanted, Match.NOT_HERE, None)
        if not os.path.lexists(self.home.root / path):
            return FileState(path, wanted, Match.GONE, None)
        if path not in self.digests:
            kept = not_as_kept(self.home.root, path) is None
            self.digests[path] = digest_on_disk(self.home.root / path) if kept else None
        found = self.digests[path]
        return FileState(path, wanted, self._match(path, made, found), found)

    def _match(self, path: str, made: Made, found: str | None) -> Match:
        if found is None:  # a link, or whatever else is no file
            return Match.ALTERED
        if found == made.files[path]:
            return Match.MATCHES
        current = self.home.current(made.asset, made.partition)
        if current is None or current.files.get(path) != found:
            return Match.ALTERED
        same = current.data_version == made.data_version
        return Match.SAME_DATA if same else Match.OTHER_DATA


def trace(home: Home, path: str) -> Lineage:
    """Return the chain of a file of a store or hub.

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


def digest_on_disk(file: Path) -> str:
    """sha256 of a file's bytes.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return sha256_of(file)
    except OSError as error:
        raise InputError(file, "", f"cannot be read: {error.strerror or error}") from None


def unknown_file(path: Path, problem: str) -> InputError:
    """Return the refusal of a path that no record names, of one that is no file for that first.

    Args:
        path: what was asked for, whether it exists or not.
        problem: why a regular file has no lineage, e.g. ``no asset of the store owns ...``.
    """
    if os.path.isdir(path):
        return InputError(path, "", "is a folder; the lineage is that of one file")
    if not os.path.exists(path):
        return InputError(path, "", f"does not exist, and {problem}")
    if not os.path.isfile(path):
        return InputError(path, "", "is no regular file; only files have a lineage")
    return InputError(path, "", problem)


def seeds_of(settings: Mapping[str, Any], prefix: str = "") -> dict[str, int]:
    """Every random seed in a product's settings, by its dotted key."""
    found: dict[str, int] = {}
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            found |= seeds_of(value, f"{prefix}{key}.")
        elif isinstance(value, int) and (key == "seed" or prefix.endswith("seeds.")):
            found[f"{prefix}{key}"] = value
    return found
