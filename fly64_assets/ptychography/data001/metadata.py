"""The `_metadata` of a DATA-001 file: its fields, its append-only provenance, what "same" ignores.

Only plain dictionaries and JSON here; arrays and files belong to ``dataset.py`` and ``npz.py``.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA_VERSION = 1
CANONICAL_TOOLS = ("simulate", "import")
TIME_PATTERN = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
CIRCUMSTANCES = frozenset({"time", "host", "version", "git_commit"})
"""Keys, at any depth, that say when and by what a file was made: never part of its data version."""

SPECIMEN = "specimen"
"""Key, beside ``transformations``, of where the specimen of simulated data came from."""

Metadata = dict[str, Any]


def new_metadata(
    *,
    created: str,
    program: str,
    program_version: str,
    git_commit: str | None,
    nphotons: float | None,
    patch_size: int,
    seed: int | None,
    intensity_scale: float,
    probe_diameter_px: float | None,
) -> Metadata:
    """Metadata of a new dataset, its list of transformations still empty.

    Args:
        created: UTC time, ``YYYY-MM-DDTHH:MM:SSZ``.
        program: name of what makes the dataset.
        program_version: its version.
        git_commit: commit of its source, ``None`` where there is none.
        nphotons: mean detected photons per exposure; ``None`` where unknown (measured data).
        patch_size: N, px.
        seed: seed of the simulation, ``None`` for measured data.
        intensity_scale: counts = (diffraction * intensity_scale)**2.
        probe_diameter_px: diameter of the overlap discs, ``None`` where not determined.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "creation": {
            "time": created,
            "program": program,
            "version": program_version,
            "git_commit": git_commit,
        },
        "physics": {
            "nphotons": nphotons,
            "N": int(patch_size),
            "seed": seed,
            "intensity_scale": float(intensity_scale),
            "probe_diameter_px": probe_diameter_px,
        },
        "transformations": [],
    }


def with_transformation(
    metadata: Mapping[str, Any],
    *,
    tool: str,
    version: str,
    time: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, str],
) -> Metadata:
    """Return a copy of ``metadata`` with one more record; the earlier ones are never edited.

    Args:
        metadata: what the input dataset says.
        tool: what was done: ``simulate``, ``import``, ``overlap_view``, ...
        version: version of the program that did it.
        time: UTC time, ``YYYY-MM-DDTHH:MM:SSZ``.
        parameters: everything that decided the result, as JSON values.
        inputs: name to sha256 of what went in, of a file or of data.
    """
    changed = copy.deepcopy(dict(metadata))
    record = {
        "tool": tool,
        "version": version,
        "time": time,
        "parameters": copy.deepcopy(dict(parameters)),
        "inputs": dict(inputs),
    }
    changed["transformations"] = [*changed.get("transformations", []), record]
    return changed


def is_canonical(metadata: Mapping[str, Any]) -> bool:
    """Whether the provenance begins with a simulate or an import record (contract, section 2)."""
    records = metadata.get("transformations")
    if not isinstance(records, list) or not records or not isinstance(records[0], Mapping):
        return False
    return records[0].get("tool") in CANONICAL_TOOLS


def is_extension_of(earlier: Any, later: Any) -> bool:
    """Whether provenance only grew: ``later`` is ``earlier``, unedited, and one record or more.

    Args:
        earlier: the list of transformations of an input.
        later: the list of transformations of what was made from it.

    Returns:
        False also where either is no list of records.
    """
    for records in (earlier, later):
        if not isinstance(records, list) or not all(isinstance(item, Mapping) for item in records):
            return False
    return len(later) > len(earlier) and later[: len(earlier)] == earlier


def to_json(metadata: Mapping[str, Any]) -> str:
    """Metadata as JSON text with sorted keys.

    Raises:
        TypeError, ValueError: a value is no JSON value; NaN and infinities are none.
    """
    return json.dumps(metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)


def versioned(metadata: Mapping[str, Any]) -> Metadata:
    """Return the part of metadata that belongs to the data version.

    Left out are, at any depth, `CIRCUMSTANCES`, and the transformations' inputs: the hash of an
    input file covers the time at which that file was made, and what went in shows in the arrays.
    So does what the specimen was; the name of its file and its licence make no other data.
    """
    kept = _without_circumstances(metadata)
    kept.pop(SPECIMEN, None)
    records = kept.get("transformations")
    if isinstance(records, list):
        kept["transformations"] = [
            {key: value for key, value in record.items() if key != "inputs"}
            if isinstance(record, Mapping)
            else record
            for record in records
        ]
    return kept


def _without_circumstances(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if key not in CIRCUMSTANCES}
        return {key: _without_circumstances(item) for key, item in kept.items()}
    if isinstance(value, list | tuple):
        return [_without_circumstances(item) for item in value]
    return value


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max


def _is_positive_or_null(value: Any) -> bool:
    return value is None or (_is_number(value) and value > 0)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and TIME_PATTERN.fullmatch(value) is not None


def _missing(mapping: Mapping[str, Any], keys: Sequence[str]) -> str:
    return ", ".join(key for key in keys if key not in mapping)


def creation_problem(metadata: Mapping[str, Any]) -> str:
    """Return what is wrong with ``creation``; empty when nothing is."""
    creation = metadata.get("creation")
    if not isinstance(creation, Mapping):
        return "missing"
    if missing := _missing(creation, ("time", "program", "version", "git_commit")):
        return f"without {missing}"
    return "" if _is_time(creation["time"]) else f"time is {creation['time']!r}"


def physics_problem(metadata: Mapping[str, Any], patch_size: int | None) -> str:
    """Return what is wrong with ``physics``; N must be ``patch_size`` where that is given."""
    physics = metadata.get("physics")
    if not isinstance(physics, Mapping):
        return "missing"
    keys = ("nphotons", "N", "seed", "intensity_scale", "probe_diameter_px")
    if missing := _missing(physics, keys):
        return f"without {missing}"
    if not _is_int(physics["N"]) or (patch_size is not None and physics["N"] != patch_size):
        return f"N is {physics['N']!r}"
    scale = physics["intensity_scale"]
    if not _is_number(scale) or scale <= 0:
        return f"intensity_scale is {scale!r}"
    for key in ("nphotons", "probe_diameter_px"):
        if not _is_positive_or_null(physics[key]):
            return f"{key} is {physics[key]!r}"
    seed = physics["seed"]
    return "" if seed is None or _is_int(seed) else f"seed is {seed!r}"


def transformations_problem(metadata: Mapping[str, Any]) -> str:
    """Return what is wrong with the list of transformations; empty when nothing is."""
    records = metadata.get("transformations")
    if not isinstance(records, list):
        return "missing"
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            return f"record {number} is {record!r}"
        if missing := _missing(record, ("tool", "version", "time", "parameters", "inputs")):
            return f"record {number} without {missing}"
        if not _is_time(record["time"]):
            return f"record {number} has time {record['time']!r}"
        inputs = record["inputs"]
        if not isinstance(record["parameters"], Mapping) or not isinstance(inputs, Mapping):
            return f"record {number} has no parameters or inputs"
        for name, digest in inputs.items():
            if not isinstance(digest, str) or not SHA256_PATTERN.fullmatch(digest):
                return f"record {number} input {name} is {digest!r}"
    return ""
