"""A single digit changed in any number of any text of a hub is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from fly64_assets.rules.hub import CHECKS, Hub, Memory, run_checks
from fly64_assets_tests.rules.hub.digits import RECOMPUTED, Change, changes
from fly64_assets_tests.rules.hub.forging import BINARY, REPORT, Original

MOST_BY_HASH, MOST_RECOMPUTED = 25, 120
"""Numbers of a file that are changed, evenly spread over it."""


@pytest.mark.long
def test_a_digit_of_any_text_is_found_by_its_hash(
    original: Original, memory: Memory, tmp_path: Path
):
    """Also in the crate itself, whose own digest holds it."""
    forgery = original.copy_to(tmp_path / "hub")
    missed, number = [], 0
    for name in sorted(original.hashes):
        if name.endswith((*BINARY, REPORT)):
            continue
        text = original.root.joinpath(name).read_text("utf-8")
        for change in changes(name, text, most=MOST_BY_HASH, recomputed=False):
            number += 1
            forgery.write(name, change.text)
            hub = Hub(forgery.root, memory, forgery.known_hashes())
            report = run_checks(hub, ["crate.hashes", "crate.self_digest"], threads=1)
            if not report.failed:
                missed.append((name, change.line, change.before, change.after))
        forgery.write(name, text)
    assert missed == []
    assert number > 900


@pytest.mark.long
@pytest.mark.parametrize("template", RECOMPUTED)
def test_a_digit_is_found_by_recomputation(
    template: str, original: Original, memory: Memory, tmp_path: Path
):
    """No hash is looked at: only checks of what the numbers must be."""
    forgery = original.copy_to(tmp_path / "hub")
    name = forgery.named(template)
    text = forgery.read(name).decode()
    wanted = ("json.valid", "paths.exist", *RECOMPUTED[template])
    checks = [check for check in CHECKS if check in wanted or check.partition(".")[0] in wanted]
    missed: list[Change] = []
    number = 0
    for change in changes(name, text, most=MOST_RECOMPUTED, recomputed=True):
        number += 1
        forgery.write(name, change.text)
        hub = Hub(forgery.root, memory, forgery.known_hashes())
        if not run_checks(hub, checks, threads=1).failed:
            missed.append(change)
    assert [(change.line, change.before, change.after) for change in missed] == []
    assert number > 0
