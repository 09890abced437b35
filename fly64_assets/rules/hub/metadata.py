"""The check of which keys metadata have. What their values must be is with each phase."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fly64_assets.rules.hub.arms import iterative
from fly64_assets.rules.hub.checks import Finding, check, compare
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.reconstructions import reconstruction
from fly64_assets.study.model import SPLITS

METADATA = {"schema_version", "creation", "physics", "specimen", "transformations"}
PARTS = {
    "creation": {"time", "program", "version", "git_commit"},
    "physics": {"nphotons", "N", "seed", "intensity_scale", "probe_diameter_px"},
}
RECORD = {"tool", "version", "time", "parameters", "inputs"}


@check(
    "npz.metadata",
    "",
    "metadata say what DATA-001 asks for, whose program made them, and nothing else",
)
def metadata(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        for path in (
            *(hub.dataset(split), hub.overlap_view(split)),
            *(reconstruction(hub, arm, split) for arm in iterative(hub)),
        ):
            stated = hub.metadata(path)
            groups: list[tuple[str, set[str], Any]] = [("", METADATA, stated)]
            groups += [(f"{key}.", keys, stated.get(key)) for key, keys in PARTS.items()]
            groups += [
                (f"transformations[{number}].", RECORD, record)
                for number, record in enumerate(stated.get("transformations", []))
            ]
            for place, keys, found in groups:
                names = set(found) if isinstance(found, dict) else set()
                for name in sorted(keys ^ names):
                    reason = "is missing" if name in keys else "is no key of metadata"
                    yield Finding(path, f"_metadata {place}{name}", reason)
            program = stated.get("creation", {}).get("program")
            yield from compare(path, "fly64_assets", program, key="_metadata creation.program")
