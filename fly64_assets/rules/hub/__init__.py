"""``fly64 verify``: every rule of the contract about a hub, as a named check.

What a product's files must hold is asked by the rules of its asset checks (``of_products.py``,
``phases.py``); the other modules hold what only a hub has. No module that makes a file of a hub is
imported. ``checks.py`` is the frame, ``reading.py`` the way to files.
"""

from __future__ import annotations

from pathlib import Path

from fly64_assets.errors import InputError
from fly64_assets.rules.hub import (
    check_report,
    crate,
    data_versions,
    files,
    logs,
    origins,
    phases,
    rendered_again,
    texts,
    times,
)
from fly64_assets.rules.hub.checks import CHECKS, Check, Finding, in_order
from fly64_assets.rules.hub.contract import CRATE, MANIFEST
from fly64_assets.rules.hub.reading import Hub, Memory
from fly64_assets.rules.hub.report import Outcome, Report, run_checks, write_report

SUBJECTS = (
    *(files, texts, logs, phases, rendered_again, check_report),
    *(crate, data_versions, origins, times),
)
"""The modules that hold rules."""

__all__ = [
    "SUBJECTS",
    "CHECKS",
    "Check",
    "Finding",
    "Hub",
    "Memory",
    "Outcome",
    "Report",
    "in_order",
    "open_hub",
    "require_hub",
    "run_checks",
    "write_report",
]


def require_hub(root: str | Path) -> Path:
    """Return the folder of a hub, whatever state it is in.

    Raises:
        InputError: there is no hub: no folder, or one with neither of the two files that say that
            it was meant to be one.
    """
    root = Path(root)
    if not root.is_dir():
        problem = "is no folder" if root.exists() else "does not exist"
        raise InputError(root, "", f"{problem}; a hub is made by `fly64 export`")
    if not any((root / name).is_file() for name in (MANIFEST, CRATE)):
        raise InputError(root, "", f"is no hub: it holds neither {MANIFEST} nor {CRATE}")
    return root


def open_hub(root: str | Path, memory: Memory | None = None) -> Hub:
    """Return the hub in a folder. Raises InputError as `require_hub` does."""
    return Hub(require_hub(root), memory or Memory())
