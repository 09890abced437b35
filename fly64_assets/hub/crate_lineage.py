"""A hub as the lineage reads it: what its RO-Crate says, and nothing else but the files.

Whether the crate itself is right is judged by ``ro_crate.py``.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fly64_assets.documents.ro_crate_graph import CRATE, Entity, Graph, read_crate, references
from fly64_assets.errors import InputError
from fly64_assets.hub.lineage import Made, unknown_file
from fly64_assets.study.hub_layout import VERIFICATION_REPORT

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What a crate that is not as it was exported raises when it is followed."""
NOT_MADE = {
    CRATE: "has no lineage of its own: fly64 export writes it, and it is what names the sources of "
    "every other file of the hub",
    VERIFICATION_REPORT: "has no lineage: fly64 verify writes it, anew each time, about the hub as "
    f"it finds it; {CRATE} names the sources of the other files",
}
"""The files of a hub that no asset made."""


@dataclass(frozen=True)
class _Key:
    """One making as a consumer saw it; a crate describes the one that the hub holds."""

    asset: str
    data_version: str
    files: tuple[tuple[str, str], ...]


class HubHome:
    """An exported hub.

    Raises:
        InputError: its crate cannot be read or lacks what a lineage needs.
    """

    kind = "hub"

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.graph = Graph(read_crate(root))
            self.actions = {
                action["@id"].removeprefix("#make/"): action
                for action in self.graph.of_type("CreateAction").values()
            }
        except UNREADABLE as error:
            raise InputError(root / CRATE, "", f"cannot be followed: {error!r}") from None

    def owner(self, path: str) -> Made:
        """Return the making that the crate gives for ``path``.

        Raises:
            InputError: the crate gives none.
        """
        if path in NOT_MADE:
            raise unknown_file(self.root / path, NOT_MADE[path])
        asset = self._maker(path)
        if asset is None:
            raise unknown_file(self.root / path, f"no action of the hub's {CRATE} made it")
        return self._made(asset, None)

    def _maker(self, path: str) -> str | None:
        try:
            for asset, action in self.actions.items():
                if path in map(unquote, references(action.get("result"))):
                    return asset
        except UNREADABLE as error:
            raise InputError(self.root / CRATE, "", f"cannot be followed: {error!r}") from None
        return None

    def made(self, key: Hashable) -> Made:
        assert isinstance(key, _Key)
        return self._made(key.asset, key)

    def current(self, asset: str, partition: str | None) -> Made | None:
        return self._made(asset, None) if asset in self.actions else None

    def _made(self, asset: str, consumed: _Key | None) -> Made:
        if asset not in self.actions:
            raise InputError(self.root / CRATE, asset, "is consumed, but no action made it")
        try:
            return self._described(asset, consumed)
        except UNREADABLE as error:
            raise InputError(
                self.root / CRATE, f"#make/{asset}", f"cannot be followed: {error!r}"
            ) from None

    def _described(self, asset: str, consumed: _Key | None) -> Made:
        action = self.actions[asset]
        stated = self.graph.stated(action)
        results = [self.graph.entities[target] for target in references(action["result"])]
        current = {unquote(entity["@id"]): entity["sha256"] for entity in results}
        outside = {unquote(e["@id"]) for e in results if "File" not in e["@type"]}
        files = current if consumed is None else dict(consumed.files)
        version = stated["data_version"] if consumed is None else consumed.data_version
        told = ("partition", "code_version", "fingerprint", "study", "study_sha256", "git_commit")
        _require_texts(action["endTime"], version, *files, *files.values())
        _require_texts(*(stated[name] for name in told))
        settings = json.loads(stated["settings"])
        if not isinstance(settings, dict):
            raise TypeError("settings are no JSON object")
        software = [self.graph.entities[target] for target in references(action["instrument"])]
        return Made(
            key=_Key(asset, version, tuple(sorted(files.items()))),
            asset=asset,
            partition=None if stated["partition"] == "study" else stated["partition"],
            generated_at=action["endTime"],
            data_version=version,
            code_version=stated["code_version"],
            fingerprint=stated["fingerprint"],
            study=stated["study"],
            study_sha256=stated["study_sha256"],
            git_commit=None if stated["git_commit"] == "unknown" else stated["git_commit"],
            versions={entity["name"]: entity["softwareVersion"] for entity in software},
            settings=settings,
            files=files,
            inputs=tuple(self._input_key(entity) for entity in self.graph.inputs(action)),
            absent=frozenset(outside),
            exact=files == current,
            source=self._source(results),
        )

    def _input_key(self, given: Entity) -> _Key:
        """Return an input as it was consumed, from its PropertyValue in the crate."""
        entities = [self.graph.entities[target] for target in references(given["valueReference"])]
        files = {unquote(references(e["about"])[0]): e["value"] for e in entities}
        return _Key(given["name"], given["value"], tuple(sorted(files.items())))

    def _source(self, results: list[Entity]) -> Mapping[str, Any] | None:
        for entity in results:
            for target in references(entity.get("isBasedOn")):
                source = self.graph.entities[target]
                licence = self.graph.entities[references(source["license"])[0]]
                return {
                    "source": source["name"],
                    "sha256": source["sha256"],
                    "licence": licence["name"],
                    "origin": source["description"],
                }
        return None


def _require_texts(*values: Any) -> None:
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{value!r} is no text")
