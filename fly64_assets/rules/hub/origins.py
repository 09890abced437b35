"""The check of where the specimen comes from and under which licence: known of the shipped ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fly64_assets.ptychography.data001.npz import array_digest, read_npz
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Finding, check, compare
from fly64_assets.rules.hub.crate_graph import entities, study
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.study.model import SPLITS
from fly64_assets.study.specimen_origins import FOLDER, LICENCE, licence_text, specimen_origin

SOURCE = "#specimen-source"
LICENCE_ID, UNKNOWN_LICENCE_ID = f"https://spdx.org/licenses/{LICENCE}", "#licence-unknown"


@check(
    "crate.origin",
    contract.CRATE,
    "a shipped specimen has its name, object, origin and licence; of another nothing is claimed",
)
def origin(hub: Hub) -> Iterator[Finding]:
    graph = entities(hub)
    named = str(study(hub).get("specimen"))
    name = named if named.endswith(".npz") else f"{named}.npz"
    known = specimen_origin(name, str(graph.get(SOURCE, {}).get("sha256")))
    file = known["shipped_as"]
    licence = LICENCE_ID if file else UNKNOWN_LICENCE_ID
    for identifier, entity in {
        SOURCE: {"name": name, "description": known["origin"], "license": {"@id": licence}},
        "#specimen": {"isBasedOn": {"@id": SOURCE}, "license": {"@id": licence}},
        "./": {"license": {"@id": licence}},
        licence: {"name": known["licence"], **({"text": licence_text()} if file else {})},
    }.items():
        described = _restricted(graph.get(identifier, {}), entity)
        yield from compare(contract.CRATE, entity, described, key=identifier)
    for split in SPLITS:
        path = hub.dataset(split)
        stated = hub.metadata(path).get("specimen")
        yield from compare(path, known, stated, key="_metadata specimen")
        if file:
            shipped = array_digest(read_npz(FOLDER / file, ["objectGuess"]))
            if array_digest(hub.arrays(path, "objectGuess")) != shipped:
                yield Finding(path, "objectGuess", f"is not the object of {file}")


def _restricted(entity: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entity[key] for key in keys if key in entity}
