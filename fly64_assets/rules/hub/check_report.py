"""Checks of the report about the asset checks: every row that must be there, and no other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from fly64_assets.reports.condition.check_report import COLUMNS
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms
from fly64_assets.rules.hub.checks import Broken, Finding, check, compare
from fly64_assets.rules.hub.crate_graph import Step, steps
from fly64_assets.rules.hub.of_products import warns
from fly64_assets.rules.hub.reading import Hub

CHECKS_JSON = "analysis/check_report.json"
STATES = ("passed", "warning", "failed", "not run")
HOLDS = re.compile(r"[1-9]\d* rules hold")
"""What a check that passed says."""


def _rows(hub: Hub) -> list[dict[str, Any]]:
    rows = hub.json(CHECKS_JSON).get("checks")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Broken(CHECKS_JSON, "checks", "is no list of checks")
    return rows


def _place(row: dict[str, Any]) -> str:
    return f"{row.get('asset')} {row.get('check')}"


@check(
    "check_report.passed", CHECKS_JSON, "nothing failed, all was run, and what blocks has passed"
)
def checks_passed(hub: Hub) -> Iterator[Finding]:
    for row in _rows(hub):
        status = row.get("status")
        may_warn = contract.CHECKED.get(str(row.get("asset")), {}).get(str(row.get("check")))
        if status != "passed" and not (status == "warning" and may_warn == (contract.WARN, False)):
            yield Finding(CHECKS_JSON, _place(row), f"is {status!r}: {row.get('reason')}")


@check(
    "check_report.rows",
    CHECKS_JSON,
    "every check of every asset of this condition, once, in order, as severe and as blocking as it "
    "is; the counts are theirs",
)
def check_rows(hub: Hub) -> Iterator[Finding]:
    content, rows = hub.json(CHECKS_JSON), _rows(hub)
    expected = {
        f"{asset} {name}": {
            "partition": str(hub.dose) if asset.endswith("/dataset") else f"{hub.dose}|{hub.view}",
            "severity": severity,
            "blocking": blocking,
        }
        for asset, checks in contract.CHECKED.items()
        if contract.has(asset, arms(hub))
        for name, (severity, blocking) in checks.items()
    }
    places = [_place(row) for row in rows]
    for place, number in Counter(places).items():
        if place not in expected:
            yield Finding(CHECKS_JSON, place, "is no check of a hub's assets")
        elif number > 1:
            yield Finding(CHECKS_JSON, place, "stands there twice")
    for place in expected:
        if place not in places:
            yield Finding(CHECKS_JSON, place, "is missing")
    if set(places) == set(expected) and places != list(expected):
        yield Finding(CHECKS_JSON, "checks", "are in another order, or stand there twice")
    for row in rows:
        if set(row) != set(COLUMNS):
            yield Finding(
                CHECKS_JSON, _place(row), f"has {sorted(row)}, expected {sorted(COLUMNS)}"
            )
        for key, value in expected.get(_place(row), {}).items():
            yield from compare(CHECKS_JSON, value, row.get(key), key=f"{_place(row)} {key}")
    found = Counter(row.get("status") for row in rows)
    whole = {
        "generated_at": content.get("generated_at"),
        "dose": hub.dose,
        "view": hub.view,
        "counts": {state: found[state] for state in STATES},
        "checks": content.get("checks"),
    }
    yield from compare(CHECKS_JSON, whole, content)


@check(
    "check_report.times",
    CHECKS_JSON,
    "each evaluation came after its asset was made and before the report was",
)
def check_times(hub: Hub) -> Iterator[Finding]:
    made, written = steps(hub), str(hub.json(CHECKS_JSON).get("generated_at"))
    for row in _rows(hub):
        time, end = str(row.get("time")), made.get(str(row.get("asset")), Step()).end
        if not contract.TIME.fullmatch(time):
            yield Finding(CHECKS_JSON, f"{_place(row)} time", f"is {row.get('time')!r}")
        elif not (end and end <= time <= written):
            reason = f"is {time}; its asset was made at {end or '-'}, the report at {written}"
            yield Finding(CHECKS_JSON, f"{_place(row)} time", reason)


@check(
    "check_report.reasons",
    CHECKS_JSON,
    "a check that passed counts its rules; what can only be warned of is warned of when it is so",
)
def check_reasons(hub: Hub) -> Iterator[Finding]:
    known = warns(hub)
    for row in _rows(hub):
        status, reason = row.get("status"), str(row.get("reason"))
        if bool(HOLDS.fullmatch(reason)) != (status == "passed") or not reason.strip():
            yield Finding(CHECKS_JSON, f"{_place(row)} reason", f"is {reason!r}, of {status!r}")
        warned = known.get(_place(row))
        if warned is not None and (status == "warning") != warned:
            expected = "warning" if warned else "passed"
            yield Finding(CHECKS_JSON, f"{_place(row)} status", f"is {status!r}, not {expected!r}")
