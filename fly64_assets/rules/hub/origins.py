"""The check of where the specimen comes from and under which licence: known of the shipped ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from fly64_assets.ptychography.data001.npz import array_digest
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Finding, check, compare
from fly64_assets.rules.hub.crate_graph import entities, study
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.study.model import SPLITS

SOURCE = "#specimen-source"


@check(
    "crate.origin",
    contract.CRATE,
    "a shipped specimen has its name, object, origin and licence; of another nothing is claimed",
)
def origin(hub: Hub) -> Iterator[Finding]:
    graph = entities(hub)
    source = graph.get(SOURCE, {})
    sha256 = str(source.get("sha256"))
    known = contract.SPECIMENS.get(sha256)
    told = known.origin if known else contract.UNKNOWN
    named = str(study(hub).get("specimen"))
    name = named if named.endswith(".npz") else f"{named}.npz"
    licence = contract.LICENCE_ID if known else contract.UNKNOWN_LICENCE_ID
    for identifier, entity in {
        SOURCE: {"name": name, "description": told, "license": {"@id": licence}},
        "#specimen": {"isBasedOn": {"@id": SOURCE}, "license": {"@id": licence}},
        "./": {"license": {"@id": licence}},
        licence: {"name": contract.LICENCE if known else contract.UNKNOWN},
    }.items():
        stated = _restricted(graph.get(identifier, {}), entity)
        yield from compare(contract.CRATE, entity, stated, key=identifier)
    text = str(graph.get(licence, {}).get("text", ""))
    if known and hashlib.sha256(text.encode()).hexdigest() != contract.LICENCE_SHA256:
        yield Finding(contract.CRATE, f"{licence} text", "is not the notice of the licence")
    described = {
        "source": name,
        "sha256": sha256,
        "shipped_as": known.file if known else None,
        "licence": contract.LICENCE if known else contract.UNKNOWN,
        "licence_file": contract.LICENCE_FILE if known else None,
        "origin": told,
    }
    for split in SPLITS:
        path = hub.dataset(split)
        stated = hub.metadata(path).get("specimen")
        yield from compare(path, described, stated, key="_metadata specimen")
        if known and array_digest(hub.arrays(path, "objectGuess")) != known.object_digest:
            yield Finding(path, "objectGuess", f"is not the object of {known.file}")


def _restricted(entity: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entity[key] for key in keys if key in entity}
