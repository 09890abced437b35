"""The small values that the schemas of the hub's files are put together from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fly64_assets.ptychography.data001.metadata import SHA256_PATTERN, TIME_PATTERN
from fly64_assets.study.arms import NAMES
from fly64_assets.study.model import NAME_PATTERN, SPLITS

Json = dict[str, Any]


def described(description: str, value: Json) -> Json:
    return {**value, "description": description}


def number(description: str, **bounds: float) -> Json:
    return {"type": "number", "description": description, **bounds}


def integer(description: str, minimum: int = 0) -> Json:
    return {"type": "integer", "description": description, "minimum": minimum}


def text(description: str) -> Json:
    return {"type": "string", "description": description}


def flag(description: str) -> Json:
    return {"type": "boolean", "description": description}


def null_or(value: Json) -> Json:
    """Return the value, or null where it does not apply."""
    return {**value, "type": [value["type"], "null"]}


def listed(description: str, items: Json, **bounds: int) -> Json:
    return {"type": "array", "description": description, "items": items, **bounds}


def record(
    description: str, properties: Mapping[str, Json], *, optional: Iterable[str] = ()
) -> Json:
    """Return an object with these keys and no other, all there but the optional ones."""
    leave = set(optional)
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "required": [name for name in properties if name not in leave],
        "additionalProperties": False,
    }


def mapping(description: str, keys: Json, values: Json) -> Json:
    """Return an object whose keys are not known beforehand."""
    return {
        "type": "object",
        "description": description,
        "propertyNames": keys,
        "additionalProperties": values,
        "minProperties": 1,
    }


def by_split(description: str, value: Json) -> Json:
    return record(description, dict.fromkeys(SPLITS, value))


DOSE = integer("photons per exposure", 1)
VIEW = {"type": "string", "pattern": f"^{NAME_PATTERN.pattern}$", "description": "name of the view"}
SPLIT = {"enum": list(SPLITS), "description": "half of the scan along y"}
ARM = {"enum": list(NAMES), "description": "the arm's identifier"}
TIME = {"type": "string", "pattern": f"^{TIME_PATTERN.pattern}$", "description": "UTC"}
SHA256 = {"type": "string", "pattern": f"^{SHA256_PATTERN.pattern}$", "description": "sha256, hex"}
PATH = {
    "type": "string",
    "pattern": r"^[^/\\]+(/[^/\\]+)*$",
    "description": "path relative to the hub, POSIX",
}
DOSE_KEY = {"pattern": "^dose_[1-9][0-9]*$"}
AT = {"dose": DOSE, "view": VIEW, "split": SPLIT}
PROVENANCE = listed(
    "what was done to the data, in its order; only ever appended to",
    record(
        "one making",
        {
            "tool": text("what was done: simulate, import, overlap_view, train, ..."),
            "version": text("version of the program"),
            "time": TIME,
            "parameters": {"type": "object", "description": "everything that decided the result"},
            "inputs": {
                "type": "object",
                "description": "name of what went in and its sha256",
                "additionalProperties": SHA256,
            },
        },
    ),
    minItems=1,
)
