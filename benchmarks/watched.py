"""Runs ``fly64`` and watches the kernel's figures of every process that it starts.

Peak memory is VmHWM; threads that run or would run, had they a core, are in state R. Both are read
ten times a second. What is run and what may be used belongs to the benchmarks.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from dagster import DagsterEventType, DagsterInstance

from fly64_assets.pipeline.process_identity import ProcessIdentity, descendants

SAMPLING_S = 0.1
WINDOW = 20
"""Looks over which runnable threads are averaged: one that hands over to another is both for a
moment."""


@dataclass
class Seen:
    """One process.

    Attributes:
        peak_mb: highest VmHWM.
        first, last: when it was seen, seconds of a monotonic clock.
        runnable: number of runnable threads at each look.
    """

    peak_mb: float = 0.0
    first: float = 0.0
    last: float = 0.0
    runnable: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.last - self.first

    @property
    def most_threads(self) -> float | None:
        """Most runnable threads, averaged over any window; None where there was none."""
        starts = range(len(self.runnable) - WINDOW + 1)
        return max((sum(self.runnable[at : at + WINDOW]) / WINDOW for at in starts), default=None)

    def note(self, peak_mb: float, runnable: int) -> None:
        self.last = time.monotonic()
        self.first = self.first or self.last
        self.peak_mb = max(self.peak_mb, peak_mb)
        self.runnable.append(runnable)


@dataclass
class Watch:
    """All processes that were seen, by number."""

    processes: dict[int, Seen] = field(default_factory=dict)

    def run(self, *arguments: str | Path) -> int:
        """Run ``fly64`` to its end; its process number. SystemExit when it fails."""
        command = [sys.executable, "-m", "fly64_assets.cli", *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        while process.poll() is None:
            worker = ProcessIdentity.of(process.pid)
            for pid in [process.pid, *descendants(worker)] if worker else []:
                self._look(pid)
            time.sleep(SAMPLING_S)
        if process.returncode:
            raise SystemExit(f"fly64 {arguments[0]} ended with {process.returncode}")
        return process.pid

    def _look(self, pid: int) -> None:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            threads = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        except OSError:  # ended meanwhile
            return
        runnable = sum(stat.rpartition(")")[2].split()[0] == "R" for stat in threads)
        for line in status.splitlines():
            if line.startswith("VmHWM:"):  # a process that is ending has none
                peak_mb = int(line.split()[1]) * 1024 / 1e6
                self.processes.setdefault(pid, Seen()).note(peak_mb, runnable)


def step_processes(instance: DagsterInstance) -> dict[str, int]:
    """Step -> number of the process that it ran in, from the events of all runs."""
    found: dict[str, int] = {}
    for run in instance.get_runs():
        for entry in instance.all_logs(run.run_id):
            event = entry.dagster_event
            if event is None or event.event_type is not DagsterEventType.STEP_WORKER_STARTED:
                continue
            pid = event.event_specific_data.metadata["pid"]
            found[str(event.step_key)] = int(pid.value)
    return found
