"""What a materialization says of itself, and how an asset check stands, in plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

STATES = ("passed", "warning", "failed", "not run")
"""Of an asset check."""
PASSED, WARNING, FAILED, NOT_RUN = STATES


@dataclass(frozen=True)
class FileRecord:
    """One file of the store: ``path`` relative to it (POSIX), sha256 in hex, size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class InputRecord:
    """One input as it was consumed."""

    asset: str
    partition: str | None
    data_version: str
    storage_id: int
    files: Mapping[str, str]


@dataclass(frozen=True)
class Provenance:
    """What a materialization says of itself. Times are UTC, paths relative to the store.

    Attributes:
        fingerprint: hash of code version, settings read and inputs' data versions.
        data_version: "same" means equal in this: content without times, host and versions.
        files: path -> what was written.
        inputs: asset name -> what was read.
        seconds, cpu_seconds, peak_memory_mb: of the step's own process (VmHWM).
    """

    asset: str
    partition: str | None
    generated_at: str
    study: str
    study_sha256: str
    fingerprint: str
    code_version: str
    data_version: str
    settings: Mapping[str, Any]
    files: Mapping[str, FileRecord]
    inputs: Mapping[str, InputRecord]
    versions: Mapping[str, str]
    git_commit: str | None
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Provenance:
        files = {path: FileRecord(**record) for path, record in content["files"].items()}
        inputs = {name: InputRecord(**record) for name, record in content["inputs"].items()}
        return cls(**{**content, "files": files, "inputs": inputs})
