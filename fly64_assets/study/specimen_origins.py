"""Where a specimen comes from and under which licence: known for the shipped ones, by their bytes.

A shipped specimen keeps its origin when somebody copies it under another name; of any other file
the name and the sha256 are known and nothing else is claimed. What a specimen holds does not belong
here (``ptychography/specimen.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from fly64_assets.study.hashing import sha256_of

FOLDER = Path(__file__).parent / "specimens"
LICENCE_FILE = "LICENSE.BSD-3-Clause.txt"
LICENCE = "BSD-3-Clause"
UNKNOWN = "unknown"
_SCANS = (
    "; the measured scan is one that the source distribution of tike 0.26.0 ships for its tests"
)
ORIGINS = {
    "labyrinth.npz": (
        "centre of a pty-chi LSQML reconstruction (25 epochs, 3 probe modes) of a scan measured at "
        "the CNM Hard X-ray Nanoprobe" + _SCANS
    ),
    "siemens_star.npz": (
        "centre of a pty-chi LSQML reconstruction (30 epochs) of a Siemens star measured at the "
        "APS Velociprobe" + _SCANS
    ),
}


@cache
def _shipped() -> dict[str, str]:
    """sha256 of each shipped specimen -> its file name."""
    return {sha256_of(FOLDER / name): name for name in ORIGINS}


def specimen_origin(source: str, sha256: str) -> dict[str, Any]:
    """Return what is known of a specimen's file.

    Args:
        source: its file name, without folders.
        sha256: of its bytes.

    Returns:
        ``source``, ``sha256``, ``shipped_as`` (``None`` for a user's own), ``licence`` (an SPDX
        identifier, or ``unknown``), ``licence_file`` (beside the shipped ones) and ``origin``.
    """
    shipped = _shipped().get(sha256)
    return {
        "source": source,
        "sha256": sha256,
        "shipped_as": shipped,
        "licence": LICENCE if shipped else UNKNOWN,
        "licence_file": LICENCE_FILE if shipped else None,
        "origin": ORIGINS[shipped] if shipped else UNKNOWN,
    }


def origin_in(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """`specimen_origin` of what a materialization of the specimen read; None for other settings.

    Args:
        settings: ``specimen``, the name of a shipped one or a path ending in ``.npz``, and
            ``specimen_sha256``.
    """
    if "specimen_sha256" not in settings:
        return None
    name = PurePosixPath(str(settings["specimen"])).name
    file = name if name.endswith(".npz") else f"{name}.npz"
    return specimen_origin(file, settings["specimen_sha256"])


def licence_text() -> str:
    """Return the notice that belongs beside every copy of a shipped specimen."""
    return (FOLDER / LICENCE_FILE).read_text("utf-8")
