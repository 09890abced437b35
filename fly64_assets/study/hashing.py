"""Hashes of files and of contents."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

TIMES = ("generated_at", "computation_time_s", "source_metrics_sha256")
"""Keys of a summary, at any depth, that change with the moment it is written."""


def sha256_of(path: str | Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(content: Any) -> str:
    """Return the sha256 of JSON with sorted keys: equal for equal content, whatever the order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def timeless(content: Any) -> Any:
    """Return JSON values without what only the moment of writing decides (`TIMES`)."""
    if isinstance(content, dict):
        return {key: timeless(value) for key, value in content.items() if key not in TIMES}
    return [timeless(value) for value in content] if isinstance(content, list) else content
