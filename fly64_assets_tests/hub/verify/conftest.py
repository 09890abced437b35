"""A real hub, exported from the tiny run, and what its mutants share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fly64_assets.hub.verify import CHECKS, Memory
from fly64_assets_tests.conftest import FinishedRun, fly64
from fly64_assets_tests.hub.verify.forging import Original
from fly64_assets_tests.hub.verify.mutants import Mutant

Tally = list[tuple[Mutant, bool, set[str]]]


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


@pytest.fixture(scope="session")
def tally() -> Iterator[Tally]:
    """Every mutant with whether it was found and by what; shown at the end (pytest -s)."""
    results: Tally = []
    yield results
    if not results:
        return
    print(f"\n{'check':<32} mutants  found  by it alone")
    for name in CHECKS:
        own = [(found, by) for mutant, found, by in results if mutant.check == name]
        alone = sum(by == {name} for _, by in own)
        print(f"{name:<32} {len(own):>7} {sum(found for found, _ in own):>6} {alone:>12}")
    print(f"{'all':<32} {len(results):>7} {sum(found for _, found, _ in results):>6}")
