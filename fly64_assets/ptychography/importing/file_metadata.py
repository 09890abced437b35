"""The metadata of a foreign file: those of DATA-001 are kept, any other text goes on record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fly64_assets.ptychography.data001 import metadata as meta
from fly64_assets.ptychography.importing.change_log import ChangeLog
from fly64_assets.study.json_depth import too_deep


def read_metadata(
    log: ChangeLog, names: dict[str, str]
) -> tuple[dict[str, Any] | None, str | None]:
    """Read the file's own metadata if they are those of DATA-001, and any other text as it is.

    Pickled metadata are never unpickled: the member is dropped, its sha256 recorded.
    """
    source, name = log.source, names.pop("_metadata", None)
    if name is None:
        log.add("_metadata", "made", None, "new", "the file has none")
        return None, None
    pickled = source.is_pickled(name)
    text = None if pickled else source.text(name)
    if text is None:
        reason = "pickled objects are never loaded" if pickled else "is no text"
        log.add("_metadata", "dropped and made anew", source.describe(name), "new", reason)
        return None, None
    parsed = _parsed(text)
    if problem := _problem(parsed):
        reason = f"{problem}; the old text is kept as source_metadata in the import record"
        log.add("_metadata", "made anew", "foreign text", "new", reason)
        return None, text
    form = source.describe(name).split(", sha256")[0]
    if source.container == "NPZ" and not (form.startswith("<U") and form.endswith(" ()")):
        log.add("_metadata", "decoded", form, "0-d unicode array", "the text is as it was")
    return parsed, None


def _parsed(text: str) -> Any:
    """Parse JSON; ``None`` where it is none or could not be copied and written."""
    try:
        parsed = json.loads(text)
        return None if too_deep(parsed) else parsed
    except (ValueError, RecursionError):
        return None


def _problem(parsed: Any) -> str:
    if not isinstance(parsed, Mapping):
        return "is no JSON object, or is nested too deep"
    if parsed.get("schema_version") != meta.SCHEMA_VERSION:
        return "has no schema_version 1"
    for name, problem in (
        ("creation", meta.creation_problem(parsed)),
        ("physics", meta.physics_problem(parsed, None)),
        ("transformations", meta.transformations_problem(parsed)),
    ):
        if problem:
            return f"{name} is {problem}"
    return "" if meta.is_canonical(parsed) else "does not begin with a simulate or import record"
