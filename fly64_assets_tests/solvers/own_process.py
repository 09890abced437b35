"""Runs the files of checks that need TensorFlow or torch, with pytest in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

PARTS = ["not long", pytest.param("long", marks=pytest.mark.long)]
"""Of all checks, by their marker: together they are every one."""
NO_CHANGE: Mapping[str, str] = {}


def run_checks(
    files: Sequence[Path], part: str, *, more_than: int, environment: Mapping[str, str] = NO_CHANGE
) -> None:
    """Assert that the checks of ``part`` pass and that no check is in neither part.

    Args:
        files: not collected by their names.
        part: one of `PARTS`.
        more_than: fewer checks than are written in the files.
        environment: changes to this process's.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", part, *files]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=files[0].parents[2],
        env={**os.environ, **environment},
    )
    written = sum(file.read_text("utf-8").count("\ndef test_") for file in files)
    told = re.findall(r"(\d+) (?:passed|deselected)", done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(map(int, told)) >= written > more_than
    assert "skipped" not in done.stdout and "xfailed" not in done.stdout
