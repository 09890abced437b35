"""The step's own process: its peak memory, its versions, and that it ends with its parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import platform
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fly64_assets.study import PROJECT_ROOT

PR_SET_PDEATHSIG = 1
"""<linux/prctl.h>: signal that the kernel sends to a process when its parent dies."""


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MB (VmHWM; ``ru_maxrss`` counts the parent's)."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def end_with_parent() -> None:
    """Ask the kernel to end this step when its parent dies. Does nothing outside a step process."""
    if multiprocessing.parent_process() is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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
