"""Every mutated hub is found, by the check that is meant to find it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from fly64_assets.rules.hub import CHECKS, Hub, Memory, run_checks
from fly64_assets_tests.rules.hub.forging import Forgery, Original
from fly64_assets_tests.rules.hub.mutants import MUTANTS, Mutant
from fly64_assets_tests.rules.hub.table import PAGE, table

SEALS = {
    *("crate.hashes", "crate.complete", "crate.self_digest", "hub.no_links"),
    *("verification_report.unedited", "hub.one_condition", "layout.nothing_else"),
    *("layout.complete", "json.valid"),
}
"""One of these finds any edit that is not hidden."""
SOME_QUICK = [
    pytest.param(mutant, marks=() if number % 8 == 0 else pytest.mark.long)
    for number, mutant in enumerate(MUTANTS)
]
"""All mutants; one in eight is not put off to ``make test-long``."""


def failing(
    forgery: Forgery, memory: Memory, names: Iterable[str] | None = None
) -> dict[str, list[str]]:
    """Failed check -> its findings."""
    hub = Hub(forgery.root, memory, forgery.known_hashes())
    report = run_checks(hub, names, threads=1)
    return {outcome.check.name: list(map(str, outcome.findings)) for outcome in report.failed}


def test_an_untouched_hub_passes_every_check(original: Original, memory: Memory):
    report = run_checks(Hub(original.root, memory))
    assert {o.check.name: list(map(str, o.findings)) for o in report.failed} == {}
    assert len(report.outcomes) == len(CHECKS)


def test_hiding_alone_changes_nothing(original: Original, memory: Memory, tmp_path: Path):
    forgery = original.copy_to(tmp_path / "hub")
    forgery.reseal()
    assert failing(forgery, memory) == {}


def test_every_check_has_a_mutant():
    counted = Counter(mutant.check for mutant in MUTANTS)
    assert set(counted) == set(CHECKS)


def test_the_documentation_lists_every_check():
    assert table() in PAGE.read_text("utf-8")


def test_mutants_have_names_of_their_own():
    names = Counter(map(str, MUTANTS))
    assert [name for name, number in names.items() if number > 1] == []


@pytest.mark.parametrize("mutant", SOME_QUICK, ids=str)
def test_mutant_is_found(mutant: Mutant, original: Original, memory: Memory, tmp_path: Path):
    forgery = original.copy_to(tmp_path / "hub")
    mutant.edit(forgery)
    assert failing(forgery, memory, SEALS), "the edit as it stands is held by a hash"
    if mutant.hidden:
        forgery.reseal()
    found = failing(forgery, memory, [mutant.check])
    shutil.rmtree(forgery.root)
    assert mutant.check in found
