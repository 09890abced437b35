"""A solver that is really killed, started again, ends with the bits of one that never was.

Each process is one of its own, as the steps of a run are: ``interrupted_solver.py``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SCRIPT = "fly64_assets_tests.solvers.interrupted_solver"


def run(kind: str, folder: Path, *killed: str) -> list[str]:
    """What one process logs; it has to die where it is told to, or to end well."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", SCRIPT, kind, str(folder), *killed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == (-signal.SIGKILL if killed else 0), done.stdout + done.stderr
    assert (folder / "result.json").exists() is not bool(killed)
    return done.stdout.splitlines()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["PtychoPINN", "Baseline", "PtyChi"])
def test_a_killed_solver_goes_on_to_the_same_bits(kind, tmp_path):
    interrupted, whole = tmp_path / "interrupted", tmp_path / "whole"
    with ThreadPoolExecutor(1) as aside:
        undisturbed = aside.submit(run, kind, whole)
        assert run(kind, interrupted, "after", "2") == []
        done = 2
        if kind == "PtyChi":  # how it is written is the same for all
            # Its second checkpoint, that of epoch 4, never takes the place of its first.
            assert run(kind, interrupted, "during", "2") == ["resumed after epoch 2 of 4"]
            assert (interrupted / "checkpoint" / "checkpoint.unfinished").is_file()
            done = 3
        assert run(kind, interrupted) == [f"resumed after epoch {done} of 4"]
        assert undisturbed.result() == []
    found, wanted = (
        json.loads((folder / "result.json").read_text("utf-8")) for folder in (interrupted, whole)
    )
    assert found == wanted
    assert len(wanted["version"]) == 64 and len(wanted["history"]) == 4
