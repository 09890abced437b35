"""What a hub's RO-Crate states: files, steps, settings, what each step consumed. No rule here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Broken
from fly64_assets.rules.hub.reading import Hub

CIRCUMSTANCES = ("time", "version", "inputs")
"""Of a transformation: what says when and from which copy of the same data it was made."""


@dataclass
class Step:
    """How one asset was made.

    Attributes:
        stated: data_version, code_version, git_commit, settings, ... by name.
        end: UTC time.
        consumed: ``asset/file name`` -> sha256 of the file that was consumed.
        places: the same -> where that file lies in the hub; none for the specimen.
        versions: asset -> data version that was consumed.
        versions_used: software -> its version.
        seeds: name -> value.
    """

    stated: dict[str, Any] = field(default_factory=dict)
    end: str = ""
    consumed: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    versions_used: dict[str, str] = field(default_factory=dict)
    seeds: dict[str, Any] = field(default_factory=dict)


def entities(hub: Hub) -> dict[str, dict[str, Any]]:
    """Return the crate's entities by ``@id``."""
    graph = hub.json(contract.CRATE).get("@graph")
    if not isinstance(graph, list) or not all(isinstance(item, dict) for item in graph):
        raise Broken(contract.CRATE, "@graph", "is no list of entities")
    return {str(item.get("@id")): item for item in graph}


def study(hub: Hub) -> dict[str, Any]:
    """Return the study's settings."""
    found = {}
    for identifier, entity in entities(hub).items():
        if identifier.startswith("#study/") and entity.get("propertyID") == "setting":
            try:
                found[str(entity.get("name"))] = json.loads(entity["value"])
            except (KeyError, TypeError, ValueError) as error:
                raise Broken(contract.CRATE, identifier, f"is no JSON: {error}") from None
    return found


def setting(hub: Hub, section: str, name: str) -> Any:
    """One setting of the study."""
    try:
        return study(hub)[section][name]
    except (KeyError, TypeError):
        raise Broken(contract.CRATE, f"#study/{section}", f"states no {name}") from None


def steps(hub: Hub) -> dict[str, Step]:
    """Asset -> how it was made."""
    return hub.once("steps", [contract.CRATE], lambda: dict(_steps(entities(hub))))


def _steps(graph: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Step]]:
    for identifier, action in graph.items():
        if action.get("@type") != "CreateAction":
            continue
        step = Step(end=str(action.get("endTime") or ""))
        for key in _targets(action.get("instrument")):
            software = graph.get(key, {})
            step.versions_used[str(software.get("name"))] = str(software.get("softwareVersion"))
        for key in _targets(action.get("additionalProperty")):
            entity = graph.get(key, {})
            kind, name, value = (entity.get(part) for part in ("propertyID", "name", "value"))
            if kind == "seed":
                step.seeds[str(name)] = value
                continue
            if kind != "input_data_version":
                step.stated[str(kind)] = value
                continue
            step.versions[str(name)] = str(value)
            for target in _targets(entity.get("valueReference")):
                file = graph.get(target, {})
                label = f"{name}/{str(file.get('name')).rpartition('/')[2]}"
                step.consumed[label] = str(file.get("value"))
                for place in _targets(file.get("about")):
                    if not place.startswith("#"):
                        step.places[label] = unquote(place)
        yield identifier.removeprefix("#make/"), step


def _targets(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [str(item["@id"]) for item in items if isinstance(item, dict) and "@id" in item]


def consumed_as_it_is(hub: Hub, asset: str, label: str) -> bool:
    """Whether what ``asset`` consumed under a label is the very file of the hub."""
    step = steps(hub).get(asset, Step())
    place, consumed = step.places.get(label), step.consumed.get(label)
    if label.startswith("specimen/"):  # its file is no file of a hub, and is described all the same
        return consumed is not None and consumed == entities(hub).get("#specimen", {}).get("sha256")
    return place in hub.files and consumed == hub.sha256(place)
