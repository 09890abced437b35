"""``docs/checks.md`` says what there is: every check, every lesson, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from fly64_assets.rules.store import checks_of
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets.study.products import PRODUCTS

TESTS = Path(__file__).parents[2]
TEXT = (PROJECT_ROOT / "docs/checks.md").read_text("utf-8")


def _rows(n_columns: int) -> list[list[str]]:
    rows = [line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if len(row) == n_columns]


def _quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_check_stands_in_the_table_with_its_severity_and_whether_it_blocks():
    written = {
        (asset, check, severity, blocking == "yes")
        for assets, checks, severity, blocking, _ in _rows(5)[1:]
        for asset in _quoted(assets)
        for check in _quoted(checks)
    }
    actual = {
        (item.key[-1], check.name, check.severity.value, check.name in item.blocking_checks)
        for item in PRODUCTS
        for check in checks_of(item)
    }
    assert written == actual


def test_every_lesson_is_answered_by_a_check_or_a_test():
    rows = _rows(4)[1:]
    assert [int(number) for number, *_ in rows] == list(range(1, 43))
    names = {check.name for item in PRODUCTS for check in checks_of(item)}
    for number, _, checks, tests in rows:
        assert set(_quoted(checks)) <= names, number
        assert _quoted(tests), number


def test_every_test_that_is_named_exists():
    named = set(re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT))
    assert len(named) > 40
    for file, test in named:
        source = (TESTS / file).read_text("utf-8")
        assert re.search(rf"^def {test}\(", source, re.MULTILINE), f"{file}::{test}"
