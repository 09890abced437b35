"""A real hub, exported from the tiny run, and what its mutants share."""

from __future__ import annotations

from pathlib import Path

import pytest

from fly64_assets.rules.hub import Memory
from fly64_assets_tests.conftest import FinishedRun, fly64
from fly64_assets_tests.rules.hub.forging import Original


@pytest.fixture(scope="session")
def hub(finished: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub of the tiny run; shared, so never to be changed."""
    folder = tmp_path_factory.mktemp("exported") / "hub"
    study = ("--study", finished.study_file, "--dose", "1000", "--view", "dense")
    exported = fly64("export", *study, "--to", folder, results=finished.results)
    assert exported.returncode == 0, exported.stdout + exported.stderr
    return folder


@pytest.fixture(scope="session")
def original(hub: Path) -> Original:
    return Original(hub)


@pytest.fixture(scope="session")
def memory() -> Memory:
    """What was computed from one content holds for every mutant that still has it."""
    return Memory()
