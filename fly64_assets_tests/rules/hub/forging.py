"""Copies of a hub that may be edited, and the forger who makes an edited hub look untouched.

A copy shares its files with the original by hard links; `Forgery.write` replaces a file, never what
is in it. `Forgery.reseal` does what somebody would do who knows how a hub is sealed: every hash of
a changed file is replaced wherever it stands, in texts, in metadata and in the crate, and the
crate's own digest is made again. Only a check of the content can see the edit then.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from fly64_assets.ptychography.data001.npz import read_npz, write_npz

CRATE, INVENTORY = "ro-crate-metadata.json", "analysis/artifact_inventory.txt"
REPORT, PAGE = "analysis/verification_report.json", "summary/summary.md"
BINARY = (".npz", ".png", ".keras")


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Original:
    """The untouched hub.

    Attributes:
        root: its folder.
        hashes: relative path -> sha256, the verification report left out.
        inodes: relative path -> inode, by which a copy's file is known to be untouched.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        paths = (path for path in root.rglob("*") if path.is_file())
        names = [path.relative_to(root).as_posix() for path in paths]
        self.hashes = {name: sha256_of(root / name) for name in names if name != REPORT}
        self.inodes = {name: (root / name).stat().st_ino for name in names}

    def copy_to(self, folder: Path) -> Forgery:
        shutil.copytree(self.root, folder, copy_function=os.link)
        (folder / REPORT).unlink(missing_ok=True)
        return Forgery(folder, self)


