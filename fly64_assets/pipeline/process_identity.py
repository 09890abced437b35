"""The process that carries out a run: who it is, whether it still lives, and what it has started.

A process number alone says little, numbers are used again; with the process's start time, the boot
and the host it names one process for good. Read from ``/proc``: without one, nothing is ever said
to be gone. Runs and their tags are the reaper's (``dead_runs.py``).
"""

from __future__ import annotations

import os
import platform
import signal
import time
from dataclasses import astuple, dataclass
from pathlib import Path

WORKER_VARIABLE = "FLY64_WORKER"
"""Set by a run's process before it starts any other, so that whatever descends from it, however
far, carries its identity in ``/proc/<pid>/environ``."""
PROC = Path("/proc")
BOOT_ID = PROC / "sys/kernel/random/boot_id"
END_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ProcessIdentity:
    """One process on one boot of one host.

    Attributes:
        pid: its number.
        started: clock ticks from the boot to its start, field 22 of ``/proc/<pid>/stat``: no
            change of the clock touches it.
        boot: the kernel's ``boot_id``.
        host: its name; processes of another host, or of another container, cannot be judged here.
    """

    pid: int
    started: int
    boot: str
    host: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Return the process that has this number now; None when there is none or it has ended."""
        started = _started(pid)
        return None if started is None else cls(pid, started, _boot_id(), platform.node())

    @classmethod
    def mine(cls) -> ProcessIdentity:
        found = cls.of(os.getpid())
        return found or cls(os.getpid(), 0, _boot_id(), platform.node())

    @classmethod
    def from_text(cls, text: str) -> ProcessIdentity | None:
        """Return what ``str`` wrote; None for anything else."""
        parts = text.split("/")
        if len(parts) != 4 or not (parts[0].isdigit() and parts[1].isdigit()):
            return None
        return cls(int(parts[0]), int(parts[1]), parts[2], parts[3])

    def __str__(self) -> str:
        return "/".join(str(part) for part in astuple(self))

    @property
    def gone(self) -> str | None:
        """Why it certainly does not run any more, in words; None when it may still run."""
        if not BOOT_ID.is_file() or self.host != platform.node():
            return None
        if self.boot != _boot_id():
            return f"the machine was started anew, and process {self.pid} ended with it"
        started = _started(self.pid)
        if started is None:
            return f"process {self.pid} is gone"
        if started != self.started:
            return f"process {self.pid} is gone, and its number is another one's"
        return None


def _boot_id() -> str:
    return BOOT_ID.read_text().strip() if BOOT_ID.is_file() else "-"


def _started(pid: int) -> int | None:
    """Start of a process in ticks since the boot; None when it is not there or is a zombie."""
    try:
        text = (PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name in field 2 may hold blanks and brackets; what follows its last bracket does not.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def sign_children() -> ProcessIdentity:
    """Let everything that this process starts from here on carry its identity."""
    mine = ProcessIdentity.mine()
    os.environ[WORKER_VARIABLE] = str(mine)
    return mine


def descendants(worker: ProcessIdentity) -> list[int]:
    """Numbers of the living processes that carry the worker's identity; itself not among them."""
    mark = f"{WORKER_VARIABLE}={worker}".encode()
    found = []
    for folder in PROC.glob("[0-9]*"):
        pid = int(folder.name)
        if pid in (os.getpid(), worker.pid):
            continue
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if mark in variables and _started(pid) is not None:
            found.append(pid)
    return found


def end_descendants(worker: ProcessIdentity) -> list[int]:
    """Kill what a worker that is gone has left running, and wait until it has ended.

    Returns:
        The numbers of the processes that were ended.

    Raises:
        TimeoutError: one did not end.
    """
    ended: dict[int, None] = {}
    deadline = time.monotonic() + END_TIMEOUT_S
    while left := descendants(worker):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {left} of run worker {worker.pid} do not end")
        for pid in left:
            ended[pid] = None
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
    return list(ended)
