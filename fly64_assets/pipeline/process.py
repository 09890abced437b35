"""The step's own process: its memory, threads and versions, and that it ends with its parent."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fly64_assets.study.model import PROJECT_ROOT

WATCH = "end with the run"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Read once by OpenMP and the BLAS libraries, when numpy or torch is imported."""
_steps_run_here = False


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MB (VmHWM; ``ru_maxrss`` counts the parent's)."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@contextmanager
def steps_run_here() -> Iterator[None]:
    """Say that steps run in the run's own process: then their process has no run to end with."""
    global _steps_run_here
    before, _steps_run_here = _steps_run_here, True
    try:
        yield
    finally:
        _steps_run_here = before


def is_step_process() -> bool:
    """Whether this process was started for one step, and ends with it."""
    return multiprocessing.parent_process() is not None and not _steps_run_here


def limit_threads(threads: int) -> None:
    """Let numerical libraries start no more threads than this, whatever the machine has.

    Only in a step's own process, where none of them has been loaded yet; elsewhere nothing happens.
    """
    if is_step_process():
        os.environ.update(thread_limits(threads))


def thread_limits(threads: int) -> dict[str, str]:
    """Environment variables that let numerical libraries start no more threads than this."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def end_with_parent() -> None:
    """End this step's process as soon as the run's process does. Nothing outside a step process.

    A step is forked from the fork server, which outlives a run's process that is killed; so the
    kernel's own signal at a parent's death (``PR_SET_PDEATHSIG``) would never come. What does come
    is the end of the pipe that the run's process holds for every step that it asked for.
    """
    run = multiprocessing.parent_process()
    if run is None or not is_step_process():
        return
    if any(thread.name == WATCH for thread in threading.enumerate()):
        return

    def watch() -> None:
        run.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name=WATCH, daemon=True).start()


def utc_text(timestamp: float) -> str:
    """``YYYY-MM-DDTHH:MM:SSZ`` of seconds since the epoch."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_now() -> str:
    """``YYYY-MM-DDTHH:MM:SSZ``."""
    return utc_text(time.time())


@cache
def git_commit() -> str | None:
    """Commit of the checkout that the package runs from, ``-dirty`` where it was changed."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None


def program_version() -> str:
    return version("fly64_assets")


def versions(libraries: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of what made a result."""
    found = {"python": platform.python_version()}
    for name in ("fly64_assets", "dagster", "numpy", *libraries):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
