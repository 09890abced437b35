"""How deep JSON may be nested that comes from elsewhere. Nothing here knows what the values mean.

Python's own reader, writer and copier recurse, each to another depth; within this limit all can.
"""

from __future__ import annotations

from typing import Any

DEEPEST = 64
"""Levels of lists and objects in one another; provenance has a handful."""


def too_deep(value: Any) -> bool:
    """Whether lists and objects stand in one another more than `DEEPEST` levels deep."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inner(outer)]
    return any(isinstance(item, list | dict) for item in level)


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
