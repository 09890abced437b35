"""Shared fixtures: small studies, private results folders, and one real run of all assets.

TensorFlow and torch must not meet in one process and pytest is one process, so nothing here or in
any test imports either: solvers run in steps or in scripts of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from hypothesis import settings

from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import study_instance
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.study.model import PROJECT_ROOT, STUDY_VARIABLE, load_study
from fly64_assets.study.products import products_in

settings.register_profile("project", derandomize=True, deadline=None)
settings.load_profile("project")

TINY = {
    "extends": str(PROJECT_ROOT / "study.yaml"),
    "name": "tiny",
    "doses": [1000],
    "views": {"dense": {"target_overlap": 0.7}},
    "simulation": {"positions": 600},
    "overlap": {"n_groups": 48},
    "ptychopinn": {
        "epochs": 2,
        "samples_per_epoch": 32,
        "weight_averaging": 0.5,
        "width": 8,
        "field": {"rounds": 2, "first_steps": 12, "further_steps": 2, "folds": 2},
    },
    "baseline": {
        "epochs": 2,
        "samples_per_epoch": 128,
        "weight_averaging": 0.5,
        "width": 8,
        "learning_rate": 3.0e-3,
    },
    "ptychi": {"epochs": 4, "epochs_per_chunk": 2},
    "replicates": 2,
    "epie": {"epochs": 4, "epochs_per_chunk": 2},
}
"""A real study that is small in every number that costs time."""
PRODUCTS = products_in(load_study(PROJECT_ROOT / "study.yaml"))
"""Those of a study with the three published arms, as the tiny one is."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One file makes the finished run; the files that can do without it come next.

    So the second worker has something to do meanwhile (`make test` keeps this order of files).
    """
    needing = list(dict.fromkeys(i.path for i in items if "finished" in i.fixturenames))
    items.sort(key=lambda i: (i.path in needing) - 2 * (i.path in needing[:1]))


@pytest.fixture(autouse=True)
def private_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the caller's study or writes to the project's results."""
    for name in (STUDY_VARIABLE, "DAGSTER_HOME"):
        # Set first: what a test itself puts there (`prepare_instance` does) goes with it.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
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


def copy_results(results: Path, folder: Path) -> None:
    """Copy a finished study, which other tests may be reading.

    SQLite's side files come and go with who reads, and hold nothing once all writers have ended.
    """
    shutil.copytree(results, folder, ignore=shutil.ignore_patterns("*.db-wal", "*.db-shm"))


@dataclass(frozen=True)
class FinishedRun:
    """The tiny study after ``fly64 run``: shared by all tests, so never to be changed."""

    study_file: Path
    results: Path
    run: subprocess.CompletedProcess

    def copy_to(self, folder: Path) -> FinishedRun:
        """A copy that a test may change."""
        copy_results(self.results, folder)
        return FinishedRun(self.study_file, folder, self.run)

    def context(self, monkeypatch: pytest.MonkeyPatch) -> StudyContext:
        monkeypatch.setenv(RESULTS_VARIABLE, str(self.results))
        return StudyContext.load(self.study_file)


def run_once(
    factory: pytest.TempPathFactory, worker: str, name: str, timeout: int = 600, **changes: object
) -> FinishedRun:
    """A whole run of the tiny study with changes, made by the first worker that asks for it.

    The others wait and take the same.
    """
    base = factory.getbasetemp()
    folder = (base if worker == "master" else base.parent) / name
    study_file, results, told = folder / "study.yaml", folder / "results", folder / "run.json"
    with FileLock(f"{folder}.lock"):
        if not told.is_file():
            folder.mkdir()
            study_file.write_text(yaml.safe_dump({**TINY, **changes}), "utf-8")
            arguments = ("run", "--study", study_file, "--dose", "1000", "--view", "dense")
            run = fly64(*arguments, results=results, timeout=timeout)
            told.write_text(json.dumps([run.returncode, run.stdout, run.stderr]), "utf-8")
    run = subprocess.CompletedProcess([], *json.loads(told.read_text("utf-8")))
    return FinishedRun(study_file, results, run)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> FinishedRun:
    """One real run of every asset: simulation, both networks, pty-chi, comparison, reports."""
    return run_once(tmp_path_factory, worker_id, "finished")


SPECIMENS_MADE = 3


@pytest.fixture(scope="session")
def specimen_made(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The specimen of the tiny study, made several times, never to be changed.

    ``results.parent / "older"`` is a copy of the database from after the first time.
    """
    from fly64_assets.definitions import build_definitions

    folder = tmp_path_factory.mktemp("specimen")
    study_file, results = folder / "study.yaml", folder / "results"
    study_file.write_text(yaml.safe_dump(TINY), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSTER_HOME", STUDY_VARIABLE):
            patch.setenv(name, "")
        patch.setenv(RESULTS_VARIABLE, str(results))
        context = StudyContext.load(study_file)
        job = build_definitions(context).resolve_job_def("prepare_specimen")
        for number in range(SPECIMENS_MADE):
            with study_instance(context.study, context.study_file) as instance:
                assert job.execute_in_process(instance=instance).success
            if not number:
                copy_results(results / "tiny" / "dagster", folder / "older")
    return FinishedRun(study_file, results, subprocess.CompletedProcess([], 0, "", ""))


@pytest.fixture
def opened(finished, monkeypatch):
    """The finished run's context and its instance, not to be changed."""
    context = finished.context(monkeypatch)
    with study_instance(context.study, context.study_file) as instance:
        yield context, instance
