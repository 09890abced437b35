"""Shared fixtures: small studies, private results folders, and one real run of all assets.

TensorFlow and torch must not meet in one process and pytest is one process, so nothing here or in
any test imports either: solvers run in steps or in scripts of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hypothesis import settings

from fly64_assets.context import StudyContext
from fly64_assets.store import RESULTS_VARIABLE
from fly64_assets.study import PROJECT_ROOT, STUDY_VARIABLE

settings.register_profile("project", derandomize=True, deadline=None)
settings.load_profile("project")

TINY = {
    "extends": str(PROJECT_ROOT / "study.yaml"),
    "name": "tiny",
    "doses": [1000],
    "views": {"dense": {"target_overlap": 0.7}},
    "simulation": {"positions": 600},
    "overlap": {"n_groups": 48},
    "ptychopinn": {"epochs": 2, "samples_per_epoch": 32, "width": 8},
    "baseline": {"epochs": 2, "samples_per_epoch": 128, "width": 8},
    "ptychi": {"epochs": 4, "epochs_per_chunk": 2},
}
"""A real study that is small in every number that costs time."""


@pytest.fixture(autouse=True)
def private_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the caller's study or writes to the project's results."""
    monkeypatch.delenv(STUDY_VARIABLE, raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "results"))


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., Path]:
    """Write a study file: the tiny one with changes."""

    def write(name: str = "study.yaml", **changes: object) -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump({**TINY, **changes}), "utf-8")
        return path

    return write


def fly64(*arguments: str | Path, results: Path, timeout: int = 600) -> subprocess.CompletedProcess:
    """Run the command line as a user does, with its results in ``results``."""
    return subprocess.run(
        [sys.executable, "-m", "fly64_assets.cli", *map(str, arguments)],
        env={**os.environ, RESULTS_VARIABLE: str(results)},
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


@dataclass(frozen=True)
class FinishedRun:
    """The tiny study after ``fly64 run``: shared by all tests, so never to be changed."""

    study_file: Path
    results: Path
    run: subprocess.CompletedProcess

    def copy_to(self, folder: Path) -> FinishedRun:
        """A copy that a test may change."""
        shutil.copytree(self.results, folder)
        return FinishedRun(self.study_file, folder, self.run)

    def context(self, monkeypatch: pytest.MonkeyPatch) -> StudyContext:
        monkeypatch.setenv(RESULTS_VARIABLE, str(self.results))
        return StudyContext.load(self.study_file)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedRun]:
    """One real run of every asset: simulation, both networks, pty-chi, comparison."""
    folder = tmp_path_factory.mktemp("finished")
    study_file = folder / "study.yaml"
    study_file.write_text(yaml.safe_dump(TINY), "utf-8")
    results = folder / "results"
    arguments = ("run", "--study", study_file, "--dose", "1000", "--view", "dense")
    yield FinishedRun(study_file, results, fly64(*arguments, results=results))
