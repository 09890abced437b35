"""A hub's ``ro-crate-metadata.json`` as a graph: read whole, looked up by identifier and type.

Both the rules (``ro_crate.py``) and the lineage of a file in a hub read a crate through here.
Nothing is judged here but that the file is JSON, and nothing of the writer is imported.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CRATE, ROOT = "ro-crate-metadata.json", "./"
LARGEST = 1 << 22
"""Bytes of a crate; one of ours has a tenth of it."""
Entity = Mapping[str, Any]


def read_crate(hub: Path) -> dict[str, Any]:
    """Return the crate's JSON object.

    Raises:
        ValueError: there is none, or it is no JSON object with every key once.
    """
    try:
        path = hub / CRATE
        if path.exists() and not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError("it is no file, or larger than any crate")
        text = path.read_bytes().decode("utf-8")
        content = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except OSError as error:
        raise ValueError(f"{CRATE}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{CRATE}: is no JSON: {error}") from None
    if "\r" in text or not text.endswith("\n"):
        raise ValueError(f"{CRATE}: lines end with a line feed alone, the last one too")
    if not isinstance(content, dict):
        raise ValueError(f"{CRATE}: holds no JSON object")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"key {twice[:80]!r} stands twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def references(value: Any) -> list[str]:
    """Return the identifiers that a property's value refers to, in order."""
    return [item["@id"] for item in as_list(value) if isinstance(item, Mapping) and "@id" in item]


class Graph:
    """The entities of a crate.

    Args:
        document: a crate whose every entity has an ``@id`` of its own and a ``@type``.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.entities: dict[str, Entity] = {item["@id"]: item for item in document["@graph"]}

    def of_type(self, name: str) -> dict[str, Entity]:
        found = self.entities.items()
        return {key: entity for key, entity in found if name in as_list(entity["@type"])}

    def properties(self, entity: Entity) -> list[Entity]:
        """Return the PropertyValues of an entity, in order."""
        targets = references(entity.get("additionalProperty"))
        return [self.entities[key] for key in targets if key in self.entities]

    def stated(self, action: Entity) -> dict[str, Any]:
        """Return the values of an action's PropertyValues by their ``propertyID``."""
        return {str(p.get("propertyID")): p.get("value") for p in self.properties(action)}

    def inputs(self, action: Entity) -> list[Entity]:
        """Return an action's inputs as it consumed them, PropertyValues with data versions."""
        found = self.properties(action)
        return [entity for entity in found if entity.get("propertyID") == "input_data_version"]