class Forgery:
    """A copy of a hub that is being edited."""

    def __init__(self, root: Path, original: Original) -> None:
        self.root, self.original = root, original

    @cached_property
    def condition(self) -> tuple[str, str]:
        """Folder names of dose and view."""
        view = next(self.root.glob("analysis/dose_*/*"))
        return view.parent.name, view.name

    def named(self, template: str) -> str:
        """A path with DOSE and VIEW replaced by the folders' names."""
        dose, view = self.condition
        return template.replace("DOSE", dose).replace("VIEW", view)

    def path(self, template: str) -> Path:
        return self.root / self.named(template)

    def read(self, template: str) -> bytes:
        return self.path(template).read_bytes()

    def write(self, template: str, content: bytes | str) -> None:
        path = self.path(template)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def remove(self, template: str) -> None:
        self.path(template).unlink()

    def text(self, template: str, edit: Callable[[str], str]) -> None:
        """Edit a text file.

        Raises:
            ValueError: the edit changes nothing, so that the test would mean nothing.
        """
        before = self.read(template).decode()
        after = edit(before)
        if after == before:
            raise ValueError(f"{template}: the edit changes nothing")
        self.write(template, after)

    def replace(self, template: str, old: str, new: str, count: int = 1) -> None:
        self.text(template, lambda text: text.replace(old, new, count))

    def json(self, template: str, edit: Callable[[Any], object]) -> None:
        """Edit a JSON file in place, or with what ``edit`` returns."""
        content = json.loads(self.read(template))
        changed = edit(content)
        content = content if changed is None else changed
        indent = 1 if template == CRATE else 2
        ordered = template == CRATE or template.endswith("/bundle.json")
        text = json.dumps(content, indent=indent, ensure_ascii=False, sort_keys=ordered)
        self.text(template, lambda _: text + "\n")

    def arrays(self, template: str, edit: Callable[[dict[str, np.ndarray]], object]) -> None:
        """Edit the arrays of an NPZ: writable copies, in a dictionary that may be changed."""
        path = self.path(template)
        found = {key: array.copy() for key, array in read_npz(path).items()}
        edit(found)
        before = path.read_bytes()
        path.unlink()
        write_npz(path, found)
        if path.read_bytes() == before:
            raise ValueError(f"{template}: the edit changes nothing")

    def metadata(self, template: str, edit: Callable[[dict[str, Any]], object]) -> None:
        """Edit the ``_metadata`` of an NPZ."""

        def change(arrays: dict[str, np.ndarray]) -> None:
            content = json.loads(str(arrays["_metadata"][()]))
            edit(content)
            arrays["_metadata"] = np.array(json.dumps(content, sort_keys=True, ensure_ascii=False))

        self.arrays(template, change)

    @property
    def files(self) -> list[str]:
        paths = (path for path in self.root.rglob("*") if not path.is_dir())
        return sorted(path.relative_to(self.root).as_posix() for path in paths)

    def _is_plain(self, name: str) -> bool:
        """Whether it can be read: neither a link nor a pipe."""
        return not (self.root / name).is_symlink() and (self.root / name).is_file()

    def _changed(self) -> list[str]:
        """Files that are no longer the original's."""
        return [
            name
            for name in self.files
            if (self.root / name).lstat().st_ino != self.original.inodes.get(name)
        ]

    def known_hashes(self) -> dict[str, str]:
        """sha256 of every file that is still the original's."""
        changed = set(self._changed())
        return {name: sha for name, sha in self.original.hashes.items() if name not in changed}

    def reseal(self) -> None:
        """Make every hash, size, list and digest fit the files as they are."""
        current, pending = dict(self.original.hashes), True
        while pending:
            pending = False
            for name in self._changed():
                if name in (CRATE, REPORT) or not self._is_plain(name):
                    continue
                digest = sha256_of(self.root / name)
                known = current.get(name)
                current[name] = digest
                if known is not None and known != digest:
                    self._substitute(name, known, digest)
                    pending = True
        there = set(self.files) - {REPORT}
        if there != set(self.original.hashes):
            listed = sorted(there - {INVENTORY})
            self.write(INVENTORY, "".join(f"{name}\n" for name in listed))
            current[INVENTORY] = sha256_of(self.root / INVENTORY)
        self._reseal_crate(current)

    def _substitute(self, changed: str, old: str, new: str) -> None:
        """Put a file's new hash wherever its old one stands."""
        for name in self.files:
            path = self.root / name
            if not self._is_plain(name) or name in (changed, REPORT):
                continue
            if name == PAGE:
                self._page(changed, old, new)
            elif name.endswith(".npz"):
                if old.encode() in self._metadata_of(path):
                    self.arrays(name, lambda arrays: _swap(arrays, old, new))
            elif not name.endswith(BINARY):
                content = path.read_bytes()
                if old.encode() in content:
                    self.write(name, content.replace(old.encode(), new.encode()))

    def _page(self, changed: str, old: str, new: str) -> None:
        """Two files may be equal, so the page's row is found by its name."""
        lines = self.read(PAGE).decode("utf-8", "surrogateescape").split("\n")
        edited = [
            line.replace(old, new) if line.startswith(f"| {changed} ") else line for line in lines
        ]
        if edited != lines:
            self.write(PAGE, "\n".join(edited).encode("utf-8", "surrogateescape"))

    @staticmethod
    def _metadata_of(path: Path) -> bytes:
        try:
            return str(read_npz(path, ["_metadata"])["_metadata"][()]).encode()
        except Exception:  # the forgery may be that it is no NPZ, or has none
            return b""

    def _reseal_crate(self, hashes: dict[str, str]) -> None:
        try:
            document = json.loads(self.read(CRATE))
            graph = document["@graph"]
            assert all(isinstance(entity, dict) for entity in graph)
        except Exception:  # the forgery is the crate itself
            return
        described = {unquote(e["@id"]): e for e in graph if e.get("@type") == "File"}
        there = set(self.files) - {CRATE, REPORT}
        for name in set(described) - there:
            if name in self.original.hashes:
                graph = _without(graph, described[name]["@id"])
        for name in there - set(described) - set(self.original.hashes):
            graph = _with(graph, name)
        document["@graph"] = graph
        for entity in graph:
            name = unquote(str(entity.get("@id")))
            if entity.get("@type") == "File" and name in hashes and self._is_plain(name):
                entity["sha256"] = hashes[name]
                entity["contentSize"] = str((self.root / name).stat().st_size)
        root = next(entity for entity in graph if entity["@id"] == "./")
        root.pop("identifier", None)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        root["identifier"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
        text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
        self.write(CRATE, text + "\n")


def _swap(arrays: dict[str, np.ndarray], old: str, new: str) -> None:
    arrays["_metadata"] = np.array(str(arrays["_metadata"][()]).replace(old, new))


def _drop_references(value: Any, identifiers: set[str]) -> Any:
    if isinstance(value, list):
        return [item for item in value if not _refers(item, identifiers)]
    return value


def _refers(value: Any, identifiers: set[str]) -> bool:
    return isinstance(value, dict) and value.get("@id") in identifiers


def _without(graph: list[dict], identifier: str) -> list[dict]:
    """The graph without a file, and without what only says that it was consumed."""
    gone = {identifier} | {e["@id"] for e in graph if _refers(e.get("about"), {identifier})}
    return [
        {key: _drop_references(value, gone) for key, value in entity.items()}
        for entity in graph
        if entity["@id"] not in gone
    ]


def _with(graph: list[dict], name: str) -> list[dict]:
    """The graph with one more file, described as its neighbours are."""
    like = next(entity for entity in graph if entity.get("@type") == "File")
    identifier = quote(name)
    added = {**like, "@id": identifier, "name": Path(name).name}
    for entity in graph:
        for key in ("hasPart", "result"):
            if any(_refers(item, {like["@id"]}) for item in entity.get(key, [])):
                entity[key] = [*entity[key], {"@id": identifier}]
    return [*graph, added]
