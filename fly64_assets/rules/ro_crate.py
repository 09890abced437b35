"""Judges a hub's ``ro-crate-metadata.json``: its graph, every file, and what made which from what.

Writing a crate does not belong here, and nothing of the writer is imported: what it forgets has to
be seen from outside. Nor does the vocabulary of RO-Crate.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from fly64_assets.documents.ro_crate_graph import (
    CRATE,
    ROOT,
    Entity,
    Graph,
    as_list,
    read_crate,
    references,
)

NOT_DESCRIBED = {CRATE, "analysis/verification_report.json"}
"""Files of a hub that no crate describes: itself, and what is written afterwards."""
SHA256 = re.compile(r"[0-9a-f]{64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
ABSOLUTE = re.compile(r"^(/|~|[A-Za-z]:[\\/]|file:)|[\"'\s=](/[\w.-]+){2}|[\"'\s=][A-Za-z]:\\")
TIMES = ("dateCreated", "dateModified", "datePublished", "endTime", "startTime")
STATED_OF_ACTION = (
    "code_version",
    "cpu_seconds",
    "data_version",
    "fingerprint",
    "git_commit",
    "settings",
    "study_sha256",
)


Digests = Mapping[str, str | None]
"""Path relative to the hub -> sha256, of all that is there; None of what is not to be read."""


def crate_problems(
    hub: Path, digests: Digests | None = None, subject: str | None = None
) -> Iterator[str]:
    """Say everything that is wrong with the crate of a hub; empty when nothing is.

    Args:
        hub: the hub's folder.
        digests: of the hub's files, where they are known already.
        subject: of `RULES`; all of them by default.

    Yields:
        One line a problem: ``<entity>: <property>: <what is there and which rule it breaks>``.
    """
    try:
        document = read_crate(hub)
    except ValueError as error:
        yield str(error)
        return
    problems = [*_document(document)]
    yield from problems
    if not problems:
        crate = _Judge(hub, document, _digests(hub) if digests is None else digests)
        for name, rules in RULES.items():
            for rule in rules if subject in (None, name) else ():
                yield from rule(crate)


def _digests(hub: Path) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for folder, _, names in os.walk(hub):
        for path in (Path(folder, name) for name in names):
            regular = path.is_file() and not path.is_symlink()
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if regular else None
            found[path.relative_to(hub).as_posix()] = sha256
    return found


def _document(document: Mapping[str, Any]) -> Iterator[str]:
    """Whether the outermost structure is one that the other rules can walk."""
    if set(document) != {"@context", "@graph"}:
        yield f"{CRATE}: holds {sorted(document)}, @context and @graph are wanted"
        return
    graph = document["@graph"]
    if not isinstance(graph, list) or not all(isinstance(entity, dict) for entity in graph):
        yield "@graph: is no list of entities"
        return
    seen: set[str] = set()
    for number, entity in enumerate(graph):
        identifier, types = entity.get("@id"), as_list(entity.get("@type"))
        if not isinstance(identifier, str) or not identifier:
            yield f"@graph[{number}]: @id: is {identifier!r}"
        elif identifier in seen:
            yield f"{identifier}: @id: is given to two entities"
        else:
            seen.add(identifier)
        if not types or not all(isinstance(name, str) for name in types):
            yield f"{identifier}: @type: is {entity.get('@type')!r}"
    for needed in (CRATE, ROOT):
        if needed not in seen:
            yield f"{needed}: is missing from @graph"


class _Judge(Graph):
    """A crate, the folder that it describes, and hashes that are known already."""

    def __init__(self, hub: Path, document: Mapping[str, Any], digests: Digests) -> None:
        super().__init__(document)
        self.hub, self.digests = hub, digests


def _references(crate: _Judge) -> Iterator[str]:
    """Every reference leads somewhere, and every entity is reached from the root."""
    reached, pending = {CRATE, ROOT}, [CRATE, ROOT]
    while pending:
        for value in crate.entities.get(pending.pop(), {}).values():
            for target in references(value):
                if target not in reached:
                    reached.add(target)
                    pending.append(target)
    for identifier, entity in crate.entities.items():
        if identifier not in reached:
            yield f"{identifier}: @id: nothing refers to it"
        for key, value in entity.items():
            for target in references(value):
                is_address = urlsplit(target).scheme in ("http", "https")
                if target not in crate.entities and not is_address:
                    yield f"{identifier}: {key}: refers to {target}, which is not in the crate"


def _licence(crate: _Judge) -> Iterator[str]:
    """Ask that the root names its licence, and that the crate describes it."""
    targets = references(crate.entities[ROOT].get("license"))
    if not targets or not all(crate.entities.get(key, {}).get("name") for key in targets):
        yield f"{ROOT}: license: is {targets}, a described licence is wanted"


def _values(crate: _Judge) -> Iterator[str]:
    for identifier, entity in crate.entities.items():
        for key, value in entity.items():
            if key in TIMES and not _is_time(value):
                yield f"{identifier}: {key}: is {value!r}, UTC as YYYY-MM-DDTHH:MM:SSZ is wanted"
            if key == "sha256" and not _is_sha256(value):
                yield f"{identifier}: sha256: is {value!r}, 64 hexadecimal digits are wanted"
            for text in as_list(value):
                if isinstance(text, str) and key != "text" and ABSOLUTE.search(text):
                    yield f"{identifier}: {key}: {text[:80]!r} holds an absolute path"


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and SHA256.fullmatch(value) is not None


def _is_time(value: Any) -> bool:
    if not isinstance(value, str) or not TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_relative(path: str) -> bool:
    parts = path.split("/")
    return "\\" not in path and not any(part in ("", ".", "..") for part in parts)


def _files(crate: _Judge) -> Iterator[str]:
    """Each file is in the hub as described, and is a part of the root."""
    parts = references(crate.entities[ROOT].get("hasPart"))
    files = crate.of_type("File")
    for target in sorted(part for part, number in Counter(parts).items() if number > 1):
        yield f"{ROOT}: hasPart: {target} stands twice"
    there = set(parts)
    for target in sorted(there - set(files)):
        yield f"{ROOT}: hasPart: {target} is no file of the crate"
    for identifier, entity in files.items():
        if identifier not in there:
            yield f"{identifier}: @id: is no part of the root"
        path = unquote(identifier)
        if not _is_relative(path):
            yield f"{identifier}: @id: is no relative POSIX path"
        elif path in crate.digests:
            yield from _file(crate, path, identifier, entity)


def _file(crate: _Judge, path: str, identifier: str, entity: Entity) -> Iterator[str]:
    size, sha256 = (crate.hub / path).lstat().st_size, crate.digests[path]
    if entity.get("contentSize") != str(size):
        yield f"{identifier}: contentSize: is {entity.get('contentSize')!r}, the file has {size}"
    if sha256 is not None and entity.get("sha256") != sha256:
        yield f"{identifier}: sha256: is {entity.get('sha256')!r}, the file has {sha256}"
    if entity.get("name") != PurePosixPath(path).name:
        yield f"{identifier}: name: is {entity.get('name')!r}, the file's name is wanted"


def _complete(crate: _Judge) -> Iterator[str]:
    """Every file of the hub is described, and no other."""
    described = {unquote(identifier) for identifier in crate.of_type("File")}
    for name in sorted(described - set(crate.digests)):
        yield f"{name}: @id: is not in the hub"
    for name in sorted(set(crate.digests) - described - NOT_DESCRIBED):
        yield f"{name}: is in the hub and not in the crate"


def _actions(crate: _Judge) -> Iterator[str]:
    """Every file is the result of one action, and every action says what it was made of."""
    made_by: dict[str, list[str]] = {identifier: [] for identifier in crate.of_type("File")}
    software = crate.of_type("SoftwareApplication")
    mentioned = set(references(crate.entities[ROOT].get("mentions")))
    for identifier, action in crate.of_type("CreateAction").items():
        for key in ("object", "result", "instrument", "endTime", "additionalProperty"):
            if not action.get(key):
                yield f"{identifier}: {key}: is missing"
        if identifier not in mentioned:
            yield f"{identifier}: @id: is not mentioned by the root"
        for target in references(action.get("result")):
            made_by.setdefault(target, []).append(identifier)
            modified = crate.entities.get(target, {}).get("dateModified")
            if modified != action.get("endTime"):
                yield f"{target}: dateModified: is {modified!r}, its action ended otherwise"
        for target in references(action.get("instrument")):
            if target not in software:
                yield f"{identifier}: instrument: {target} is no software"
        stated = crate.stated(action)
        for key in STATED_OF_ACTION:
            if key not in stated:
                yield f"{identifier}: additionalProperty: states no {key}"
        for key in ("data_version", "fingerprint", "study_sha256"):
            value = stated.get(key)
            if key in stated and not _is_sha256(value):
                yield f"{identifier}: {key}: is {value!r}, 64 hexadecimal digits are wanted"
        spent = stated.get("cpu_seconds")
        if "cpu_seconds" in stated and not (isinstance(spent, float) and 0 < spent < math.inf):
            yield f"{identifier}: cpu_seconds: is {spent!r}, seconds are wanted"
    for target, actions in made_by.items():
        if len(actions) != 1:
            yield f"{target}: @id: is the result of {len(actions)} actions, one is wanted"


def _inputs(crate: _Judge) -> Iterator[str]:
    """Ask that what an action consumed is what its maker made: the same data."""
    actions = crate.of_type("CreateAction")
    maker = {target: a for a in actions.values() for target in references(a.get("result"))}
    for identifier, action in actions.items():
        objects, seen = set(references(action.get("object"))), set()
        for given in crate.inputs(action):
            for key in references(given.get("valueReference")):
                consumed = crate.entities.get(key, {})
                if not _is_sha256(consumed.get("value")):
                    yield f"{key}: value: is {consumed.get('value')!r}, a sha256 is wanted"
                for target in references(consumed.get("about")):
                    seen.add(target)
                    yield from _consumed(crate, identifier, given, maker.get(target), target)
        if crate.inputs(action) and seen != objects:
            odd = sorted(seen ^ objects)
            yield f"{identifier}: object: and the consumed files differ in {odd[0]}"


def _consumed(
    crate: _Judge, action: str, given: Entity, maker: Entity | None, target: str
) -> Iterator[str]:
    if maker is None:
        yield f"{action}: object: {target} is made by no action of the crate"
        return
    made = crate.stated(maker).get("data_version")
    if made != given.get("value"):
        yield (
            f"{action}: object: {target} was consumed with data version "
            f"{str(given.get('value'))[:12]}, in the hub is {str(made)[:12]}"
        )


def _published(crate: _Judge) -> Iterator[str]:
    ends = [str(action.get("endTime")) for action in crate.of_type("CreateAction").values()]
    stated = crate.entities[ROOT].get("datePublished")
    latest = max(ends, default=None)
    if latest is None or stated != latest:
        yield f"{ROOT}: datePublished: is {stated!r}, the latest action ended {latest}"


def _own_digest(crate: _Judge) -> Iterator[str]:
    """Ask that the root's identifier is the sha256 of everything else in the crate."""
    root = crate.entities[ROOT]
    bare = {key: value for key, value in root.items() if key != "identifier"}
    graph = [bare if item is root else item for item in crate.document["@graph"]]
    text = json.dumps(
        {**crate.document, "@graph": graph},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    wanted = f"sha256:{hashlib.sha256(text.encode('utf-8')).hexdigest()}"
    if root.get("identifier") != wanted:
        yield (
            f"{ROOT}: identifier: is {root.get('identifier')!r}, the crate has {wanted}: "
            "it was edited after it was written"
        )


RULES: dict[str, tuple[Callable[[_Judge], Iterator[str]], ...]] = {
    "hashes": (_files,),
    "complete": (_complete,),
    "self_digest": (_own_digest,),
    "rules": (_references, _values, _licence, _actions, _inputs, _published),
}
"""By what they are about."""
