"""Checkpoints: what an interrupted solver step left in the store for the next attempt.

One file a partition of a product, beside its staging: ``.checkpoints/<step>/checkpoint.npz``. It is
an NPZ archive (no pickle) whose comment is the sha256 of all bytes before it, and it belongs to one
fingerprint: to the code, the settings and the inputs' data versions that it was made with. One that
is torn, altered or another's is told of, removed and never used. It goes when its product is in
place. What has to be in it is the solvers' business (``solvers/``). numpy is imported only inside.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fly64_assets.errors import InputError
from fly64_assets.pipeline.store import sync
from fly64_assets.solvers.interface import Snapshot

SCHEMA_VERSION = 2
FILE = "checkpoint.npz"
STATE = "_state"
SEAL_BYTES = 64
CHUNK_BYTES = 1 << 20


class CpuSpent:
    """CPU time of a step over all its attempts, as far as a checkpoint carried their work over."""

    def __init__(self) -> None:
        self._earlier_s = 0.0

    @property
    def seconds(self) -> float:
        """Of this process and of those whose work goes on in it."""
        return self._earlier_s + time.process_time()

    def go_on_from(self, seconds: float) -> None:
        """Count what earlier processes had spent when they saved; of several parts, the most."""
        self._earlier_s = max(self._earlier_s, seconds)


class StoredCheckpoint:
    """A `solvers.interface.Checkpoint` in a folder of the store, for one writer at a time.

    Args:
        folder: its own; made when first saved to.
        fingerprint: of the product that the step is to make.
        log: told when a step goes on from a checkpoint and when one is not used or not saved.
        spent: the step's CPU time, where the checkpoint is one of several of a step.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        log: Callable[[str], None],
        spent: CpuSpent | None = None,
    ) -> None:
        self.folder, self.fingerprint, self.log = folder, fingerprint, log
        self.spent = spent or CpuSpent()

    @property
    def path(self) -> Path:
        return self.folder / FILE

    def load(self) -> Snapshot | None:
        """Return the snapshot of an interrupted run of this fingerprint, or None."""
        if not self.path.is_file():
            return None
        try:
            snapshot = self._read()
        except (InputError, OSError) as error:
            problem = error.problem if isinstance(error, InputError) else error.strerror
            self.log(f"checkpoint ignored and removed: {problem}")
            self.remove()
            return None
        self.log(f"resumed after {snapshot.unit} {snapshot.done} of {snapshot.total}")
        return snapshot

    def save(self, snapshot: Snapshot) -> None:
        """Replace the checkpoint, on disk before this returns.

        A checkpoint that cannot be written costs an interrupted run its time, not this one: it is
        told of, and the one before stays.
        """
        from fly64_assets.ptychography.data001.npz import write_npz

        unfinished = self.path.with_suffix(".unfinished")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_npz(unfinished, {**snapshot.arrays, STATE: self._described(snapshot)})
            _seal(unfinished)
            unfinished.replace(self.path)
            sync(self.folder)
        except OSError as error:
            self.log(
                f"no checkpoint after {snapshot.unit} {snapshot.done} of {snapshot.total}: "
                f"{error.strerror}"
            )
            with contextlib.suppress(OSError):
                unfinished.unlink()

    def part(self, name: str) -> StoredCheckpoint:
        """Return the checkpoint of one solver call of several in a step; it goes with the whole."""
        return StoredCheckpoint(
            self.folder / name, f"{self.fingerprint} {name}", self.log, self.spent
        )

    def remove(self) -> None:
        remove(self.folder)

    def _described(self, snapshot: Snapshot) -> Any:
        import numpy as np

        described = {
            "schema_version": SCHEMA_VERSION,
            "fingerprint": self.fingerprint,
            "done": snapshot.done,
            "total": snapshot.total,
            "unit": snapshot.unit,
            "cpu_seconds": self.spent.seconds,
            "state": snapshot.state,
        }
        return np.array(json.dumps(described, allow_nan=False))

    def _read(self) -> Snapshot:
        """Raise InputError for what is not whole or not of this fingerprint."""
        from fly64_assets.ptychography.data001.npz import read_npz

        _require_seal(self.path)
        arrays = read_npz(self.path)
        described = json.loads(str(arrays.pop(STATE)[()]))
        if described["schema_version"] != SCHEMA_VERSION:
            found = described["schema_version"]
            raise InputError(self.path, "schema_version", f"its schema version is {found}")
        if described["fingerprint"] != self.fingerprint:
            raise InputError(
                self.path, "fingerprint", "it was made with other code, settings or inputs"
            )
        self.spent.go_on_from(described["cpu_seconds"])
        progress = (described["done"], described["total"], described["unit"])
        return Snapshot(*progress, arrays, described["state"])


def remove(folder: Path) -> None:
    """Forget the checkpoint, if there is one: its product is in place, or starts from nothing."""
    shutil.rmtree(folder, ignore_errors=True)


def _seal(path: Path) -> None:
    """Give an archive a comment of 64 bytes: the sha256, in hex, of every byte before it."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = bytes(SEAL_BYTES)
    with path.open("r+b") as file:
        seal, _ = _seals(file)
        file.seek(-SEAL_BYTES, os.SEEK_END)
        file.write(seal)
        file.flush()
        os.fsync(file.fileno())


def _require_seal(path: Path) -> None:
    if path.stat().st_size <= SEAL_BYTES:
        raise InputError(path, "", "it is cut short")
    with path.open("rb") as file:
        wanted, found = _seals(file)
    if wanted != found:
        raise InputError(path, "", "its sha256 is not the one that it carries")


def _seals(file: Any) -> tuple[bytes, bytes]:
    """Return what the seal of an open file has to be, and what it is."""
    digest = hashlib.sha256()
    remaining = file.seek(0, os.SEEK_END) - SEAL_BYTES
    file.seek(0)
    while remaining and (part := file.read(min(CHUNK_BYTES, remaining))):
        digest.update(part)
        remaining -= len(part)
    return digest.hexdigest().encode(), file.read(SEAL_BYTES)
