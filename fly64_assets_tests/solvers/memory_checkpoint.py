"""A checkpoint that a check holds in its hands: every snapshot of a run, to go on from each."""

from __future__ import annotations

from fly64_assets.solvers.interface import Snapshot


class MemoryCheckpoint:
    """Starts from ``snapshot`` and keeps all that are saved."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot
        self.saved: list[Snapshot] = []

    def load(self) -> Snapshot | None:
        return self.snapshot

    def save(self, snapshot: Snapshot) -> None:
        self.saved.append(snapshot)
